"""A service with real workers, with access to its ledger and files from outside."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import live_service
from lipwright.jobs.model import Job, JobSpec, State, SubmitLimits, Upload
from lipwright.jobs.services import Services, open_services
from lipwright.media.probe import probe
from lipwright.settings import Settings
from lipwright.storage.local import PARTIAL_FOLDER
from processes import MARK, Process, living, wait_for

WIDE = SubmitLimits(max_queued=10_000, submits_per_minute=100_000)
#: Short delays until a failure is detected and retried.
QUICK = {
    "LIPWRIGHT_HEARTBEAT_SECONDS": "0.2",
    "LIPWRIGHT_LEASE_SECONDS": "3",
    "LIPWRIGHT_RETRY_SECONDS": "0.2",
}


@dataclass
class ServiceHarness:
    """One data folder with clips, and the services that run on it one after the other."""

    data_dir: Path
    plugins: Path
    services: Services
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def serving(self, *, slots: int = 1, **settings: Any) -> Iterator[live_service.LiveService]:
        """Run a service until the block ends."""
        given = {f"LIPWRIGHT_{name.upper()}": str(value) for name, value in settings.items()}
        environment = {**QUICK, **given, MARK: self.mark, "PYTHONPATH": str(self.plugins)}
        with live_service.live_service(
            self.data_dir, "--slots", str(slots), settings=environment
        ) as live:
            yield live

    def submit(self, engine: str = "passthrough", *, key: str = "k1", priority: int = 10) -> str:
        """Put a job into the queue and return its id."""
        spec = JobSpec(
            id=f"job-{next(self._ids)}",
            key_id=key,
            model_id=f"lipwright/{engine}",
            dialect="runcomfy",
            engine=engine,
            input={},
            payload={"video": f"file:{key}-video", "audio": f"file:{key}-audio", "mode": "cut_off"},
            priority=priority,
        )
        return self.services.ledger.submit(spec, WIDE)[0].id

    def job(self, job_id: str) -> Job:
        return self.services.ledger.get(job_id)

    def wait(self, job_id: str, *states: State) -> Job:
        """Wait until a job is in one of these states, or has ended."""
        wanted = set(states) or {s for s in State if s.final}
        wait_for(lambda: self.job(job_id).state in wanted)
        return self.job(job_id)

    def wait_study(self, job_id: str) -> None:
        """Wait until the engine of a job is running."""
        wait_for(lambda: self.job(job_id).progress.stage == "study")

    def busy(self) -> bool:
        """Return whether a job is running."""
        return bool(self.services.ledger.counts()["jobs"].get("in_progress"))

    def processes(self, role: str = "") -> list[Process]:
        return [p for p in living(self.mark) if role in ("", p.role)]

    def files(self) -> dict[str, int]:
        """Return the size of every file in storage but the uploads, by name."""
        root = self.data_dir / "storage"
        paths = (path for path in root.rglob("*") if path.is_file())
        names = {path.relative_to(root): path.stat().st_size for path in paths}
        return {str(name): size for name, size in names.items() if name.parts[0] != "uploads"}

    def check_tidy(self) -> None:
        """Check that storage has no partial files and the slots have no files at all."""
        assert not list((self.data_dir / "storage" / PARTIAL_FOLDER).iterdir())
        assert not [path for path in (self.data_dir / "work").glob("*/*")]

    def check_output(self, job_id: str) -> None:
        """Check that a succeeded job has its two files, complete, and no others."""
        job = self.job(job_id)
        assert job.state is State.SUCCEEDED, job
        video, image = job.output["video"], job.output["image"]
        stored = {str(Path(name).parent) for name in self.files() if f"/{job_id}/" in name}
        assert stored == {video, image}
        path = self.services.storage.local_path(video, self.data_dir)
        stream = probe(path).video
        assert stream is not None
        assert stream.frames == job.output["frames"]


@contextmanager
def open_service_harness(
    folder: Path, clip: Path, speech: Path, plugins: Path
) -> Iterator[ServiceHarness]:
    """Open the services of a fresh data folder, with the clips uploaded for two keys."""
    with closing(open_services(Settings(data_dir=folder / "data"))) as services:
        for key in ("k1", "k2"):
            _upload(services, f"{key}-video", key, clip)
            _upload(services, f"{key}-audio", key, speech)
        yield ServiceHarness(data_dir=folder / "data", plugins=plugins, services=services)


def _upload(services: Services, file_id: str, key: str, path: Path) -> None:
    services.storage.put(f"uploads/{file_id}", [path.read_bytes()], content_type="video/mp4")
    now = datetime.now(UTC)
    services.uploads.add(
        Upload(
            id=file_id,
            key_id=key,
            name=path.name,
            size=path.stat().st_size,
            sha256="",
            created_at=now,
            expires_at=now + timedelta(days=1),
        )
    )


def started_in_order(jobs: Mapping[str, Job]) -> list[str]:
    """Return the names of jobs in the order they were started."""
    return sorted(jobs, key=lambda name: jobs[name].started_at or datetime.max.replace(tzinfo=UTC))
