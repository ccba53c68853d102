"""The tables of the ledger, and the migrations between their versions.

Times are whole milliseconds since 1970 by the clock of the database. Table names carry a prefix
because the work queue keeps its tables in the same database. Some tables and columns have other
names than the values they hold: ``parked`` is "held", ``spared`` "uncounted", ``stage`` the
progress, ``work`` the payload, ``going`` "being deleted", ``due`` the time at which the bucket of
submits is full.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

from lipwright.errors import QueueUnavailable
from lipwright.jobs.model import State

metadata = sa.MetaData()


class SafeText(TypeDecorator[str]):
    """Text in which characters that a database cannot store are replaced.

    File names and messages about them may contain lone surrogates or NUL. Without the replacement
    such a failure message would prevent its job from ending.
    """

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Replace characters that cannot be stored."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-8", "replace").decode().replace("\0", "?")


schema_version = sa.Table("lw_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

jobs = sa.Table(
    "lw_jobs",
    metadata,
    # SQLite assigns only a plain INTEGER primary key
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", SafeText, nullable=False, unique=True),
    sa.Column("key_id", SafeText, nullable=False),
    sa.Column("model_id", SafeText, nullable=False),
    sa.Column("dialect", SafeText, nullable=False),
    sa.Column("engine", SafeText, nullable=False),
    sa.Column("input", sa.JSON, nullable=False),
    sa.Column("work", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("webhook_url", SafeText),
    sa.Column("idempotency_key", SafeText),
    sa.Column("fingerprint", SafeText, nullable=False),
    sa.Column("trace", SafeText),
    sa.Column("state", SafeText, nullable=False),
    sa.Column("parked", sa.Boolean, nullable=False),  # held: queued, but not yet enqueued as work
    sa.Column("erased", sa.Boolean, nullable=False),  # its files may remain
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("spared", sa.Integer, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("beat_at", sa.BigInteger),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("stage", sa.JSON, nullable=False),
    sa.Column("worker", SafeText),
    sa.Column("output", sa.JSON, nullable=False),
    sa.Column("failure_code", SafeText),
    sa.Column("failure_message", SafeText),
    sa.CheckConstraint(sa.column("state").in_([str(state) for state in State]), "known_state"),
    sqlite_autoincrement=True,  # otherwise the sequence of a deleted last job is reused
)

# The values are literals: a partial index serves only queries with the same literal.
QUEUED = jobs.c.state == sa.literal_column(f"'{State.IN_QUEUE}'")
RUNNING = jobs.c.state == sa.literal_column(f"'{State.IN_PROGRESS}'")
HELD = jobs.c.parked == sa.true()
ENDED = jobs.c.expires_at.is_not(None)


def _partial(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[int]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partial("lw_jobs_queue", QUEUED, jobs.c.priority, jobs.c.sequence)  # position
_partial("lw_jobs_running", RUNNING, jobs.c.beat_at)  # without a heartbeat
_partial("lw_jobs_parked", HELD, jobs.c.key_id, jobs.c.priority, jobs.c.sequence)
_partial("lw_jobs_expiry", ENDED, jobs.c.expires_at)
sa.Index("lw_jobs_pages", jobs.c.key_id, jobs.c.state, jobs.c.sequence)

idempotency_keys = sa.Table(
    "lw_replays",
    metadata,
    sa.Column("key_id", SafeText, primary_key=True),
    sa.Column("idempotency_key", SafeText, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("fingerprint", SafeText, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)
sa.Index("lw_replays_job", idempotency_keys.c.job_id)

accounts = sa.Table(
    "lw_accounts",
    metadata,
    sa.Column("key_id", SafeText, primary_key=True),
    sa.Column("due", sa.BigInteger, nullable=False),  # nanoseconds
    sa.Column("queued", sa.Integer, nullable=False),
    sa.Column("released", sa.Integer, nullable=False),
)

#: The number of queued jobs by priority and block of sequences, to find a position without counting
#: the whole queue.
backlog = sa.Table(
    "lw_backlog",
    metadata,
    sa.Column("priority", sa.Integer, primary_key=True),
    sa.Column("block", sa.BigInteger, primary_key=True),  # sequence // BLOCK
    sa.Column("queued", sa.Integer, nullable=False),
)
BLOCK = 500  # sequences

counters = sa.Table(
    "lw_tallies",
    metadata,
    sa.Column("name", SafeText, primary_key=True),
    sa.Column("amount", sa.Float, nullable=False),
)

keys = sa.Table(
    "lw_keys",
    metadata,
    sa.Column("id", SafeText, primary_key=True),
    sa.Column("name", SafeText, nullable=False),
    sa.Column("digest", SafeText, nullable=False, unique=True),
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
    sa.Column("id", SafeText, primary_key=True),
    sa.Column("key_id", SafeText, nullable=False),
    sa.Column("name", SafeText, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", SafeText, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("going", sa.Boolean, nullable=False),  # being deleted
)

sa.Index("lw_uploads_space", uploads.c.key_id, uploads.c.size)

job_uploads = sa.Table(
    "lw_holds",
    metadata,
    sa.Column("file_id", sa.ForeignKey("lw_uploads.id"), primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), primary_key=True),
)
sa.Index("lw_holds_job", job_uploads.c.job_id)

deliveries = sa.Table(
    "lw_deliveries",
    metadata,
    sa.Column("id", SafeText, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("lw_jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("url", SafeText, nullable=False),
    sa.Column("state", SafeText, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.BigInteger),
    sa.Column("last_error", SafeText),
    sa.Column("created_at", sa.BigInteger, nullable=False),
)
PENDING = deliveries.c.state == "pending"
sa.Index("lw_deliveries_due", deliveries.c.state, deliveries.c.next_at)
sa.Index("lw_deliveries_job", deliveries.c.job_id)

#: MIGRATIONS[n] migrates from version n + 1 to n + 2. The tables above are always the latest.
MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = ()
VERSION = len(MIGRATIONS) + 1


def migrate(connection: sa.Connection) -> None:
    """Migrate the tables to the version of this program, within the caller's transaction.

    Raises:
        QueueUnavailable: a newer program has written the database.
    """
    if not sa.inspect(connection).has_table(schema_version.name):
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=VERSION))
        return
    present = connection.execute(sa.select(schema_version.c.version)).scalar_one()
    if present > VERSION:
        raise QueueUnavailable(
            f"the database has version {present}, this program supports {VERSION}: "
            "upgrade lipwright, or use another data_dir"
        )
    for step in MIGRATIONS[present - 1 :]:
        step(connection)
    if present < VERSION:
        connection.execute(schema_version.update().values(version=VERSION))
