"""The command line, as a package: ``main`` enters it, the other modules hold the commands."""

from __future__ import annotations

from lipwright.cli.main import cli, main
from lipwright.cli.shared import plain

__all__ = ["cli", "main", "plain"]
