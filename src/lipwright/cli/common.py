"""Options, parsers and JSON output that all commands share."""

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

from lipwright.options import Option, SpeakerPick, option_fields

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, result or error, on stdout."
)
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


def parse_with(parse: Callable[[str], Any]) -> Callable[..., Any]:
    """Return a click callback that parses a value; a ValueError becomes a usage error."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else parse(value)
        except ValueError as cause:
            raise click.BadParameter(str(cause)) from cause

    return callback


def sync_options(*, remote: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that gives a command the options of one job.

    Args:
        remote: only those that callers of a service may set.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(option_fields()):
            if field.remote or not remote:
                command = _click_option(field)(command)
        return command

    return decorate


def _click_option(field: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name = f"--{field.name.replace('_', '-')}"
    if field.kind is bool:
        return click.option(name, is_flag=True, help=field.help)
    if field.kind is SpeakerPick:
        pick = parse_with(SpeakerPick.parse)
        return click.option(name, metavar="X,Y[@T]", callback=pick, help=field.help)
    default = field.to_json(field.default)
    return click.option(
        name,
        type=_click_type(field),
        default=default,
        show_default=default is not None,
        help=field.help,
    )


def _click_type(field: Option) -> Any:
    if field.choices:
        return click.Choice(field.choices)
    if field.minimum is None:
        return click.STRING if field.kind is str else click.types.convert_type(field.kind)
    kind: Any = click.IntRange if field.kind is int else click.FloatRange
    return kind(field.minimum, field.maximum)


def to_plain(value: Any, name: str = "") -> Any:
    """Return *value* as plain JSON types.

    Rates and ratios become strings like ``"30000/1001"``, durations seconds, paths strings and
    times RFC 3339. Callables, such as the loader of an engine, are left out.
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
            return {str(key): to_plain(item, str(key)) for key, item in value.items()}
        case list() | tuple():
            return [to_plain(item, name) for item in value]
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {key: to_plain(item, key) for key, item in fields if not callable(item)}
    return value


def print_json(value: Any) -> None:
    """Print one JSON object on a line of stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))
