"""What one job asks for: frozen values, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lipwright.errors import InvalidOptions

MOST_INTENSITY = 1.5
#: Video encoders that a job may ask for; those in hardware need the machine's device and driver.
SOFTWARE = ("libx264", "libx265", "libvpx-vp9")
HARDWARE = ("h264_nvenc", "hevc_nvenc", "h264_qsv", "hevc_qsv", "h264_amf", "hevc_amf")
ENCODERS = SOFTWARE + HARDWARE


class SyncMode(StrEnum):
    """How a video of length V is made to fit an audio of length A."""

    CUT_OFF = "cut_off"  #: the longer one is cut: min(V, A)
    LOOP = "loop"  #: the video starts again from its first frame: A
    BOUNCE = "bounce"  #: the video plays backward, then forward, …: A
    SILENCE = "silence"  #: the picture holds, or the audio is padded with silence: max(V, A)
    REMAP = "remap"  #: the video is slowed down or sped up to length A: A

    @classmethod
    def parse(cls, name: str) -> SyncMode:
        """Return the mode called *name*.

        Raises:
            InvalidOptions: there is no such mode.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(cls)
            raise InvalidOptions(f"unknown sync mode {name!r}: use one of {known}") from None


class Restore(StrEnum):
    """Whether a mouth is super-resolved where it is painted larger than it was seen."""

    AUTO = "auto"  #: where it has to be enlarged
    OFF = "off"  #: never
    TWICE = "2x"  #: always, by 2
    FOURFOLD = "4x"  #: always, by 4

    @classmethod
    def parse(cls, name: str) -> Restore:
        """Return the choice called *name*.

        Raises:
            InvalidOptions: there is no such choice.
        """
        try:
            return cls(name)
        except ValueError:
            known = ", ".join(cls)
            raise InvalidOptions(f"unknown restore {name!r}: use one of {known}") from None


class FrameSize(StrEnum):
    """What whole frames are enlarged to, either way up, their aspect kept."""

    FULL_HD = "1080p"  #: to fit in 1920 x 1080
    UHD = "4k"  #: to fit in 3840 x 2160

    @classmethod
    def parse(cls, name: str) -> FrameSize:
        """Return the size called *name*.

        Raises:
            InvalidOptions: there is no such size.
        """
        try:
            return cls(name.lower())
        except ValueError:
            known = ", ".join(cls)
            raise InvalidOptions(f"unknown size {name!r}: use one of {known}") from None


@dataclass(frozen=True, kw_only=True)
class SpeakerPick:
    """Which face speaks: the one nearest to a point at a time."""

    x: float  #: pixels from the left edge, as displayed
    y: float  #: pixels from the top edge, as displayed
    seconds: float = 0.0  #: source time

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) and v >= 0 for v in (self.x, self.y, self.seconds)):
            raise InvalidOptions(
                f"speaker {self.x:g},{self.y:g}@{self.seconds:g} is out of range: use pixels from "
                "the top left corner and seconds from the start, none negative"
            )

    @classmethod
    def parse(cls, text: str) -> SpeakerPick:
        """Return the pick written as ``x,y``, or as a box ``x0,y0,x1,y1``, and ``@seconds``.

        Of a box the middle counts.

        Raises:
            InvalidOptions: *text* is not written so.
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


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """What one job asks for."""

    mode: SyncMode = SyncMode.CUT_OFF
    speaker: SpeakerPick | None = None  #: None: chosen by agreement with the voice, size, centre
    allow_no_face: bool = False  #: pass a video without a face through instead of failing
    intensity: float = 1.0  #: how strongly to articulate: 0 at rest, 1 as the speaker does, to 1.5
    restore: Restore = Restore.AUTO  #: whether an enlarged mouth is super-resolved
    size: FrameSize | None = None  #: what frames are enlarged to; None: they keep their size
    crf: float | None = None  #: constant rate factor of the encoder; None: near-transparent
    encoder: str | None = None  #: FFmpeg's name of the video encoder; None: as the source's codec
    max_pixels: int = 4096 * 2304  #: largest frame accepted, width x height
    max_seconds: float = 7200.0  #: longest video or audio accepted

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", SyncMode.parse(self.mode))  # a plain name is fine too
        object.__setattr__(self, "restore", Restore.parse(self.restore))
        if self.size is not None:
            object.__setattr__(self, "size", FrameSize.parse(self.size))
        if not 0 <= self.intensity <= MOST_INTENSITY:
            raise InvalidOptions(
                f"intensity {self.intensity} is out of range: use 0 (mouth at rest) to "
                f"{MOST_INTENSITY}, 1 articulates as the speaker does"
            )
        if self.crf is not None and not 1 <= self.crf <= 51:
            raise InvalidOptions(f"crf {self.crf} is out of range: use 1 (finest) to 51 (coarsest)")
        if self.encoder is not None and self.encoder not in ENCODERS:
            known = ", ".join(ENCODERS)
            raise InvalidOptions(f"unknown encoder {self.encoder!r}: use one of {known}")
        if self.max_pixels <= 0:
            raise InvalidOptions(f"max_pixels {self.max_pixels} must be positive")
        if not self.max_seconds > 0:
            raise InvalidOptions(f"max_seconds {self.max_seconds} must be positive")
