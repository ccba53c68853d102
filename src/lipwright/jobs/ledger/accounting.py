"""What transitions of jobs write beside the job's own row, within their transaction."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lipwright.jobs.ledger.rows import account_of
from lipwright.jobs.ledger.rules import Account, new_delivery_id
from lipwright.jobs.ledger.schema import (
    BLOCK,
    QUEUED,
    accounts,
    backlog,
    deliveries,
    jobs,
    keys,
    tallies,
)

_ACCOUNT = sa.select(accounts).where(accounts.c.key_id == sa.bindparam("id")).with_for_update()
_CONCURRENCY = sa.select(keys.c.concurrency).where(keys.c.id == sa.bindparam("id"))
_KEEP = (
    accounts.update()
    .where(accounts.c.key_id == sa.bindparam("id"))
    .values(
        due=sa.bindparam("new_due"),
        queued=sa.bindparam("new_queued"),
        released=sa.bindparam("new_released"),
    )
)

_priority = sa.bindparam("priority", type_=sa.Integer)
_block = sa.bindparam("block", type_=sa.BigInteger)
# Full blocks are looked up, only the job's own one is counted.
_POSITION = sa.select(
    sa.select(sa.func.coalesce(sa.func.sum(backlog.c.queued), 0))
    .where(
        sa.or_(
            backlog.c.priority < _priority,
            sa.and_(backlog.c.priority == _priority, backlog.c.block < _block),
        )
    )
    .scalar_subquery()
    + sa.select(sa.func.count())
    .where(
        QUEUED,
        jobs.c.priority == _priority,
        jobs.c.sequence >= sa.bindparam("start"),
        jobs.c.sequence < sa.bindparam("sequence"),
    )
    .scalar_subquery()
)
_PLACE = (backlog.c.priority == sa.bindparam("at"), backlog.c.block == sa.bindparam("on"))
_COUNT = backlog.update().where(*_PLACE).values(queued=backlog.c.queued + sa.bindparam("more"))
_CLEAR = backlog.delete().where(*_PLACE, backlog.c.queued == 0)
_OLDEST_BLOCK = sa.select(backlog).order_by(backlog.c.block)
_FIRST_ON = sa.select(sa.func.min(jobs.c.sequence)).where(
    QUEUED, jobs.c.priority == sa.bindparam("at"), jobs.c.sequence >= sa.bindparam("start")
)


def account(tx: sa.Connection, key_id: str) -> Account:
    """Take the account of a key, locked until the transaction ends; open it if there is none."""
    row = tx.execute(_ACCOUNT, {"id": key_id}).first()
    if row is None:
        # two transactions may both find none; the other one's row is then waited for
        fresh = {"key_id": key_id, "due": 0, "queued": 0, "released": 0}
        tx.execute(_insert_or_leave(tx, accounts), fresh)
        row = tx.execute(_ACCOUNT, {"id": key_id}).one()
    return account_of(row)


def keep(tx: sa.Connection, account: Account) -> None:
    """Write an account back."""
    values = {
        "id": account.key_id,
        "new_due": account.due,
        "new_queued": account.queued,
        "new_released": account.released,
    }
    tx.execute(_KEEP, values)


def queued(tx: sa.Connection, priority: int, sequence: int, more: int) -> None:
    """Note that a job has come into the queue (1) or left it (-1)."""
    place = {"at": priority, "on": sequence // BLOCK}
    if tx.execute(_COUNT, {**place, "more": more}).rowcount == 0:
        fresh = {"priority": priority, "block": sequence // BLOCK, "queued": 0}
        tx.execute(_insert_or_leave(tx, backlog), fresh)
        tx.execute(_COUNT, {**place, "more": more})
    if more < 0:
        tx.execute(_CLEAR, place)


def position(tx: sa.Connection, priority: int, sequence: int) -> int:
    """Return how many queued jobs go before that place."""
    block = sequence // BLOCK
    place = {"priority": priority, "block": block, "start": block * BLOCK, "sequence": sequence}
    return int(tx.execute(_POSITION, place).scalar_one())


def waiting(tx: sa.Connection) -> int:
    """Return how many jobs are queued."""
    return int(tx.execute(sa.select(sa.func.sum(backlog.c.queued))).scalar_one() or 0)


def oldest(tx: sa.Connection) -> int | None:
    """Return when the first of the queued jobs came; None when there is none."""
    blocks = tx.execute(_OLDEST_BLOCK).all()
    places = [
        {"at": row.priority, "start": row.block * BLOCK}
        for row in blocks
        if row.block == blocks[0].block
    ]
    firsts = [tx.execute(_FIRST_ON, place).scalar_one() for place in places]
    if not firsts:
        return None
    came = sa.select(jobs.c.created_at).where(jobs.c.sequence == min(firsts))
    return int(tx.execute(came).scalar_one())


def concurrency(tx: sa.Connection, key_id: str) -> int | None:
    """Return a key's own number of jobs that may run at once; None: it has none."""
    return tx.execute(_CONCURRENCY, {"id": key_id}).scalar()


def tally(tx: sa.Connection, added: Mapping[str, float]) -> None:
    """Add to the counts that never go down."""
    for name, amount in sorted(added.items()):
        more = tallies.update().where(tallies.c.name == name)
        more = more.values(amount=tallies.c.amount + amount)
        if tx.execute(more).rowcount:
            continue
        tx.execute(_insert_or_leave(tx, tallies), {"name": name, "amount": 0})
        tx.execute(more)


def deliver(tx: sa.Connection, job_id: str, url: str, now: int) -> None:
    """Note that a webhook is to be called at once."""
    values = {
        "id": new_delivery_id(),
        "job_id": job_id,
        "url": url,
        "state": "pending",
        "attempts": 0,
        "next_at": now,
        "created_at": now,
    }
    tx.execute(deliveries.insert(), values)


def _insert_or_leave(tx: sa.Connection, table: sa.Table) -> sa.Insert:
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
