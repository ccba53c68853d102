"""The database of the ledger: one writer at a time, bounded waits, durable commits."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lipwright.errors import InvalidOptions, QueueUnavailable
from lipwright.jobs.ledger import schema

WAIT_SECONDS = 5.0  # for a locked database, before QueueUnavailable
SQLITE_BUSY_TIMEOUT_MS = 20  # for a lock; then we retry, because SQLite's later pauses are 100 ms
READER_POOL_SIZE = 8  # connections kept open; more are opened on demand
SQLITE_NOW = "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
POSTGRES_NOW = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
UNAVAILABLE_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)  # primary result codes that are not the fault of the statement

Clock = Callable[[sa.Connection], int]


class Database:
    """Transactions on one database, from any thread.

    Readers see a snapshot and never wait. Writers share one connection, because SQLite has one
    writer at a time and makes the others poll.
    """

    def __init__(
        self, url: str, *, wait_seconds: float = WAIT_SECONDS, clock: Clock | None = None
    ) -> None:
        self._wait = wait_seconds
        self._clock = clock or _database_clock
        self._url = sa.make_url(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self._writer, self._reader = self._engines()
        self._syncer: _GroupSync | None = None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Yield a connection that sees one snapshot of the database.

        Raises:
            QueueUnavailable: it stays locked or is unreachable.
        """
        with _database_errors(), self._reader.connect() as connection, connection.begin():
            if self.sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Yield the writing connection; commit at the end, roll back on an exception.

        Args:
            durable: return only once the commit survives a power failure.

        Raises:
            QueueUnavailable: it stays locked or is unreachable.
        """
        deadline = time.monotonic() + self._wait
        with _database_errors(), self._writer.connect() as connection, connection.begin():
            if self.sqlite:
                _execute_when_unlocked(connection, "BEGIN IMMEDIATE", deadline)
            yield connection
        if durable and self._syncer:
            with _disk_errors():
                self._syncer.sync()

    def now(self, connection: sa.Connection) -> int:
        """Return the time by the database's clock, in milliseconds since 1970."""
        return self._clock(connection)

    def close(self) -> None:
        """Close all connections; calling it twice is allowed."""
        self._writer.dispose()
        if self._reader is not self._writer:
            self._reader.dispose()

    def _engines(self) -> tuple[sa.Engine, sa.Engine]:
        if not self.sqlite:
            engine = sa.create_engine(
                self._url, pool_timeout=self._wait, pool_pre_ping=True, hide_parameters=True
            )
            return engine, engine
        writer = _sqlite_engine(
            self._url, SQLITE_BUSY_TIMEOUT_MS, pool_size=1, overflow=0, wait=self._wait
        )
        wait_ms = int(self._wait * 1000)
        return writer, _sqlite_engine(
            self._url, wait_ms, pool_size=READER_POOL_SIZE, overflow=-1, wait=self._wait
        )

    def _prepare(self) -> None:
        """Create the file (for its owner only), its journal and its tables if they are missing."""
        path = _database_path(self._url) if self.sqlite else None
        if path is not None:
            with _disk_errors(), _database_errors():
                _create_file(path)
                self._use_wal()
        with self.write() as connection:
            schema.migrate(connection)
        if path is not None:
            self._syncer = _GroupSync(path.with_name(path.name + "-wal"))

    def _use_wal(self) -> None:
        deadline = time.monotonic() + self._wait
        with self._writer.connect() as connection:
            _execute_when_unlocked(connection, "PRAGMA journal_mode=WAL", deadline)


def open_database(url: str, *, wait_seconds: float = WAIT_SECONDS) -> Database:
    """Open a database by its SQLAlchemy URL, and create or migrate its tables.

    Raises:
        InvalidOptions: the URL is not one of a file of SQLite or of PostgreSQL.
        QueueUnavailable: it cannot be opened, or a newer version wrote it.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as cause:
        raise InvalidOptions("database_url is not a SQLAlchemy URL") from cause
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InvalidOptions(f"database_url: {parsed.get_backend_name()} is not supported")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidOptions("database_url names no file: several processes share the database")
    return Database(url, wait_seconds=wait_seconds)


def utc_datetime(ms: int) -> datetime:
    """Return a database time as a UTC datetime."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def optional_utc_datetime(ms: int | None) -> datetime | None:
    """Return a database time as a UTC datetime, None for NULL."""
    return None if ms is None else utc_datetime(ms)


class _GroupSync:
    """Makes many commits durable with one fsync.

    The connections use synchronous=NORMAL: a commit survives the end of the process, kill -9
    included, but not a power failure. With FULL each commit waits for its own fsync: measured 370
    commits/s against 7,000/s with NORMAL on the disk of a small cloud machine, too slow for 500
    submits/s. So writers commit with NORMAL and then wait for one shared fsync of the write-ahead
    log, which covers every earlier commit: measured 700 to 1,400 submits/s from 4 to 16 threads on
    the same disk.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._started = self._done = 0  # counts of fsyncs

    def sync(self) -> None:
        """Return once every commit before this call is on the disk.

        Raises:
            OSError: the fsync failed.
        """
        seen = self._started
        with self._lock:
            if self._done > seen:  # a sync that started after this call covers it
                return
            self._started += 1
            _fsync(self._log)
            self._done = self._started


def _sqlite_engine(
    url: sa.URL, busy_ms: int, *, pool_size: int, overflow: int, wait: float
) -> sa.Engine:
    engine = sa.create_engine(
        url,
        # We begin transactions: pysqlite would begin them only at the first write.
        connect_args={"isolation_level": None, "timeout": busy_ms / 1000},
        hide_parameters=True,  # key digests and user data must not reach the logs
        poolclass=sa.QueuePool,
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=wait,
        pool_use_lifo=True,
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")  # see _GroupSync

    return engine


def _execute_when_unlocked(connection: sa.Connection, statement: str, deadline: float) -> None:
    """Execute a statement; retry while the database is locked, until the deadline."""
    while True:
        try:
            connection.exec_driver_sql(statement)
            return
        except sa.exc.OperationalError as cause:
            if _sqlite_code(cause) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise


@contextmanager
def _database_errors() -> Iterator[None]:
    """Translate errors of a locked or unreachable database into QueueUnavailable."""
    try:
        yield
    except sa.exc.TimeoutError as cause:
        raise QueueUnavailable(
            "too many writers are waiting for the database; try again"
        ) from cause
    except sa.exc.DBAPIError as cause:
        if not _is_unavailable(cause):
            raise
        raise QueueUnavailable(
            f"the database is unavailable{_public_reason(cause)}; try again"
        ) from cause


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Translate errors of the disk into QueueUnavailable; not for code of callers."""
    try:
        yield
    except OSError as cause:
        reason = cause.strerror or "the disk failed"  # without the path: API users see this
        raise QueueUnavailable(f"the database is unavailable: {reason}; try again") from cause


def _is_unavailable(error: sa.exc.DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in UNAVAILABLE_CODES
    return isinstance(error, sa.exc.OperationalError) or error.connection_invalidated


def _public_reason(error: sa.exc.DBAPIError) -> str:
    """Return a reason for API users: SQLite's short text, but no host or user of a server."""
    return f": {error.orig}" if isinstance(error.orig, sqlite3.Error) else ""


def _sqlite_code(error: sa.exc.DBAPIError) -> int:
    """Return SQLite's primary result code, 0 for any other error."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF


def _database_clock(connection: sa.Connection) -> int:
    statement = SQLITE_NOW if connection.dialect.name == "sqlite" else POSTGRES_NOW
    return int(connection.exec_driver_sql(statement).scalar_one())


def _fsync(path: Path) -> None:
    # Reopened each time: SQLite replaces the log after its last connection was closed.
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _database_path(url: sa.URL) -> Path:
    return Path(url.database or "")


def _create_file(path: Path) -> None:
    """Create the file for its owner only; SQLite gives its log the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
