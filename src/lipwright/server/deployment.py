"""What every call of the API works with."""

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
from lipwright.server.http.memory_limiter import Budget
from lipwright.server.metrics import Metrics
from lipwright.server.models import Catalogue
from lipwright.settings import Settings
from lipwright.storage.publish import Signer

HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")

#: Says which workers live, by name; an empty answer means that none is known.
WorkersAlive = Callable[[], Mapping[str, bool]]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The parts of one running API."""

    settings: Settings
    services: Services
    catalogue: Catalogue
    metrics: Metrics
    rules: FetchRules  #: what may be fetched
    incoming: Path  #: folder for uploads that are not whole yet
    workers: WorkersAlive | None = None  #: None: this process does not watch workers
    estimates: threading.Semaphore  #: one for each that may be made at once
    bodies: Budget  #: what long JSON bodies may take in memory, all together
    streams: Counter[str] = field(default_factory=Counter)  #: open ones by key; event loop only
    arriving: Counter[str] = field(default_factory=Counter)  #: bytes by key; event loop only
    storage_worked: LastTime = field(default_factory=lambda: LastTime())
    closing: threading.Event = field(default_factory=threading.Event)  #: set: end open streams


def deployment_of(request: Request) -> Deployment:
    """Return the parts of the API that got *request*."""
    found = request.app.state.deployment
    assert isinstance(found, Deployment)
    return found


class LastTime:
    """Remembers when something was last seen to be so."""

    def __init__(self) -> None:
        self._at = -math.inf

    def note(self) -> None:
        """Note that it is so now."""
        self._at = time.monotonic()

    def within(self, seconds: float) -> bool:
        """Whether that was not longer ago."""
        return time.monotonic() - self._at < seconds


@dataclass(frozen=True, kw_only=True)
class Links:
    """The absolute URLs in answers."""

    base: str  #: scheme, host and path prefix, without a slash at the end
    signer: Signer
    seconds: float  #: how long a link to a result works
    now: float  #: seconds since 1970

    def of_request(self, request_id: str, call: str) -> str:
        """Return the URL of a call about a request: ``status``, ``result`` or ``cancel``."""
        return f"{self.base}/v1/requests/{request_id}/{call}"

    def of_output(self, name: str) -> str:
        """Return a signed, expiring URL of a stored result, such as ``jobs/<id>/video.mp4``."""
        query = self.signer.sign(name, int(self.now + self.seconds))
        return f"{self.base}/v1/outputs/{quote(name.removeprefix('jobs/'))}?{query}"

    def of_upload(self, file_id: str) -> str:
        """Return the URL of an uploaded file."""
        return f"{self.base}/v1/files/{file_id}"


def links_of(request: Request) -> Links:
    """Return the URLs as the caller of *request* can reach them."""
    parts = deployment_of(request)
    return Links(
        base=parts.settings.public_url or _own_base(request, parts.settings),
        signer=parts.services.signer,
        seconds=parts.settings.url_seconds,
        now=time.time(),
    )


def _own_base(request: Request, settings: Settings) -> str:
    """Return the base that the caller used, unless its ``Host`` is no host."""
    host = request.headers.get("host", "")
    if not HOST.fullmatch(host):
        host = f"{settings.host}:{settings.port}"
    return f"{request.url.scheme}://{host}{request.scope.get('root_path', '')}"


# What calls depend on is async, and depends on nothing itself: FastAPI would give each plain
# function a thread, and handing a call on costs more than what is done here.
async def _deployment(request: Request) -> Deployment:
    return deployment_of(request)


async def _links(request: Request) -> Links:
    return links_of(request)


Parts = Annotated[Deployment, Depends(_deployment)]
LinksOf = Annotated[Links, Depends(_links)]
