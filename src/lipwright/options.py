"""The options of one job: :class:`SyncOptions` is their only definition.

The command line, the HTTP schema, the client, the job queue and the render process derive from its
fields. To add an option, add one field with :func:`option` and use it in the pipeline.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from numbers import Real
from types import UnionType
from typing import Any, Self, Union, cast, get_args, get_origin, get_type_hints

from lipwright.errors import InvalidOptions

#: Video encoders that a job may request. Hardware encoders need the device and its driver.
SOFTWARE = ("libx264", "libx265", "libvpx-vp9", "prores_ks", "ffv1")
HARDWARE = ("h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "h264_amf", "hevc_amf")
ENCODERS = SOFTWARE + HARDWARE
CHROMA = ("4:2:0", "4:2:2", "4:4:4")  #: chroma samplings that a job may request
DEFAULT_ENGINE = "exemplar"  # name of the engine that comes with the package
MAX_PIXELS = 4096 * 2304  # width x height of the largest frame accepted by default
MAX_SECONDS = 7200.0  # longest video or audio accepted by default
_OPTION = "option"  # key in the metadata of a dataclass field


class SyncMode(StrEnum):
    """How a video of length V is fitted to an audio of length A."""

    CUT_OFF = "cut_off"  #: the longer one is cut: min(V, A)
    LOOP = "loop"  #: the video restarts from its first frame: A
    BOUNCE = "bounce"  #: the video plays backward, then forward, …: A
    SILENCE = "silence"  #: the last frame is held, or the audio is padded with silence: max(V, A)
    REMAP = "remap"  #: the video is slowed down or sped up to the length of the audio: A

    @classmethod
    def parse(cls, name: str) -> SyncMode:
        """Return the mode called *name*.

        Raises:
            InvalidOptions: there is no such mode.
        """
        mode: SyncMode = _member(cls, "sync mode", name)
        return mode


class Restore(StrEnum):
    """When the painted mouth is super-resolved."""

    AUTO = "auto"  #: where it has to be enlarged
    OFF = "off"  #: never
    TWICE = "2x"  #: always, by 2
    FOURFOLD = "4x"  #: always, by 4


class Animate(StrEnum):
    """Who is animated."""

    SPEAKER = "speaker"  #: one person, in all shots that show them
    EVERYONE = "everyone"  #: in each shot the most prominent face, whoever it is


class FrameSize(StrEnum):
    """The size that whole frames are enlarged to, in either orientation, aspect kept."""

    FULL_HD = "1080p"  #: fits in 1920 x 1080
    UHD = "4k"  #: fits in 3840 x 2160


@dataclass(frozen=True, kw_only=True)
class SpeakerPick:
    """The face to animate: the one nearest to a point, at a time or in a frame of the source."""

    x: float  #: pixels from the left edge, as displayed
    y: float  #: pixels from the top edge, as displayed
    seconds: float = 0.0  #: source time
    frame: int | None = None  #: index of the source frame, from 0; replaces *seconds*

    def __post_init__(self) -> None:
        values = (self.x, self.y, self.seconds, self.frame or 0)
        if not all(math.isfinite(v) and v >= 0 for v in values):
            raise InvalidOptions(
                f"speaker {self.x:g},{self.y:g}@{self.seconds:g} is out of range: use pixels from "
                "the top left corner and seconds from the start, none negative"
            )

    @property
    def moment(self) -> str:
        """The time or frame, for messages."""
        return f"{self.seconds:g} s" if self.frame is None else f"frame {self.frame}"

    @classmethod
    def parse(cls, text: str) -> SpeakerPick:
        """Return the pick written as ``x,y``, or as a box ``x0,y0,x1,y1``, and ``@seconds``.

        The centre of a box is used.

        Raises:
            InvalidOptions: *text* has another format.
        """
        point, _, seconds = text.partition("@")
        try:
            place = [float(part) for part in point.split(",")]
            if len(place) == 4:
                place = [(place[0] + place[2]) / 2, (place[1] + place[3]) / 2]
            x, y = place
            time = float(seconds or 0)
        except ValueError as cause:
            raise InvalidOptions(
                f"cannot read speaker {text!r}: write x,y or a box x0,y0,x1,y1 in pixels, and "
                "@seconds if it is not the first frame, as 640,300@2.5"
            ) from cause
        return cls(x=x, y=y, seconds=time)

    def to_json(self) -> list[float] | dict[str, float]:
        """Return ``[x, y, seconds]``, or ``{"x": …, "y": …, "frame": …}``."""
        if self.frame is None:
            return [self.x, self.y, self.seconds]
        return {"x": self.x, "y": self.y, "frame": self.frame}

    @classmethod
    def from_json(cls, value: Sequence[float] | Mapping[str, float]) -> SpeakerPick:
        """Return the pick written as ``[x, y]``, ``[x, y, seconds]`` or an object.

        Raises:
            InvalidOptions: *value* has another format.
        """
        try:
            if isinstance(value, Mapping):
                return cls(**value)  # type: ignore[arg-type]
            x, y, *seconds = value
            return cls(x=x, y=y, seconds=seconds[0] if seconds else 0.0)
        except (TypeError, ValueError, IndexError) as cause:
            if isinstance(cause, InvalidOptions):
                raise
            raise InvalidOptions(
                f"cannot read speaker {value!r}: write [x, y] or [x, y, seconds]"
            ) from cause


@dataclass(frozen=True, kw_only=True)
class Option:
    """What an interface needs to offer one field of :class:`SyncOptions`."""

    name: str
    kind: type  #: bool, int, float, str, a StrEnum or SpeakerPick
    default: Any
    help: str  #: whole sentences; the default is said here where it is None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()  #: of a str or StrEnum; empty: any
    remote: bool = True  #: whether callers of the service may set it

    def check(self, value: Any) -> Any:
        """Return *value* as the field holds it; names of enum members become members.

        Raises:
            InvalidOptions: it is unknown or out of range.
        """
        if value is None and self.default is None:
            return None
        if issubclass(self.kind, StrEnum):
            return _member(self.kind, "sync mode" if self.name == "mode" else self.name, value)
        if self.choices and value not in self.choices:
            known = ", ".join(self.choices)
            raise InvalidOptions(f"unknown {self.name} {value!r}: use one of {known}")
        if self.minimum is not None and not self._in_range(value):
            raise InvalidOptions(f"{self.name} {value} is out of range: use {self._range_text}")
        return value

    def _in_range(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real):
            return False
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return low <= float(value) <= high

    @property
    def _range_text(self) -> str:
        if self.maximum is None:
            return f"a number from {self.minimum:g}"
        return f"{self.minimum:g} to {self.maximum:g}"

    def to_json(self, value: Any) -> Any:
        """Return *value* as JSON."""
        if isinstance(value, SpeakerPick):
            return value.to_json()
        return value.value if isinstance(value, StrEnum) else value

    def from_json(self, value: Any) -> Any:
        """Return the value of the field that *value* is the JSON of."""
        is_pick = self.kind is SpeakerPick and value is not None
        return SpeakerPick.from_json(value) if is_pick else value


def option(
    default: Any,
    *,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    remote: bool = True,
) -> Any:
    """Return a field of :class:`SyncOptions`; see :class:`Option` for the arguments."""
    facts = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "remote": remote,
    }
    return dataclasses.field(default=default, metadata={_OPTION: facts})


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """The options of one job. Names of enum members are accepted for members."""

    mode: SyncMode = option(
        SyncMode.CUT_OFF,
        help="How a video and an audio of different length are fitted to each other.",
    )
    speaker: SpeakerPick | None = option(
        None,
        help="The face to animate: the one nearest to a point in pixels (or to the centre of a "
        "box) at a time in seconds. Default: detected from the voice, size and position.",
    )
    animate: Animate = option(
        Animate.SPEAKER,
        help="Who is animated: one person (speaker), or in each shot the most prominent face, "
        "whoever it is (everyone).",
    )
    allow_no_face: bool = option(
        False, help="Copy the picture of a video without a face instead of failing."
    )
    intensity: float = option(
        1.0,
        minimum=0,
        maximum=1.5,
        help="Strength of articulation: 0 keeps the mouth at rest, 1 is the speaker's own.",
    )
    restore: Restore = option(
        Restore.AUTO,
        help="Super-resolve the painted mouth: where it is enlarged (auto), never (off) or always.",
    )
    size: FrameSize | None = option(
        None,
        help="Enlarge whole frames to fit 1920x1080 or 3840x2160, in either orientation; never "
        "shrinks. Default: the size of the video.",
    )
    crf: float | None = option(
        None,
        minimum=1,
        maximum=51,
        help="Constant rate factor of the encoder: 1 is finest, 51 coarsest. Default: "
        "near-transparent.",
    )
    encoder: str | None = option(
        None,
        choices=ENCODERS,
        remote=False,
        help="Video encoder. Hardware encoders need the device. Default: libx264; libx265 for "
        "HEVC sources and for more than 8 bits; prores_ks for ProRes and for alpha in .mov; ffv1 "
        "for lossless sources and for alpha in .mkv.",
    )
    chroma: str | None = option(
        None,
        choices=CHROMA,
        help="Chroma sampling of the result: browsers and many players show 4:2:0 only. Default: "
        "that of the video; 4:2:0 for GIF.",
    )
    video_track: int | None = option(
        None,
        minimum=1,
        help="Which of several video tracks to use, from 1. Default: the one flagged as default, "
        "else the first.",
    )
    audio_track: int | None = option(
        None,
        minimum=1,
        help="Which of several audio tracks of the audio to use, from 1. Default: the one flagged "
        "as default, else the first.",
    )
    keep_audio: bool = option(
        False,
        help="Keep the video's own voice as a further audio track. Its other audio tracks are kept "
        "anyway, where the result follows the time of the video.",
    )
    strip_metadata: bool = option(
        False,
        help="Keep no tags, place, chapters, timecode, cover pictures or attachments of the video.",
    )
    max_seconds: float = option(
        MAX_SECONDS, minimum=0.001, remote=False, help="Refuse a longer video or audio."
    )
    max_pixels: int = option(
        MAX_PIXELS, minimum=1, remote=False, help="Refuse larger frames (width x height)."
    )

    def __post_init__(self) -> None:
        for field in option_fields(type(self)):
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    def to_json(self, *, remote: bool = False, defaults: bool = True) -> dict[str, Any]:
        """Return the options as JSON.

        Args:
            remote: only those that callers of the service may set.
            defaults: with those that have their default value.
        """
        return {
            field.name: field.to_json(getattr(self, field.name))
            for field in option_fields(type(self))
            if (field.remote or not remote)
            and (defaults or getattr(self, field.name) != field.default)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the options that *values* names; missing ones have their default.

        Raises:
            InvalidOptions: an option is unknown or out of range.
        """
        fields = {field.name: field for field in option_fields(cls)}
        if unknown := sorted(set(values) - set(fields)):
            raise InvalidOptions(f"unknown options: {', '.join(unknown)}")
        try:
            return cls(**{name: fields[name].from_json(value) for name, value in values.items()})
        except TypeError as cause:
            raise InvalidOptions(f"cannot read the options: {cause}") from cause


def option_fields(options: type[SyncOptions] = SyncOptions) -> tuple[Option, ...]:
    """Return the options in the order of their definition."""
    return _fields(cast(Hashable, options))


@cache
def _fields(options: Any) -> tuple[Option, ...]:
    hints = get_type_hints(options)
    return tuple(
        _option(field.name, _kind(hints[field.name]), field.default, **field.metadata[_OPTION])
        for field in dataclasses.fields(options)
    )


def _option(
    name: str, kind: type, default: Any, *, choices: tuple[str, ...], **facts: Any
) -> Option:
    if issubclass(kind, StrEnum):
        choices = tuple(member.value for member in kind)
    return Option(name=name, kind=kind, default=default, choices=choices, **facts)


def _kind(hint: Any) -> type:
    """Return the type of an annotation without ``None``."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(arm for arm in get_args(hint) if arm is not type(None))
    assert isinstance(hint, type)
    return hint


def _member(kind: type[StrEnum], what: str, name: str) -> Any:
    try:
        return kind(name.lower())
    except (ValueError, AttributeError):
        known = ", ".join(kind)
        raise InvalidOptions(f"unknown {what} {name!r}: use one of {known}") from None
