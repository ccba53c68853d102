"""Who speaks: which of several faces is animated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lipwright.errors import InvalidOptions
from lipwright.face.shape import EYE_LEFT, EYE_RIGHT
from lipwright.face.track import RawTrack, Take
from lipwright.options import SpeakerPick
from lipwright.runtime.disk_array import merge_where

LEAST_AGREEMENT = 0.15  # about half of what a face scores with its own voice
LEAST_LEAD = 0.05  # over the second best

Agreement = Callable[[RawTrack], float]


def choose_speaker(
    take: Take, pick: SpeakerPick | None, agreement: Agreement | None = None
) -> RawTrack:
    """Return the face the caller points at; else the one that moves with the voice of the take.

    Without a voice, or when no face clearly moves with it, it is the large, central, lasting one.

    Args:
        take: with at least one track.
        pick: where the caller points, if anywhere.
        agreement: how well a face's mouth goes with the voice, 0 (not at all) to about 0.4.

    Raises:
        InvalidOptions: no face is seen at the time that is pointed at.
    """
    if pick is None:
        return _by_voice(take, agreement) or max(take.tracks, key=lambda t: _prominence(t, take))
    after = np.flatnonzero([float(t) >= pick.seconds for t in take.times])
    index = int(after[0]) if len(after) else len(take.times) - 1
    seen = [t for t in take.tracks if t.seen[index]]
    if not seen:
        raise InvalidOptions(
            f"no face is seen at {pick.seconds:g} s: point at a time when the speaker is in view"
        )
    return min(seen, key=lambda t: _distance(t, index, pick))


def join_shots(main: RawTrack, take: Take, agreement: Agreement | None = None) -> RawTrack:
    """Return the speaker with the tracks of other shots that the voice shows to be the speaker too.

    Seen from another side a face may look too different to be told by its features. In a shot that
    does not show the speaker, a face that clearly moves with the voice is the speaker's.

    Args:
        main: the speaker as followed.
        take: with all tracks.
        agreement: see :func:`choose_speaker`; without one nothing is joined.
    """
    if agreement is None or agreement(main) < LEAST_AGREEMENT:
        return main
    joined = main
    for shot in range(len(take.cuts) + 1):
        inside = take.shots == shot
        if (joined.seen & inside).any():
            continue
        others = [t for t in take.tracks if (t.seen & inside).any()]
        there = [t for t in others if not (t.seen & joined.seen).any()]
        scored = sorted(((agreement(t), -i) for i, t in enumerate(there)), reverse=True)
        rival = scored[1][0] if len(scored) > 1 else 0.0
        if scored and scored[0][0] >= LEAST_AGREEMENT and scored[0][0] - rival >= LEAST_LEAD:
            joined = _with_rows_of(joined, there[-scored[0][1]])
    return joined


def _with_rows_of(track: RawTrack, other: RawTrack) -> RawTrack:
    """Return a track with another's frames added."""
    added = other.seen
    return RawTrack(
        landmarks=merge_where(track.landmarks, other.landmarks, added),
        confidence=np.where(added, other.confidence, track.confidence),
        sharpness=np.where(added, other.sharpness, track.sharpness),
        light=np.where(added, other.light, track.light),
        rasters=merge_where(track.rasters, other.rasters, added),
    )


def _by_voice(take: Take, agreement: Agreement | None) -> RawTrack | None:
    if agreement is None or len(take.tracks) < 2:
        return None
    scored = sorted(((agreement(t), -i, t) for i, t in enumerate(take.tracks)), reverse=True)
    clear = scored[0][0] >= LEAST_AGREEMENT and scored[0][0] - scored[1][0] >= LEAST_LEAD
    return scored[0][2] if clear else None


def _distance(track: RawTrack, index: int, pick: SpeakerPick) -> float:
    centre = track.landmarks[index, :468, :2].mean(0)
    return float(np.hypot(centre[0] - pick.x, centre[1] - pick.y))


def _prominence(track: RawTrack, take: Take) -> float:
    """Frames x size x nearness to the middle."""
    eyes = track.landmarks[:, [EYE_LEFT, EYE_RIGHT]][track.seen]
    size = float(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1).mean())
    x = float(track.landmarks[:, :468, 0][track.seen].mean()) / take.info.width
    return len(eyes) * size * (1 - min(abs(x - 0.5), 0.45))
