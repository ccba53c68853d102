"""The worker process of one slot: it assembles a job runner and runs jobs until told to end.

``python -m lipwright.worker.main --slot 0`` starts one without a supervisor.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
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
    from lipwright.worker.job_runner import JobRunner

GRACE_SECONDS = 5.0  # to give the running job back, before the process exits regardless
STUCK = 71  # exit status
POLL_SECONDS = 0.1  # between checks whether a draining slot is idle

_log = logging.getLogger(__name__)


class Signal(StrEnum):
    """What a worker can be told to do."""

    DRAIN = "drain"  #: finish the running job, take no other
    STOP = "stop"  #: give the running job back and exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the worker of a slot until told to end, then exit the process."""
    parser = argparse.ArgumentParser(prog="lipwright.worker.main", description=__doc__)
    parser.add_argument("--slot", type=int, required=True, help="number of the slot, from 0")
    parser.add_argument(
        "--supervised",
        action="store_true",
        help="read the settings as JSON from the first line of stdin, and stop when stdin ends",
    )
    args = parser.parse_args(arguments)
    exit_now(run_worker(args.slot, supervised=args.supervised))


def run_worker(number: int, *, supervised: bool) -> int:
    """Run jobs in slot *number* until told to end; return the status for `exit_now`.

    SIGTERM drains, a second one stops, and so does the end of stdin if *supervised*.
    """
    signals: queue.SimpleQueue[Signal] = queue.SimpleQueue()
    from lipwright.logs import configure

    try:
        with handle_signals([signal.SIGTERM], _drain_then_stop(signals)):
            settings = _settings_from_stdin(signals) if supervised else _load_settings()
            configure(settings)
            slot = Slot(data_dir=settings.data_dir, number=number)
            # A reaper that requeues the work of this slot holds its lock briefly.
            with slot.lock(wait_seconds=settings.lease_seconds):
                _run_in_slot(settings, slot, signals)
    except LipwrightError as error:
        _log.error("slot %d cannot run: %s", number, error)
        return error.exit_code
    return 0


def _drain_then_stop(signals: queue.SimpleQueue[Signal]) -> Callable[[int], None]:
    """Return a handler that turns the first signal into DRAIN and each further one into STOP."""
    first = iter([Signal.DRAIN])
    return lambda _number: signals.put(next(first, Signal.STOP))


def _load_settings() -> Settings:
    from lipwright.settings import Settings

    return Settings.load()


def _settings_from_stdin(signals: queue.SimpleQueue[Signal]) -> Settings:
    """Read the settings from the first line of stdin; send STOP when stdin ends."""
    from lipwright.settings import Settings

    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def on_exit() -> None:
        signals.put(Signal.STOP)
        lines.put(b"")
        threading.Timer(GRACE_SECONDS, os._exit, [0]).start()

    watch_parent(lines.put, on_exit)
    line = lines.get()
    if not line:
        raise SystemExit(0)
    return Settings(**json.loads(line))


def _run_in_slot(settings: Settings, slot: Slot, signals: queue.SimpleQueue[Signal]) -> None:
    from lipwright.jobs.queue import Executor
    from lipwright.jobs.services import open_services
    from lipwright.worker.reaper import Reaper

    with ExitStack() as stack:
        services = open_services(settings)
        stack.callback(services.close)
        runner = _job_runner(settings, slot, services, stack)
        executor = Executor(
            settings.database, slot.name, runner.run_job, poll_seconds=settings.poll_seconds
        )
        executor.launch()
        stack.callback(executor.close)
        reaper = Reaper(ledger=services.ledger, executor=executor, slot=slot, settings=settings)
        stack.enter_context(reaper)
        _log.info("slot %d runs as %s", slot.number, slot.name, extra={"action": "slot_ready"})
        _run_until_signal(runner, executor, signals, settings.drain_seconds)


def _job_runner(settings: Settings, slot: Slot, services: Services, stack: ExitStack) -> JobRunner:
    from lipwright.net.fetch import FetchRules, fetch
    from lipwright.worker.job_runner import JobPolicy, JobRunner
    from lipwright.worker.renderer import Renderer, slot_cores, threads_per_slot

    available = available_cores()
    threads = threads_per_slot(settings.threads_per_slot, settings.slots, len(available))
    cores = slot_cores(slot.number, threads, available)
    renderer = stack.enter_context(Renderer(threads=threads, cores=cores, device=settings.device))
    renderer.warm_up()
    rules = FetchRules.from_settings(settings)

    def fetch_source(url: str, folder: Path, cancel: CancelToken) -> Path:
        return fetch(url, folder, rules, cancel=cancel)

    return JobRunner(
        name=slot.name,
        ledger=services.ledger,
        uploads=services.uploads,
        storage=services.storage,
        renderer=renderer,
        fetch=fetch_source,
        policy=JobPolicy.from_settings(settings),
        workspace=slot.clear_workspace(),
    )


def available_cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _run_until_signal(
    runner: JobRunner,
    executor: Executor,
    signals: queue.SimpleQueue[Signal],
    drain_seconds: float,
) -> None:
    """Wait for a signal, then end with the running job finished or given back."""
    received = signals.get()
    executor.pause()
    _log.info("received %s", received, extra={"action": received})
    deadline = time.monotonic() + drain_seconds
    while received is Signal.DRAIN and time.monotonic() < deadline and not runner.wait_idle(0):
        try:
            received = signals.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
    runner.stop()
    if not runner.wait_idle(GRACE_SECONDS):
        _log.error("the running job does not end; this slot recovers it at its next start")
        exit_now(STUCK)


def exit_now(status: int) -> NoReturn:
    """Exit this process now, whatever its threads do; the render process exits with it."""
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    main()
