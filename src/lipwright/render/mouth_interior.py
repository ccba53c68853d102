"""Render the mouth interior where no exemplar is open enough to show it.

There are three layers, from the back: a dark red cavity with a tongue, two rows of teeth
(:mod:`lipwright.render.teeth`), and the exemplar's own interior pixels. The upper half of those
keeps its place in the skull and the lower half in the jaw: parting lips uncover teeth instead of
stretching them, and closing lips cover them.

The levels were measured on some 2,300 open mouths of news anchors: teeth against skin, and the
reach of the upper lip's shadow.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import Pose, interocular_distance, mouth_opening, mouth_shapes
from lipwright.face.landmarks import INNER_LIPS, LOWER_RIM_FULL, UPPER_RIM_FULL
from lipwright.media.picture import Box
from lipwright.render.bank import Exemplar
from lipwright.render.composite import fill_polygon
from lipwright.render.path import MIN_OPENING
from lipwright.render.teeth import CROWN, FaceGrid, TeethRow, teeth_rows
from lipwright.render.tone import Tone
from lipwright.render.warp import Affine, fit_affine, pixel_grid, sample_bicubic
from lipwright.types import Floats

# Levels are ratios to the skin's mean level, lengths are inter-ocular distances, unless noted.
JAW_LANDMARKS = np.array([152, 148, 377])  # the chin: the lower teeth move with it
SKULL_LANDMARKS = np.array([2, 97, 326, 195, 197, 6, 168, 33, 263])  # the upper teeth stay there
CAVITY = np.array([0.32, 0.10, 0.09], np.float32)  # RGB level
CAVITY_EDGE, CAVITY_DARKENING = 1.15, 0.5  # factor of that level at the lips; its loss in depth
CAVITY_FADE = 0.05  # distance from the lips over which the cavity darkens
TONGUE = np.array([0.80, 0.44, 0.46], np.float32)  # RGB level in full light
TONGUE_LEVEL = 0.8  # of that light that reaches the tongue
TONGUE_OPACITY = 0.85  # of the tongue over the cavity, 0 to 1: it has no sharp outline
TONGUE_HEIGHT = 0.13  # over the edge of the lower teeth
GUM = np.array([0.90, 0.55, 0.55], np.float32)  # RGB level
GUM_FADE = 0.012  # height over which crowns turn into gum
LOWER_LEVEL = 0.80  # of the lower teeth against the upper
TOOTH_EDGE, MIN_TOOTH_EDGE_PIXELS = 0.007, 0.7  # width of a tooth's soft edge; in pixels, at least
FACING_GAIN = 1.6  # of opacity by facing: only the sides of an arch fade out
SIDE_LEVEL = 0.35  # level of teeth at the sides of an arch against those in front
GROOVE_SHADE = 0.16  # share of light lost between two teeth
SIDE_SHADE = 0.12  # share of light lost at the sides of a tooth: it is curved
EDGE_SHADE, EDGE_HEIGHT = 0.10, 0.012  # share of light lost at a cutting edge, which is translucent
SHADOW, SHADOW_DEPTH = 0.55, (0.0, 0.05)  # level under the upper lip; start and end of its shadow
CORNER_SHADE = 0.5  # share of light lost in the corners of the mouth
CORNER_START = 0.5  # where that begins: 0 is the middle of the mouth, 1 its corners
TILT_REACH = 0.25  # distance from the middle at which light from one side has its full effect
TILT_SHARE = 0.8  # of the difference between the sides of the face that the teeth show
SOFTNESS, MIN_BLUR = 0.45, 0.4  # sigma against that of the lips' sharpest edges; pixels, at least
OUTLINE, MIN_OUTLINE = 0.007, 0.8  # sigma of the interior's edge; pixels, at least
SEAM, MIN_SEAM = 0.012, 0.5  # sigma of the edge of the exemplar's interior; pixels, at least
LIP_MARGIN = 0.012  # around the exemplar's interior that is not used: it may show lips
MIN_REAL_AREA = 0.0006  # squared: an exemplar's interior that is smaller is not used
# Height between the lips (0 upper, 1 lower) from which pixels begin to follow the jaw; over which
# they come to follow it wholly.
JAW_SHARE_FROM, JAW_SHARE_OVER = 0.45, 0.3
HEM, HEM_LEVEL = 0.012, 0.9  # lip that closing lips draw over their edge: width, level of the lip
HEM_BLUR, MIN_HEM_BLUR = 0.004, 0.4  # sigma of the hem's edge; pixels, at least
NARROW = 0.05  # gap between the lips below which they shade the interior
LINE_LEVEL = 0.6  # of that shade against the lip
INNER_LIP = np.array([0.92, 0.80, 0.80], np.float32)  # RGB of the moist inner lip against the lip
INNER_LIP_WIDTH, INNER_LIP_SHARE = 0.022, 0.35  # its width, at most; as a share of the gap
INNER_LIP_OPACITY, INNER_LIP_FADE = 0.85, 0.5  # in the middle, 0 to 1; share lost at the corners
WINDOW_MARGIN, WINDOW_PIXELS = 0.03, 2  # around the lips for their soft edge; pixels on top
MIN_LENGTH = 1e-3  # avoids a division by 0


def fill_mouth(
    warped: Floats,
    target: Floats,
    box: Box,
    pose: Pose,
    closed_mouth: Floats,
    wanted: Floats,
    *,
    amount: float,
    exemplar: Exemplar,
    top: int,
) -> Floats:
    """Return *warped* (h, w, 3) with a synthetic mouth interior.

    Args:
        warped: the exemplar warped into place, code values.
        target: (n, 3) moved landmarks, pixels of the frame.
        box: position of *warped* in the frame.
        pose: of the frame's face.
        closed_mouth: (61, 3) canonical mouth shape of the speaker when closed.
        wanted: (61, 3) canonical mouth shape to paint.
        amount: share of the synthetic interior, 0 to 1.
        exemplar: that was warped.
        top: the largest code value.
    """
    inner = _box_around(target[INNER_LIPS], box, pose)
    if inner is None or amount <= 0:
        return warped
    tone = exemplar.tone
    window = (
        slice(inner.y0 - box.y0, inner.y1 - box.y0),
        slice(inner.x0 - box.x0, inner.x1 - box.x0),
    )
    grid = FaceGrid.over(inner, pose)
    mask = fill_polygon(target[INNER_LIPS], inner)
    gap = mouth_opening(wanted[None])[0]
    given = mouth_opening(mouth_shapes(exemplar.landmarks[None]))[0]
    interior = render_interior(grid, pose, target, closed_mouth, wanted, tone) * np.float32(top)
    interior = _blur(interior, max(SOFTNESS * tone.blur * grid.unit, MIN_BLUR))
    interior = _overlay_real(interior, inner, target, grid, exemplar)
    (above, below), _ = _lip_edges(grid, target)
    line = np.broadcast_to(tone.lip * np.float32(LINE_LEVEL * top), interior.shape)
    interior = _over(line, interior, _smoothstep((below - above) / NARROW))
    interior = _overlay_inner_lip(interior, grid, target, tone.lip * top)
    if gap < given:  # teeth that the tracker took for lips would stay as bright dots
        mask = np.maximum(mask, _lip_line(target, inner))
        interior, mask = _add_hem(interior, mask, tone.lip * top, grid.unit)
    mask = _blur(mask, max(OUTLINE * grid.unit, MIN_OUTLINE))
    out = warped.copy()
    part = out[window]
    if gap < given:  # between lips that all but meet the exemplar's own shade is dark enough
        apart = _smoothstep((below - above - MIN_OPENING) / NARROW)
        interior = interior - np.maximum(interior - part, 0) * (1 - apart)[..., None]
    part += (interior - part) * (mask * np.float32(amount))[..., None]
    return out


def render_interior(
    grid: FaceGrid, pose: Pose, target: Floats, closed_mouth: Floats, wanted: Floats, tone: Tone
) -> Floats:
    """Return cavity, tongue and teeth over a grid, RGB (h, w, 3), 0 to 1."""
    upper, lower = teeth_rows(grid, pose, closed_mouth, wanted)
    lips, corner = _lip_edges(grid, target)
    depth, height = grid.down - lips[0], lips[1] - grid.down
    level = float(tone.skin.mean())
    edge = max(TOOTH_EDGE, MIN_TOOTH_EDGE_PIXELS / grid.unit)
    deep = _smoothstep(depth / CAVITY_FADE) * _smoothstep(height / CAVITY_FADE)
    out = (CAVITY * level) * (CAVITY_EDGE - CAVITY_DARKENING * deep)[..., None]
    tongue = _smoothstep((lower.drop + TONGUE_HEIGHT) / TONGUE_HEIGHT) * (1 - corner**2) ** 0.5
    out = _over(out, TONGUE * level * TONGUE_LEVEL, TONGUE_OPACITY * tongue)
    white = tone.teeth
    lower_share = _smoothstep(lower.drop / edge * 0.5 + 0.5)
    lower_share = lower_share * np.minimum(1, lower.facing * FACING_GAIN)
    out = _over(out, _shade_row(lower, white * LOWER_LEVEL), lower_share)
    upper_share = _smoothstep(-upper.drop / edge * 0.5 + 0.5)
    upper_share = upper_share * np.minimum(1, upper.facing * FACING_GAIN)
    out = _over(out, _shade_row(upper, white), upper_share)
    gum = upper_share * _smoothstep((-upper.drop - CROWN) / GUM_FADE)
    out = _over(out, GUM * level, gum)
    lit = _smoothstep((depth - SHADOW_DEPTH[0]) / np.ptp(SHADOW_DEPTH))
    shadow = SHADOW + (1 - SHADOW) * lit
    corners = 1 - CORNER_SHADE * _smoothstep((corner - CORNER_START) / (1 - CORNER_START))
    middle = _mouth_middle(grid, target)
    across = np.clip(0.5 + 0.5 * (grid.along - middle) / TILT_REACH, 0, 1)
    tilt = tone.tilt ** (TILT_SHARE * (across - 0.5))
    lit_out: Floats = (out * (shadow * corners * tilt)[..., None]).astype(np.float32)
    return np.clip(lit_out, 0, 1)


def _mouth_middle(grid: FaceGrid, target: Floats) -> float:
    """Return the position of the middle of the mouth along a grid."""
    return float(grid.place(target[UPPER_RIM_FULL[[0, -1]]])[:, 0].mean())


def _shade_row(row: TeethRow, white: Floats) -> Floats:
    """Return the colour (h, w, 3) of a row of teeth: darker to the sides and between them."""
    facing = SIDE_LEVEL + (1 - SIDE_LEVEL) * row.facing
    level = facing * (1 - GROOVE_SHADE * row.groove) * (1 - SIDE_SHADE * row.side**2)
    edge = 1 - EDGE_SHADE * np.exp(-((row.drop / EDGE_HEIGHT) ** 2))
    out: Floats = white * (level * edge)[..., None]
    return out


def _overlay_real(
    interior: Floats, box: Box, target: Floats, grid: FaceGrid, exemplar: Exemplar
) -> Floats:
    """Return *interior* with the pixels between the exemplar's own lips laid over, unstretched."""
    own = exemplar.landmarks
    source = exemplar.box
    unit = interocular_distance(own)
    hole = fill_polygon(own[INNER_LIPS], source)
    reach = max(1, round(LIP_MARGIN * unit))
    hole = cv2.erode(hole, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    if hole.sum() < MIN_REAL_AREA * unit**2:
        return interior
    hole = _blur(hole, max(SEAM * unit, MIN_SEAM))
    skull = fit_affine(target[SKULL_LANDMARKS], own[SKULL_LANDMARKS])
    jaw = skull.copy()
    jaw[:, 2] += own[JAW_LANDMARKS, :2].mean(0) - _apply(skull, target[JAW_LANDMARKS]).mean(0)
    (above, below), _ = _lip_edges(grid, target)
    height = (grid.down - above) / np.maximum(below - above, MIN_LENGTH)
    jaw_share = _smoothstep((height - JAW_SHARE_FROM) / JAW_SHARE_OVER)
    out = interior
    for matrix, weight in ((jaw, jaw_share), (skull, 1 - jaw_share)):
        positions = _apply(matrix, pixel_grid(box).reshape(-1, 2)).reshape(*jaw_share.shape, 2)
        real = sample_bicubic(exemplar.rgb, positions, exemplar.origin).astype(np.float32)
        known = np.clip(sample_bicubic(hole, positions, exemplar.origin), 0, 1)
        known = known * _inside_box(positions, source)
        out = _over(out, real, known * weight)
    return out


def _add_hem(interior: Floats, mask: Floats, lip: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return *interior* and *mask* (h, w), both grown by a hem in the colour of the lip."""
    side = 2 * max(1, round(HEM * unit)) + 1
    wide: Floats = cv2.dilate(mask, np.ones((side, side), np.uint8))
    hem = _blur(wide - mask, max(HEM_BLUR * unit, MIN_HEM_BLUR))
    return _over(interior, np.broadcast_to(lip * np.float32(HEM_LEVEL), interior.shape), hem), wide


def _lip_line(target: Floats, box: Box) -> Floats:
    """Return the line between the inner lips, (h, w) 0 to 1: a thin polygon would leave dots."""
    drawn = np.zeros((box.height, box.width), np.uint8)
    middle = (target[UPPER_RIM_FULL, :2] + target[LOWER_RIM_FULL, :2]) / 2 - [box.x0, box.y0]
    fixed = np.round(middle * 16).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 255, 1, cv2.LINE_AA, shift=4)
    out: Floats = drawn.astype(np.float32) / np.float32(255)
    return out


def _overlay_inner_lip(interior: Floats, grid: FaceGrid, target: Floats, lip: Floats) -> Floats:
    """Return *interior* with the moist inner side of the lower lip, which shows as it opens."""
    (above, below), corner = _lip_edges(grid, target)
    height = below - grid.down
    gap = np.maximum(below - above, 0)
    width = np.minimum(INNER_LIP_WIDTH, INNER_LIP_SHARE * gap + MIN_LENGTH)
    share = INNER_LIP_OPACITY * (1 - _smoothstep(height / width))
    share = share * (1 - INNER_LIP_FADE * corner**2)
    return _over(interior, lip * INNER_LIP, share)


def _lip_edges(grid: FaceGrid, target: Floats) -> tuple[tuple[Floats, Floats], Floats]:
    """Return the inner lips in each pixel's column, and how near to a corner it is.

    Returns:
        (h, w) upper and lower lip along ``down``, and 0 in the middle to 1 at the corners.
    """
    along = grid.along.ravel()
    edges = []
    for lip in (UPPER_RIM_FULL, LOWER_RIM_FULL):
        placed = grid.place(target[lip])
        order = np.argsort(placed[:, 0])
        edges.append(np.interp(along, placed[order, 0], placed[order, 1]))
    ends = grid.place(target[UPPER_RIM_FULL[[0, -1]]])[:, 0]
    half = max(abs(float(ends[1] - ends[0])) / 2, MIN_LENGTH)
    corner = np.abs(along - ends.mean()) / half
    upper, lower, corner = (
        part.reshape(grid.along.shape).astype(np.float32) for part in (*edges, corner)
    )
    return (upper, lower), np.minimum(corner, 1)


def _box_around(points: Floats, box: Box, pose: Pose) -> Box | None:
    """Return the part of a box around points and their soft edge; None if it is empty."""
    margin = WINDOW_MARGIN / float(pose.scale[0]) + WINDOW_PIXELS
    if not math.isfinite(margin):
        return None
    x0, y0 = np.floor(points[:, :2].min(0) - margin).astype(int)
    x1, y1 = np.ceil(points[:, :2].max(0) + margin).astype(int) + 1
    part = Box(
        max(int(x0), box.x0), max(int(y0), box.y0), min(int(x1), box.x1), min(int(y1), box.y1)
    )
    return part if part.width > 0 and part.height > 0 else None


def _apply(matrix: Affine, points: Floats) -> Floats:
    out: Floats = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return out


def _inside_box(positions: Floats, box: Box) -> NDArray[np.bool_]:
    x, y = positions[..., 0], positions[..., 1]
    inside: NDArray[np.bool_] = (x >= box.x0) & (x < box.x1) & (y >= box.y0) & (y < box.y1)
    return inside


def _over(below: Floats, above: Floats, share: NDArray[np.floating]) -> Floats:
    mixed: Floats = below + (above - below) * share[..., None]
    return mixed


def _blur(mask: Floats, sigma: float) -> Floats:
    out: Floats = cv2.GaussianBlur(mask, (0, 0), sigma)
    return out


def _smoothstep(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    out: Floats = x * x * (3 - 2 * x)
    return out
