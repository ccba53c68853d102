"""Signal handlers that run in their own thread."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys

import pytest

from lipwright.runtime.signals import handle_signals


@pytest.mark.model
def test_two_simultaneous_signals_are_both_handled():
    program = (
        "import queue, signal, sys\n"
        "from lipwright.runtime.signals import handle_signals\n"
        "received = queue.SimpleQueue()\n"
        "with handle_signals([signal.SIGINT, signal.SIGTERM], received.put):\n"
        "    print('ready', flush=True)\n"
        "    print(sorted([received.get(), received.get()]), flush=True)\n"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            try:
                assert process.stdout.readline() == b"[2, 15]\n"
            finally:
                process.kill()


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    received: queue.SimpleQueue[int] = queue.SimpleQueue()
    with handle_signals([signal.SIGTERM], received.put):
        os.kill(os.getpid(), signal.SIGTERM)
        assert received.get(timeout=10.0) == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
