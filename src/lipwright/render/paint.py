"""Paint one view: the frame follows the new jaw, then an exemplar's mouth is laid in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import Floats, Pose, opening
from lipwright.media.picture import Box
from lipwright.render import interior
from lipwright.render.bank import Exemplar
from lipwright.render.composite import FEATHER, LOOP, OUTER_LIPS, match_light, mouth_mask, polygon
from lipwright.render.rig import followers, mesh, ring_of, vertices
from lipwright.render.warp import Raster, affine_between, backward_map, rasterise, sample

BORDER = 0.15  # inter-ocular distances from the edge of the view over which motion dies out
MOVED = 0.02  # pixels: what moves less is left as it is


@dataclass(frozen=True, kw_only=True)
class Brush:
    """Where the face is in a frame, and the mouth it shall have."""

    pose: Pose  #: of one frame
    landmarks: Floats  #: (478, 3) pixels
    own: Floats  #: (61, 3) canonical mouth shape of the frame
    wanted: Floats  #: (61, 3) canonical mouth shape to paint

    @property
    def unit(self) -> float:
        """Pixels per inter-ocular distance."""
        return float(1 / self.pose.scale[0])

    def moved(self) -> Floats:
        """Return how far each landmark of the mesh moves, (468, 3) pixels."""
        canonical = followers() @ (self.wanted - self.own)
        out: Floats = (canonical @ self.pose.rotation[0].T * np.float32(self.unit)).astype(
            np.float32
        )
        return out


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """An exemplar and how much of it shows."""

    exemplar: Exemplar
    share: float  #: 0 to 1; those of a frame add up to 1
    opening: float  #: of its mouth, canonical


def paint_mouth(
    rgb: NDArray[Any], box: Box, brush: Brush, strokes: Sequence[Stroke], strength: float
) -> tuple[NDArray[Any], Floats]:
    """Return the painted view (h, w, 3) and the mask (h, w) of what changed, 0 or 1.

    Args:
        rgb: the view, RGB uint8 or uint16; not touched.
        box: where it lies in its frame.
        brush: the face in it.
        strokes: what to paint with.
        strength: 0 to 1, share of the exemplar in the mix.
    """
    rest, target = vertices(brush.landmarks, brush.moved(), brush.unit)
    area = _around(target[np.unique(mesh())], 2, box)
    raster = rasterise(target, mesh(), area, brush.unit)
    origin = _stay_in(box, area, backward_map(raster, rest), BORDER * brush.unit)
    base = sample(rgb, origin, (box.x0, box.y0))
    inner = _around(target[LOOP], 3 * FEATHER * brush.unit, area)
    mask = np.zeros(base.shape[:2], np.float32)
    _lay_in(base, mask, area, inner, _Scene(raster, target, brush, strokes, strength))
    moved = np.abs(origin - _own_positions(area)).max(-1) > MOVED
    return _into_view(rgb, box, area, base, mask, moved)


@dataclass(frozen=True)
class _Scene:
    raster: Raster
    target: Floats
    brush: Brush
    strokes: Sequence[Stroke]
    strength: float


def _lay_in(frame: Floats, mask: Floats, area: Box, inner: Box, scene: _Scene) -> None:
    """Blend the exemplars' mouth into *frame*, and its mask into *mask*, inside *inner*."""
    window = _window(inner, area)
    part, unit = frame[window], scene.brush.unit
    soft = mouth_mask(scene.target, inner, unit) * np.float32(scene.strength)
    patch = np.zeros_like(part)
    for stroke in scene.strokes:
        source = ring_of(stroke.exemplar.landmarks, _size(stroke.exemplar.landmarks))
        base = affine_between(scene.target[LOOP], source[LOOP])
        positions = backward_map(scene.raster, source, base)[window]
        patch += sample(stroke.exemplar.rgb, positions, stroke.exemplar.origin) * np.float32(
            stroke.share
        )
    lips = polygon(scene.target[OUTER_LIPS], inner)
    patch = match_light(patch, part, soft, lips, unit)
    patch = _fill_interior(patch, inner, part, scene)
    part += (patch - part) * soft[..., None]
    mask[window] = soft


def _fill_interior(patch: Floats, inner: Box, around: Floats, scene: _Scene) -> Floats:
    wanted = float(opening(scene.brush.wanted[None])[0])
    amount = sum(s.share * interior.share(wanted, s.opening) for s in scene.strokes)
    if amount <= 0:
        return patch
    skin = float(np.median(around[..., 1]))
    return interior.fill(patch, scene.target, inner, scene.brush.unit, amount=amount, skin=skin)


def _into_view(
    rgb: NDArray[Any], box: Box, area: Box, base: Floats, mask: Floats, moved: NDArray[np.bool_]
) -> tuple[NDArray[Any], Floats]:
    top = 255 if rgb.dtype == np.uint8 else 1023
    changed = moved | (mask > 0)
    window = _window(area, box)
    painted, full = rgb.copy(), np.zeros(rgb.shape[:2], np.float32)
    levels = np.clip(np.rint(base), 0, top).astype(rgb.dtype)
    painted[window] = np.where(changed[..., None], levels, painted[window])
    full[window] = changed
    return painted, full


def _size(landmarks: Floats) -> float:
    return float(np.linalg.norm(landmarks[263] - landmarks[33]))


def _around(points: Floats, margin: float, within: Box) -> Box:
    x0, y0 = np.floor(points[:, :2].min(0) - margin).astype(int)
    x1, y1 = np.ceil(points[:, :2].max(0) + margin).astype(int) + 1
    x0, y0 = min(max(x0, within.x0), within.x1 - 1), min(max(y0, within.y0), within.y1 - 1)
    x1, y1 = max(min(x1, within.x1), x0 + 1), max(min(y1, within.y1), y0 + 1)
    return Box(int(x0), int(y0), int(x1), int(y1))


def _window(part: Box, whole: Box) -> tuple[slice, slice]:
    return (
        slice(part.y0 - whole.y0, part.y1 - whole.y0),
        slice(part.x0 - whole.x0, part.x1 - whole.x0),
    )


def _stay_in(box: Box, area: Box, origin: Floats, border: float) -> Floats:
    """Let motion die out towards the edge of the view, where there is nothing to bring in."""
    own = _own_positions(area)
    x, y = own[..., 0], own[..., 1]
    edge = np.minimum(
        np.minimum(x - box.x0, box.x1 - 1 - x), np.minimum(y - box.y0, box.y1 - 1 - y)
    )
    share = np.clip(edge / border, 0, 1).astype(np.float32)
    kept: Floats = own + (origin - own) * share[..., None]
    return kept


def _own_positions(area: Box) -> Floats:
    y, x = np.mgrid[area.y0 : area.y1, area.x0 : area.x1].astype(np.float32)
    return np.stack([x, y], -1)
