"""The command line: parse, call the public API, print.

What it prints is a contract: results on stdout, progress, warnings and errors on stderr. An error
is one line and an exit code (``docs/reference/errors.md``); with ``--json`` stdout carries exactly
one JSON object, the result or the error. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lipwright import __version__
from lipwright.console import Stopped, show_progress, stoppable
from lipwright.errors import Cancelled, InvalidOptions, LipwrightError
from lipwright.options import SpeakerPick, SyncMode, SyncOptions

if TYPE_CHECKING:
    from lipwright.media.probe import MediaInfo
    from lipwright.pipeline import SyncResult

_DEFAULTS = SyncOptions()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; print no traceback unless LIPWRIGHT_DEBUG is set.

    Args:
        arguments: the words after ``lipwright``; None takes them from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = cli.main(words, prog_name="lipwright", standalone_mode=False)
    except Exception as error:
        if os.environ.get("LIPWRIGHT_DEBUG"):
            traceback.print_exc()
        failure = Failure.of(error)
        failure.print(machine="--json" in words)
        return failure.exit_code
    return status if isinstance(status, int) else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """How a command that failed looks from outside."""

    code: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return the failure that *error* means."""
        match error:
            case LipwrightError():
                return cls(code=error.code, message=str(error), exit_code=error.exit_code)
            case Stopped():
                return cls(code=Cancelled.code, message=str(error), exit_code=error.exit_code)
            case click.Abort():
                message = "stopped by Ctrl-C; nothing was left behind"
                return cls(code=Cancelled.code, message=message, exit_code=Cancelled.exit_code)
            case click.ClickException():
                message = f"{error.format_message().rstrip('.')}; see '{_help_command(error)}'"
                return cls(code=InvalidOptions.code, message=message, exit_code=error.exit_code)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message = f"unexpected {what}; please report it with the output of LIPWRIGHT_DEBUG=1"
        return cls(code=LipwrightError.code, message=message, exit_code=LipwrightError.exit_code)

    def print(self, *, machine: bool) -> None:
        """Print one line on stderr, or one JSON object on stdout."""
        if machine:
            _print_json({"error": {"code": self.code, "message": self.message}})
        else:
            click.echo(f"error: {' '.join(self.message.split())}", err=True)


def _help_command(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{context.command_path if context else 'lipwright'} --help"


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lipwright", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Give a video of a person a new voice.

    The mouth is re-animated to a speech recording; every pixel outside it stays as it was.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, result or error, on stdout."
)
_quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def _parsed_by(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a click callback that parses a value and reports what is wrong with it."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as cause:
            raise click.BadParameter(str(cause)) from cause

    return callback


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"cannot read size {text!r}: write WIDTHxHEIGHT, as 1280x720")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as cause:
        raise ValueError(f"cannot read rate {text!r}: write 25 or 30000/1001") from cause
    if rate <= 0:
        raise ValueError(f"rate {text} must be positive")
    return rate


@cli.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.argument("audio", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The video to write: .mp4, .mov or .mkv. An older file there is replaced when the new one "
    "is complete.",
)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in SyncMode]),
    default=_DEFAULTS.mode.value,
    show_default=True,
    help="How a video and an audio of different length are made to fit.",
)
@click.option(
    "--speaker",
    metavar="X,Y[@T]",
    callback=_parsed_by(SpeakerPick.parse),
    help="Who speaks: the face nearest to pixel X,Y at T seconds. Default: found by itself.",
)
@click.option("--engine", default="exemplar", show_default=True, help="Which engine paints.")
@click.option(
    "--allow-no-face", is_flag=True, help="Pass a video without a face through, with the new sound."
)
@click.option(
    "--crf",
    type=click.FloatRange(1, 51),
    help="Quality of the encoder, 1 is finest, 51 coarsest. Default: near-transparent.",
)
@click.option(
    "--max-seconds",
    type=float,
    default=_DEFAULTS.max_seconds,
    show_default=True,
    help="Refuse a video or audio longer than this.",
)
@click.option(
    "--max-pixels",
    type=int,
    default=_DEFAULTS.max_pixels,
    show_default=True,
    help="Refuse frames of more pixels (width x height).",
)
@_quiet_option
@_json_option
def sync(
    video: Path,
    audio: Path,
    output: Path,
    engine: str,
    mode: str,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Re-animate the mouth in VIDEO to the speech in AUDIO.

    AUDIO is a sound file of any kind, or a video whose sound is taken.
    """
    from lipwright.pipeline import sync as run

    wish = SyncOptions(mode=SyncMode.parse(mode), **options)
    with stoppable() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        result = run(
            video,
            audio,
            output,
            options=wish,
            engine=engine,
            on_progress=on_progress,
            cancel=cancel,
        )
    if as_json:
        _print_json(plain(result))
    else:
        _print_result(result)


def _print_result(result: SyncResult) -> None:
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    seconds = float(result.duration)
    click.echo(
        f"{result.path}: {result.frames} frames at {_rate_text(result.rate)} fps, {seconds:.2f} s, "
        f"{result.mode}, {result.face_frames} frames with the face, style {result.style}"
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@_json_option
def probe(file: Path, as_json: bool) -> None:
    """Show what FILE holds: size, exact rate, rotation, colour, sound."""
    from lipwright.media.probe import probe as run

    info = run(file)
    if as_json:
        _print_json(plain(info))
    else:
        _print_media(info)


def _print_media(info: MediaInfo) -> None:
    click.echo(f"{info.path}: {info.container}")
    if video := info.video:
        varies = ", variable" if video.variable_rate else ""
        depth = f"{video.bit_depth} bit"
        click.echo(
            f"video: {video.codec} {video.width}x{video.height}, {_rate_text(video.rate)} fps"
            f"{varies}, {float(video.duration):.3f} s, {video.pix_fmt} {depth}, "
            f"rotation {video.rotation}, sample aspect {video.sample_aspect}"
        )
    if audio := info.audio:
        click.echo(
            f"audio: {audio.codec} {audio.sample_rate} Hz, {audio.layout}, "
            f"{float(audio.duration):.3f} s"
        )


def _rate_text(rate: Fraction) -> str:
    return f"{float(rate):.5g}" if rate.denominator != 1 else str(rate)


@cli.command(short_help="Make a talking clip and give it a foreign voice, offline.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("lipwright-demo"))
@_quiet_option
@_json_option
def demo(folder: Path, quiet: bool, as_json: bool) -> None:
    """Make a talking clip and give it a foreign voice, offline; write all into FOLDER.

    FOLDER is lipwright-demo here when it is not given.
    """
    from lipwright.demo import run_demo

    with stoppable() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        made = run_demo(folder, on_progress=on_progress, cancel=cancel)
    if as_json:
        _print_json(plain(made))
        return
    for path, meaning in made.contents():
        click.echo(f"{path}: {meaning}")


@cli.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    help="Length of the clip. Default: that of the audio.",
)
@click.option(
    "--size",
    metavar="WxH",
    default="1280x720",
    show_default=True,
    callback=_parsed_by(_size),
    help="Size of the picture.",
)
@click.option(
    "--rate",
    metavar="FPS",
    default="25",
    show_default=True,
    callback=_parsed_by(_rate),
    help="Frames per second, exact: 25 or 30000/1001.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another clip.")
@click.option(
    "--audio",
    type=click.Path(path_type=Path),
    help="Speech that the mouth follows. Default: a recording that comes with Lipwright.",
)
@_quiet_option
@_json_option
def sample(out: Path, quiet: bool, as_json: bool, **wish: Any) -> None:
    """Make a synthetic talking clip OUT with known mouth curves.

    A public-domain portrait is animated; OUT.truth.npz beside it holds the curves and landmarks.
    """
    from lipwright.sample import make_sample

    with stoppable() as cancel, show_progress(quiet=quiet or as_json) as on_progress:
        truth = make_sample(out, on_progress=on_progress, cancel=cancel, **wish)
    if as_json:
        _print_json(truth.summary())
    else:
        click.echo(f"{truth.path}: {truth.frames} frames at {_rate_text(truth.rate)} fps")
        click.echo(f"{truth.truth_path}: mouth opening, width and landmarks of each frame")


@cli.command()
@_json_option
def engines(as_json: bool) -> None:
    """List the installed engines."""
    from lipwright.engines.registry import list_engines

    specs = list_engines()
    if as_json:
        _print_json({"engines": [plain(spec) for spec in specs]})
        return
    for spec in specs:
        click.echo(f"{spec.name}: {spec.summary} ({spec.licence}; {', '.join(spec.devices)})")


@cli.command(short_help="Say what is installed and what is missing.")
@_json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Say what is installed, where model files come from, and what is missing."""
    from lipwright.doctor import examine

    report = examine()
    if as_json:
        _print_json(plain(report))
    else:
        for line in report.lines():
            click.echo(line)
    if not report.healthy:
        context.exit(5)


def plain(value: Any, name: str = "") -> Any:
    """Return *value* as what JSON knows.

    Exact rates and ratios become ``"30000/1001"``, durations and times seconds, paths strings;
    callables (how an engine is loaded) are left out.
    """
    match value:
        case Fraction() if "duration" in name:
            return float(value)
        case Fraction():
            return f"{value.numerator}/{value.denominator}"
        case Enum():
            return value.value
        case Path():
            return str(value)
        case dict():
            return {str(key): plain(item, str(key)) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, name) for item in value]
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {key: plain(item, key) for key, item in fields if not callable(item)}
    return value


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))
