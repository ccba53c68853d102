"""Whether the service lives, whether it can work, and its numbers."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from lipwright.errors import LipwrightError, PublishFailed, WorkerDied
from lipwright.server import metrics
from lipwright.server.deployment import Deployment, Parts
from lipwright.server.openapi import answers
from lipwright.server.runcomfy import schemas

PROBE = "health/probe"  # a blob that is written and read to see whether storage works
PROBE_EVERY = 5.0  # seconds; in between the last answer stands, so that asking costs no disk

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    summary="Does it live?",
    operation_id="get_health",
    responses=answers(schemas.Health),
)
async def get_health() -> Response:
    """Answer as long as the process can answer at all."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it work?",
    operation_id="get_readiness",
    responses={
        **answers(schemas.Readiness),
        503: {"model": schemas.Readiness, "description": "It cannot; `checks` tells why."},
    },
)
def get_readiness(parts: Parts) -> Response:
    """Check the database, the storage and the workers."""
    checks = {
        "database": _told(lambda: _database(parts)),
        "storage": _told(lambda: _storage(parts)),
        "workers": _told(lambda: _workers(parts)),
    }
    ready = set(checks.values()) == {"ok"} and not parts.closing.is_set()
    body = {"status": "ok" if ready else "not_ready", "checks": checks}
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get(
    "/metrics",
    summary="Its numbers",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def get_metrics(parts: Parts) -> Response:
    """Return counts of jobs and calls, times by stage, failures by code."""
    return Response(parts.metrics.render(), media_type=metrics.CONTENT_TYPE)


def _told(check: Callable[[], None]) -> str:
    try:
        check()
    except LipwrightError as error:
        return str(error)
    return "ok"


def _database(parts: Deployment) -> None:
    parts.services.ledger.counts()


def _storage(parts: Deployment) -> None:
    storage = parts.services.storage
    if parts.storage_worked.within(PROBE_EVERY):
        return
    storage.put(PROBE, [b"ok"], content_type="text/plain")
    if b"".join(storage.read(PROBE)) != b"ok":
        raise PublishFailed("the storage gives back other bytes than it was given: check the disk")
    parts.storage_worked.note()


def _workers(parts: Deployment) -> None:
    if parts.workers is None:
        return
    dead = [name for name, alive in parts.workers().items() if not alive]
    if dead:
        raise WorkerDied(f"not running: {', '.join(dead)}; they are started again")
