"""Test an engine against its contract, on synthetic faces. For authors of engines.

    from lipwright.testing import check_engine

    def test_contract():
        check_engine(SPEC)

The faces are drawn from the reference mesh: no footage of real people is needed, and every landmark
is known exactly. Everything here is deterministic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.engines.base import DrivingSequence, Engine, EngineSpec, FaceTrack, FaceView, Patch
from lipwright.face.canonical import Pose, face_triangles, mouth_shapes, reference_face, to_image
from lipwright.face.landmarks import EYE_LEFT, EYE_RIGHT, INNER_LIPS, MOUTH, OUTER_LIPS
from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.media.picture import Box
from lipwright.render.face_mesh import FACE_LANDMARKS, follow_weights
from lipwright.types import Floats

Image = NDArray[Any]
SeamValue = TypeVar("SeamValue", FaceView, Patch, FaceTrack, DrivingSequence)

SIZE = (288, 256)  # width and height of a drawn frame, pixels
UNIT = 84.0  # pixels between the outer eye corners
OPENING = 0.10  # largest extra opening of a drawn mouth, inter-ocular distances
MARGIN = 0.25  # around the landmarks in a view, inter-ocular distances
GRAIN = 1.5  # standard deviation of a drawn frame's noise, 8-bit units

_SKIN, _LIP, _CAVITY = (206, 160, 136), (168, 84, 84), (52, 22, 22)
_WHITE, _IRIS = (232, 230, 226), (70, 52, 40)
_WALL = (92, 108, 124)
_LIGHT = np.array([-0.35, -0.45, -0.82])  # towards the light; z points away from the camera
_EYES = (
    [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7],
    [362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382],
)
_LOWER_LIP = (146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324)


# ------------------------------------------------------------------------------------ drawn faces
def synthetic_mouth(opening: Floats) -> Floats:
    """Return canonical mouth shapes (T, 61, 3) of the reference face, opened further.

    Args:
        opening: (T,) how far the lower lip and chin go down, inter-ocular distances.
    """
    rest = reference_face()[MOUTH]
    half = np.abs(rest[:, 0]).max()
    jaw = ~np.isin(MOUTH, INNER_LIPS) & ~np.isin(MOUTH, OUTER_LIPS)
    share = np.where(np.isin(MOUTH, _LOWER_LIP) | jaw, 1 - (rest[:, 0] / half) ** 2, 0)
    mouth = np.repeat(rest[None], len(opening), 0)
    mouth[:, :, 1] += np.asarray(opening, np.float32)[:, None] * share.astype(np.float32)
    return mouth


def synthetic_landmarks(
    frames: int,
    *,
    size: tuple[int, int] = SIZE,
    unit: float = UNIT,
    opening: Floats | None = None,
    seed: int = 0,
) -> Floats:
    """Return landmarks float32 (T, 478, 3), in pixels, of a face that talks and moves its head.

    Args:
        frames: number of frames T.
        size: width and height of the frame, pixels.
        unit: pixels between the outer eye corners.
        opening: (T,) see :func:`synthetic_mouth`; None: opens and closes periodically.
        seed: of head motion and mouth.
    """
    random = np.random.default_rng([seed, frames])
    phase = random.uniform(0, 2 * np.pi, 7)
    speed = random.uniform(0.15, 0.35, 7)
    wave = np.sin(np.arange(frames)[:, None] * speed + phase)
    if opening is None:
        opening = (0.5 + 0.5 * np.sin(1.1 * np.arange(frames) + phase[0])) * OPENING
    moved = synthetic_mouth(np.asarray(opening, np.float32)) - reference_face()[MOUTH]
    face = np.repeat(reference_face()[None], frames, 0)
    face[:, :FACE_LANDMARKS] += follow_weights() @ moved
    yaw, pitch, roll = np.radians([[9.0], [6.0], [4.0]]) * wave[:, 1:4].T
    centre = np.array([size[0] / 2, size[1] * 0.38, 0]) + np.array([9.0, 5.0, 0]) * wave[:, 4:7]
    pose = Pose(
        scale=np.full(frames, 1 / unit, np.float32),
        rotation=np.stack([_rotation(*angles) for angles in zip(yaw, pitch, roll, strict=True)]),
        centre=centre.astype(np.float32),
    )
    return to_image(face, pose)


def draw_face(
    landmarks: Floats, size: tuple[int, int] = SIZE, *, depth: int = 8, seed: int = 0
) -> Image:
    """Draw a shaded face in front of a wall.

    Args:
        landmarks: (478, 3) pixels; NaN draws only the wall.
        size: width and height of the frame, pixels.
        depth: bits per sample, 8 or 10.
        seed: of the grain.

    Returns:
        The frame (h, w, 3) RGB, uint8 0 to 255, or uint16 0 to 1023 at 10 bit.
    """
    width, height = size
    rgb = np.ones((height, width, 3)) * _WALL * np.linspace(1.15, 0.85, width)[:, None]
    if np.isfinite(landmarks).all():
        _draw_skin(rgb, landmarks)
        _fill(rgb, landmarks[OUTER_LIPS], _LIP)
        _fill(rgb, landmarks[INNER_LIPS], _CAVITY)
        for eye in _EYES:
            _fill(rgb, landmarks[eye], _WHITE)
        for iris in (range(469, 473), range(474, 478)):
            _fill(rgb, landmarks[list(iris)], _IRIS)
    rgb += np.random.default_rng(seed).normal(0, GRAIN, rgb.shape)
    step = 1 << (depth - 8)
    kind = np.uint8 if depth == 8 else np.uint16
    return np.clip(np.rint(rgb * step), 0, 256 * step - 1).astype(kind)


def synthetic_face_views(
    landmarks: Floats, *, size: tuple[int, int] = SIZE, depth: int = 8, seed: int = 0
) -> list[FaceView | None]:
    """Return a drawn view for each frame of landmarks (T, 478, 3), None where they are NaN."""
    return [
        _view(points, size, depth, seed * 100_003 + k) if np.isfinite(points).all() else None
        for k, points in enumerate(landmarks)
    ]


def synthetic_face_track(
    landmarks: Floats, views: list[FaceView | None], *, depth: int = 8, cuts: tuple[int, ...] = ()
) -> FaceTrack:
    """Return the face track of drawn views.

    Args:
        landmarks: (T, 478, 3) pixels, NaN without a face.
        views: one per frame, None without a face.
        depth: bits per sample, 8 or 10.
        cuts: first frames of new shots.
    """
    grey = [None if v is None else cv2.cvtColor(_eight_bit(v), cv2.COLOR_RGB2GRAY) for v in views]
    return FaceTrack(
        landmarks=landmarks,
        confidence=np.array([0.0 if v is None else 0.98 for v in views], np.float32),
        sharpness=np.array(
            [0 if g is None else cv2.Laplacian(g, cv2.CV_32F).std() for g in grey], np.float32
        ),
        light=np.array([0 if g is None else g.mean() for g in grey], np.float32),
        depth=depth,
        shot=np.searchsorted(np.array(cuts, np.int64), np.arange(len(views)), "right"),
        occluder=np.zeros((len(views), RASTER_SIDE, RASTER_SIDE), bool),
    )


def synthetic_driving_sequence(
    face: FaceTrack, frames: list[int], *, opening: Floats
) -> DrivingSequence:
    """Return a driving sequence that opens the mouth further, at full strength.

    Args:
        face: the speaker's face; the strength is 0 where it is not visible.
        frames: (n,) source frame of each output frame.
        opening: (n,) see :func:`synthetic_mouth`.
    """
    own = np.nan_to_num(mouth_shapes(face.landmarks[frames]))
    mouth = own + synthetic_mouth(opening) - synthetic_mouth(np.zeros(1, np.float32))
    return DrivingSequence(
        mouth=mouth.astype(np.float32),
        landmarks=face.landmarks[frames],
        source_frame=np.array(frames, np.float32),
        light=face.light[frames],
        strength=(face.confidence[frames] > 0).astype(np.float32),
        shot=face.shot[frames],
        occluder=face.occluder[frames],
    )


def _rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Return the matrix (3, 3) that turns a head by angles in radians."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    turn_yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    turn_pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    turn_roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(turn_roll @ turn_yaw @ turn_pitch, np.float32)


def _draw_skin(rgb: Image, landmarks: Floats) -> None:
    """Shade the mesh into *rgb*, far triangles first."""
    corners = landmarks[face_triangles()].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    normal *= -np.sign(normal[:, 2:]) + (normal[:, 2:] == 0)  # the side that is seen
    shade = 0.62 + 0.42 * np.clip(normal @ _LIGHT, 0, 1)
    for i in np.argsort(-corners[:, :, 2].mean(1), kind="stable"):
        _fill(rgb, corners[i], tuple(c * shade[i] for c in _SKIN))


def _fill(rgb: Image, points: NDArray[Any], colour: tuple[float, ...]) -> None:
    fixed = np.rint(points[:, :2] * 16).astype(np.int32)
    cv2.fillPoly(rgb, [fixed], colour, lineType=cv2.LINE_8, shift=4)


def _view(landmarks: Floats, size: tuple[int, int], depth: int, seed: int) -> FaceView:
    margin = MARGIN * float(np.linalg.norm(landmarks[EYE_LEFT] - landmarks[EYE_RIGHT]))
    low = np.maximum(np.floor(landmarks[:, :2].min(0) - margin), 0).astype(int) & ~1
    high = np.ceil(landmarks[:, :2].max(0) + margin).astype(int) + 1
    high = np.minimum(high + high % 2, size)
    box = Box(int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    frame = draw_face(landmarks, size, depth=depth, seed=seed)
    return FaceView(
        rgb=frame[box.y0 : box.y1, box.x0 : box.x1].copy(), box=box, landmarks=landmarks.copy()
    )


def _eight_bit(view: FaceView) -> NDArray[np.uint8]:
    return view.rgb if view.rgb.dtype == np.uint8 else (view.rgb >> 2).astype(np.uint8)


# ---------------------------------------------------------------------------------- the contract
def check_engine(spec: EngineSpec, *, seed: int = 0) -> None:
    """Check that an engine fulfils everything that the pipeline relies on.

    The check covers views of 8 and of 10 bits, a take with gaps and a cut, a take of one frame,
    None views, views with strength 0, fades, fractional source frames and a second job. The engine
    must

    - request source frames that exist, in rising order,
    - yield one patch per view, in order, and None for a None view,
    - keep shape, dtype and range of the view; give a float32 mask of 0 to 1,
    - leave every pixel where the mask is 0 as it is in the view, bit for bit, and every pixel
      where the strength is 0,
    - not modify its inputs,
    - give the same bytes for the same input, in a second job and in a second engine,
    - accept a second call of ``close``.

    Args:
        spec: the engine.
        seed: of the drawn faces.

    Raises:
        AssertionError: the engine breaks a rule; the message says which and how.
    """
    _check_spec(spec)
    for job in (_engine_job(8, seed), _engine_job(10, seed), _engine_job(8, seed, frames=1)):
        engine, other = _open_engine(spec), _open_engine(spec)
        first, second = _run_job(spec, engine, job), _run_job(spec, engine, job)
        _check_same(spec, first, second, "in a second job of the same engine")
        _check_same(spec, first, _run_job(spec, other, job), "in a second engine")
        for each in (engine, engine, other):
            with _step(spec, "close(), the first or second time,"):
                each.close()


@dataclass(frozen=True, kw_only=True)
class _EngineJob:
    """The inputs of one job."""

    face: FaceTrack
    source_views: list[FaceView | None]
    driving: DrivingSequence
    views: list[FaceView | None]

    def copy(self) -> _EngineJob:
        """Return a deep copy."""
        return _EngineJob(
            face=_copy_arrays(self.face),
            source_views=[v and _copy_arrays(v) for v in self.source_views],
            driving=_copy_arrays(self.driving),
            views=[v and _copy_arrays(v) for v in self.views],
        )


@cache
def _engine_job(depth: int, seed: int, frames: int = 14) -> _EngineJob:
    landmarks = synthetic_landmarks(frames, seed=seed)
    if frames > 1:
        landmarks[5:7] = np.nan
    source_views = synthetic_face_views(landmarks, depth=depth, seed=seed)
    cuts = (7,) if frames > 7 else ()
    face = synthetic_face_track(landmarks, source_views, depth=depth, cuts=cuts)
    order = [min(i, frames - 1) for i in (0, 1, 2, 3, 5, 8, 9, 8, 7)]
    wave = np.sin(np.arange(len(order)) * 1.3)
    driving = synthetic_driving_sequence(face, order, opening=0.05 * wave.astype(np.float32))
    fade = np.array([1, 1, 0.5, 0, 1, 1, 0.01, 1, 1], np.float32)
    source_frame = driving.source_frame.copy()
    if frames > 1:
        source_frame[5] += 0.5  # an interpolated frame
    driving = replace(driving, strength=driving.strength * fade, source_frame=source_frame)
    views = [source_views[i] for i in order]
    return _EngineJob(face=face, source_views=source_views, driving=driving, views=views)


def _check_spec(spec: EngineSpec) -> None:
    assert isinstance(spec, EngineSpec), f"{spec!r} is not an EngineSpec"
    for name in ("name", "summary", "licence"):
        value = getattr(spec, name)
        assert isinstance(value, str), f"EngineSpec.{name} must be a string, not {value!r}"
        assert value.strip(), f"EngineSpec.{name} is empty"
        assert "\n" not in value, f"EngineSpec.{name} must be one line"
    assert spec.devices, f"engine {spec.name!r} supports no device: name one, such as 'cpu'"


def _open_engine(spec: EngineSpec) -> Engine:
    with _step(spec, "load()"):
        engine = spec.open()
    missing = [m for m in ("study", "paint", "close") if not callable(getattr(engine, m, None))]
    assert not missing, f"engine {spec.name!r} has no {', '.join(missing)}: see engines.base.Engine"
    return engine


def _run_job(spec: EngineSpec, engine: Engine, job: _EngineJob) -> list[Patch | None]:
    """Run and check one job; return copies of the patches."""
    given = job.copy()
    fetch_views = _CheckedFetch(spec, given.source_views)
    with _step(spec, "study()"):
        speaker = engine.study(given.face, fetch_views)
    _check_unmodified(spec, "study()", given.face, job.face)
    patches: list[Patch | None] = []
    with _step(spec, "paint()"):
        for patch in engine.paint(speaker, given.driving, iter(given.views)):
            assert len(patches) < len(job.views), (
                f"engine {spec.name!r} yields more patches than there are views: yield one for each"
            )
            _check_patch(spec, patch, job, len(patches))
            patches.append(patch and _copy_arrays(patch))
    assert len(patches) == len(job.views), (
        f"engine {spec.name!r} yields {len(patches)} patches for {len(job.views)} views: "
        "yield one for each, None to leave it unchanged"
    )
    _check_unmodified(spec, "paint()", given.face, job.face)
    _check_unmodified(spec, "paint()", given.driving, job.driving)
    views, given_views = job.source_views + job.views, given.source_views + given.views
    for before, after in zip(views, given_views, strict=True):
        _check_unmodified(spec, "the engine", after, before)
    return patches


class _CheckedFetch:
    """Hands out source views and checks the order of the requests."""

    def __init__(self, spec: EngineSpec, views: list[FaceView | None]) -> None:
        self._name, self._views = spec.name, views

    def __call__(self, indices: Iterable[int]) -> Iterator[FaceView]:
        previous = -1
        for index in indices:
            assert previous < index, (
                f"engine {self._name!r} requests source frame {index} after {previous}: "
                "fetch_views takes rising indices"
            )
            view = self._views[index] if index < len(self._views) else None
            assert view is not None, (
                f"engine {self._name!r} requests source frame {index}, which shows no face: "
                "check FaceTrack.confidence"
            )
            previous = index
            yield view


def _check_patch(spec: EngineSpec, patch: Patch | None, job: _EngineJob, k: int) -> None:
    view = job.views[k]
    prefix = f"engine {spec.name!r}, view {k}:"
    if view is None:
        assert patch is None, f"{prefix} a None view must give None, not a patch"
    if view is None or patch is None:
        return
    assert isinstance(patch, Patch), f"{prefix} {type(patch).__name__} is not a Patch"
    assert patch.box == view.box, (
        f"{prefix} box {patch.box} is not the view's {view.box}: out of order?"
    )
    _check_arrays(prefix, patch, view, job.face.depth)
    changed = (patch.rgb != view.rgb).any(-1)
    outside = int((changed & (patch.mask == 0)).sum())
    assert not outside, (
        f"{prefix} {outside} pixels differ from the view's where the mask is 0: "
        "the mask must cover all changes"
    )
    painted = int((changed & (patch.mask > 0)).sum())
    assert job.driving.strength[k] > 0 or not painted, (
        f"{prefix} {painted} pixels are painted though the strength is 0"
    )


def _check_arrays(prefix: str, patch: Patch, view: FaceView, depth: int) -> None:
    rgb, mask = patch.rgb, patch.mask
    assert rgb.shape == view.rgb.shape, f"{prefix} rgb is {rgb.shape}, the view {view.rgb.shape}"
    assert rgb.dtype == view.rgb.dtype, f"{prefix} rgb is {rgb.dtype}, the view {view.rgb.dtype}"
    top = (1 << depth) - 1
    assert rgb.max() <= top, f"{prefix} rgb goes up to {rgb.max()}, over {top} of {depth} bits"
    assert mask.shape == rgb.shape[:2], f"{prefix} mask is {mask.shape}, the view {rgb.shape[:2]}"
    assert mask.dtype == np.float32, f"{prefix} mask is {mask.dtype}, not float32"
    in_range = np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1
    assert in_range, f"{prefix} mask is out of range 0 to 1: {mask.min()} to {mask.max()}"


def _check_unmodified(spec: EngineSpec, step: str, after: Any, before: Any) -> None:
    assert _contents(after) == _contents(before), (
        f"engine {spec.name!r}: {step} modified its input {type(before).__name__}: "
        "copy what you want to change"
    )


def _check_same(
    spec: EngineSpec, first: list[Patch | None], second: list[Patch | None], when: str
) -> None:
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        assert _contents(a) == _contents(b), (
            f"engine {spec.name!r}, view {k}: the same input gives other bytes {when}: "
            "seed random numbers and keep no state between jobs"
        )


@contextmanager
def _step(spec: EngineSpec, step: str) -> Iterator[None]:
    """Name the engine and the step in any exception."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"engine {spec.name!r}: {step} raises {error!r}") from error


def _copy_arrays(value: SeamValue) -> SeamValue:
    """Return a dataclass with copies of its arrays."""
    items = vars(value).items()
    arrays: dict[str, Any] = {k: v.copy() for k, v in items if isinstance(v, np.ndarray)}
    return replace(value, **arrays)


def _contents(value: Any) -> list[Any]:
    """Return the fields of a dataclass, arrays as bytes; [] for None."""
    if value is None:
        return []
    contents = [getattr(value, f.name) for f in fields(value)]
    return [v.tobytes() if isinstance(v, np.ndarray) else v for v in contents]
