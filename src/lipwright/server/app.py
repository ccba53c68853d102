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
from lipwright.server.deployment import Deployment, WorkersAlive
from lipwright.server.errors import InvalidBody, Problem, shown
from lipwright.server.http.memory_limiter import Budget
from lipwright.server.http.middleware import Envelope, answer
from lipwright.server.inputs import faults_of
from lipwright.server.metrics import Metrics
from lipwright.server.models import Catalogue
from lipwright.server.openapi import document
from lipwright.server.runcomfy import routes
from lipwright.server.sync_v2 import routes as routes_v2
from lipwright.server.uploads import routes as files
from lipwright.server.uploads.receive import clear_leftovers
from lipwright.settings import Settings

log = logging.getLogger("lipwright.server")

INCOMING = "incoming"  # in the data folder: uploads that are not whole yet


def create_app(
    settings: Settings,
    *,
    services: Services | None = None,
    workers: WorkersAlive | None = None,
) -> FastAPI:
    """Return the service as an ASGI application.

    Set ``app.state.deployment.closing`` before the server stops accepting: open event streams end
    then, instead of holding it up.

    Args:
        settings: how this deployment runs.
        services: ledger, storage and so on; None opens those that the settings name.
        workers: tells which workers live, for ``/readyz``.

    Raises:
        EngineError: an engine that is installed cannot be loaded.
        InvalidOptions: a setting does not fit.
    """
    parts = _deployment(settings, services or _open(settings), workers)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,  # a redirect would lead a POST astray
    )
    app.state.deployment = parts
    for router in (
        routes.models,
        routes.requests,
        files.router,
        routes_v2.router,
        health.router,
        docs.router,
    ):
        app.include_router(router)
    app.add_exception_handler(LipwrightError, cast(ExceptionHandler, _on_error))
    app.add_exception_handler(HTTPException, cast(ExceptionHandler, _on_http_error))
    app.add_exception_handler(RequestValidationError, cast(ExceptionHandler, _on_bad_parameter))
    app.add_middleware(Envelope, metrics=parts.metrics)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def _open(settings: Settings) -> Services:
    from lipwright.jobs.services import open_services

    return open_services(settings)


def _deployment(settings: Settings, services: Services, workers: WorkersAlive | None) -> Deployment:
    incoming = settings.data_dir / INCOMING
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Deployment(
        settings=settings,
        services=services,
        catalogue=Catalogue.of(list_engines()),
        metrics=Metrics(services.ledger),
        rules=FetchRules.of(settings),
        incoming=incoming,
        estimates=threading.BoundedSemaphore(settings.estimates),
        bodies=Budget(settings.max_json_bytes_at_once),
        workers=workers,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Deployment = app.state.deployment
    if removed := clear_leftovers(parts.incoming):
        log.info("removed uploads that a process which died had begun", extra={"files": removed})
    yield


async def _on_error(request: Request, error: LipwrightError) -> Response:
    problem = Problem.of(error)
    if problem.status >= 500:
        # what a driver says, without the statement and its values that come around it
        cause = getattr(error.__cause__, "orig", None) or error.__cause__
        log.error("%s: %s%s", problem.code, error, f" ({cause})" if cause else "")
    return answer(problem, request.url.path)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    message, headers = str(error.detail), error.headers or {}
    if error.detail == HTTPStatus(error.status_code).phrase:  # nobody wrote one
        message = _plain_message(error.status_code, request.method, headers.get("Allow", ""))
    return answer(Problem.http(error.status_code, message, headers), request.url.path)


def _plain_message(status: int, method: str, allowed: str) -> str:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{shown(method)} cannot be done here: use {allowed}"
    return "there is no such path: /docs lists the calls"


async def _on_bad_parameter(request: Request, error: RequestValidationError) -> Response:
    faults = faults_of(error.errors(), root=())
    return answer(Problem.of(InvalidBody(*faults)), request.url.path)
