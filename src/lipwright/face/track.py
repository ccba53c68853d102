"""Track every face through a video.

A face is tracked within one shot: the landmarks of one frame give the region to search in the next.
The detector runs while no face is tracked, and at intervals to find new faces. At a cut all tracks
end and the detector searches the new picture. Tracks of different shots are joined to one person by
their face descriptors (:mod:`lipwright.face.reidentification`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lipwright.face.crop import crop_around, measure_quality
from lipwright.face.landmarker import (
    LANDMARKS,
    Detection,
    FaceLandmarker,
    Region,
    face_region,
    region_iou,
)
from lipwright.face.lower_face_raster import RASTER_SIDE, sample_lower_face
from lipwright.face.overlays.graphics import OverlayGraphics
from lipwright.face.reidentification import (
    MAX_FRAMES,
    SAME_PERSON_DISTANCE,
    FaceDescriptor,
    describe_face,
    descriptor_distance,
)
from lipwright.face.roll import (
    CERTAIN,
    MIN_PRESENCE,
    detect_in_any_direction,
    detect_turned,
    find_direction,
    quarter_turns,
)
from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo
from lipwright.media.shot_detection import split_shots
from lipwright.runtime.disk_array import Array, DiskArray, gather
from lipwright.types import Floats

KEEP_PRESENCE = 0.2  # probability below which a tracked face is lost
SEARCH_SIDE = 640  # pixels, longer side of the picture that the detector gets
DETECTION_INTERVAL = 25  # frames between detector runs while faces are tracked
TILE_INTERVAL = 5  # frames between searches in tiles while no face is tracked
REACQUIRE_FRAMES = 250  # a lost face is searched for this long around its last region,
REACQUIRE_SCALE = 2.2  # in a square of so many times its side
MAX_FACES = 4
MIN_TRACK_FRAMES = 3  # shorter tracks are false alarms, unless the video is that short


@dataclass(frozen=True, kw_only=True)
class RawTrack:
    """One person's face over all frames of a take; NaN and 0 where it is not seen."""

    landmarks: Array  #: (T, 478, 3) float32 x, y, z in pixels as displayed, NaN where lost
    confidence: Floats  #: (T,) 0 to 1, presence of a face
    sharpness: Floats  #: (T,) standard deviation of the Laplacian over the face, 8-bit units
    light: Floats  #: (T,) mean of the face's grey value, 0 to 255
    rasters: Array  #: (T, 32, 32, 3) uint8 L, a, b of the lower face, for occlusion detection
    descriptor: FaceDescriptor | None = None  #: of the person; None: not known

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Frames (T,) in which this face is seen."""
        return self.confidence > 0

    def in_memory(self) -> RawTrack:
        """Return a copy with all arrays in memory, which may outlive the tracker."""
        return replace(self, landmarks=np.asarray(self.landmarks), rasters=np.asarray(self.rasters))


@dataclass(frozen=True, kw_only=True)
class Take:
    """A source video with the tracks of its faces."""

    info: VideoInfo
    times: tuple[Fraction, ...]  #: seconds from the first frame
    tracks: tuple[RawTrack, ...]  #: most prominent first
    cuts: tuple[int, ...] = ()  #: index of the first frame of each shot but the first, ascending
    damaged: int = 0  #: frames of the source that are missing or partly filled in
    overlays: OverlayGraphics | None = None  #: graphics in front of the faces; None: none

    @property
    def shots(self) -> NDArray[np.int64]:
        """Index of the shot that each frame belongs to, (T,) from 0."""
        return np.searchsorted(np.array(self.cuts, np.int64), np.arange(len(self.times)), "right")


@dataclass
class _ShotTrack:
    """A track within one shot, while it grows."""

    region: Region
    shot: int = 0
    active: bool = True
    last: int = 0  #: last frame in which the face was seen
    points: Floats = field(default_factory=lambda: np.empty((0, 3), np.float32))  #: landmarks in it
    rows: dict[int, int] = field(default_factory=dict)  #: frame → row in the tracker's arrays


class Tracker:
    """Tracks faces through the pictures of a video, fed in order; see :func:`track_faces`."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker
        self._faces: list[_ShotTrack] = []
        self._count = 0
        self._cuts: list[int] = []
        self._landmarks = DiskArray((LANDMARKS, 3), np.float32)
        self._rasters = DiskArray((RASTER_SIDE, RASTER_SIDE, 3), np.uint8)
        self._measurements = DiskArray((6,), np.float32)  # presence, sharpness, light, R, G, B

    def feed(self, picture: Picture, *, cut: bool = False) -> None:
        """Track all faces in the next picture.

        Args:
            picture: the next frame of the video.
            cut: whether it begins a new shot, which ends all tracks.
        """
        index, self._count = self._count, self._count + 1
        if cut:
            self._cuts.append(index)
            for face in self._active():
                face.active = False
        for face in self._active():
            self._track(face, picture, index, KEEP_PRESENCE)
        self._drop_duplicates(index)
        for face in self._recently_lost(index):
            self._reacquire(face, picture, index)
        none_active = not self._active()
        since_cut = index - (self._cuts[-1] if self._cuts else 0)
        if none_active or since_cut % DETECTION_INTERVAL == 0:
            thorough = none_active and since_cut % TILE_INTERVAL == 0
            self._search(picture, index, thorough=thorough)

    def current_landmarks(self) -> list[Floats]:
        """Return the landmarks (478, 3) of every face seen in the last picture."""
        return [face.points for face in self._active() if face.last == self._count - 1]

    @property
    def cuts(self) -> tuple[int, ...]:
        """Indices of the frames that began a new shot."""
        return tuple(self._cuts)

    def tracks(self) -> tuple[RawTrack, ...]:
        """Return the tracks so far, the most prominent face first."""
        min_frames = min(MIN_TRACK_FRAMES, self._count)
        faces = [f for f in self._faces if len(f.rows) >= min_frames]
        people = self._group_people(sorted(faces, key=lambda f: -_extent(f)))
        people.sort(key=lambda group: -sum(map(_extent, group)))
        return tuple(self._join(group, described=len(people) > 1) for group in people)

    def _join(self, person: list[_ShotTrack], *, described: bool) -> RawTrack:
        """Join the tracks of one person."""
        rows = np.full(self._count, -1, np.int64)
        for face in person:
            rows[[*face.rows]] = [*face.rows.values()]
        measurements = np.asarray(gather(self._measurements, rows, 0))
        confidence, sharpness, light = np.ascontiguousarray(measurements[:, :3].T)
        return RawTrack(
            landmarks=gather(self._landmarks, rows, np.nan),
            confidence=confidence,
            sharpness=sharpness,
            light=light,
            rasters=gather(self._rasters, rows, 0),
            descriptor=self._descriptor(person) if described else None,
        )

    def _group_people(self, faces: list[_ShotTrack]) -> list[list[_ShotTrack]]:
        """Group the tracks of different shots that show the same person, most similar pairs first.

        Two tracks of one shot are always two people.
        """
        if len({f.shot for f in faces}) < 2:
            return [[f] for f in faces]
        descriptors = [self._descriptor([f]) for f in faces]
        pairs = sorted(
            (descriptor_distance(descriptors[i], descriptors[j]), i, j)
            for i in range(len(faces))
            for j in range(i + 1, len(faces))
            if faces[i].shot != faces[j].shot
        )
        group = {i: [i] for i in range(len(faces))}
        for difference, i, j in pairs:
            mine, theirs = group[i], group[j]
            shared = {faces[k].shot for k in mine} & {faces[k].shot for k in theirs}
            if difference < SAME_PERSON_DISTANCE and mine is not theirs and not shared:
                mine += theirs
                group.update(dict.fromkeys(theirs, mine))
        unique = {id(g): g for g in group.values()}
        return [[faces[k] for k in g] for g in unique.values()]

    def _descriptor(self, faces: list[_ShotTrack]) -> FaceDescriptor:
        rows = np.array([row for face in faces for row in face.rows.values()])
        some = rows[:: max(1, len(rows) // MAX_FRAMES)]
        return describe_face(self._landmarks[some], self._measurements[rows][:, 3:])

    def _active(self) -> list[_ShotTrack]:
        return [f for f in self._faces if f.active]

    def _lost(self) -> list[_ShotTrack]:
        shot = len(self._cuts)
        return [f for f in self._faces if not f.active and f.shot == shot]

    def _recently_lost(self, index: int) -> list[_ShotTrack]:
        return [f for f in self._lost() if index - f.last <= REACQUIRE_FRAMES]

    def _track(self, face: _ShotTrack, picture: Picture, index: int, min_presence: float) -> None:
        crop, x0, y0, scale = crop_around(picture, face.region)
        region = _to_crop(face.region, x0, y0, scale)
        points, presence = self._landmarker.estimate_landmarks(crop, region)
        if presence < min_presence or not _plausible(points, region):
            face.active = False
            return
        points[:, :2] = (points[:, :2] + 0.5) / scale - 0.5 + [x0, y0]
        points[:, 2] /= scale
        sharpness, light, skin = measure_quality(crop, region)
        in_crop = points.copy()
        in_crop[:, :2] = (points[:, :2] - [x0, y0] + 0.5) * scale - 0.5
        self._rasters.append(sample_lower_face(crop, in_crop))
        self._measurements.append(np.array([presence, sharpness, light, *skin], np.float32))
        face.rows[index] = self._landmarks.append(points)
        face.region, face.last, face.points = face_region(points), index, points

    def _reacquire(self, face: _ShotTrack, picture: Picture, index: int) -> None:
        """Run the detector around the last region of a lost face."""
        rgb, x0, y0, scale = crop_around(picture, _around(face.region))
        for detection in detect_turned(self._landmarker, rgb, quarter_turns(face.region.angle)):
            region = _to_frame(detection, 1 / scale, x0, y0)
            if not any(region_iou(region, f.region) > 0.2 for f in self._active()):
                self._resume(face, region, picture, index)
                return

    def _search(self, picture: Picture, index: int, *, thorough: bool) -> None:
        """Run the detector for new faces; if *thorough*, for small and turned ones too."""
        rgb, scale = picture.small_rgb(SEARCH_SIDE)
        turns = next((quarter_turns(face.region.angle) for face in self._active()), 0)
        found = detect_turned(self._landmarker, rgb, turns, tiles=thorough)
        if thorough and not found:
            found = detect_in_any_direction(self._landmarker, rgb, tiles=True)
        for detection in found:
            region = _to_frame(detection, 1 / scale)
            if any(region_iou(region, f.region) > 0.2 for f in self._active()):
                continue
            if len(self._active()) < MAX_FACES:
                directed = self._direct(picture, region, detection.score, thorough=thorough)
                if directed is not None:
                    self._start_or_resume(directed, picture, index)

    def _direct(
        self, picture: Picture, region: Region, score: float, *, thorough: bool
    ) -> Region | None:
        """Return a detected region in the direction in which its face is seen, None if unclear."""
        if score >= CERTAIN and quarter_turns(region.angle) == 0:
            return region
        rgb, x0, y0, scale = crop_around(picture, _around(region))
        inside = Detection(region=_to_crop(region, x0, y0, scale), score=score)
        if not thorough:
            _, presence = self._landmarker.estimate_landmarks(rgb, inside.region)
            if presence < MIN_PRESENCE:
                return region  # no track starts there
        directed = find_direction(self._landmarker, rgb, inside)
        if directed is None or directed is inside.region:
            return region if directed else None
        return _to_frame(Detection(region=directed, score=score), 1 / scale, x0, y0)

    def _start_or_resume(self, region: Region, picture: Picture, index: int) -> None:
        """Resume the track of a lost face, or start a new one."""
        lost = [f for f in self._lost() if _may_match(f, region, self._active())]
        face = max(lost, key=lambda f: f.last, default=None)
        if face is not None:
            self._resume(face, region, picture, index)
            return
        new = _ShotTrack(region=region, shot=len(self._cuts))
        if self._resume(new, region, picture, index):
            self._faces.append(new)

    def _resume(self, face: _ShotTrack, region: Region, picture: Picture, index: int) -> bool:
        before = face.region
        face.region, face.active = region, True
        self._track(face, picture, index, MIN_PRESENCE)
        if face.active:  # again in the region that its landmarks give, as for a tracked face
            self._track(face, picture, index, MIN_PRESENCE)
        if not face.active:
            face.region = before
        return face.active

    def _drop_duplicates(self, index: int) -> None:
        """End the younger of two tracks that slide onto one face."""
        active = self._active()
        for i, old in enumerate(active):
            for young in active[i + 1 :]:
                if old.active and young.active and region_iou(old.region, young.region) > 0.5:
                    young.active = False
                    young.rows.pop(index, None)


def track_faces(frames: Iterable[SourceFrame], landmarker: FaceLandmarker) -> tuple[RawTrack, ...]:
    """Track every face through *frames*, shot by shot; see :class:`Tracker`."""
    tracker = Tracker(landmarker)
    for frame, cut in split_shots(frames):
        tracker.feed(frame.picture, cut=cut)
    return tracker.tracks()


def _may_match(face: _ShotTrack, region: Region, active: list[_ShotTrack]) -> bool:
    """Whether a lost face may be the detected one: near its last region, or no other is active."""
    near = region_iou(face.region, region) > 0.1
    return near or not active


def _to_frame(detection: Detection, k: float, x0: int = 0, y0: int = 0) -> Region:
    r = detection.region
    return Region(x=r.x * k + x0, y=r.y * k + y0, side=r.side * k, angle=r.angle)


def _to_crop(r: Region, x0: int, y0: int, k: float) -> Region:
    return Region(x=(r.x - x0) * k, y=(r.y - y0) * k, side=r.side * k, angle=r.angle)


def _around(region: Region) -> Region:
    """Return the square in which the detector searches for a face of that region."""
    return Region(x=region.x, y=region.y, side=region.side * REACQUIRE_SCALE, angle=0.0)


def _plausible(points: Floats, region: Region) -> bool:
    """Whether landmarks lie in their region, as those of a real face do."""
    shift = np.hypot(*(points[:468, :2].mean(0) - [region.x, region.y]))
    return bool(shift < region.side * 0.5 and np.ptp(points[:468, 0]) > 0.1 * region.side)


def _extent(face: _ShotTrack) -> float:
    """Return how much of the video a face fills: frames x size."""
    return len(face.rows) * face.region.side
