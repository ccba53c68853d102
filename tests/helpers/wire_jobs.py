"""Jobs in every state, and the links and models of their responses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from lipwright.engines.base import EngineSpec
from lipwright.engines.passthrough import Passthrough
from lipwright.jobs.model import Failure, Job, JobProgress, JobSpec, State
from lipwright.server.deployment import Links
from lipwright.server.models import Catalogue
from lipwright.storage.signed_urls import Signer

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINKS = Links(base="https://dub.example", signer=Signer(b"s" * 32), seconds=60.0, now=1000.0)
V, A = "https://a.example/v.mp4", "https://a.example/a.mp3"
BODY = {"video_url": V, "audio_url": A}
V2 = {"model": "lipsync-2", "input": [{"type": "video", "url": V}, {"type": "audio", "url": A}]}


def spec(name: str) -> EngineSpec:
    return EngineSpec(
        name=name, summary=f"the {name}", licence="MIT", load=lambda device, store: Passthrough()
    )


CATALOGUE = Catalogue.from_engines([spec("exemplar"), spec("passthrough")])
CONTRACT = CATALOGUE.find("sync/sync/lipsync/v2/pro")
SPEC = JobSpec(
    id="id-1",
    key_id="key",
    model_id=CONTRACT.id,
    dialect="runcomfy",
    engine="exemplar",
    input={**BODY, "sync_mode": "cut_off"},
    payload={},
)
QUEUED = Job(spec=SPEC, sequence=7, state=State.IN_QUEUE, epoch=0, created_at=NOON)
RUNNING = replace(
    QUEUED, state=State.IN_PROGRESS, progress=JobProgress(stage="paint", done=5, fraction=0.5)
)
DONE = replace(
    QUEUED,
    state=State.SUCCEEDED,
    finished_at=NOON,
    output={"video": "jobs/id-1/video.mp4", "image": "jobs/id-1/image.jpg", "seconds": 2.5},
)
FAILED = replace(QUEUED, state=State.FAILED, failure=Failure(code="no_face_found", message="none"))
CANCELLED = replace(QUEUED, state=State.CANCELLED)
ALL = [QUEUED, RUNNING, DONE, FAILED, CANCELLED]
