"""Run the command line: ``python -m lipwright``."""

from __future__ import annotations

import sys

from lipwright.cli import main

if __name__ == "__main__":
    sys.exit(main())
