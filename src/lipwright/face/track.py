"""Follow every face through a clip.

Each face is followed through one shot: its region is carried from frame to frame by its own
landmarks. The detector runs when no face is followed, and from time to time to meet new faces. At a
cut all are let go and the new picture is searched; which of those met in different shots are the
same person, their features tell (:mod:`lipwright.face.identity`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.identity import MOST_FRAMES, SAME_DISTANCE, Feature, distance, feature
from lipwright.face.landmarker import (
    LANDMARKS,
    Detection,
    FaceLandmarker,
    Region,
    overlap,
    region_of,
)
from lipwright.face.raster import SIDE, lower_face
from lipwright.media.cuts import split_shots
from lipwright.media.decode.video import SourceFrame
from lipwright.media.picture import Box, Picture
from lipwright.media.probe import VideoInfo
from lipwright.runtime.disk_array import Array, DiskArray, gather
from lipwright.types import Floats

MIN_PRESENCE = 0.5  # probability from which a face is taken up
KEEP_PRESENCE = 0.2  # below which a followed face counts as lost
SEARCH_SIDE = 640  # pixels, longer side of the picture the detector sees
CROP_MARGIN = 2  # pixels around a region, for what is between them
CROP_SIDE = 684  # pixels, longest side of the crop the landmark network's input is taken from
LOOK_AROUND_FRAMES = 25  # detector runs this often while faces are followed
TILES_FRAMES = 5  # and searches in tiles this often while none is
NEAR_FRAMES = 250  # a lost face is looked for where it was last seen, this long
NEAR_SCALE = 2.2  # in a square of so many times its region
MAX_FACES = 4
MIN_TRACK_FRAMES = 3  # shorter ones are false alarms, unless the clip is that short


@dataclass(frozen=True, kw_only=True)
class RawTrack:
    """One face over all frames of a take; NaN and 0 where it is not seen."""

    landmarks: Array  #: (T, 478, 3) float32 x, y, z in pixels as displayed, NaN where lost
    confidence: Floats  #: (T,) 0 to 1, presence of a face
    sharpness: Floats  #: (T,) standard deviation of the Laplacian over the face, 8-bit units
    light: Floats  #: (T,) mean of the face's grey value, 0 to 255
    rasters: Array  #: (T, 32, 32, 3) uint8 lower face, by which occluders are found

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Frames (T,) in which this face is seen."""
        return self.confidence > 0

    def in_memory(self) -> RawTrack:
        """Return the same with all arrays in memory, to be kept for longer than the tracker."""
        return replace(self, landmarks=np.asarray(self.landmarks), rasters=np.asarray(self.rasters))


@dataclass(frozen=True, kw_only=True)
class Take:
    """A source video, followed."""

    info: VideoInfo
    times: tuple[Fraction, ...]  #: seconds from the first frame
    tracks: tuple[RawTrack, ...]  #: most seen first
    cuts: tuple[int, ...] = ()  #: index of the first frame of each shot but the first, rising

    @property
    def shots(self) -> NDArray[np.int64]:
        """Number of the shot that each frame belongs to, (T,) from 0."""
        return np.searchsorted(np.array(self.cuts, np.int64), np.arange(len(self.times)), "right")


@dataclass
class _Follower:
    """A track while it grows."""

    region: Region
    shot: int = 0
    active: bool = True
    last: int = 0  #: frame in which it was found
    points: Floats = field(default_factory=lambda: np.empty((0, 3), np.float32))  #: then
    rows: dict[int, int] = field(default_factory=dict)  #: frame → place in the tracker's reels


class Tracker:
    """Fed one picture after the other; see :func:`track`."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._net = landmarker
        self._faces: list[_Follower] = []
        self._count = 0
        self._cuts: list[int] = []
        self._landmarks = DiskArray((LANDMARKS, 3), np.float32)
        self._rasters = DiskArray((SIDE, SIDE, 3), np.uint8)
        self._facts = DiskArray((6,), np.float32)  # presence, sharpness, light, mean R, G, B

    def feed(self, picture: Picture, *, cut: bool = False) -> None:
        """Follow all faces into the next picture; none into one that begins a new shot."""
        index, self._count = self._count, self._count + 1
        if cut:
            self._cuts.append(index)
            for face in self._active():
                face.active = False
        for face in self._active():
            self._follow(face, picture, index, KEEP_PRESENCE)
        self._drop_doubles(index)
        for face in self._lately_lost(index):
            self._look_near(face, picture, index)
        alone = not self._active()
        since_cut = index - (self._cuts[-1] if self._cuts else 0)
        if alone or since_cut % LOOK_AROUND_FRAMES == 0:
            self._search(picture, index, tiles=alone and since_cut % TILES_FRAMES == 0)

    def placed(self) -> list[Floats]:
        """Return the landmarks (478, 3) of every face found in the picture fed last."""
        return [face.points for face in self._active() if face.last == self._count - 1]

    @property
    def cuts(self) -> tuple[int, ...]:
        """Frames that were fed as the first of a new shot."""
        return tuple(self._cuts)

    def tracks(self) -> tuple[RawTrack, ...]:
        """Return what was followed so far, the face that is seen most first."""
        least = min(MIN_TRACK_FRAMES, self._count)
        faces = [f for f in self._faces if len(f.rows) >= least]
        people = self._people(sorted(faces, key=lambda f: -_weight(f)))
        people.sort(key=lambda group: -sum(map(_weight, group)))
        return tuple(self._finish(group) for group in people)

    def _finish(self, person: list[_Follower]) -> RawTrack:
        """Return the rows of one person as a track."""
        places = np.full(self._count, -1, np.int64)
        for face in person:
            places[[*face.rows]] = [*face.rows.values()]
        facts = np.asarray(gather(self._facts, places, 0))
        confidence, sharpness, light = np.ascontiguousarray(facts[:, :3].T)
        return RawTrack(
            landmarks=gather(self._landmarks, places, np.nan),
            confidence=confidence,
            sharpness=sharpness,
            light=light,
            rasters=gather(self._rasters, places, 0),
        )

    def _people(self, faces: list[_Follower]) -> list[list[_Follower]]:
        """Group the faces of different shots that are the same person, each with the likest.

        Two faces of one shot are always two people.
        """
        if len({f.shot for f in faces}) < 2:
            return [[f] for f in faces]
        known = [self._feature(f) for f in faces]
        pairs = sorted(
            (distance(known[i], known[j]), i, j)
            for i in range(len(faces))
            for j in range(i + 1, len(faces))
            if faces[i].shot != faces[j].shot
        )
        group = {i: [i] for i in range(len(faces))}
        for apart, i, j in pairs:
            mine, theirs = group[i], group[j]
            shots = {faces[k].shot for k in mine} & {faces[k].shot for k in theirs}
            if apart < SAME_DISTANCE and mine is not theirs and not shots:
                mine += theirs
                group.update(dict.fromkeys(theirs, mine))
        unique = {id(g): g for g in group.values()}
        return [[faces[k] for k in g] for g in unique.values()]

    def _feature(self, face: _Follower) -> Feature:
        places = np.array([*face.rows.values()])
        some = places[:: max(1, len(places) // MOST_FRAMES)]
        return feature(self._landmarks[some], self._facts[places][:, 3:])

    def _active(self) -> list[_Follower]:
        return [f for f in self._faces if f.active]

    def _lost(self) -> list[_Follower]:
        shot = len(self._cuts)
        return [f for f in self._faces if not f.active and f.shot == shot]

    def _lately_lost(self, index: int) -> list[_Follower]:
        return [f for f in self._lost() if index - f.last <= NEAR_FRAMES]

    def _follow(self, face: _Follower, picture: Picture, index: int, least: float) -> None:
        crop, x0, y0, scale = _crop(picture, face.region)
        region = Region(
            x=(face.region.x - x0) * scale,
            y=(face.region.y - y0) * scale,
            side=face.region.side * scale,
            angle=face.region.angle,
        )
        points, presence = self._net.place(crop, region)
        if presence < least or not _plausible(points, region):
            face.active = False
            return
        points[:, :2] = (points[:, :2] + 0.5) / scale - 0.5 + [x0, y0]
        points[:, 2] /= scale
        sharpness, light, skin = _quality(crop, region)
        placed = points.copy()
        placed[:, :2] = (points[:, :2] - [x0, y0] + 0.5) * scale - 0.5
        self._rasters.append(lower_face(crop, placed))
        self._facts.append(np.array([presence, sharpness, light, *skin], np.float32))
        face.rows[index] = self._landmarks.append(points)
        face.region, face.last, face.points = region_of(points), index, points

    def _look_near(self, face: _Follower, picture: Picture, index: int) -> None:
        """Run the detector on the surroundings of where a face was lost."""
        r = face.region
        around = Region(x=r.x, y=r.y, side=r.side * NEAR_SCALE, angle=0.0)
        rgb, x0, y0, scale = _crop(picture, around)
        for found in self._net.detect(rgb):
            region = _scaled(found, 1 / scale, x0, y0)
            if not any(overlap(region, f.region) > 0.2 for f in self._active()):
                self._take_up(face, region, picture, index)
                return

    def _search(self, picture: Picture, index: int, *, tiles: bool) -> None:
        rgb, scale = picture.small_rgb(SEARCH_SIDE)
        for found in self._net.detect(rgb, tiles=tiles):
            region = _scaled(found, 1 / scale)
            if any(overlap(region, f.region) > 0.2 for f in self._active()):
                continue
            if len(self._active()) < MAX_FACES:
                self._meet(region, picture, index)

    def _meet(self, region: Region, picture: Picture, index: int) -> None:
        """Take up a lost face again, or begin a new one."""
        lost = [f for f in self._lost() if _may_be(f, region, self._active())]
        face = max(lost, key=lambda f: f.last, default=None)
        if face is not None:
            self._take_up(face, region, picture, index)
            return
        new = _Follower(region=region, shot=len(self._cuts))
        if self._take_up(new, region, picture, index):
            self._faces.append(new)

    def _take_up(self, face: _Follower, region: Region, picture: Picture, index: int) -> bool:
        before = face.region
        face.region, face.active = region, True
        self._follow(face, picture, index, MIN_PRESENCE)
        if face.active:  # again in the region that followed faces have, for landmarks as steady
            self._follow(face, picture, index, MIN_PRESENCE)
        if not face.active:
            face.region = before
        return face.active

    def _drop_doubles(self, index: int) -> None:
        """When two followers slide onto one face, the older one keeps it."""
        active = self._active()
        for i, old in enumerate(active):
            for young in active[i + 1 :]:
                if old.active and young.active and overlap(old.region, young.region) > 0.5:
                    young.active = False
                    young.rows.pop(index, None)


def track_faces(frames: Iterable[SourceFrame], landmarker: FaceLandmarker) -> tuple[RawTrack, ...]:
    """Follow every face through *frames*, shot by shot; see :class:`Tracker`."""
    tracker = Tracker(landmarker)
    for frame, cut in split_shots(frames):
        tracker.feed(frame.picture, cut=cut)
    return tracker.tracks()


def _may_be(face: _Follower, region: Region, active: list[_Follower]) -> bool:
    """Whether a lost face may be the one found: near where it was, or nobody else is about."""
    near = overlap(face.region, region) > 0.1
    return near or not active


def _scaled(found: Detection, k: float, x0: int = 0, y0: int = 0) -> Region:
    r = found.region
    return Region(x=r.x * k + x0, y=r.y * k + y0, side=r.side * k, angle=r.angle)


def _crop(picture: Picture, region: Region) -> tuple[Any, int, int, float]:
    """Return RGB pixels (8 bit) around a region, their origin, and their scale."""
    turn = abs(math.cos(region.angle)) + abs(math.sin(region.angle))
    half = region.side * turn / 2 + CROP_MARGIN
    x, y = region.x, region.y
    box = picture.align(Box(int(x - half), int(y - half), int(x + half) + 1, int(y + half) + 1))
    if box.x1 - box.x0 < 2 or box.y1 - box.y0 < 2:
        box = picture.align(Box(0, 0, 2, 2))
    if max(box.width, box.height) > CROP_SIDE:
        rgb, scale = picture.part(box).small_rgb(CROP_SIDE)
        return rgb, box.x0, box.y0, scale
    pixels = picture.rgb(box)
    if pixels.dtype != np.uint8:
        pixels = (pixels >> (picture.depth - 8)).astype(np.uint8)
    return pixels, box.x0, box.y0, 1.0


def _plausible(points: Floats, region: Region) -> bool:
    """Whether landmarks stay near their region, as those of a real face do."""
    shift = np.hypot(*(points[:468, :2].mean(0) - [region.x, region.y]))
    return bool(shift < region.side * 0.5 and np.ptp(points[:468, 0]) > 0.1 * region.side)


def _quality(crop: Any, region: Region) -> tuple[float, float, tuple[float, float, float]]:
    """Return sharpness, light and mean R, G, B of the middle of a face."""
    half = region.side / 3
    x0, y0 = max(int(region.x - half), 0), max(int(region.y - half), 0)
    face = crop[y0 : int(region.y + half) + 1, x0 : int(region.x + half) + 1]
    if face.size == 0:
        return 0.0, 0.0, (0.0, 0.0, 0.0)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    red, green, blue, _ = cv2.mean(face)
    _, sharpness = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(sharpness[0, 0]), cv2.mean(grey)[0], (red, green, blue)


def _weight(face: _Follower) -> float:
    """How much of the clip a face fills: frames x size."""
    return len(face.rows) * face.region.side
