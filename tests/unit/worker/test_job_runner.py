"""The job runner on a ledger in memory: success, failures, retries and aborts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lipwright.errors import (
    Cancelled,
    EncodeFailed,
    MediaUnreadable,
    PublishFailed,
    QueueUnavailable,
    SourceUnreachable,
    WorkerDied,
)
from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.model import Failure, Job, JobSpec, State, SubmitLimits, Upload
from lipwright.options import SpeakerPick, SyncMode, SyncOptions
from lipwright.progress import CancelToken, OnProgress, Progress
from lipwright.storage.local import LocalStorage
from lipwright.worker.job_runner import JobPolicy, JobRunner, replace_paths
from lipwright.worker.render_task import RenderTask

pytestmark = pytest.mark.model  # slow

WIDE = SubmitLimits(max_queued=100, submits_per_minute=10_000)
FACTS = {"frames": 8, "seconds": 0.32, "timings": {"track": 0.1}}
DEADLINE = 20.0  # seconds until a test that waits has failed


@dataclass
class FakeRenderer:
    """Renders by writing two small files, after running the test's `act`."""

    act: Callable[[RenderTask, CancelToken], None] = lambda task, cancel: None
    warn: Callable[[RenderTask], list[str]] = lambda task: []
    tasks: list[RenderTask] = field(default_factory=list)
    killed: threading.Event = field(default_factory=threading.Event)
    warmed: int = 0

    def warm_up(self) -> None:
        self.warmed += 1

    def kill(self) -> None:
        self.killed.set()

    def render(
        self, task: RenderTask, *, on_progress: OnProgress | None, cancel: CancelToken | None
    ) -> dict[str, Any]:
        assert on_progress is not None
        assert cancel is not None
        self.tasks.append(task)
        on_progress(Progress(stage="paint", done=4, total=8, fraction=0.5))
        self.act(task, cancel)
        Path(task.output).write_bytes(b"the dub")
        Path(task.poster).write_bytes(b"the poster")
        return {**FACTS, "engine": task.engine, "warnings": self.warn(task)}


@dataclass
class RunnerHarness:
    """A job runner with its ledger and storage."""

    folder: Path
    policy: JobPolicy = field(default_factory=lambda: JobPolicy(heartbeat_seconds=0.01))
    renderer: FakeRenderer = field(default_factory=FakeRenderer)
    memory: MemoryBackend = field(default_factory=MemoryBackend)

    def __post_init__(self) -> None:
        self.storage = LocalStorage(self.folder / "storage")
        self.ledger = self.memory.ledger
        self.runner = self.make_runner()

    def make_runner(self, **parts: Any) -> JobRunner:
        return JobRunner(
            **{
                "name": "w1",
                "ledger": self.ledger,
                "uploads": self.memory.uploads,
                "storage": self.storage,
                "renderer": self.renderer,
                "fetch": self.fetch,
                "policy": self.policy,
                "workspace": self.folder / "work",
                **parts,
            }
        )

    def fetch(self, url: str, folder: Path, cancel: CancelToken) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}-fetched"
        path.write_text(url)
        return path

    def submit(self, **payload: Any) -> Job:
        values = {"video": "https://x.example/v", "audio": "https://x.example/a", **payload}
        spec = JobSpec(
            id=f"job{len(self.memory.work)}",
            key_id="k1",
            model_id="lipwright/passthrough",
            dialect="runcomfy",
            engine="passthrough",
            input={},
            payload=values,
        )
        return self.ledger.submit(spec, WIDE)[0]

    def done(self, **payload: Any) -> Job:
        job = self.submit(**payload)
        self.runner.run_job(job.id)
        return self.ledger.get(job.id)

    def failing(self, error: Exception) -> Job:
        def act(task: RenderTask, cancel: CancelToken) -> None:
            raise error

        self.renderer.act = act
        return self.done()


@pytest.fixture
def harness(tmp_path: Path) -> RunnerHarness:
    return RunnerHarness(tmp_path)


def stored(harness: RunnerHarness, name: str) -> bytes | None:
    return b"".join(harness.storage.read(name)) if harness.storage.stat(name) else None


def leftovers(harness: RunnerHarness) -> list[Path]:
    workspace = harness.folder / "work"
    return list(workspace.iterdir()) if workspace.exists() else []


# ----------------------------------------------------------------------------------------- success
def test_a_job_is_fetched_rendered_published_and_finished(harness):
    job = harness.done(mode="loop", speaker=[10, 20], crf=18.0, seed=3)
    assert job.state is State.SUCCEEDED
    assert job.output["video"] == f"jobs/{job.id}/video.mp4"
    assert job.output["image"] == f"jobs/{job.id}/image.jpg"
    assert (job.output["frames"], job.output["seconds"]) == (8, 0.32)
    assert set(job.output["timings"]) == {"fetch", "track", "publish"}
    assert stored(harness, job.output["video"]) == b"the dub"
    assert stored(harness, job.output["image"]) == b"the poster"
    assert leftovers(harness) == []


def test_the_task_has_the_job_options_and_the_deployment_limits(tmp_path):
    harness = RunnerHarness(tmp_path, policy=JobPolicy(max_pixels=1000, max_seconds=5.0))
    harness.done(mode="loop", speaker=[10, 20], allow_no_face=True, intensity=0.7, crf=None)
    (task,) = harness.renderer.tasks
    assert task.engine == "passthrough"
    assert task.options == SyncOptions(
        mode=SyncMode.LOOP,
        speaker=SpeakerPick(x=10, y=20),
        allow_no_face=True,
        intensity=0.7,
        max_pixels=1000,
        max_seconds=5.0,
    )


def test_an_unknown_option_is_refused(harness):
    job = harness.done(sparkle=True)
    assert job.failure is not None
    assert job.failure.code == "invalid_options"
    assert "sparkle" in job.failure.message
    assert harness.renderer.tasks == []


def uploaded(harness: RunnerHarness) -> str:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    harness.memory.uploads.add(
        Upload(
            id="f1",
            key_id="k1",
            name="talk.mp4",
            size=3,
            sha256="",
            created_at=start,
            expires_at=start + timedelta(days=1),
        )
    )
    harness.storage.put("uploads/f1", [b"abc"], content_type="video/mp4")
    return "file:f1"


def test_an_upload_is_read_from_storage(harness):
    assert harness.done(video=uploaded(harness)).state is State.SUCCEEDED
    (task,) = harness.renderer.tasks
    assert Path(task.video).read_bytes() == b"abc"


def test_a_missing_upload_file_fails_the_job(harness):
    job = harness.submit(video=uploaded(harness))
    harness.storage.delete("uploads/f1")
    harness.runner.run_job(job.id)
    failure = harness.ledger.get(job.id).failure
    assert failure is not None
    assert failure.code == "source_unreachable"
    assert "upload it again" in failure.message


def test_heartbeats_report_stage_and_fraction(harness):
    seen: list[tuple[str, float]] = []

    def act(task: RenderTask, cancel: CancelToken) -> None:
        wait_for(lambda: harness.ledger.get("job0").progress.fraction > 0)
        stage = harness.ledger.get("job0").progress
        seen.append((stage.stage, stage.fraction))

    harness.renderer.act = act
    assert harness.done().state is State.SUCCEEDED
    assert seen == [("paint", 0.5)]


# ----------------------------------------------------------------------------- failures, retries
def test_an_input_error_fails_without_retry(harness):
    job = harness.failing(MediaUnreadable("no pictures"))
    assert job.state is State.FAILED
    assert job.failure == Failure(code="media_unreadable", message="no pictures")
    assert job.attempts == 1
    assert leftovers(harness) == []


def test_a_failed_encoding_fails_the_job_and_leaves_nothing(harness):
    job = harness.failing(EncodeFailed("dub.mp4 could not be written: no space left"))
    assert job.failure is not None
    assert job.failure.code == "encode_failed"
    assert "dub.mp4" not in job.failure.message
    assert harness.storage.stat(f"jobs/{job.id}/video.mp4") is None
    assert leftovers(harness) == []


@pytest.mark.parametrize("error", [WorkerDied("killed"), PublishFailed("storage unavailable")])
def test_retryable_errors_are_retried_with_doubling_delays(tmp_path, error):
    harness = RunnerHarness(tmp_path, policy=JobPolicy(max_attempts=3, retry_seconds=10.0))
    job = harness.failing(error)
    for _ in range(3):
        assert job.state is State.IN_QUEUE
        harness.runner.run_job(job.id)
        job = harness.ledger.get(job.id)
    delays = [delay for _, delay in harness.memory.work]
    assert delays == [0.0, 10.0, 20.0, 40.0]
    assert job.state is State.FAILED
    assert job.failure == Failure(code=error.code, message=str(error))
    assert len(harness.renderer.tasks) == 4


def test_a_successful_retry_succeeds(harness):
    job = harness.failing(WorkerDied("killed"))
    harness.renderer.act = lambda task, cancel: None
    harness.runner.run_job(job.id)
    ended = harness.ledger.get(job.id)
    assert (ended.state, ended.attempts, ended.failure) == (State.SUCCEEDED, 2, None)


def test_a_job_that_killed_its_worker_too_often_fails_before_another_attempt(tmp_path):
    harness = RunnerHarness(tmp_path, policy=JobPolicy(max_attempts=1))
    job = harness.submit()
    for _ in range(2):
        assert harness.ledger.claim(job.id, "a worker that then died")
    harness.runner.run_job(job.id)
    ended = harness.ledger.get(job.id)
    assert ended.failure is not None
    assert ended.failure.code == "worker_died"
    assert "2 times" in ended.failure.message
    assert harness.renderer.tasks == []


def test_an_unexpected_error_fails_the_job_and_its_traceback_is_logged(harness, caplog):
    job = harness.failing(ZeroDivisionError("in /home/secret/path"))
    assert job.failure == Failure(
        code="error", message="unexpected ZeroDivisionError; see the log of the service"
    )
    assert "in /home/secret/path" in caplog.text
    assert "Traceback" in caplog.text


def test_error_messages_contain_no_server_paths(harness):
    def act(task: RenderTask, cancel: CancelToken) -> None:
        raise MediaUnreadable(f"{task.video} is damaged, {Path(task.audio).name} is not")

    harness.renderer.act = act
    job = harness.done()
    assert job.failure is not None
    assert job.failure.message == "the video is damaged, the audio is not"


def test_warnings_contain_no_server_paths(harness):
    harness.renderer.warn = lambda task: [
        f"no speech was heard in {Path(task.audio).name}",
        f"{task.video} has 2 video tracks",
    ]
    expected = ["no speech was heard in the audio", "the video has 2 video tracks"]
    assert harness.done().output["warnings"] == expected


def test_a_path_that_is_a_prefix_of_another_is_replaced_correctly():
    message = replace_paths(
        "/w/clip and /w/clip2", {"/w/clip": "the video", "/w/clip2": "the audio"}
    )
    assert message == "the video and the audio"


# ----------------------------------------------------------------------------------------- aborts
def test_a_job_over_its_timeout_is_killed_and_fails(tmp_path):
    harness = RunnerHarness(
        tmp_path, policy=JobPolicy(timeout_seconds=0.05, heartbeat_seconds=0.01)
    )
    harness.renderer.act = until_killed(harness)
    job = harness.done()
    assert job.failure is not None
    assert job.failure.code == "job_timed_out"
    assert "0.05 seconds" in job.failure.message


def test_a_download_over_the_timeout_is_cancelled(tmp_path):
    harness = RunnerHarness(
        tmp_path, policy=JobPolicy(timeout_seconds=0.05, heartbeat_seconds=0.01)
    )

    def fetch(url: str, folder: Path, cancel: CancelToken) -> Path:
        wait_for(lambda: cancel.cancelled)
        raise Cancelled

    job = harness.submit()
    harness.make_runner(fetch=fetch).run_job(job.id)
    failure = harness.ledger.get(job.id).failure
    assert failure is not None
    assert failure.code == "job_timed_out"


def test_a_stopped_worker_gives_its_job_back_and_the_attempt_does_not_count(harness):
    job = harness.submit()

    def act(task: RenderTask, cancel: CancelToken) -> None:
        threading.Thread(target=harness.runner.stop).start()
        until_killed(harness)(task, cancel)

    harness.renderer.act = act
    harness.runner.run_job(job.id)
    requeued = harness.ledger.get(job.id)
    assert (requeued.state, requeued.attempts, requeued.epoch) == (State.IN_QUEUE, 0, 1)
    assert harness.memory.work[-1] == (requeued.work_id, 0.0)
    assert stored(harness, f"jobs/{job.id}/video.mp4") is None


def test_a_worker_that_lost_its_claim_publishes_and_finishes_nothing(harness):
    job = harness.submit()

    def act(task: RenderTask, cancel: CancelToken) -> None:
        assert harness.ledger.claim(job.id, "w2")

    harness.renderer.act = act
    harness.runner.run_job(job.id)
    now = harness.ledger.get(job.id)
    assert (now.state, now.worker, now.epoch) == (State.IN_PROGRESS, "w2", 2)
    assert harness.storage.stat(f"jobs/{job.id}/video.mp4") is None


def test_a_refused_heartbeat_aborts_the_rendering(harness):
    job = harness.submit()

    def act(task: RenderTask, cancel: CancelToken) -> None:
        assert harness.ledger.claim(job.id, "w2")
        until_killed(harness)(task, cancel)

    harness.renderer.act = act
    harness.runner.run_job(job.id)
    assert harness.ledger.get(job.id).worker == "w2"


def test_the_result_of_an_erased_job_is_deleted(harness):
    """The job ended elsewhere and was erased between the claim check and the end."""
    job = harness.submit()

    class Slow(LocalStorage):
        def put(self, name: str, *arguments: Any, **options: Any) -> Any:
            blob = super().put(name, *arguments, **options)
            if name.endswith("video.mp4"):
                claimed = harness.ledger.claim(job.id, "w2")
                assert claimed
                failure = Failure(code="error", message="")
                harness.ledger.finish(job.id, claimed.epoch, output=None, failure=failure)
                harness.ledger.erase(job.id)
            return blob

    storage = Slow(harness.folder / "storage")
    harness.make_runner(storage=storage).run_job(job.id)
    assert storage.stat(f"jobs/{job.id}/video.mp4") is None


@pytest.mark.parametrize("end", ["cancel", "finish", "nothing"])
def test_a_job_that_cannot_be_claimed_is_not_run(harness, end):
    job = harness.submit()
    if end == "cancel":
        harness.ledger.cancel(job.id)
    elif end == "finish":
        harness.runner.run_job(job.id)
        harness.renderer.tasks.clear()
    harness.runner.run_job("nothing" if end == "nothing" else job.id)
    assert harness.renderer.tasks == []


# ------------------------------------------------------------------------- an unavailable ledger
class UnavailableLedger:
    """A ledger whose method is unavailable a number of times."""

    def __init__(self, ledger: Any, method: str, times: int) -> None:
        self._ledger, self._method, self._left = ledger, method, times

    def __getattr__(self, name: str) -> Any:
        if name == self._method and self._left:
            self._left -= 1
            return self._raise
        return getattr(self._ledger, name)

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise QueueUnavailable("locked")


@pytest.mark.parametrize("method", ["claim", "heartbeat", "finish"])
def test_an_unavailable_ledger_costs_no_attempt(harness, method):
    job = harness.submit()
    harness.make_runner(ledger=UnavailableLedger(harness.ledger, method, 2)).run_job(job.id)
    ended = harness.ledger.get(job.id)
    assert (ended.state, ended.attempts) == (State.SUCCEEDED, 1)
    assert len(harness.renderer.tasks) == 1


def test_a_stopping_worker_does_not_wait_for_the_ledger(harness):
    job = harness.submit()
    worker = harness.make_runner(ledger=UnavailableLedger(harness.ledger, "claim", 1_000_000))
    worker.stop()
    with pytest.raises(QueueUnavailable):
        worker.run_job(job.id)
    assert worker.wait_idle(0)


def test_a_failed_download_fails_the_job(harness):
    def fetch(url: str, folder: Path, cancel: CancelToken) -> Path:
        raise SourceUnreachable(f"{url} is gone")

    job = harness.submit()
    harness.make_runner(fetch=fetch).run_job(job.id)
    failure = harness.ledger.get(job.id).failure
    assert failure == Failure(code="source_unreachable", message="https://x.example/v is gone")


# -------------------------------------------------------------------------------------- helpers
def until_killed(harness: RunnerHarness) -> Callable[[RenderTask, CancelToken], None]:
    """Render until the child is killed, then fail as the renderer does."""

    def act(task: RenderTask, cancel: CancelToken) -> None:
        assert harness.renderer.killed.wait(DEADLINE)
        assert cancel.cancelled, "the token is set before the child is killed"
        raise WorkerDied("the render process was killed by signal 9")

    return act


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
