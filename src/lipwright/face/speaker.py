"""Choose which of several faces is animated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lipwright.errors import InvalidOptions
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT
from lipwright.face.track import RawTrack, Take
from lipwright.options import SpeakerPick
from lipwright.runtime.disk_array import merge_where

MIN_SCORE = 0.15  # about half of the sync score of a face with its own voice
MIN_LEAD = 0.05  # of the sync score over the second best

#: How well the motion of a face's mouth matches the voice, 0 (not at all) to about 0.4.
SyncScore = Callable[[RawTrack], float]


def choose_speaker(
    take: Take, pick: SpeakerPick | None, sync_score: SyncScore | None = None
) -> RawTrack:
    """Return the face at the picked point; without a pick, the face that matches the voice.

    Without a voice, or if no face clearly matches it, return the most prominent face: large,
    central, and on screen for long.

    Args:
        take: with at least one track.
        pick: time and point of the speaker, if the caller gave them.
        sync_score: of a face with the voice of the take, if it has one.

    Raises:
        InvalidOptions: no face is seen at the time of the pick.
    """
    if pick is None:
        return _best_match(take, sync_score) or max(take.tracks, key=lambda t: _prominence(t, take))
    index = _frame_of(pick, take)
    seen = [t for t in take.tracks if t.seen[index]]
    if not seen:
        raise InvalidOptions(
            f"no face is seen at {pick.moment}: point at a time when the speaker is in view"
        )
    return min(seen, key=lambda t: _distance(t, index, pick))


def merge_speaker_shots(
    main: RawTrack, take: Take, sync_score: SyncScore | None = None
) -> RawTrack:
    """Return the speaker's track, merged with tracks of other shots that match the voice.

    From another side, a face may look too different to be re-identified by its descriptor. In a
    shot without the speaker's track, a face that clearly matches the voice is the speaker's.

    Args:
        main: the speaker's track.
        take: with all tracks.
        sync_score: of a face with the voice of the take; None: nothing is merged.
    """
    if sync_score is None or sync_score(main) < MIN_SCORE:
        return main
    merged = main
    for shot in range(len(take.cuts) + 1):
        inside = take.shots == shot
        if (merged.seen & inside).any():
            continue
        others = [t for t in take.tracks if (t.seen & inside).any()]
        candidates = [t for t in others if not (t.seen & merged.seen).any()]
        scored = sorted(((sync_score(t), -i) for i, t in enumerate(candidates)), reverse=True)
        second = scored[1][0] if len(scored) > 1 else 0.0
        if scored and scored[0][0] >= MIN_SCORE and scored[0][0] - second >= MIN_LEAD:
            merged = _merge_tracks(merged, candidates[-scored[0][1]])
    return merged


def _frame_of(pick: SpeakerPick, take: Take) -> int:
    """Return the source frame of a pick; the last one if the take ends before it."""
    last = len(take.times) - 1
    if pick.frame is not None:
        return min(pick.frame, last)
    return next((i for i, time in enumerate(take.times) if float(time) >= pick.seconds), last)


def _merge_tracks(track: RawTrack, other: RawTrack) -> RawTrack:
    """Return a track with the frames of another added."""
    added = other.seen
    return RawTrack(
        landmarks=merge_where(track.landmarks, other.landmarks, added),
        confidence=np.where(added, other.confidence, track.confidence),
        sharpness=np.where(added, other.sharpness, track.sharpness),
        light=np.where(added, other.light, track.light),
        rasters=merge_where(track.rasters, other.rasters, added),
    )


def _best_match(take: Take, sync_score: SyncScore | None) -> RawTrack | None:
    if sync_score is None or len(take.tracks) < 2:
        return None
    scored = sorted(((sync_score(t), -i, t) for i, t in enumerate(take.tracks)), reverse=True)
    is_clear = scored[0][0] >= MIN_SCORE and scored[0][0] - scored[1][0] >= MIN_LEAD
    return scored[0][2] if is_clear else None


def _distance(track: RawTrack, index: int, pick: SpeakerPick) -> float:
    centre = track.landmarks[index, :468, :2].mean(0)
    return float(np.hypot(centre[0] - pick.x, centre[1] - pick.y))


def _prominence(track: RawTrack, take: Take) -> float:
    """Return how prominent a face is: frames x size x nearness to the middle."""
    eyes = track.landmarks[:, [EYE_LEFT, EYE_RIGHT]][track.seen]
    size = float(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1).mean())
    x = float(track.landmarks[:, :468, 0][track.seen].mean()) / take.info.width
    return len(eyes) * size * (1 - min(abs(x - 0.5), 0.45))
