"""What single cases must keep: sound, orientation, chroma, alpha, fields, tracks, times."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np

from bench.inputs.case import Check
from bench.inputs.outcome import Outcome
from lipwright.media.probe import MediaInfo, video_delay


def first_sound_at(seconds: float) -> Check:
    """The sound begins at a time."""

    def check(outcome: Outcome) -> str:
        loud = np.flatnonzero(np.abs(outcome.sound).max(0) > 0.03)
        begin = loud[0] / 16_000 if len(loud) else -1.0
        return "" if abs(begin - seconds) < 0.12 else f"its sound begins at {begin:.2f} s"

    return check


def picture_as_late(outcome: Outcome) -> str:
    """The picture begins as long after the sound as in the source, half a second or more."""
    before, after = (float(video_delay(info)) for info in (outcome.source, outcome.result))
    good = before > 0.5 and abs(after - before) < 0.05
    return "" if good else f"its picture begins at {after:.2f} s, in the source at {before:.2f}"


def same(name: str) -> Check:
    """A fact of the picture is that of the source."""

    def check(outcome: Outcome) -> str:
        before, after = getattr(outcome.source.video, name), getattr(outcome.result.video, name)
        return "" if before == after else f"{name} is {after}, not {before}"

    return check


def has(fact: Callable[[MediaInfo], object], expected: object, what: str) -> Check:
    """A fact of the result has a value."""

    def check(outcome: Outcome) -> str:
        value = fact(outcome.result)
        return "" if value == expected else f"{what}: {value}, not {expected}"

    return check


def tracks(kind: str, count: int) -> Check:
    """The result has so many tracks of a kind."""

    def check(outcome: Outcome) -> str:
        with av.open(str(outcome.out)) as container:
            found = sum(stream.type == kind for stream in container.streams)
        return "" if found == count else f"it has {found} {kind} tracks, not {count}"

    return check


def chapters(count: int) -> Check:
    """The result has so many chapters."""

    def check(outcome: Outcome) -> str:
        with av.open(str(outcome.out)) as container:
            found = len(container.chapters())
        return "" if found == count else f"it has {found} chapters, not {count}"

    return check


def tag(name: str, present: bool = True) -> Check:
    """The result has a tag, or has not."""

    def check(outcome: Outcome) -> str:
        with av.open(str(outcome.out)) as container:
            found = {key.lower() for key in container.metadata}
        return "" if (name.lower() in found) == present else f"tag {name}: {sorted(found)}"

    return check


def codec(name: str) -> Check:
    """The picture is encoded by a codec."""
    return has(lambda info: info.video and info.video.codec, name, "codec")


def link_kept(outcome: Outcome) -> str:
    """The output was a link, and still is one."""
    return "" if outcome.out.is_symlink() else "the link was replaced"


def graphic_kept(outcome: Outcome) -> str:
    """The area of the graphic differs little from the source in every frame."""
    worst = 0.0
    wanted = set(range(0, 40, 5))
    for before, after in zip(
        outcome.pictures(outcome.source, wanted),
        outcome.pictures(outcome.result, wanted),
        strict=True,
    ):
        side = before.height
        box = before.align(
            (side // 2 - 6, round(side * 0.72) - 6, side // 2 + 24, round(side * 0.72) + 12)
        )
        a, b = before.rgb(box).astype(np.int16), after.rgb(box).astype(np.int16)
        bright = a.max(2) > 200
        if bright.any():
            worst = max(worst, float(np.abs(a - b)[bright].mean()))
    return "" if worst < 16 else f"the graphic differs by {worst:.0f} codes"


def interlaced(order: str) -> Check:
    """The frames are flagged as interlaced with the right field first."""

    def check(outcome: Outcome) -> str:
        video = outcome.result.video
        assert video is not None
        first = {2: "tt", 4: "tt", 3: "bb", 5: "bb"}.get(video.field_order, "?")
        if not video.interlaced or first != order:
            return f"interlaced {video.interlaced}, {first} instead of {order}"
        return ""

    return check
