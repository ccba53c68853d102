"""What a case is: the files that a person brings, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.inputs.outcome import Outcome
    from bench.inputs.recipes.footage import Footage

#: Makes a file in a folder and returns what the command line is given for it.
Recipe = Callable[[Path, "Footage"], Path | str]
#: Returns what is wrong with an outcome; empty if nothing is.
Check = Callable[["Outcome"], str]


@dataclass(frozen=True)
class Right:
    """The job runs without a warning."""


@dataclass(frozen=True)
class Warned:
    """The job runs and warns; each text is part of a warning."""

    texts: tuple[str, ...]

    def __init__(self, *texts: str) -> None:
        object.__setattr__(self, "texts", texts)


@dataclass(frozen=True)
class Refused:
    """The command fails with an error that names what is wrong."""

    code: str  #: of a LipwrightError
    exit_code: int
    text: str = ""  #: part of the message


@dataclass(frozen=True, kw_only=True)
class Case:
    """Files, options, and what must come of them."""

    name: str  #: unique
    topic: str  #: heading in the documentation
    brings: str  #: what a person brings, for the documentation
    happens: str = ""  #: what happens, for the documentation
    video: Recipe
    audio: Recipe
    options: tuple[str, ...] = ()
    out: str = "out.mp4"
    expect: Right | Warned | Refused = field(default_factory=Right)
    checks: tuple[Check, ...] = ()
    face: bool = False  #: the video shows a face; else --allow-no-face is given
    animated: float = 0.9  #: least share of the frames of a face that are animated
    silent: bool = False  #: what is brought has no sound to hear
    quick: bool = False  #: run by the tests, too; the documentation lists only these
    stdin: bool = False  #: *video* is given on the standard input
