"""The command line: parse, call the public API, print.

Results go to stdout; progress, warnings and errors to stderr. An error is one line and an exit
code (``docs/reference/errors.md``). With ``--json``, stdout holds exactly one JSON object: the
result or the error. Heavy imports happen inside the commands that need them.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import traceback
from collections.abc import Sequence

import click

from lipwright.cli import local_commands as local
from lipwright.cli import remote_commands as remote
from lipwright.cli import service_commands as service
from lipwright.cli.common import print_json
from lipwright.cli.console import Stopped
from lipwright.cli.isolation import is_isolated, run_isolated, watch_parent
from lipwright.errors import Cancelled, InvalidOptions, LipwrightError
from lipwright.version import __version__

COMMANDS: dict[str, tuple[click.Command, ...]] = {
    "On this machine": (
        local.sync,
        local.probe,
        local.demo,
        local.sample,
        local.engines,
        local.doctor,
    ),
    "A service on this machine": (service.serve, service.keys, service.config),
    "Jobs of a service": (
        remote.submit,
        remote.watch,
        remote.status,
        remote.result,
        remote.cancel,
        remote.list_jobs,
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; print no traceback unless LIPWRIGHT_DEBUG is set.

    Args:
        arguments: the arguments after ``lipwright``; None: those of the process.
    """
    is_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if is_process and is_isolated(arguments):
            return run_isolated(arguments)
        watch_parent()
        status = cli.main(arguments, prog_name="lipwright", standalone_mode=False)
    except Exception as error:
        if os.environ.get("LIPWRIGHT_DEBUG"):
            traceback.print_exc()
        failure = CommandError.of(error)
        failure.print(as_json="--json" in arguments)
        return failure.exit_code
    return status if isinstance(status, int) else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandError:
    """Code, message and exit code of a failed command."""

    code: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: Exception) -> CommandError:
        """Return the command error for *error*."""
        match error:
            case LipwrightError():
                return cls(code=error.code, message=str(error), exit_code=error.exit_code)
            case Stopped():
                return cls(code=Cancelled.code, message=str(error), exit_code=error.exit_code)
            case click.Abort():
                message = "stopped by Ctrl-C; no partial output remains"
                return cls(code=Cancelled.code, message=message, exit_code=Cancelled.exit_code)
            case click.ClickException():
                message = f"{error.format_message().rstrip('.')}; see '{_help_command(error)}'"
                return cls(code=InvalidOptions.code, message=message, exit_code=error.exit_code)
        name = type(error).__name__
        description = f"{name}: {error}" if str(error) else name
        message = f"unexpected {description}; please report it with the output of LIPWRIGHT_DEBUG=1"
        return cls(code=LipwrightError.code, message=message, exit_code=LipwrightError.exit_code)

    def print(self, *, as_json: bool) -> None:
        """Print one line on stderr, or one JSON object on stdout."""
        if as_json:
            print_json({"error": {"code": self.code, "message": self.message}})
        else:
            click.echo(f"error: {' '.join(self.message.split())}", err=True)


def _help_command(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{context.command_path if context else 'lipwright'} --help"


class GroupedCommands(click.Group):
    """A group whose help lists the commands by topic."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of commands under each heading."""
        width = formatter.width - 6 - max(map(len, self.commands))
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(str(c.name), c.get_short_help_str(width)) for c in commands])


@click.group(
    cls=GroupedCommands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lipwright", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Lip-sync: re-animate the mouth in a video to a speech recording.

    Every pixel outside the mouth stays as it was.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _commands in COMMANDS.values():
    for _command in _commands:
        cli.add_command(_command)
