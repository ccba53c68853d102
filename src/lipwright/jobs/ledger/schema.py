"""The tables of the ledger, and the steps from one version of them to the next.

Times are whole milliseconds since 1970 by the clock of the database. The names carry a prefix
because the work queue keeps its tables in the same database.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from lipwright.errors import QueueUnavailable
from lipwright.jobs.model import State

metadata = sa.MetaData()


class Words(TypeDecorator[str]):
    """Text that any string fits: what a database cannot store is replaced.

    Names of files and messages about them may hold lone surrogates or NUL; a job must not become
    unfinishable by the text of its failure.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Replace what cannot be stored."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-8", "replace").decode().replace("\0", "?")


version = sa.Table("lw_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

jobs = sa.Table(
    "lw_jobs",
    metadata,
    # SQLite counts only a plain INTEGER key up by itself
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", Words, nullable=False, unique=True),
    sa.Column("key_id", Words, nullable=False),
    sa.Column("model_id", Words, nullable=False),
    sa.Column("dialect", Words, nullable=False),
    sa.Column("engine", Words, nullable=False),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("work", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("webhook_url", Words),
    sa.Column("idempotency_key", Words),
    sa.Column("fingerprint", Words, nullable=False),
    sa.Column("trace", Words),
    sa.Column("state", Words, nullable=False),
    sa.Column("parked", sa.Boolean, nullable=False),  # queued, but not yet enqueued as work
    sa.Column("erased", sa.Boolean, nullable=False),  # only its files may be left
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("spared", sa.Integer, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("beat_at", sa.BigInteger),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("stage", sa.JSON, nullable=False),
    sa.Column("worker", Words),
    sa.Column("output", sa.JSON, nullable=False),
    sa.Column("failure_code", Words),
    sa.Column("failure_message", Words),
    sa.CheckConstraint(sa.column("state").in_([str(state) for state in State]), "known_state"),
    sqlite_autoincrement=True,  # or the sequence of an erased last job is given again
)

# The constants are written out: a partial index serves only queries with the same literal.
QUEUED = jobs.c.state == sa.literal_column(f"'{State.IN_QUEUE}'")
RUNNING = jobs.c.state == sa.literal_column(f"'{State.IN_PROGRESS}'")
PARKED = jobs.c.parked == sa.true()
ENDED = jobs.c.expires_at.is_not(None)


def _partial(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[int]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("lw_jobs_queue", QUEUED, jobs.c.priority, jobs.c.sequence)  # position
_partial("lw_jobs_running", RUNNING, jobs.c.beat_at)  # without a heartbeat
_partial("lw_jobs_parked", PARKED, jobs.c.key_id, jobs.c.priority, jobs.c.sequence)
_partial("lw_jobs_expiry", ENDED, jobs.c.expires_at)
sa.Index("lw_jobs_pages", jobs.c.key_id, jobs.c.state, jobs.c.sequence)

replays = sa.Table(
    "lw_replays",
    metadata,
    sa.Column("key_id", Words, primary_key=True),
    sa.Column("idempotency_key", Words, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("fingerprint", Words, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)
sa.Index("lw_replays_job", replays.c.job_id)

accounts = sa.Table(
    "lw_accounts",
    metadata,
    sa.Column("key_id", Words, primary_key=True),
    sa.Column("due", sa.BigInteger, nullable=False),  # nanoseconds
    sa.Column("queued", sa.Integer, nullable=False),
    sa.Column("released", sa.Integer, nullable=False),
)

#: How many jobs are queued, by priority and by blocks of sequences: to find a position without
#: counting the whole queue.
backlog = sa.Table(
    "lw_backlog",
    metadata,
    sa.Column("priority", sa.Integer, primary_key=True),
    sa.Column("block", sa.BigInteger, primary_key=True),  # sequence // BLOCK
    sa.Column("queued", sa.Integer, nullable=False),
)
BLOCK = 500  # sequences

tallies = sa.Table(
    "lw_tallies",
    metadata,
    sa.Column("name", Words, primary_key=True),
    sa.Column("amount", sa.Float, nullable=False),
)

keys = sa.Table(
    "lw_keys",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("digest", Words, nullable=False, unique=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("concurrency", sa.Integer),
    sa.Column("submits_per_minute", sa.Integer),
    sa.Column("max_queued", sa.Integer),
)
_active = keys.c.revoked_at.is_(None)
sa.Index("lw_keys_name", keys.c.name, unique=True, sqlite_where=_active, postgresql_where=_active)

uploads = sa.Table(
    "lw_uploads",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("key_id", Words, nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", Words, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("going", sa.Boolean, nullable=False),  # its file is being deleted
)

sa.Index("lw_uploads_space", uploads.c.key_id, uploads.c.size)

holds = sa.Table(
    "lw_holds",
    metadata,
    sa.Column("file_id", sa.ForeignKey("lw_uploads.id"), primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), primary_key=True),
)
sa.Index("lw_holds_job", holds.c.job_id)

deliveries = sa.Table(
    "lw_deliveries",
    metadata,
    sa.Column("id", Words, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("url", Words, nullable=False),
    sa.Column("state", Words, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.BigInteger),
    sa.Column("last_error", Words),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
PENDING = deliveries.c.state == "pending"
sa.Index("lw_deliveries_due", deliveries.c.state, deliveries.c.next_at)
sa.Index("lw_deliveries_job", deliveries.c.job_id)

#: MIGRATIONS[n] leads from version n + 1 to version n + 2; what is new is in the tables above too.
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = ()
VERSION = len(MIGRATIONS) + 1


def migrate(connection: sa.Connection) -> None:
    """Bring the tables to the version of this program, within the caller's transaction.

    Raises:
        QueueUnavailable: a newer program has written the database.
    """
    if not sa.inspect(connection).has_table(version.name):
        metadata.create_all(connection)
        connection.execute(version.insert().values(version=VERSION))
        return
    present = connection.execute(sa.select(version.c.version)).scalar_one()
    if present > VERSION:
        raise QueueUnavailable(
            f"the database has version {present}, this program knows {VERSION}: "
            "upgrade lipwright, or use another data_dir"
        )
    for step in MIGRATIONS[present - 1 :]:
        step(connection)
    if present < VERSION:
        connection.execute(version.update().values(version=VERSION))
