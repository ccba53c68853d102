"""The HTTP service as one ASGI application."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ExceptionHandler

from lipwright.engines.registry import list_engines
from lipwright.errors import LipwrightError
from lipwright.jobs.services import Services
from lipwright.net.fetch import FetchRules
from lipwright.server import docs, health
from lipwright.server.deployment import Deployment, WorkerLiveness
from lipwright.server.errors import InvalidBody, Problem, problem_response, truncate
from lipwright.server.http.memory_limiter import MemoryLimiter
from lipwright.server.http.middleware import RequestMiddleware
from lipwright.server.inputs import to_field_errors
from lipwright.server.metrics import Metrics
from lipwright.server.models import Catalogue
from lipwright.server.openapi import build_openapi
from lipwright.server.runcomfy import routes as runcomfy_routes
from lipwright.server.sync_v2 import routes as sync_v2_routes
from lipwright.server.uploads import routes as upload_routes
from lipwright.server.uploads.receive import remove_leftovers
from lipwright.settings import Settings

log = logging.getLogger("lipwright.server")

INCOMING = "incoming"  # folder of unfinished uploads, in the data folder


def create_app(
    settings: Settings,
    *,
    services: Services | None = None,
    workers: WorkerLiveness | None = None,
) -> FastAPI:
    """Return the service as an ASGI application.

    Set ``app.state.deployment.closing`` before the server shuts down: it ends open event streams,
    which would delay the shutdown.

    Args:
        settings: configuration of this deployment.
        services: ledger, storage and so on; None: opened from *settings*.
        workers: returns which workers are alive, for ``/readyz``.

    Raises:
        EngineError: an installed engine cannot be loaded.
        InvalidOptions: a setting is invalid.
    """
    deployment = _build_deployment(settings, services or _open_services(settings), workers)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,  # clients follow a redirected POST with GET
    )
    app.state.deployment = deployment
    for router in (
        runcomfy_routes.models,
        runcomfy_routes.requests,
        upload_routes.router,
        sync_v2_routes.router,
        health.router,
        docs.router,
    ):
        app.include_router(router)
    app.add_exception_handler(LipwrightError, cast(ExceptionHandler, _on_error))
    app.add_exception_handler(HTTPException, cast(ExceptionHandler, _on_http_error))
    app.add_exception_handler(RequestValidationError, cast(ExceptionHandler, _on_invalid_parameter))
    app.add_middleware(RequestMiddleware, metrics=deployment.metrics)
    app.openapi = lambda: build_openapi(app)  # type: ignore[method-assign]
    return app


def _open_services(settings: Settings) -> Services:
    from lipwright.jobs.services import open_services

    return open_services(settings)


def _build_deployment(
    settings: Settings, services: Services, workers: WorkerLiveness | None
) -> Deployment:
    incoming = settings.data_dir / INCOMING
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Deployment(
        settings=settings,
        services=services,
        catalogue=Catalogue.from_engines(list_engines()),
        metrics=Metrics(services.ledger),
        fetch_rules=FetchRules.from_settings(settings),
        incoming=incoming,
        estimate_slots=threading.BoundedSemaphore(settings.estimates),
        body_memory=MemoryLimiter(settings.max_json_bytes_at_once),
        workers=workers,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    deployment: Deployment = app.state.deployment
    if removed := remove_leftovers(deployment.incoming):
        log.info("removed unfinished uploads of an earlier process", extra={"files": removed})
    yield


async def _on_error(request: Request, error: LipwrightError) -> Response:
    problem = Problem.from_error(error)
    if problem.status >= 500:
        # SQLAlchemy's own text contains the statement and its values: log the driver's text only
        cause = getattr(error.__cause__, "orig", None) or error.__cause__
        log.error("%s: %s%s", problem.code, error, f" ({cause})" if cause else "")
    return problem_response(problem, request.url.path)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    message, headers = str(error.detail), error.headers or {}
    if error.detail == HTTPStatus(error.status_code).phrase:  # raised by the framework
        message = _routing_message(error.status_code, request.method, headers.get("Allow", ""))
    problem = Problem.http(error.status_code, message, headers)
    return problem_response(problem, request.url.path)


def _routing_message(status: int, method: str, allowed: str) -> str:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{truncate(method)} is not allowed here: use {allowed}"
    return "there is no such path: /docs lists the calls"


async def _on_invalid_parameter(request: Request, error: RequestValidationError) -> Response:
    field_errors = to_field_errors(error.errors(), root=())
    return problem_response(Problem.from_error(InvalidBody(*field_errors)), request.url.path)
