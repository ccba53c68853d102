"""The shared state of one running API, and the links in its responses."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Request

from lipwright.jobs.services import Services
from lipwright.net.fetch import FetchRules
from lipwright.server.http.memory_limiter import MemoryLimiter
from lipwright.server.metrics import Metrics
from lipwright.server.models import Catalogue
from lipwright.settings import Settings
from lipwright.storage.signed_urls import Signer

HOST_HEADER = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")

#: Returns whether each worker is alive, by name; empty: no workers are known.
WorkerLiveness = Callable[[], Mapping[str, bool]]


class LastSuccess:
    """The time of the last success of something."""

    def __init__(self) -> None:
        self._at = -math.inf

    def record(self) -> None:
        """Record a success now."""
        self._at = time.monotonic()

    def within(self, seconds: float) -> bool:
        """Whether the last success is less than *seconds* ago."""
        return time.monotonic() - self._at < seconds


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What the routes of one running API share."""

    settings: Settings
    services: Services
    catalogue: Catalogue
    metrics: Metrics
    fetch_rules: FetchRules  #: which URLs may be fetched
    incoming: Path  #: folder of unfinished uploads
    workers: WorkerLiveness | None = None  #: None: this process does not supervise workers
    estimate_slots: threading.Semaphore  #: limits concurrent estimates
    body_memory: MemoryLimiter  #: limits the memory of all large JSON bodies together
    open_streams: Counter[str] = field(default_factory=Counter)  #: by key id; event loop only
    incoming_bytes: Counter[str] = field(default_factory=Counter)  #: by key id; event loop only
    storage_probe: LastSuccess = field(default_factory=LastSuccess)
    closing: threading.Event = field(default_factory=threading.Event)  #: set: end open streams


def get_deployment(request: Request) -> Deployment:
    """Return the deployment that serves *request*."""
    deployment = request.app.state.deployment
    assert isinstance(deployment, Deployment)
    return deployment


@dataclass(frozen=True, kw_only=True)
class Links:
    """Builds the absolute URLs in responses."""

    base: str  #: scheme, host and path prefix, without a trailing slash
    signer: Signer
    seconds: float  #: lifetime of a link to a result
    now: float  #: seconds since 1970

    def request_url(self, request_id: str, call: str) -> str:
        """Return the URL of a call about a request: ``status``, ``result`` or ``cancel``."""
        return f"{self.base}/v1/requests/{request_id}/{call}"

    def output_url(self, name: str) -> str:
        """Return a signed, expiring URL of a stored result, such as ``jobs/<id>/video.mp4``."""
        query = self.signer.sign(name, int(self.now + self.seconds))
        return f"{self.base}/v1/outputs/{quote(name.removeprefix('jobs/'))}?{query}"

    def upload_url(self, file_id: str) -> str:
        """Return the URL of an uploaded file."""
        return f"{self.base}/v1/files/{file_id}"


def build_links(request: Request) -> Links:
    """Return links that the caller of *request* can reach."""
    deployment = get_deployment(request)
    return Links(
        base=deployment.settings.public_url or _requested_base(request, deployment.settings),
        signer=deployment.services.signer,
        seconds=deployment.settings.url_seconds,
        now=time.time(),
    )


def _requested_base(request: Request, settings: Settings) -> str:
    """Return the base URL that the caller used; a malformed ``Host`` is ignored."""
    host = request.headers.get("host", "")
    if not HOST_HEADER.fullmatch(host):
        host = f"{settings.host}:{settings.port}"
    return f"{request.url.scheme}://{host}{request.scope.get('root_path', '')}"


# Async and without dependencies of their own: FastAPI would run a plain function in a thread, and
# the switch costs more than the work.
async def _get_deployment(request: Request) -> Deployment:
    return get_deployment(request)


async def _get_links(request: Request) -> Links:
    return build_links(request)


DeploymentDep = Annotated[Deployment, Depends(_get_deployment)]
LinksDep = Annotated[Links, Depends(_get_links)]
