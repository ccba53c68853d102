"""What happens around every request: HTTP request id, log line, metrics, headers, last-resort 500.

Pure ASGI, so that streams pass through unbuffered.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lipwright.logs import accept_request_id, http_request_id
from lipwright.server.errors import Problem, problem_response
from lipwright.server.metrics import Metrics

log = logging.getLogger("lipwright.server")

QUIET_PATHS = ("/healthz", "/readyz", "/metrics")  # polled every few seconds; logged only on errors
UNKNOWN_ROUTE = "(none)"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
INTERNAL_ERROR = (
    "internal error: the log of the service has details under the http_request_id in the header "
    "X-Request-Id of this response"
)
CLIENT_CLOSED_REQUEST = 499  # as nginx logs it; never sent


class RequestMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _HttpExchange(scope, send)
        token = http_request_id.set(exchange.http_request_id)
        self._metrics.request_started()
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
        except Exception:
            log.exception("unhandled error in a request")
            await exchange.send_internal_error()
        finally:
            self._metrics.request_finished(
                exchange.method, exchange.route, exchange.status, exchange.seconds
            )
            exchange.write_log()
            http_request_id.reset(token)


class _HttpExchange:
    """One request and its response."""

    def __init__(self, scope: Scope, send: Send) -> None:
        headers = Headers(scope=scope)
        self.http_request_id = accept_request_id(headers.get("x-request-id"))
        self.method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.status = 0  # until the response starts
        self._scope, self._send = scope, send
        self._started_at = time.perf_counter()
        self._responded_at: float | None = None
        state = scope.setdefault("state", {})
        state["http_request_id"] = self.http_request_id

    async def send(self, message: Message) -> None:
        """Pass a message on; add our headers to the start of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._responded_at = time.perf_counter()
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.http_request_id
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def send_internal_error(self) -> None:
        """Respond with 500, or break the connection if a response has started."""
        if self.status:
            raise ConnectionError("the response broke off: see the log")
        problem = Problem.http(500, INTERNAL_ERROR, code="error")
        response = problem_response(problem, self._scope["path"])
        await response(self._scope, _receive_disconnect, self.send)

    @property
    def route(self) -> str:
        """Path pattern of the matched route."""
        return str(getattr(self._scope.get("route"), "path", UNKNOWN_ROUTE))

    @property
    def seconds(self) -> float:
        """Time until the response started."""
        return (self._responded_at or time.perf_counter()) - self._started_at

    def write_log(self) -> None:
        """Write the log line; the path without its query, which may contain a signature."""
        level = logging.DEBUG if self.route in QUIET_PATHS and self.status < 400 else logging.INFO
        extra: dict[str, Any] = {
            "status": self.status,
            "milliseconds": round(1000 * (time.perf_counter() - self._started_at), 1),
        }
        if key := self._scope["state"].get("key_id"):
            extra["key"] = key
        log.log(level, "%s %s", self.method, self._scope["path"], extra=extra)


async def _receive_disconnect() -> Message:
    return {"type": "http.disconnect"}
