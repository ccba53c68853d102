"""Liveness, readiness and metrics."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from lipwright.errors import LipwrightError, PublishFailed, WorkerDied
from lipwright.server import metrics
from lipwright.server.deployment import Deployment, DeploymentDep
from lipwright.server.openapi import responses
from lipwright.server.runcomfy import schemas

PROBE_BLOB = "health/probe"  # written and read to test the storage
PROBE_INTERVAL = 5.0  # seconds between two tests of the storage

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    summary="Check liveness",
    operation_id="get_health",
    responses=responses(schemas.Health),
)
async def get_health() -> Response:
    """Respond as long as the process can respond at all."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    summary="Check readiness",
    operation_id="get_readiness",
    responses={
        **responses(schemas.Readiness),
        503: {"model": schemas.Readiness, "description": "Not ready; `checks` has the reasons."},
    },
)
def get_readiness(deployment: DeploymentDep) -> Response:
    """Check the database, the storage and the workers."""
    checks = {
        "database": _run_check(lambda: _check_database(deployment)),
        "storage": _run_check(lambda: _check_storage(deployment)),
        "workers": _run_check(lambda: _check_workers(deployment)),
    }
    ready = set(checks.values()) == {"ok"} and not deployment.closing.is_set()
    body = {"status": "ok" if ready else "not_ready", "checks": checks}
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get(
    "/metrics",
    summary="Get metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {
            "description": "In the text format of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
)
def get_metrics(deployment: DeploymentDep) -> Response:
    """Return counts of jobs and HTTP requests, seconds by stage, failures by code."""
    return Response(deployment.metrics.render(), media_type=metrics.CONTENT_TYPE)


def _run_check(check: Callable[[], None]) -> str:
    try:
        check()
    except LipwrightError as error:
        return str(error)
    return "ok"


def _check_database(deployment: Deployment) -> None:
    deployment.services.ledger.counts()


def _check_storage(deployment: Deployment) -> None:
    storage = deployment.services.storage
    if deployment.storage_probe.within(PROBE_INTERVAL):
        return
    storage.put(PROBE_BLOB, [b"ok"], content_type="text/plain")
    if b"".join(storage.read(PROBE_BLOB)) != b"ok":
        raise PublishFailed("the storage returned other bytes than were written: check the disk")
    deployment.storage_probe.record()


def _check_workers(deployment: Deployment) -> None:
    if deployment.workers is None:
        return
    dead = [name for name, alive in deployment.workers().items() if not alive]
    if dead:
        raise WorkerDied(f"not running: {', '.join(dead)}; they are being restarted")
