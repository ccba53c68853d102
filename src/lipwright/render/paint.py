"""Paint one view: warp the frame to the new jaw, then blend in the mouth of the exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import Pose, mouth_opening
from lipwright.face.landmarks import INNER_LIPS, OUTER_LIPS
from lipwright.media.picture import Box
from lipwright.render.bank import PARTED, Exemplar
from lipwright.render.composite import (
    FEATHER,
    MOUTH_LOOP,
    fill_polygon,
    lip_mask,
    match_light,
    mouth_mask,
)
from lipwright.render.detail import blend_layers, match_detail, mix_details
from lipwright.render.face_mesh import (
    compensate_tracker,
    follow_weights,
    mesh_triangles,
    mesh_vertices,
    moving_vertices,
    steady_contour,
)
from lipwright.render.mouth_interior import fill_mouth
from lipwright.render.path import fill_share
from lipwright.render.restore import RestoredExemplar
from lipwright.render.warp import (
    Raster,
    backward_map,
    fit_affine,
    mesh_offsets,
    pixel_grid,
    rasterise,
    sample_bicubic,
    upsample,
)
from lipwright.types import Floats

BORDER = 0.15  # distance from the view's edge over which motion fades out, inter-ocular distances
INTERIOR_EDGE = 0.01  # sigma of the edge of the mouth interior, inter-ocular distances
MIN_INTERIOR_EDGE = 0.8  # pixels: the least sigma of that edge, against jagged lips in small faces
MIN_MOTION = 0.02  # pixels: what moves less stays unchanged
FEATHER_REACH = 3  # sigmas of the mask's edge beyond which it is 0
MESH_MARGIN = 2  # pixels around the mesh's vertices that are rasterised


@dataclass(frozen=True, kw_only=True)
class MouthTarget:
    """A face in a frame and the mouth to paint on it."""

    pose: Pose  #: of one frame
    landmarks: Floats  #: (478, 3) pixels
    own: Floats  #: (61, 3) canonical mouth shape of the frame
    wanted: Floats  #: (61, 3) canonical mouth shape to paint
    shown: Floats  #: (61, 3) canonical mouth shape of the exemplars it is painted with
    closed_mouth: Floats  #: (61, 3) canonical mouth shape of the speaker when closed
    top: int  #: largest code value of the view, 255 or 1023

    @property
    def unit(self) -> float:
        """Pixels per inter-ocular distance."""
        return float(1 / self.pose.scale[0])

    def displacement(self) -> Floats:
        """Return the displacement of each landmark of the mesh, (468, 3) pixels."""
        canonical = follow_weights() @ steady_contour(
            compensate_tracker(self.wanted - self.own, self.wanted - self.shown)
        )
        out: Floats = (canonical @ self.pose.rotation[0].T * np.float32(self.unit)).astype(
            np.float32
        )
        return out


@dataclass(frozen=True, kw_only=True)
class WeightedExemplar:
    """An exemplar and its share of a frame."""

    exemplar: Exemplar
    share: float  #: 0 to 1; those of a frame add up to 1
    opening: float  #: of its mouth, canonical
    restored: RestoredExemplar | None = None  #: super-resolved pixels; None: its own are used


def paint_mouth(
    rgb: NDArray[Any],
    box: Box,
    target: MouthTarget,
    exemplars: Sequence[WeightedExemplar],
    strength: float,
    occluder: Floats | None = None,
) -> tuple[NDArray[Any], Floats]:
    """Return the painted view (h, w, 3) and the mask (h, w) of its changes, 0 or 1.

    Args:
        rgb: (h, w, 3) the view, RGB uint8 or uint16; not modified.
        box: position of the view in its frame.
        target: the face in it and the mouth to paint.
        exemplars: to paint with.
        strength: 0 to 1, share of the exemplars in the mix.
        occluder: (h, w) 0 to 1, how far something covers the face in each pixel; covered pixels do
            not count when light and detail of the face are measured.
    """
    rest, moved = mesh_vertices(target.landmarks, target.displacement(), target.unit)
    area = _box_around(moved[moving_vertices()], MESH_MARGIN, box)
    raster = rasterise(moved, mesh_triangles(), area, target.unit)
    painted, mask = rgb.copy(), np.zeros(rgb.shape[:2], np.float32)
    _warp_jaw(painted, mask, rgb, box, raster, rest, target)
    inner = _box_around(moved[MOUTH_LOOP], FEATHER_REACH * FEATHER * target.unit, area)
    window = _window(inner, box)
    soft = mouth_mask(moved, inner, target.unit)
    under = painted[window].astype(np.float32)
    face = soft if occluder is None else soft * (occluder[window] <= 0)
    over = _render_mouth(under, face, inner, raster, target, exemplars)
    lips = lip_mask([moved, rest], inner, target.unit)
    own = mix_details([(e.exemplar.detail, e.share) for e in exemplars])
    over = match_detail(over, under, face, lips, own)
    share: float | Floats = strength
    if 0 < strength < 1:  # mixing the teeth of two mouths would give a haze: show only one interior
        between = _interior_mask(moved, inner, target.unit)
        share = strength + (round(strength) - strength) * between
    blended = np.rint(blend_layers(over, under, soft, share))
    painted[window] = np.clip(blended, 0, target.top).astype(rgb.dtype)
    mask[window] = np.maximum(mask[window], soft > 0)
    return painted, mask


def _warp_jaw(
    painted: NDArray[Any],
    mask: Floats,
    rgb: NDArray[Any],
    box: Box,
    raster: Raster,
    rest: Floats,
    target: MouthTarget,
) -> None:
    """Warp the frame itself to the new jaw, into *painted*; set *mask* where pixels moved."""
    coarse = mesh_offsets(raster, rest) * _border_fade(raster, box, BORDER * target.unit)[..., None]
    shift = upsample(coarse, raster, raster.box)
    distance = cv2.max(*(np.abs(part) for part in cv2.split(shift)))
    moved = (distance > MIN_MOTION).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(moved)
    if not width:
        return
    left, top = raster.box.x0 + x, raster.box.y0 + y
    part = Box(left, top, left + width, top + height)
    within = _window(part, raster.box)
    origin = box.x0, box.y0
    warped = sample_bicubic(rgb, shift[within] + pixel_grid(part), origin)
    window = _window(part, box)
    cv2.copyTo(np.minimum(warped, rgb.dtype.type(target.top)), moved[within], painted[window])
    mask[window] = moved[within]


def _border_fade(raster: Raster, box: Box, border: float) -> Floats:
    """Return the share of motion allowed in each cell (gh, gw): 0 at the view's edge.

    There are no pixels beyond the edge that could move in.
    """
    gh, gw = raster.triangle.shape
    x = raster.box.x0 + raster.step * np.arange(gw, dtype=np.float32)
    y = raster.box.y0 + raster.step * np.arange(gh, dtype=np.float32)
    across = np.minimum(x - box.x0, box.x1 - 1 - x)[None]
    down = np.minimum(y - box.y0, box.y1 - 1 - y)[:, None]
    share: Floats = np.clip(np.minimum(across, down) / np.float32(border), 0, 1)
    return share


def _render_mouth(
    under: Floats,
    face: Floats,
    inner: Box,
    raster: Raster,
    target: MouthTarget,
    exemplars: Sequence[WeightedExemplar],
) -> Floats:
    """Return the exemplars warped into place, in the light of *under*, (h, w, 3) code values.

    The interiors of open mouths dissolve into each other like everything else. Between a closed
    and an open mouth, the interior is that of the larger share: lips over teeth would be a haze.
    """
    moved = raster.target
    patch = interior = np.zeros_like(under)
    dominant = max(exemplars, key=lambda each: each.share)
    for each in exemplars:
        source = each.exemplar.vertices
        base = fit_affine(moved[MOUTH_LOOP], source[MOUTH_LOOP])
        positions = backward_map(raster, source, base, within=inner)
        warped = _sample_exemplar(each, positions)
        warped = _fill_mouth(warped.astype(np.float32), inner, moved, target, each)
        patch += warped * np.float32(each.share)
        interior = warped if each is dominant else interior
    if len(exemplars) > 1 and min(each.opening for each in exemplars) < PARTED:
        patch += (interior - patch) * _interior_mask(moved, inner, target.unit)[..., None]
    return match_light(patch, under, face, fill_polygon(moved[OUTER_LIPS], inner), target.unit)


def _interior_mask(moved: Floats, inner: Box, unit: float) -> Floats:
    """Return the mask (h, w) of the mouth interior, 0 to 1, soft at the edge."""
    hole = fill_polygon(moved[INNER_LIPS], inner)
    out: Floats = cv2.GaussianBlur(hole, (0, 0), max(INTERIOR_EDGE * unit, MIN_INTERIOR_EDGE))
    return out


def _sample_exemplar(each: WeightedExemplar, positions: Floats) -> NDArray[Any]:
    """Return the colours (…, 3) at positions (…, 2) in pixels of an exemplar's frame."""
    exemplar = each.exemplar
    if each.restored is None:
        return sample_bicubic(exemplar.rgb, positions, exemplar.origin)
    local = each.restored.local(positions, exemplar.origin)
    return sample_bicubic(each.restored.rgb, local, (0, 0))


def _fill_mouth(
    warped: Floats, inner: Box, moved: Floats, target: MouthTarget, each: WeightedExemplar
) -> Floats:
    """Return a warped exemplar (h, w, 3) with a synthetic mouth interior where it lacks one."""
    given = np.array([each.opening], np.float32)
    return fill_mouth(
        warped,
        moved,
        inner,
        target.pose,
        target.closed_mouth,
        target.wanted,
        amount=float(fill_share(mouth_opening(target.wanted[None]), given)[0]),
        exemplar=each.exemplar,
        top=target.top,
    )


def _box_around(points: Floats, margin: float, within: Box) -> Box:
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
