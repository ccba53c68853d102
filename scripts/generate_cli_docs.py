"""Write docs/reference/cli.md from the commands themselves; ``--check`` only compares."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from lipwright.cli.main import HEADINGS

PAGE = Path(__file__).parents[1] / "docs/reference/cli.md"
KINDS = {
    "path": "PATH",
    "text": "NAME",
    "float": "NUMBER",
    "float range": "NUMBER",
    "integer": "N",
    "integer range": "N",
}  #: click's name of a type -> what stands for its value
HEAD = """# Command line

<!-- written by scripts/generate_cli_docs.py: change the commands, not this page -->

Results go to stdout; progress, warnings and errors to stderr. On a terminal a bar shows stage,
frames per second and time left; elsewhere plain lines do, at most one for each tenth of a stage.
With `--json` stdout carries exactly one JSON object, the result or the error, and there is no
progress. In it exact rates and ratios are strings (`"30000/1001"`), durations are seconds.

Errors and exit codes: [errors.md](errors.md). `python -m lipwright` is the same as `lipwright`;
`lipwright --version` prints the version.

An existing output file is replaced, but only when the new one is complete; until then, and after
any failure, it stays as it was. An output that is one of the inputs is refused.
"""


def page() -> str:
    """Return the page that the commands of today deserve."""
    groups = (group(heading, commands) for heading, commands in HEADINGS.items())
    return "\n".join([HEAD, *groups])


def group(heading: str, commands: tuple[click.Command, ...]) -> str:
    sections = (section(str(command.name), command) for command in commands)
    return "\n".join([f"## {heading}\n", *sections])


def section(name: str, command: click.Command) -> str:
    if isinstance(command, click.Group):
        parts = (section(f"{name} {sub}", c) for sub, c in command.commands.items())
        text = inspect.cleandoc(command.help or "")
        return "\n".join([f"### {name}\n\n{text}\n", *parts])
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    words = [
        a.human_readable_name if a.required else f"[{a.human_readable_name}]" for a in arguments
    ]
    usage = " ".join(["lipwright", name, *words, "[OPTIONS]"])
    text = inspect.cleandoc(command.help or "")
    rows = [f"| {spelling(option)} | {meaning(option)} |" for option in options]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows])
    return f"### {name}\n\n```text\n{usage}\n```\n\n{text}\n\n{table}\n"


def spelling(option: click.Option) -> str:
    """Return how an option is written: `-o`, `--output PATH`."""
    if isinstance(option.type, click.Choice):
        value = " " + "\\|".join(option.type.choices)
    else:
        value = "" if option.is_flag else f" {option.metavar or KINDS[option.type.name]}"
    return f"`{', '.join(option.opts)}{value}`"


def meaning(option: click.Option) -> str:
    known = isinstance(option.default, str | int | float) and not option.is_flag
    default = f" Default: {option.default}." if known else ""
    required = " Required." if option.required else ""
    return f"{option.help}{default}{required}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE} is out of date")
    PAGE.write_text(page(), encoding="utf-8")
