"""Say which frames were not animated, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lipwright.engines.base import FaceTrack
from lipwright.face.effect_strength import Weakness, strength_factors
from lipwright.face.track import Take
from lipwright.pipeline.driving import visibility_limit
from lipwright.pipeline.plan import RenderPlan
from lipwright.types import Bools, Floats

NO_FACE = "no face is seen"
OTHER_PERSON = "another person is in view"
HINTS = {OTHER_PERSON: "; pick them with speaker, or use animate everyone"}
MAX_RANGES = 5  # named in one warning


@dataclass(frozen=True)
class FrameRange:
    """Output frames that show the picture of the source, and the reason."""

    first: int  #: index of an output frame, from 0
    last: int  #: included
    reason: str

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1


def find_unpainted(plan: RenderPlan, take: Take, painted: Bools) -> tuple[FrameRange, ...]:
    """Return the ranges of output frames without a painted mouth, with their reasons.

    Args:
        plan: that was painted.
        take: the tracked source.
        painted: (n,) whether each output frame has a painted mouth.
    """
    missing = np.flatnonzero(~painted)
    if not len(missing):
        return ()
    reasons = _reasons(plan, take)
    sources = [reasons[min(round(i + share), len(reasons) - 1)] for i, share in plan.indices]
    # A blended frame may be unpainted for the sake of the other frame that it shows.
    named = [(int(k), sources[k] or reasons[plan.indices[k][0]] or NO_FACE) for k in missing]
    return tuple(_ranges(named))


def face_warnings(
    plan: RenderPlan, take: Take, painted: Bools, unpainted: Sequence[FrameRange]
) -> Iterator[str]:
    """Yield which frames are unchanged, and which faces were not animated.

    Args:
        plan: that was painted.
        take: the tracked source.
        painted: (n,) whether each output frame has a painted mouth.
        unpainted: as :func:`find_unpainted` returns it.
    """
    if not take.tracks:
        yield "no face was found: the picture is unchanged"
        return
    for reason in dict.fromkeys(part.reason for part in unpainted):
        parts = [part for part in unpainted if part.reason == reason]
        count = sum(part.frames for part in parts)
        yield (
            f"{_name(parts)} ({count} of {plan.frames}) {'is' if count == 1 else 'are'} unchanged: "
            f"{reason}{HINTS.get(reason, '')}"
        )
    others = _others(plan, take)
    beside = sum(
        bool(others[i]) for (i, _), shown in zip(plan.indices, painted, strict=True) if shown
    )
    if beside:
        yield (
            f"another face is in view in {beside} of {plan.frames} frames and was not animated; "
            "pick it with speaker"
        )


def _reasons(plan: RenderPlan, take: Take) -> list[str]:
    """Return for each source frame why it may be unpainted; empty where nothing speaks for it."""
    others = _others(plan, take)
    reasons = [OTHER_PERSON if other else NO_FACE for other in others]
    for animated in reversed(plan.faces):
        seen = np.isfinite(animated.face.landmarks[:, 0, 0])
        weakest = _weakest(animated.face, plan)
        for i in np.flatnonzero(seen):
            reasons[i] = weakest[i]
    return reasons


def _others(plan: RenderPlan, take: Take) -> Bools:
    """Return whether each source frame shows a face beside or in place of the animated ones."""
    shown = np.sum([track.seen for track in take.tracks], axis=0, dtype=np.int64)
    own = np.zeros(len(take.times), np.int64)
    for animated in plan.faces:
        own += animated.face.confidence > 0
    other: Bools = shown > np.minimum(own, 1)
    return other


def _weakest(face: FaceTrack, plan: RenderPlan) -> list[str]:
    """Return what reduces the effect most in each source frame."""
    info = plan.info
    size = info.width, info.height
    factors: dict[Weakness, Floats] = {
        Weakness.COVERED: visibility_limit(face),
        **strength_factors(face.landmarks, face.confidence, float(info.rate), size, face.shot),
    }
    names = [str(name) for name in factors]
    rows = np.nan_to_num(np.array([*factors.values()]), nan=1.0)
    return [names[k] for k in rows.argmin(0)]


def _ranges(named: Iterable[tuple[int, str]]) -> Iterator[FrameRange]:
    """Yield runs of neighbouring frames with one reason."""
    for _, run in groupby(enumerate(named), lambda item: (item[1][0] - item[0], item[1][1])):
        frames = [frame for _, frame in run]
        yield FrameRange(frames[0][0], frames[-1][0], frames[0][1])


def _name(parts: Sequence[FrameRange]) -> str:
    """Return ranges as text: ``frames 31-63 and 70``."""
    texts = [f"{p.first}-{p.last}" if p.frames > 1 else str(p.first) for p in parts[:MAX_RANGES]]
    more = len(parts) - len(texts)
    if more:
        texts.append(f"{more} more range{'s' if more > 1 else ''}")
    joined = texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
    return f"{'frame' if len(parts) == 1 and parts[0].frames == 1 else 'frames'} {joined}"
