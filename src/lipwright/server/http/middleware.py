"""What is done around every call: request id, log line, numbers, headers, and the last resort.

Pure ASGI, so that streams pass through untouched.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lipwright.logs import current_request, request_id
from lipwright.server.errors import Problem
from lipwright.server.metrics import Metrics

log = logging.getLogger("lipwright.server")

QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds; logged only when they fail
UNKNOWN_ROUTE = "(none)"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HIDDEN_FAULT = "something went wrong here; the log tells more under the request id of this answer"
DISCONNECTED = 499  # as nginx logs it; nobody gets it


class Envelope:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(scope, send)
        token = current_request.set(call.request_id)
        self._metrics.began()
        try:
            await self._app(scope, receive, call.send)
        except ClientDisconnect:
            call.status = call.status or DISCONNECTED
        except Exception:
            log.exception("a call failed unexpectedly")
            await call.fail()
        finally:
            self._metrics.ended(call.method, call.route, call.status, call.seconds)
            call.note()
            current_request.reset(token)


class _Call:
    """One call, from its first byte to its last."""

    def __init__(self, scope: Scope, send: Send) -> None:
        headers = Headers(scope=scope)
        self.request_id = request_id(headers.get("x-request-id"))
        self.method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.status = 0  # until the answer begins
        self._scope, self._send = scope, send
        self._began = time.perf_counter()
        self._answered: float | None = None
        scope.setdefault("state", {})

    async def send(self, message: Message) -> None:
        """Pass a message on, the answer's start with our headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._answered = time.perf_counter()
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def fail(self) -> None:
        """Answer 500, unless an answer has begun; then the broken stream tells."""
        if self.status:
            raise ConnectionError("the answer broke off; see the log")
        problem = Problem.http(500, HIDDEN_FAULT, code="error")
        await answer(problem, self._scope["path"])(self._scope, _nothing, self.send)

    @property
    def route(self) -> str:
        """The pattern of the path that was called."""
        return str(getattr(self._scope.get("route"), "path", UNKNOWN_ROUTE))

    @property
    def seconds(self) -> float:
        """How long it took until the answer began."""
        return (self._answered or time.perf_counter()) - self._began

    def note(self) -> None:
        """Write the log line; the path without its query, which may hold a signature."""
        level = logging.DEBUG if self.route in QUIET and self.status < 400 else logging.INFO
        facts: dict[str, Any] = {
            "status": self.status,
            "milliseconds": round(1000 * (time.perf_counter() - self._began), 1),
        }
        if key := self._scope["state"].get("key_id"):
            facts["key"] = key
        log.log(level, "%s %s", self.method, self._scope["path"], extra=facts)


def answer(problem: Problem, path: str) -> JSONResponse:
    """Return a problem in the dialect that *path* speaks."""
    if path.startswith("/v2/"):
        return JSONResponse(
            problem.sync_v2(), status_code=problem.sync_v2_status, headers=dict(problem.headers)
        )
    return JSONResponse(
        problem.runcomfy(), status_code=problem.status, headers=dict(problem.headers)
    )


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
