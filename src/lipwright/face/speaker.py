"""Choose which of several faces are animated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from lipwright.errors import InvalidOptions
from lipwright.face.landmarker import face_region, region_iou
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT
from lipwright.face.reidentification import descriptor_distance
from lipwright.face.track import RawTrack, Take
from lipwright.options import SpeakerPick
from lipwright.runtime.disk_array import LazyArray, merge_where
from lipwright.types import Bools

MIN_SCORE = 0.15  # about half of the sync score of a face with its own voice
MIN_LEAD = 0.05  # of the sync score over the second best
# Largest distance of two descriptors that may be one person, where the only face of another shot
# appears elsewhere, or in the same place. Measured on 41 people: 40 frames of one person are 0.7 to
# 5.2 apart (17 of 21 below 4), 95 % of two people more than 4.5.
OTHER_PLACE_DISTANCE, SAME_PLACE_DISTANCE = 4.5, 6.0
SAME_PLACE = 0.3  # intersection over union of the faces' regions

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
    main: RawTrack, take: Take, sync_score: SyncScore | None = None, *, picked: bool = False
) -> RawTrack:
    """Return the speaker's track, merged with tracks of other shots that are the speaker's.

    From another side, a face may look too different to be re-identified by its descriptor. In a
    shot without the speaker's track, a face that clearly matches the voice is the speaker's. Where
    no voice tells (there is none, or nobody's mouth follows it), or where the caller has picked the
    speaker, it is the only face of a shot, unless it is clearly somebody else.

    Args:
        main: the speaker's track.
        take: with all tracks.
        sync_score: of a face with the voice of the take; None: there is no voice.
        picked: whether the caller has picked the speaker.
    """
    has_voice = sync_score is not None and any(sync_score(t) >= MIN_SCORE for t in take.tracks)
    merged = main
    for shot in range(len(take.cuts) + 1):
        inside = take.shots == shot
        if (merged.seen & inside).any():
            continue
        others = [t for t in take.tracks if (t.seen & inside).any()]
        candidates = [t for t in others if not (t.seen & merged.seen).any()]
        found = None
        if sync_score is not None and sync_score(main) >= MIN_SCORE:
            found = _clearly_best(candidates, sync_score)
        if found is None and (picked or not has_voice) and len(others) == len(candidates) == 1:
            found = candidates[0] if _may_be_same(main, merged, candidates[0], inside) else None
        if found is not None:
            merged = _merge_tracks(merged, found)
    return merged


def faces_by_shot(take: Take) -> list[RawTrack]:
    """Return for each person the frames of the shots in which they are the most prominent face."""
    chosen: dict[int, list[int]] = {}
    for shot in range(len(take.cuts) + 1):
        inside = take.shots == shot
        seen = [i for i, t in enumerate(take.tracks) if (t.seen & inside).any()]
        if seen:
            best = max(seen, key=lambda i: _prominence(take.tracks[i], take, inside))
            chosen.setdefault(best, []).append(shot)
    return [
        _only(take.tracks[i], np.isin(take.shots, shots)) for i, shots in sorted(chosen.items())
    ]


def _clearly_best(candidates: list[RawTrack], sync_score: SyncScore) -> RawTrack | None:
    """Return the track that clearly matches the voice."""
    scored = sorted(((sync_score(t), -i) for i, t in enumerate(candidates)), reverse=True)
    second = scored[1][0] if len(scored) > 1 else 0.0
    if scored and scored[0][0] >= MIN_SCORE and scored[0][0] - second >= MIN_LEAD:
        return candidates[-scored[0][1]]
    return None


def _may_be_same(main: RawTrack, merged: RawTrack, other: RawTrack, inside: Bools) -> bool:
    """Return whether nothing speaks against it that two tracks show one person."""
    if main.descriptor is None or other.descriptor is None:
        return True
    distance = descriptor_distance(main.descriptor, other.descriptor)
    limit = SAME_PLACE_DISTANCE if _same_place(merged, other, inside) else OTHER_PLACE_DISTANCE
    return distance <= limit


def _same_place(merged: RawTrack, other: RawTrack, inside: Bools) -> bool:
    """Return whether a face appears in a shot where the speaker's was seen last or comes next."""
    first = int(np.flatnonzero(other.seen & inside)[0])
    seen = np.flatnonzero(merged.seen)
    nearest = int(seen[np.abs(seen - first).argmin()])
    ours, theirs = face_region(merged.landmarks[nearest]), face_region(other.landmarks[first])
    return region_iou(ours, theirs) >= SAME_PLACE


def _frame_of(pick: SpeakerPick, take: Take) -> int:
    """Return the source frame of a pick.

    Raises:
        InvalidOptions: it lies outside the picture or after the end.
    """
    info, count = take.info, len(take.times)
    if pick.x > info.width or pick.y > info.height:
        raise InvalidOptions(
            f"speaker {pick.x:g},{pick.y:g} is outside the picture of {info.width} x {info.height} "
            "pixels: point at a face"
        )
    if info.still:
        return 0
    length = float(take.times[-1] + 1 / info.rate)
    if (pick.frame or 0) >= count or pick.seconds > length:
        raise InvalidOptions(
            f"speaker at {pick.moment}: the video ends after {count} frames, at {length:.2f} s; "
            "point at a time within it"
        )
    if pick.frame is not None:
        return pick.frame
    after = (i for i, time in enumerate(take.times) if float(time) >= pick.seconds)
    return next(after, count - 1)


def _merge_tracks(track: RawTrack, other: RawTrack) -> RawTrack:
    """Return a track with the frames of another added."""
    added = other.seen
    return RawTrack(
        landmarks=merge_where(track.landmarks, other.landmarks, added),
        confidence=np.where(added, other.confidence, track.confidence),
        sharpness=np.where(added, other.sharpness, track.sharpness),
        light=np.where(added, other.light, track.light),
        rasters=merge_where(track.rasters, other.rasters, added),
        descriptor=track.descriptor,
    )


def _only(track: RawTrack, frames: Bools) -> RawTrack:
    """Return a track with some of its frames."""
    if not (track.seen & ~frames).any():
        return track
    hidden, shape = ~frames, track.landmarks.shape[1:]
    nothing = LazyArray(
        len(frames), shape, np.float32, lambda rows: np.full((len(rows), *shape), np.nan)
    )
    return replace(
        track,
        landmarks=merge_where(track.landmarks, nothing, hidden),
        confidence=np.where(hidden, 0, track.confidence).astype(np.float32),
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


def _prominence(track: RawTrack, take: Take, frames: Bools | None = None) -> float:
    """Return how prominent a face is in some frames: frames x size x nearness to the middle."""
    seen = track.seen if frames is None else track.seen & frames
    eyes = track.landmarks[:, [EYE_LEFT, EYE_RIGHT]][seen]
    size = float(np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1).mean())
    x = float(track.landmarks[:, :468, 0][seen].mean()) / take.info.width
    return len(eyes) * size * (1 - min(abs(x - 0.5), 0.45))
