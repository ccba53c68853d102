"""SQL for the per-key accounts, the backlog, the counters and the webhook deliveries.

Every function runs within the caller's transaction; the transitions in `sql` call them.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lipwright.jobs.ledger.rows import account_from_row
from lipwright.jobs.ledger.rules import Account, new_delivery_id
from lipwright.jobs.ledger.schema import (
    BLOCK,
    QUEUED,
    accounts,
    backlog,
    counters,
    deliveries,
    jobs,
    keys,
)

_SELECT_ACCOUNT = (
    sa.select(accounts).where(accounts.c.key_id == sa.bindparam("id")).with_for_update()
)
_SELECT_CONCURRENCY = sa.select(keys.c.concurrency).where(keys.c.id == sa.bindparam("id"))
_UPDATE_ACCOUNT = (
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
# Complete blocks are summed from the backlog; only the job's own block is counted row by row.
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
_IN_BLOCK = (
    backlog.c.priority == sa.bindparam("at_priority"),
    backlog.c.block == sa.bindparam("at_block"),
)
_ADD_TO_BLOCK = (
    backlog.update().where(*_IN_BLOCK).values(queued=backlog.c.queued + sa.bindparam("change"))
)
_DELETE_EMPTY_BLOCK = backlog.delete().where(*_IN_BLOCK, backlog.c.queued == 0)
_BLOCKS = sa.select(backlog).order_by(backlog.c.block)
_FIRST_IN_BLOCK = sa.select(sa.func.min(jobs.c.sequence)).where(
    QUEUED,
    jobs.c.priority == sa.bindparam("at_priority"),
    jobs.c.sequence >= sa.bindparam("start"),
)


def lock_account(tx: sa.Connection, key_id: str) -> Account:
    """Return the account of a key, locked until the transaction ends; created if missing."""
    row = tx.execute(_SELECT_ACCOUNT, {"id": key_id}).first()
    if row is None:
        # Two transactions may both find none; the second then waits for the first one's row.
        values = {"key_id": key_id, "due": 0, "queued": 0, "released": 0}
        tx.execute(_insert_or_ignore(tx, accounts), values)
        row = tx.execute(_SELECT_ACCOUNT, {"id": key_id}).one()
    return account_from_row(row)


def save_account(tx: sa.Connection, account: Account) -> None:
    """Write an account back."""
    values = {
        "id": account.key_id,
        "new_due": account.bucket_full_at,
        "new_queued": account.queued,
        "new_released": account.released,
    }
    tx.execute(_UPDATE_ACCOUNT, values)


def adjust_backlog(tx: sa.Connection, priority: int, sequence: int, change: int) -> None:
    """Record that a job has entered the queue (+1) or left it (-1)."""
    block = {"at_priority": priority, "at_block": sequence // BLOCK}
    if tx.execute(_ADD_TO_BLOCK, {**block, "change": change}).rowcount == 0:
        values = {"priority": priority, "block": sequence // BLOCK, "queued": 0}
        tx.execute(_insert_or_ignore(tx, backlog), values)
        tx.execute(_ADD_TO_BLOCK, {**block, "change": change})
    if change < 0:
        tx.execute(_DELETE_EMPTY_BLOCK, block)


def queue_position(tx: sa.Connection, priority: int, sequence: int) -> int:
    """Return how many queued jobs are ahead of that priority and sequence."""
    block = sequence // BLOCK
    values = {"priority": priority, "block": block, "start": block * BLOCK, "sequence": sequence}
    return int(tx.execute(_POSITION, values).scalar_one())


def count_queued(tx: sa.Connection) -> int:
    """Return the number of queued jobs."""
    return int(tx.execute(sa.select(sa.func.sum(backlog.c.queued))).scalar_one() or 0)


def oldest_queued_at(tx: sa.Connection) -> int | None:
    """Return when the oldest queued job was submitted, in ms since 1970; None if none is queued."""
    blocks = tx.execute(_BLOCKS).all()
    oldest_blocks = [
        {"at_priority": row.priority, "start": row.block * BLOCK}
        for row in blocks
        if row.block == blocks[0].block
    ]
    sequences = [tx.execute(_FIRST_IN_BLOCK, block).scalar_one() for block in oldest_blocks]
    if not sequences:
        return None
    created_at = sa.select(jobs.c.created_at).where(jobs.c.sequence == min(sequences))
    return int(tx.execute(created_at).scalar_one())


def key_concurrency(tx: sa.Connection, key_id: str) -> int | None:
    """Return the concurrency set for a key; None if the key has none of its own."""
    return tx.execute(_SELECT_CONCURRENCY, {"id": key_id}).scalar()


def add_counters(tx: sa.Connection, increments: Mapping[str, float]) -> None:
    """Add to the counters, which never decrease."""
    for name, amount in sorted(increments.items()):
        update = counters.update().where(counters.c.name == name)
        update = update.values(amount=counters.c.amount + amount)
        if tx.execute(update).rowcount:
            continue
        tx.execute(_insert_or_ignore(tx, counters), {"name": name, "amount": 0})
        tx.execute(update)


def insert_delivery(tx: sa.Connection, job_id: str, url: str, now: int) -> None:
    """Insert a webhook delivery that is due at once."""
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


def _insert_or_ignore(tx: sa.Connection, table: sa.Table) -> sa.Insert:
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()
