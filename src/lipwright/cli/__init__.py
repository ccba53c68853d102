"""The command line: ``main`` runs it, the other modules hold the commands."""

from __future__ import annotations

from lipwright.cli.main import cli, main

__all__ = ["cli", "main"]
