"""What all commands share: options, parsers of values, and how a value becomes JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from lipwright.options import MOST_INTENSITY, FrameSize, Restore, SpeakerPick, SyncMode, SyncOptions

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, result or error, on stdout."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def parsed_by(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a click callback that parses a value and reports what is wrong with it."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as cause:
            raise click.BadParameter(str(cause)) from cause

    return callback


_JOB_OPTIONS = (
    click.option(
        "--mode",
        type=click.Choice([mode.value for mode in SyncMode]),
        default=SyncOptions().mode.value,
        show_default=True,
        help="How a video and an audio of different length are made to fit.",
    ),
    click.option(
        "--speaker",
        metavar="X,Y[@T]",
        callback=parsed_by(SpeakerPick.parse),
        help="Who speaks: the face nearest to pixel X,Y (or to the middle of a box X0,Y0,X1,Y1) "
        "at T seconds. Default: found by itself.",
    ),
    click.option(
        "--allow-no-face",
        is_flag=True,
        help="Pass a video without a face through, with the new sound.",
    ),
    click.option(
        "--intensity",
        type=click.FloatRange(0, MOST_INTENSITY),
        default=SyncOptions().intensity,
        show_default=True,
        help="How strongly to articulate: 0 leaves the mouth at rest, 1 is as the speaker does.",
    ),
    click.option(
        "--restore",
        type=click.Choice([choice.value for choice in Restore]),
        default=SyncOptions().restore.value,
        show_default=True,
        help="Super-resolve the painted mouth: where it has to be enlarged, never, or always.",
    ),
    click.option(
        "--size",
        type=click.Choice([size.value for size in FrameSize]),
        help="Enlarge whole frames to fit 1920x1080 or 3840x2160, either way up; nothing is made "
        "smaller. Default: the video's own size.",
    ),
    click.option(
        "--crf",
        type=click.FloatRange(1, 51),
        help="Quality of the encoder, 1 is finest, 51 coarsest. Default: near-transparent.",
    ),
)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of one job, wherever it is carried out."""
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command


def plain(value: Any, name: str = "") -> Any:
    """Return *value* as what JSON knows.

    Exact rates and ratios become ``"30000/1001"``, durations and times seconds, paths strings;
    moments RFC 3339; callables (how an engine is loaded) are left out.
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
        case datetime():
            return value.isoformat()
        case dict():
            return {str(key): plain(item, str(key)) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, name) for item in value]
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {key: plain(item, key) for key, item in fields if not callable(item)}
    return value


def print_json(value: Any) -> None:
    """Print one JSON object on a line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))
