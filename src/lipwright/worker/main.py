"""The process of one slot: it holds the slot, works until told to end, and ends in good order."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lipwright.errors import LipwrightError
from lipwright.runtime.signals import handle_signals
from lipwright.worker.parent_watch import watch_parent
from lipwright.worker.slot import Slot

if TYPE_CHECKING:
    from lipwright.jobs.queue import Executor
    from lipwright.jobs.services import Services
    from lipwright.progress import CancelToken
    from lipwright.settings import Settings
    from lipwright.worker.run import Worker

GRACE_SECONDS = 5.0  # to give the running job back, then the process ends all the same
STUCK = 71  # exit status
LOOK_SECONDS = 0.1  # between looks at whether a drained slot is idle

_log = logging.getLogger(__name__)


class Word(StrEnum):
    """What a worker may be told."""

    DRAIN = "drain"  #: finish the running job, take no other
    STOP = "stop"  #: give the running job back and end


def run(number: int, *, held: bool) -> int:
    """Work in slot *number* until told to end; return the exit status, to `leave` with.

    SIGTERM drains, a second one stops, and so does the end of stdin when *held*.
    """
    words: queue.SimpleQueue[Word] = queue.SimpleQueue()
    from lipwright.logs import configure

    try:
        with handle_signals([signal.SIGTERM], _drain_then_stop(words)):
            settings = _held_settings(words) if held else _own_settings()
            configure(settings)
            slot = Slot(data_dir=settings.data_dir, number=number)
            # Whoever hands the work of this slot on holds it for a moment.
            with slot.held(wait_seconds=settings.lease_seconds):
                _work(settings, slot, words)
    except LipwrightError as error:
        _log.error("slot %d cannot work: %s", number, error)
        return error.exit_code
    return 0


def _drain_then_stop(words: queue.SimpleQueue[Word]) -> Callable[[int], None]:
    """Return what turns the first signal into DRAIN, each further one into STOP."""
    coming = iter([Word.DRAIN])
    return lambda _number: words.put(next(coming, Word.STOP))


def _own_settings() -> Settings:
    from lipwright.settings import Settings

    return Settings.load()


def _held_settings(words: queue.SimpleQueue[Word]) -> Settings:
    """Read the settings from the first line of stdin; STOP when stdin ends."""
    from lipwright.settings import Settings

    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def abandoned() -> None:
        words.put(Word.STOP)
        lines.put(b"")
        threading.Timer(GRACE_SECONDS, os._exit, [0]).start()

    watch_parent(lines.put, abandoned)
    line = lines.get()
    if not line:
        raise SystemExit(0)
    return Settings(**json.loads(line))


def _work(settings: Settings, slot: Slot, words: queue.SimpleQueue[Word]) -> None:
    from lipwright.jobs.queue import Executor
    from lipwright.jobs.services import open_services
    from lipwright.worker.reaper import Reaper

    with ExitStack() as stack:
        services = open_services(settings)
        stack.callback(services.close)
        worker = _worker(settings, slot, services, stack)
        executor = Executor(
            settings.database, slot.name, worker.carry_out, poll_seconds=settings.poll_seconds
        )
        executor.launch()
        stack.callback(executor.close)
        reaper = Reaper(ledger=services.ledger, executor=executor, slot=slot, settings=settings)
        stack.enter_context(reaper)
        _log.info("slot %d works as %s", slot.number, slot.name, extra={"action": "slot_ready"})
        _until_told(worker, executor, words, settings.drain_seconds)


def _worker(settings: Settings, slot: Slot, services: Services, stack: ExitStack) -> Worker:
    from lipwright.net.fetch import FetchRules, fetch
    from lipwright.worker.renderer import Renderer, cores_for, threads_for
    from lipwright.worker.run import Policy, Worker

    available = cores_here()
    threads = threads_for(settings.threads_per_slot, settings.slots, len(available))
    cores = cores_for(slot.number, threads, available)
    renderer = stack.enter_context(Renderer(threads=threads, cores=cores, device=settings.device))
    renderer.warm()
    rules = FetchRules.of(settings)

    def fetched(url: str, folder: Path, cancel: CancelToken) -> Path:
        return fetch(url, folder, rules, cancel=cancel)

    return Worker(
        name=slot.name,
        ledger=services.ledger,
        uploads=services.uploads,
        storage=services.storage,
        renderer=renderer,
        fetch=fetched,
        policy=Policy.of(settings),
        folder=slot.cleared(),
    )


def cores_here() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _until_told(
    worker: Worker, executor: Executor, words: queue.SimpleQueue[Word], drain_seconds: float
) -> None:
    """Wait for a word, then end: with the running job finished, or given back."""
    word = words.get()
    executor.pause()
    _log.info("told to %s", word, extra={"action": word})
    deadline = time.monotonic() + drain_seconds
    while word is Word.DRAIN and time.monotonic() < deadline and not worker.wait_idle(0):
        try:
            word = words.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
    worker.stop()
    if not worker.wait_idle(GRACE_SECONDS):
        _log.error("the running job does not end; it stays this slot's, to be recovered")
        leave(STUCK)


def leave(status: int) -> NoReturn:
    """End this process now, whatever its threads do; the render process ends with it."""
    logging.shutdown()
    os._exit(status)
