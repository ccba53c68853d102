"""The sweeper deletes expired jobs and uploads, files first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lipwright.errors import JobNotFound, PublishFailed
from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.ledger.rules import LedgerPolicy
from lipwright.jobs.model import Job, JobSpec, SubmitLimits, Upload
from lipwright.jobs.sweeper import Sweeper, SweepResult, job_prefix, upload_blob_name, work_ids
from lipwright.storage.local import LocalStorage

DAY = 86_400
WIDE = SubmitLimits(max_queued=1000, submits_per_minute=100_000)


class SweeperHarness:
    """A sweeper with a ledger in memory and a storage on disk."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)
        self.memory = MemoryBackend(
            policy=LedgerPolicy(retention_seconds=7 * DAY), clock=lambda: self.now
        )
        self.storage = LocalStorage(folder / "storage")
        self.deleted_work: list[str] = []
        self.sweeper = Sweeper(
            ledger=self.memory.ledger,
            uploads=self.memory.uploads,
            storage=self.storage,
            delete_work=self.delete_work,
        )

    def delete_work(self, work_ids: Iterable[str]) -> None:
        self.deleted_work += work_ids

    def wait(self, days: float) -> None:
        self.now += timedelta(days=days)

    def upload(self, file_id: str) -> None:
        self.storage.put(upload_blob_name(file_id), [b"bytes"], content_type="video/mp4")
        self.memory.uploads.add(
            Upload(
                id=file_id,
                key_id="k",
                name="clip.mp4",
                size=5,
                sha256="",
                created_at=self.now,
                expires_at=self.now + timedelta(days=1),
            )
        )

    def submit(self, job_id: str, **payload: str) -> Job:
        spec = JobSpec(
            id=job_id,
            key_id="k",
            model_id="m",
            dialect="runcomfy",
            engine="passthrough",
            input={},
            payload=payload,
        )
        return self.memory.ledger.submit(spec, WIDE)[0]

    def ended(self, job_id: str) -> Job:
        self.submit(job_id)
        claimed = self.memory.ledger.claim(job_id, "w")
        assert claimed is not None
        for name in ("video.mp4", "image.jpg"):
            self.storage.put(job_prefix(job_id) + name, [b"dub"], content_type="video/mp4")
        self.memory.ledger.finish(job_id, claimed.epoch, output={}, failure=None)
        return claimed

    def files(self, job_id: str) -> int:
        names = ("video.mp4", "image.jpg")
        return sum(self.storage.stat(job_prefix(job_id) + name) is not None for name in names)


@pytest.fixture
def harness(tmp_path: Path) -> SweeperHarness:
    return SweeperHarness(tmp_path)


def test_expired_jobs_are_deleted_with_files_and_work(harness: SweeperHarness):
    old = harness.ended("old")
    harness.wait(6)
    harness.ended("young")
    harness.wait(1)
    assert harness.sweeper.sweep() == SweepResult(jobs=1)
    with pytest.raises(JobNotFound):
        harness.memory.ledger.get("old")
    assert harness.deleted_work == work_ids(old) == ["old:0", "old:1"]
    assert [harness.files(name) for name in ("old", "young")] == [0, 2]
    assert harness.memory.ledger.get("young").state.final
    assert harness.sweeper.sweep() == SweepResult()


def test_one_round_deletes_more_than_a_batch(harness: SweeperHarness):
    for number in range(250):
        harness.submit(f"job{number}")
        harness.memory.ledger.cancel(f"job{number}")
    harness.wait(7)
    assert harness.sweeper.sweep() == SweepResult(jobs=250)
    assert harness.memory.ledger.list_jobs("k", limit=999) == []


def test_leftover_files_of_an_erased_job_are_deleted(harness: SweeperHarness):
    harness.ended("erased")
    harness.memory.ledger.erase("erased")  # the caller dies before it deletes the files
    assert harness.files("erased") == 2
    assert harness.sweeper.sweep() == SweepResult(jobs=1)
    assert harness.files("erased") == 0
    assert harness.memory.ledger.list_expired() == []


def test_an_upload_stays_while_a_job_needs_it(harness: SweeperHarness):
    harness.upload("needed")
    harness.upload("idle")
    harness.submit("waiting", video="file:needed")
    harness.wait(2)
    assert harness.sweeper.sweep() == SweepResult(uploads=1)
    assert harness.storage.stat(upload_blob_name("idle")) is None
    assert harness.storage.stat(upload_blob_name("needed")) is not None
    harness.memory.ledger.cancel("waiting")
    assert harness.sweeper.sweep() == SweepResult(uploads=1)
    assert harness.storage.stat(upload_blob_name("needed")) is None


@pytest.mark.parametrize("broken", ["storage", "queue"])
def test_a_failed_deletion_is_retried_in_the_next_round(
    harness: SweeperHarness, broken: str, monkeypatch: pytest.MonkeyPatch
):
    harness.ended("old")
    harness.wait(7)

    def fails(*_arguments: object) -> None:
        raise PublishFailed("the disk is unavailable")

    with monkeypatch.context() as patch:
        if broken == "storage":
            patch.setattr(harness.storage, "delete", fails)
        else:
            patch.setattr(harness.sweeper, "_delete_work", fails)
        with pytest.raises(PublishFailed):
            harness.sweeper.sweep()
    assert [job.id for job in harness.memory.ledger.list_expired()] == ["old"]
    assert harness.sweeper.sweep() == SweepResult(jobs=1)


@pytest.mark.parametrize("error", [PublishFailed("disk unavailable"), RuntimeError("a defect")])
def test_the_sweeper_survives_errors_until_stopped(
    harness: SweeperHarness,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    rounds, stop = [], threading.Event()

    def sweep() -> SweepResult:
        rounds.append(1)
        if len(rounds) == 3:
            stop.set()
            return SweepResult()
        raise error

    monkeypatch.setattr(harness.sweeper, "sweep", sweep)
    with caplog.at_level(logging.WARNING):
        harness.sweeper.run(stop, 0.001)
    assert len(rounds) == 3
    assert caplog.text.count(str(error)) >= 2
