"""All parts of a service in one process: the API, the watch over workers, webhooks, the sweeper.

The main thread only waits: for a signal, or for a part to end. The first signal closes the API and
lets running jobs finish; the second one sends them back to the queue. Nothing is lost either way.
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
from lipwright.jobs.webhooks import Sender
from lipwright.logs import configure
from lipwright.runtime.signals import handle_signals
from lipwright.server.app import create_app
from lipwright.server.webhooks import payload_of
from lipwright.worker.supervisor import Supervisor

if TYPE_CHECKING:
    from fastapi import FastAPI

    from lipwright.jobs.services import Services
    from lipwright.settings import Settings

BACKLOG = 2048  # connections that wait to be accepted
IDLE_SECONDS = 75  # of a kept connection; a proxy in front must be the one that closes first
GRACE_SECONDS = 10  # for calls that are being answered when the API closes
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = logging.getLogger("lipwright.serve")


@dataclass(frozen=True)
class Ready:
    """The API answers."""


@dataclass(frozen=True)
class Signalled:
    """A signal came."""

    number: int


@dataclass(frozen=True)
class Ended:
    """A part has ended, by itself or because it was told to."""

    part: str
    error: BaseException | None = field(default=None, compare=False)


Happening = Ready | Signalled | Ended
Happenings = queue.SimpleQueue[Happening]


def serve(services: Services, settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Run a service until a signal ends it.

    Args:
        services: opened from *settings*.
        settings: how the service runs.
        on_ready: called with its URL when it answers.

    Raises:
        InvalidOptions: the address cannot be listened on.
        LipwrightError: the API ended by itself.
    """
    configure(settings)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # its news are told by ours
    happenings: Happenings = queue.SimpleQueue()
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        stack.enter_context(handle_signals(STOP_SIGNALS, lambda n: happenings.put(Signalled(n))))
        stack.enter_context(_helpers(services, settings))
        supervisor = stack.enter_context(Supervisor(settings))
        app = create_app(settings, services=services, workers=supervisor.alive)
        api = _Api(app, listener, happenings)
        stack.callback(api.close)
        api.start()
        _attend(api, supervisor, happenings, lambda: on_ready(url_of(settings)))


def _attend(
    api: _Api, supervisor: Supervisor, happenings: Happenings, on_ready: Callable[[], None]
) -> None:
    """Do what each happening asks for, until the API and all workers have ended."""
    running = {"api", "workers"}
    signals = 0
    while running:
        match happenings.get():
            case Ready():
                on_ready()
            case Signalled(number=number):
                signals += 1
                name = signal.Signals(number).name
                if signals == 1:
                    _log.info("%s: no calls are taken, running jobs finish", name)
                    api.close()
                    supervisor.drain()
                    _tell_when_over(supervisor, happenings)
                else:
                    _log.info("%s again: running jobs go back to the queue", name)
                    supervisor.stop()
            case Ended(part=part, error=error):
                running.discard(part)
                if part == "api" and not signals:
                    raise LipwrightError(f"the API ended by itself: {error!r}") from error


def _tell_when_over(supervisor: Supervisor, happenings: Happenings) -> None:
    def wait() -> None:
        supervisor.join()
        happenings.put(Ended("workers"))

    threading.Thread(target=wait, name="drain", daemon=True).start()


class _Api:
    """The HTTP server, in a thread of its own."""

    def __init__(self, app: FastAPI, listener: socket.socket, happenings: Happenings) -> None:
        config = uvicorn.Config(
            app,
            http="h11",  # bounds what headers take; the faster parser, where installed, does not
            log_config=None,  # ours is set up already
            access_log=False,
            server_header=False,
            forwarded_allow_ips=["127.0.0.1", "::1"],  # only a proxy on this machine is believed
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._closing: threading.Event = app.state.deployment.closing
        self._listener, self._happenings = listener, happenings
        self._server = _Server(config, lambda: happenings.put(Ready()))
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def close(self) -> None:
        """Take no more calls, end open streams; returns at once."""
        self._closing.set()
        self._server.should_exit = True

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._server.serve(sockets=[self._listener]))
        except BaseException as cause:  # SystemExit too, which uvicorn raises
            error = cause
        self._happenings.put(Ended("api", error))


class _Server(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._on_started()


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket that listens there.

    Raises:
        InvalidOptions: that is not possible.
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
        # Connections inherit it. asyncio sets it only where the protocol is named, which it is not
        # here, and without it every answer waits 40 ms for the client to confirm its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def url_of(settings: Settings) -> str:
    """Return where clients on this machine find the service, or everybody by ``public_url``."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url or f"http://{host}:{settings.port}"


@contextmanager
def _helpers(services: Services, settings: Settings) -> Iterator[None]:
    """Send webhooks and sweep what has expired, in threads, until the block ends."""
    sender = Sender.of(
        settings,
        deliveries=services.deliveries,
        ledger=services.ledger,
        payload=payload_of(settings, services.signer),
    )
    sweeper = Sweeper(
        ledger=services.ledger,
        uploads=services.uploads,
        storage=services.storage,
        forget_work=services.forget_work,
    )
    stop = threading.Event()
    sweep = partial(sweeper.run, every_seconds=settings.sweep_seconds)
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
