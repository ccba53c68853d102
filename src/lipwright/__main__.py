"""Run the command line: ``python -m lipwright``."""

from __future__ import annotations

import os
import signal
import sys

from lipwright.environment import PARENT_PIPE

if __name__ == "__main__":
    if PARENT_PIPE in os.environ:
        # Ctrl-C during the imports ends a child without a traceback; its parent, which has blocked
        # the signal until here, reports it.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from lipwright.cli import main

    sys.exit(main())
