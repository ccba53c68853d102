"""The API in this process, with its ledger in memory or in SQLite, and an HTTP client for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from lipwright.jobs.ledger.database import open_database
from lipwright.jobs.ledger.deliveries import SqlDeliveries
from lipwright.jobs.ledger.keys import SqlApiKeys
from lipwright.jobs.ledger.memory import MemoryBackend
from lipwright.jobs.ledger.sql import SqlLedger
from lipwright.jobs.ledger.uploads import SqlUploads
from lipwright.jobs.model import ApiKey, Failure, Job, JobProgress
from lipwright.jobs.services import Services
from lipwright.server.app import create_app
from lipwright.settings import Settings
from lipwright.storage.local import LocalStorage
from lipwright.storage.signed_urls import Signer

BASE = "http://testserver"
CONTRACT = "/v1/models/sync/sync/lipsync/v2/pro"
BODY = {
    "video_url": "https://media.example.org/talk.mp4",
    "audio_url": "https://media.example.org/speech.mp3",
}
V2_BODY = {
    "model": "lipsync-2",
    "input": [
        {"type": "video", "url": "https://media.example.org/talk.mp4"},
        {"type": "audio", "url": "https://media.example.org/speech.mp3"},
    ],
}


def sqlite_services(settings: Settings) -> Services:
    database = open_database(settings.database)
    return Services(
        settings=settings,
        ledger=SqlLedger(database, enqueue=lambda *_: None, cancel_work=lambda _: None),
        keys=SqlApiKeys(database),
        uploads=SqlUploads(database),
        deliveries=SqlDeliveries(database),
        storage=LocalStorage(settings.data_dir / "files"),
        signer=Signer(b"0" * 32),
        close=database.close,
    )


def memory_services(settings: Settings) -> Services:
    memory = MemoryBackend()
    return Services(
        settings=settings,
        ledger=memory.ledger,
        keys=memory.keys,
        uploads=memory.uploads,
        deliveries=memory.deliveries,
        storage=LocalStorage(settings.data_dir / "files"),
        signer=Signer(b"0" * 32),
    )


OPENERS = {"memory": memory_services, "sqlite": sqlite_services}


@dataclass(frozen=True, kw_only=True)
class Api:
    """The API and a client with its own API key."""

    app: FastAPI
    services: Services
    key: ApiKey
    secret: str
    portal: BlockingPortal
    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, url: str, **given: Any) -> httpx.Response:
        """Send a request with the API key, unless *headers* has another one."""
        given.setdefault("headers", {})
        given["headers"] = {"Authorization": f"Bearer {self.secret}", **given["headers"]}
        return self.plain(method, url, **given)

    def plain(self, method: str, url: str, **given: Any) -> httpx.Response:
        """Send a request without an API key."""
        return self.portal.call(partial(self.client.request, method, url, **given))

    def submit(self, **changes: Any) -> str:
        """Submit a plain job and return its id."""
        answer = self("POST", CONTRACT, json={**BODY, **changes})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["request_id"])

    def run(self, job_id: str, *, progress: JobProgress | None = None) -> Job:
        """Claim the job as a worker would; record its progress."""
        job = self.services.ledger.claim(job_id, "tester")
        assert job is not None
        if progress is not None:
            assert self.services.ledger.heartbeat(job_id, job.epoch, progress)
        return job

    def succeed(self, job_id: str, video: bytes = b"not really mp4", **facts: Any) -> Job:
        """Run and finish the job as a worker would."""
        job = self.run(job_id)
        put = self.services.storage.put
        name = put(f"jobs/{job_id}/video.mp4", [video], content_type="video/mp4").name
        image = put(f"jobs/{job_id}/image.jpg", [b"jpeg"], content_type="image/jpeg").name
        output = {"video": name, "image": image, "frames": 50, "seconds": 2.0, **facts}
        assert self.services.ledger.finish(job_id, job.epoch, output=output, failure=None)
        return self.services.ledger.get(job_id)

    def fail(self, job_id: str, code: str, message: str) -> Job:
        """Run the job and fail it as a worker would."""
        job = self.run(job_id)
        failure = Failure(code=code, message=message)
        assert self.services.ledger.finish(job_id, job.epoch, output=None, failure=failure)
        return self.services.ledger.get(job_id)

    def another_key(self, name: str = "other", **numbers: Any) -> dict[str, str]:
        """Return headers with a new API key."""
        _, secret = self.services.keys.create(name, **numbers)
        return {"Authorization": f"Bearer {secret}"}


@contextmanager
def open_api(kind: str, folder: Path, **settings: Any) -> Iterator[Api]:
    """Yield the API with a ledger of that kind."""
    configured = Settings(data_dir=folder, **settings)
    services = OPENERS[kind](configured)
    key, secret = services.keys.create("tester")
    app = create_app(configured, services=services)
    with start_blocking_portal() as portal:
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1234))
        client = httpx.AsyncClient(transport=transport, base_url=BASE)
        try:
            yield Api(
                app=app, services=services, key=key, secret=secret, portal=portal, client=client
            )
        finally:
            portal.call(client.aclose)
            services.close()
