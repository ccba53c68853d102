"""Runs the whole service in one process: API, worker supervisor, webhooks and sweeper.

The main thread waits for signals and for the end of a part. The first signal closes the API and
lets running jobs finish; the second returns them to the queue. No job is lost either way.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from lipwright.errors import InvalidOptions, LipwrightError
from lipwright.jobs.sweeper import Sweeper
from lipwright.jobs.webhooks import WebhookSender
from lipwright.logs import configure
from lipwright.runtime.signals import handle_signals
from lipwright.server.app import create_app
from lipwright.server.webhooks import payload_builder
from lipwright.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lipwright.jobs.services import Services
    from lipwright.settings import Settings

BACKLOG = 2048  # connections waiting to be accepted
KEEP_ALIVE_SECONDS = 75  # longer than those of proxies, which must close a connection first
SHUTDOWN_GRACE_SECONDS = 10  # for open requests when the API closes
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger("lipwright.serve")


@dataclass(frozen=True)
class ApiStarted:
    """The API accepts requests."""


@dataclass(frozen=True)
class SignalReceived:
    """The process received a signal."""

    number: int


@dataclass(frozen=True)
class PartEnded:
    """The API or the workers ended."""

    part: str
    error: BaseException | None = field(default=None, compare=False)


ServiceEvent = ApiStarted | SignalReceived | PartEnded
EventQueue = queue.SimpleQueue[ServiceEvent]


def serve(services: Services, settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Run the service until a signal ends it.

    Args:
        services: opened from *settings*.
        settings: configuration of the service.
        on_ready: called with the URL of the service when it accepts requests.

    Raises:
        InvalidOptions: the service cannot listen on the address.
        LipwrightError: the API ended unexpectedly.
    """
    configure(settings)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # we log the same events
    events: EventQueue = queue.SimpleQueue()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        stack.enter_context(handle_signals(STOP_SIGNALS, lambda n: events.put(SignalReceived(n))))
        stack.enter_context(_background_threads(services, settings))
        supervisor = stack.enter_context(Supervisor(settings))
        app = create_app(settings, services=services, workers=supervisor.alive)
        api = _ApiServer(app, listener, events)
        stack.callback(api.close)
        api.start()
        _handle_events(api, supervisor, events, lambda: on_ready(service_url(settings)))


def _handle_events(
    api: _ApiServer, supervisor: Supervisor, events: EventQueue, on_ready: Callable[[], None]
) -> None:
    """Handle events until the API and all workers have ended."""
    running = {"api", "workers"}
    signals = 0
    while running:
        match events.get():
            case ApiStarted():
                on_ready()
            case SignalReceived(number=number):
                signals += 1
                name = signal.Signals(number).name
                if signals == 1:
                    _log.info("%s: the API closes, running jobs finish", name)
                    api.close()
                    supervisor.drain()
                    _report_when_drained(supervisor, events)
                else:
                    _log.info("%s again: running jobs return to the queue", name)
                    supervisor.stop()
            case PartEnded(part=part, error=error):
                running.discard(part)
                if part == "api" and not signals:
                    raise LipwrightError(f"the API ended unexpectedly: {error!r}") from error


def _report_when_drained(supervisor: Supervisor, events: EventQueue) -> None:
    def join() -> None:
        supervisor.join()
        events.put(PartEnded("workers"))

    threading.Thread(target=join, name="drain", daemon=True).start()


class _ApiServer:
    """The HTTP server in its own thread."""

    def __init__(self, app: FastAPI, listener: socket.socket, events: EventQueue) -> None:
        config = uvicorn.Config(
            app,
            http="h11",  # limits the size of headers; httptools does not
            log_config=None,  # logging is configured already
            access_log=False,
            server_header=False,
            forwarded_allow_ips=["127.0.0.1", "::1"],  # trust only a proxy on this machine
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_GRACE_SECONDS,
        )
        self._closing: threading.Event = app.state.deployment.closing
        self._listener, self._events = listener, events
        self._server = _NotifyingServer(config, lambda: events.put(ApiStarted()))
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Stop accepting requests and end open streams, without waiting."""
        self._closing.set()
        self._server.should_exit = True

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._server.serve(sockets=[self._listener]))
        except BaseException as cause:  # including SystemExit, which uvicorn raises
            error = cause
        self._events.put(PartEnded("api", error))


class _NotifyingServer(uvicorn.Server):
    """A server that calls back when it has started."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then call back."""
        await super().startup(sockets)
        self._on_started()


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens on an address.

    Raises:
        InvalidOptions: the address is invalid or in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server((str(address[0]), port), family=family, backlog=BACKLOG)
    except OSError as cause:
        reason = cause.strerror or cause
        raise InvalidOptions(
            f"cannot listen on {host} port {port}: {reason}; choose another with --host or --port"
        ) from cause
    with listener:
        # Connections inherit this option. asyncio sets it only on sockets created with an explicit
        # protocol. Without it every response is delayed by 40 ms (Nagle and delayed ACK).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def service_url(settings: Settings) -> str:
    """Return ``public_url``, or the URL of the service on this machine."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


@contextmanager
def _background_threads(services: Services, settings: Settings) -> Iterator[None]:
    """Run the webhook sender and the sweeper in threads until the block ends."""
    sender = WebhookSender.from_settings(
        settings,
        deliveries=services.deliveries,
        ledger=services.ledger,
        build_body=payload_builder(settings, services.signer),
    )
    sweeper = Sweeper(
        ledger=services.ledger,
        uploads=services.uploads,
        storage=services.storage,
        delete_work=services.delete_work,
    )
    stop = threading.Event()
    sweep = partial(sweeper.run, interval_seconds=settings.sweep_seconds)
    threads = [
        threading.Thread(target=run, args=(stop,), name=name, daemon=True)
        for name, run in (("webhooks", sender.run), ("sweeper", sweep))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
