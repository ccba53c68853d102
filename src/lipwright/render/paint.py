"""Paint one view: the frame follows the new jaw, then an exemplar's mouth is laid in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import INNER_LIPS, OUTER_LIPS
from lipwright.face.shape import Pose, opening
from lipwright.media.picture import Box
from lipwright.render import mouth_interior as interior
from lipwright.render.bank import PARTED, Exemplar
from lipwright.render.composite import (
    FEATHER,
    LOOP,
    match_light,
    mouth_mask,
    mouths,
    polygon,
)
from lipwright.render.detail import lay, match_detail, mixed
from lipwright.render.face_mesh import followers, mesh, moving, overshoot, steady_contour, vertices
from lipwright.render.path import built_share
from lipwright.render.restore import Fine
from lipwright.render.warp import (
    Raster,
    affine_between,
    backward_map,
    departure,
    pixels,
    rasterise,
    refine,
    sample,
)
from lipwright.types import Floats

BORDER = 0.15  # inter-ocular distances from the edge of the view over which motion dies out
BETWEEN = 0.01  # sigma of the edge of what is between the lips, inter-ocular distances
MOVED = 0.02  # pixels: what moves less is left as it is


@dataclass(frozen=True, kw_only=True)
class Brush:
    """Where the face is in a frame, and the mouth it shall have."""

    pose: Pose  #: of one frame
    landmarks: Floats  #: (478, 3) pixels
    own: Floats  #: (61, 3) canonical mouth shape of the frame
    wanted: Floats  #: (61, 3) canonical mouth shape to paint
    shown: Floats  #: (61, 3) canonical mouth shape of what it is painted with
    calm: Floats  #: (61, 3) canonical mouth shape of the speaker when closed
    top: int  #: largest code value of the view, 255 or 1023

    @property
    def unit(self) -> float:
        """Pixels per inter-ocular distance."""
        return float(1 / self.pose.scale[0])

    def moved(self) -> Floats:
        """Return how far each landmark of the mesh moves, (468, 3) pixels."""
        canonical = followers() @ steady_contour(
            overshoot(self.wanted - self.own, self.wanted - self.shown)
        )
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
    fine: Fine | None = None  #: its pixels super-resolved; None: they are used as they are


def paint_mouth(
    rgb: NDArray[Any],
    box: Box,
    brush: Brush,
    strokes: Sequence[Stroke],
    strength: float,
    occluder: Floats | None = None,
) -> tuple[NDArray[Any], Floats]:
    """Return the painted view (h, w, 3) and the mask (h, w) of what changed, 0 or 1.

    Args:
        rgb: the view, RGB uint8 or uint16; not touched.
        box: where it lies in its frame.
        brush: the face in it.
        strokes: what to paint with.
        strength: 0 to 1, share of the exemplar in the mix.
        occluder: (h, w) how far each pixel shows something in front of the face, 0 to 1; its light
            and detail are not the face's.
    """
    rest, target = vertices(brush.landmarks, brush.moved(), brush.unit)
    area = _around(target[moving()], 2, box)
    raster = rasterise(target, mesh(), area, brush.unit)
    painted, mask = rgb.copy(), np.zeros(rgb.shape[:2], np.float32)
    _follow_jaw(painted, mask, rgb, box, raster, rest, brush)
    inner = _around(target[LOOP], 3 * FEATHER * brush.unit, area)
    window = _window(inner, box)
    soft = mouth_mask(target, inner, brush.unit)
    under = painted[window].astype(np.float32)
    face = soft if occluder is None else soft * (occluder[window] <= 0)
    over = _mouth(under, face, inner, raster, brush, strokes)
    lips = mouths([target, rest], inner, brush.unit)
    own = mixed([(s.exemplar.detail, s.share) for s in strokes])
    over = match_detail(over, under, face, lips, own)
    share: float | Floats = strength
    if 0 < strength < 1:  # two mouths' teeth would be a haze: inside, one gives way to the other
        share = strength + (round(strength) - strength) * _between(target, inner, brush.unit)
    laid = np.rint(lay(over, under, soft, share))
    painted[window] = np.clip(laid, 0, brush.top).astype(rgb.dtype)
    mask[window] = np.maximum(mask[window], soft > 0)
    return painted, mask


def _follow_jaw(
    painted: NDArray[Any],
    mask: Floats,
    rgb: NDArray[Any],
    box: Box,
    raster: Raster,
    rest: Floats,
    brush: Brush,
) -> None:
    """Warp the frame itself to the new jaw, into *painted*; note in *mask* what moved."""
    coarse = departure(raster, rest) * _calm_border(raster, box, BORDER * brush.unit)[..., None]
    shift = refine(coarse, raster, raster.box)
    away = cv2.max(*(np.abs(part) for part in cv2.split(shift)))
    moved = (away > MOVED).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(moved)
    if not width:
        return
    left, top = raster.box.x0 + x, raster.box.y0 + y
    part = Box(left, top, left + width, top + height)
    within = _window(part, raster.box)
    origin = box.x0, box.y0
    warped = sample(rgb, shift[within] + pixels(part), origin)
    window = _window(part, box)
    cv2.copyTo(np.minimum(warped, rgb.dtype.type(brush.top)), moved[within], painted[window])
    mask[window] = moved[within]


def _calm_border(raster: Raster, box: Box, border: float) -> Floats:
    """Return how much may move in each cell (gh, gw): motion dies out towards the view's edge.

    Beyond it there is nothing that could be brought in.
    """
    gh, gw = raster.triangle.shape
    x = raster.box.x0 + raster.step * np.arange(gw, dtype=np.float32)
    y = raster.box.y0 + raster.step * np.arange(gh, dtype=np.float32)
    across = np.minimum(x - box.x0, box.x1 - 1 - x)[None]
    down = np.minimum(y - box.y0, box.y1 - 1 - y)[:, None]
    share: Floats = np.clip(np.minimum(across, down) / np.float32(border), 0, 1)
    return share


def _mouth(
    under: Floats,
    soft: Floats,
    inner: Box,
    raster: Raster,
    brush: Brush,
    strokes: Sequence[Stroke],
) -> Floats:
    """Return the exemplars' mouth in place and in the light of *under*, (h, w, 3) code values.

    Between the lips open mouths are dissolved into each other too. Of a closed and an open one only
    that which shows most is seen: lips over teeth would be a haze.
    """
    target = raster.target
    patch = hole = np.zeros_like(under)
    most = max(strokes, key=lambda stroke: stroke.share)
    for stroke in strokes:
        source = stroke.exemplar.vertices
        base = affine_between(target[LOOP], source[LOOP])
        positions = backward_map(raster, source, base, within=inner)
        shown = _sampled(stroke, positions)
        shown = _furnished(shown.astype(np.float32), inner, target, brush, stroke)
        patch += shown * np.float32(stroke.share)
        hole = shown if stroke is most else hole
    if len(strokes) > 1 and min(stroke.opening for stroke in strokes) < PARTED:
        patch += (hole - patch) * _between(target, inner, brush.unit)[..., None]
    return match_light(patch, under, soft, polygon(target[OUTER_LIPS], inner), brush.unit)


def _between(target: Floats, inner: Box, unit: float) -> Floats:
    """Return what lies between the lips, (h, w) 0 to 1, soft at the edge."""
    hole = polygon(target[INNER_LIPS], inner)
    out: Floats = cv2.GaussianBlur(hole, (0, 0), max(BETWEEN * unit, 0.8))
    return out


def _sampled(stroke: Stroke, positions: Floats) -> NDArray[Any]:
    """Return the colours at positions (…, 2) in pixels of an exemplar's frame."""
    exemplar = stroke.exemplar
    if stroke.fine is None:
        return sample(exemplar.rgb, positions, exemplar.origin)
    return sample(stroke.fine.rgb, stroke.fine.local(positions, exemplar.origin), (0, 0))


def _furnished(shown: Floats, inner: Box, target: Floats, brush: Brush, stroke: Stroke) -> Floats:
    """Return a warped exemplar with the mouth behind its lips, where it lacks that."""
    given = np.array([stroke.opening], np.float32)
    return interior.build(
        shown,
        target,
        inner,
        brush.pose,
        brush.calm,
        brush.wanted,
        amount=float(built_share(opening(brush.wanted[None]), given)[0]),
        exemplar=stroke.exemplar,
        top=brush.top,
    )


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
