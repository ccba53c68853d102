"""The ledger on a SQLite file: locks, query plans, processes, migrations and file modes."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from lipwright.errors import InvalidOptions, QueueUnavailable
from lipwright.jobs.ledger import database as database_module
from lipwright.jobs.ledger import schema
from lipwright.jobs.ledger.database import Database, open_database
from lipwright.jobs.ledger.deliveries import SqlDeliveries
from lipwright.jobs.ledger.keys import SqlApiKeys
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.ledger.uploads import SqlUploads
from lipwright.jobs.model import Job, JobProgress, JobSpec, State, SubmitLimits

WIDE = SubmitLimits(max_queued=10**6, submits_per_minute=200_000)
WAIT = 0.3  # seconds
SLACK = 5.0  # seconds that a busy machine may add
JOBS = 1_000


def nothing(*_arguments: object) -> None:
    """Enqueue or cancel nothing."""


def make_spec(number: int, key_id: str = "k") -> JobSpec:
    return JobSpec(
        id=f"job{number:05d}",
        key_id=key_id,
        model_id="m",
        dialect="runcomfy",
        engine="passthrough",
        input={},
        payload={},
    )


def submit_all(ledger: SqlLedger, count: int) -> None:
    for number in range(count):
        ledger.submit(make_spec(number), WIDE)


@contextmanager
def opened(path: Path, wait_seconds: float = 10.0) -> Iterator[tuple[Database, SqlLedger]]:
    database = open_database(f"sqlite:///{path}", wait_seconds=wait_seconds)
    try:
        yield database, SqlLedger(database, enqueue=nothing, cancel_work=nothing)
    finally:
        database.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "ledger.sqlite3"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


# -- locks ----------------------------------------------------------------------------------------
def test_a_locked_database_is_unavailable_after_a_bounded_wait(path: Path):
    with opened(path, WAIT) as (database, ledger):
        job, _ = ledger.submit(make_spec(0), WIDE)
        claimed = ledger.claim(job.id, "w")
        assert claimed is not None
        calls = {
            "submit": lambda: ledger.submit(make_spec(1), WIDE),
            "cancel": lambda: ledger.cancel(job.id),
            "erase": lambda: ledger.erase(job.id),
            "claim": lambda: ledger.claim(job.id, "w"),
            "heartbeat": lambda: ledger.heartbeat(job.id, 1, JobProgress()),
            "finish": lambda: ledger.finish(job.id, 1, output={}, failure=None),
            "key": lambda: SqlApiKeys(database).create("ci"),
            "uploads": lambda: SqlUploads(database).claim_expired(),
        }
        with locked(path):
            for name, call in calls.items():
                started = time.monotonic()
                with pytest.raises(QueueUnavailable, match="locked"):
                    call()
                assert WAIT <= time.monotonic() - started < WAIT + SLACK, name
        assert ledger.submit(make_spec(1), WIDE)[1]  # the first try left nothing
        assert ledger.get(job.id) == claimed


def test_a_locked_database_can_still_be_read(path: Path):
    with opened(path, WAIT) as (database, ledger):
        job, _ = ledger.submit(make_spec(0), WIDE)
        key, secret = SqlApiKeys(database).create("ci")
        with locked(path):
            assert ledger.get(job.id) == job
            assert ledger.position(job) == 0
            assert ledger.list_jobs("k", limit=1) == [job]
            assert ledger.counts()["jobs"]["in_queue"] == 1
            assert SqlApiKeys(database).verify(secret) == key
            assert list(SqlDeliveries(database).claim_due(5, 1.0)) == []


def test_a_write_waits_for_a_lock_that_ends_in_time(path: Path):
    with opened(path, 30.0) as (_, ledger):
        release = threading.Event()
        held = threading.Event()

        def hold() -> None:
            with locked(path):
                held.set()
                release.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        timer = threading.Timer(0.2, release.set)
        timer.start()
        assert ledger.submit(make_spec(0), WIDE)[1]
        holder.join()
        timer.join()


def test_writers_of_one_process_wait_for_each_other_within_the_bound(path: Path):
    with opened(path, WAIT) as (database, ledger):
        with database.write():  # a transaction of another thread
            refused: list[BaseException] = []

            def submit() -> None:
                try:
                    ledger.submit(make_spec(0), WIDE)
                except QueueUnavailable as error:
                    refused.append(error)

            thread = threading.Thread(target=submit)
            thread.start()
            thread.join(WAIT + SLACK)
            assert not thread.is_alive()
        assert len(refused) == 1
        assert ledger.submit(make_spec(0), WIDE)[1]


def test_a_failing_disk_is_unavailable_and_never_acknowledged(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fails(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    with opened(path) as (_, ledger):
        monkeypatch.setattr(database_module, "_fsync", fails)
        with pytest.raises(QueueUnavailable, match="No space left"):
            ledger.submit(make_spec(0), WIDE)


def test_a_full_disk_is_unavailable_and_leaves_no_job(path: Path):
    with opened(path) as (database, ledger):
        with database.write() as tx:
            pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        with database._writer.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(QueueUnavailable, match="full"):
            submit_all(ledger, 1_000)
        with database._writer.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=100000")
        jobs = ledger.list_jobs("k", limit=1_000)
        assert ledger.counts()["jobs"]["in_queue"] == len(jobs)
        assert ledger.submit(make_spec(len(jobs)), WIDE)[1]


def test_an_error_of_the_caller_passes_through(path: Path):
    with opened(path) as (database, _):
        for error in (OSError("fetch failed"), TimeoutError("slow")):
            with pytest.raises(type(error), match=str(error)), database.write():
                raise error
        with pytest.raises(sa.exc.OperationalError, match="no such table"), database.read() as tx:
            tx.exec_driver_sql("SELECT * FROM absent")


def test_one_fsync_serves_all_commits_before_it(path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[Path] = []
    with opened(path) as (_, ledger):

        def slow(log: Path) -> None:
            calls.append(log)
            time.sleep(0.05)  # meanwhile the others commit

        monkeypatch.setattr(database_module, "_fsync", slow)
        threads = [
            threading.Thread(target=ledger.submit, args=(make_spec(number), WIDE))
            for number in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 1 <= len(calls) < 12
    assert {log.name for log in calls} == {"ledger.sqlite3-wal"}


# -- plans ----------------------------------------------------------------------------------------
PLANS = {
    "position": "lw_jobs_queue",
    "counts": "lw_jobs_running",
    "list_jobs": "lw_jobs_pages",
    "get": "sqlite_autoindex_lw_jobs",
    "list_stale": "lw_jobs_running",
    "list_expired": "lw_jobs_expiry",
    "release": "lw_jobs_parked",
    "claim_due": "lw_deliveries_due",
    "verify": "sqlite_autoindex_lw_keys",
}
SMALL = {"lw_backlog", "lw_tallies"}  # some hundred rows at most


@pytest.mark.parametrize("name", PLANS)
def test_no_call_scans_a_whole_table(path: Path, name: str):
    with opened(path) as (database, ledger):
        job, _ = ledger.submit(make_spec(0), WIDE)
        calls = {
            "position": lambda: ledger.position(job),
            "counts": ledger.counts,
            "list_jobs": lambda: ledger.list_jobs("k", limit=5, states=[State.FAILED]),
            "get": lambda: ledger.get(job.id),
            "list_stale": lambda: ledger.list_stale(15.0),
            "list_expired": ledger.list_expired,
            "release": lambda: ledger.cancel(job.id),
            "claim_due": lambda: SqlDeliveries(database).claim_due(5, 1.0),
            "verify": lambda: SqlApiKeys(database).verify("secret"),
        }
        plans = explained(database, calls[name])
        assert any(PLANS[name] in plan for plan in plans), plans
        scans = [plan for plan in plans if plan.startswith("SCAN lw_")]
        assert {plan.split()[1] for plan in scans if "INDEX" not in plan} <= SMALL


def explained(database: Database, call: object) -> list[str]:
    """Return the plans of all statements that a call executes."""
    plans: list[str] = []

    def explain(_connection, cursor, statement, parameters, _context, _many) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    engines = {database._reader, database._writer}
    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", explain)
    call()
    for engine in engines:
        sa.event.remove(engine, "before_cursor_execute", explain)
    return plans


# -- processes ------------------------------------------------------------------------------------
def claim_all(path: Path, go: multiprocessing.Barrier, results: multiprocessing.Queue) -> None:
    with opened(path, 60.0) as (_, ledger):
        go.wait(120)
        done = []
        for number in range(JOBS):
            job = ledger.claim(f"job{number:05d}", str(os.getpid()))
            if job is not None and job.epoch == 1:
                assert ledger.finish(job.id, 1, output={}, failure=None)
                done.append(job.id)
        results.put(("executed", done))


def cancel_all(
    path: Path, go: multiprocessing.Barrier, results: multiprocessing.Queue, step: int
) -> None:
    with opened(path, 60.0) as (_, ledger):
        go.wait(120)
        done = [
            f"job{number:05d}"
            for number in range(JOBS)[::step]
            if ledger.cancel(f"job{number:05d}")[1]
        ]
        results.put(("cancelled", done))


def test_a_thousand_jobs_cancelled_and_claimed_by_processes_have_one_winner_each(path: Path):
    spawn = multiprocessing.get_context("spawn")
    go, results = spawn.Barrier(3), spawn.Queue()
    with opened(path) as (_, ledger):
        submit_all(ledger, JOBS)
        processes = [
            spawn.Process(target=claim_all, args=(path, go, results)),
            spawn.Process(target=cancel_all, args=(path, go, results, 1)),
            spawn.Process(target=cancel_all, args=(path, go, results, -1)),
        ]
        for process in processes:
            process.start()
        ends: dict[str, list[str]] = {"executed": [], "cancelled": []}
        for _ in processes:
            kind, done = results.get(timeout=120)
            ends[kind] += done
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        jobs = ledger.list_jobs("k", limit=JOBS)
    assert sorted(ends["executed"] + ends["cancelled"]) == sorted(job.id for job in jobs)
    assert ends["executed"]
    assert ends["cancelled"]
    assert Counter(job.state for job in jobs) == {
        State.SUCCEEDED: len(ends["executed"]),
        State.CANCELLED: len(ends["cancelled"]),
    }


def submit_until_killed(path: Path, acknowledged: object) -> None:
    def enqueue(tx: sa.Connection, job: Job, _delay: float) -> None:
        tx.exec_driver_sql("INSERT INTO work VALUES (?)", (job.work_id,))

    database = open_database(f"sqlite:///{path}", wait_seconds=30.0)
    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE IF NOT EXISTS work (id TEXT UNIQUE)")
    ledger = SqlLedger(database, enqueue=enqueue, cancel_work=nothing)
    start = ledger.counts()["jobs"]["in_queue"]
    for number in range(start, start + 100_000):
        job, _ = ledger.submit(make_spec(number), WIDE)
        os.write(acknowledged.fileno(), f"{job.id}\n".encode())


def test_acknowledged_jobs_and_their_work_survive_kill_9(path: Path):
    spawn = multiprocessing.get_context("spawn")
    acknowledged: list[str] = []
    for wanted in (1, 40, 130):
        reader, writer = spawn.Pipe(duplex=False)
        process = spawn.Process(target=submit_until_killed, args=(path, writer))
        process.start()
        writer.close()
        text = b""
        while text.count(b"\n") < wanted:
            text += os.read(reader.fileno(), 4096)
        process.kill()
        process.join()
        while rest := os.read(reader.fileno(), 4096):
            text += rest
        acknowledged += text.decode().split()
        with opened(path) as (database, ledger):
            jobs = {job.id for job in ledger.list_jobs("k", limit=10**6)}
            with database.read() as tx:
                work = set(tx.exec_driver_sql("SELECT id FROM work").scalars())
        assert set(acknowledged) <= jobs
        assert len(jobs) <= len(acknowledged) + 3  # at most one was in flight at each kill
        assert work == {f"{job_id}:0" for job_id in jobs}


# -- opening --------------------------------------------------------------------------------------
def open_and_leave(path: Path, go: multiprocessing.Event) -> None:
    go.wait()
    with opened(path, 60.0) as (_, ledger):
        ledger.counts()


def test_processes_may_open_a_fresh_database_at_once(path: Path):
    spawn = multiprocessing.get_context("spawn")
    go = spawn.Event()
    processes = [spawn.Process(target=open_and_leave, args=(path, go)) for _ in range(4)]
    for process in processes:
        process.start()
    go.set()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4


def test_only_its_owner_can_read_the_database(path: Path):
    with opened(path) as (_, ledger):
        ledger.submit(make_spec(0), WIDE)
        for file in (path, *path.parent.iterdir()):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_data_is_kept_after_reopening(path: Path):
    with opened(path) as (database, ledger):
        job, _ = ledger.submit(make_spec(0), WIDE)
        key, secret = SqlApiKeys(database).create("ci")
    with opened(path) as (database, ledger):
        assert ledger.get(job.id) == job
        assert SqlApiKeys(database).verify(secret) == key


def test_secrets_are_not_in_the_database_files(path: Path):
    with opened(path) as (database, _):
        _, secret = SqlApiKeys(database).create("ci")
        SqlApiKeys(database).verify(secret)
        contents = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert b"ci" in contents
    assert secret.removeprefix("lw_").encode() not in contents


def test_a_database_of_a_newer_version_is_refused(path: Path):
    with opened(path) as (database, _), database.write() as tx:
        tx.execute(schema.schema_version.update().values(version=schema.VERSION + 1))
    with pytest.raises(QueueUnavailable, match="upgrade lipwright"):
        open_database(f"sqlite:///{path}")


def test_an_older_database_is_migrated_step_by_step(path: Path, monkeypatch: pytest.MonkeyPatch):
    with opened(path):
        pass

    def step(name: str):
        return lambda tx: tx.exec_driver_sql(f"CREATE TABLE {name} (x)")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step("one"), step("two")))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 2)
    with opened(path) as (database, _), database.read() as tx:
        assert tx.execute(sa.select(schema.schema_version.c.version)).scalar_one() == schema.VERSION
        assert sa.inspect(tx).has_table("one")
        assert sa.inspect(tx).has_table("two")
    with opened(path):
        pass


def test_a_failing_migration_is_rolled_back(path: Path, monkeypatch: pytest.MonkeyPatch):
    with opened(path):
        pass

    def fails(tx: sa.Connection) -> None:
        tx.exec_driver_sql("CREATE TABLE half (x)")
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (fails,))
        patch.setattr(schema, "VERSION", 2)
        with pytest.raises(RuntimeError, match="no"):
            open_database(f"sqlite:///{path}")
    with opened(path) as (database, _), database.read() as tx:
        assert tx.execute(sa.select(schema.schema_version.c.version)).scalar_one() == 1
        assert not sa.inspect(tx).has_table("half")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://host/db", "mysql is not supported"),
    ],
)
def test_unsupported_database_urls_are_refused(url: str, reason: str):
    with pytest.raises(InvalidOptions, match=reason):
        open_database(url)


def test_a_database_that_cannot_be_created_is_unavailable(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(QueueUnavailable, match="unavailable"):
        open_database(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite3'}")
    (tmp_path / "folder.sqlite3").mkdir()
    with pytest.raises(QueueUnavailable, match="unavailable"):
        open_database(f"sqlite:///{tmp_path / 'folder.sqlite3'}")


def test_the_database_clock_is_utc(path: Path):
    with opened(path) as (_, ledger):
        before = time.time()
        job, _ = ledger.submit(make_spec(0), WIDE)
        after = time.time()
    assert before - 0.002 <= job.created_at.timestamp() <= after + 0.002
    assert job.created_at.utcoffset().total_seconds() == 0
