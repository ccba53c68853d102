"""What transitions of jobs write beside the job's own row, within their transaction."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from lipwright.jobs.rows import account_of
from lipwright.jobs.rules import Account, new_delivery_id
from lipwright.jobs.schema import accounts, deliveries, keys, tallies

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
