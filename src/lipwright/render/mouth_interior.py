"""What shows behind the lips when no exemplar is open enough to show it.

Three layers, from the back: a dark red cavity with a tongue, teeth in two rows
(:mod:`lipwright.render.teeth`), and whatever the exemplar itself shows of them, which is real. Its
upper half keeps its place in the skull and its lower half in the jaw, so that parting lips uncover
teeth instead of stretching them, and closing lips cover them.

The levels were measured on some 2,300 open mouths of news anchors: teeth against skin, and how far
the upper lip's shadow reaches.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lips import INNER_LIPS, LOWER_LIP, UPPER_LIP
from lipwright.face.shape import Pose, interocular, mouth_shapes, opening
from lipwright.media.picture import Box
from lipwright.render.bank import Exemplar
from lipwright.render.composite import polygon
from lipwright.render.path import OPEN
from lipwright.render.teeth import CROWN, Grid, Row, rows
from lipwright.render.tone import Palette
from lipwright.render.warp import Affine, affine_between, pixels, sample
from lipwright.types import Floats

CHIN = np.array([152, 148, 377])  # and those that the jaw carries
SKULL = np.array(
    [2, 97, 326, 195, 197, 6, 168, 33, 263]
)  # landmarks that teeth keep their place to
CAVITY = np.array([0.32, 0.10, 0.09], np.float32)  # RGB over the skin's level
TONGUE = np.array([0.80, 0.44, 0.46], np.float32)
TONGUE_HEIGHT = 0.13  # over the edge of the lower teeth, inter-ocular distances
GUM = np.array([0.90, 0.55, 0.55], np.float32)
SHADOW, SHADOW_DEPTH = 0.55, (0.0, 0.05)  # level right under the upper lip; where it ends
SOFTNESS, LEAST_BLUR = 0.45, 0.4  # of teeth against the lips' sharpest edges; in pixels
HEM = 0.012  # by which closing lips cover more than their edge, inter-ocular distances
NARROW = 0.05  # gap between the lips under which they shade whatever is there
LINE_LEVEL = 0.6  # of that shade against the lip
RIM = 0.022  # width of the inner lower lip that opening brings to light
LOWER_LEVEL = 0.80  # of the lower teeth against the upper


def build(
    shown: Floats,
    target: Floats,
    box: Box,
    pose: Pose,
    calm: Floats,
    wanted: Floats,
    *,
    amount: float,
    exemplar: Exemplar,
    top: int,
) -> Floats:
    """Return *shown* (h, w, 3) with the interior of the mouth built anew.

    Args:
        shown: the exemplar warped into place, code values.
        target: (n, 3) moved landmarks, pixels of the frame.
        box: where *shown* lies in the frame.
        pose: of the frame's face.
        calm: (61, 3) canonical mouth of the speaker when closed.
        wanted: (61, 3) canonical mouth to paint.
        amount: 0 to 1.
        exemplar: that was warped.
        top: the largest code value.
    """
    inner = _around(target[INNER_LIPS], box, pose)
    if inner is None or amount <= 0:
        return shown
    palette = exemplar.palette
    window = (
        slice(inner.y0 - box.y0, inner.y1 - box.y0),
        slice(inner.x0 - box.x0, inner.x1 - box.x0),
    )
    grid = Grid.over(inner, pose)
    inside = polygon(target[INNER_LIPS], inner)
    gap, given = opening(wanted[None])[0], opening(mouth_shapes(exemplar.landmarks[None]))[0]
    made = synthetic(grid, pose, target, calm, wanted, palette) * np.float32(top)
    made = _blur(made, max(SOFTNESS * palette.blur * grid.unit, LEAST_BLUR))
    made = _with_real(made, inner, target, grid, exemplar)
    (above, below), _ = _lips(grid, target)
    line = np.broadcast_to(palette.lip * np.float32(LINE_LEVEL * top), made.shape)
    made = _over(line, made, _step((below - above) / NARROW))
    made = _rim(made, grid, target, palette.lip * top)
    if gap < given:  # teeth that the tracker took for lips would stay as bright dots
        inside = np.maximum(inside, _line(target, inner))
        made, inside = _hem(made, inside, palette.lip * top, grid.unit)
    inside = _blur(inside, max(0.007 * grid.unit, 0.8))
    out = shown.copy()
    part = out[window]
    if gap < given:  # between lips that all but meet the exemplar's own shade is dark enough
        apart = _step((below - above - OPEN) / NARROW)
        made = made - np.maximum(made - part, 0) * (1 - apart)[..., None]
    part += (made - part) * (inside * np.float32(amount))[..., None]
    return out


def synthetic(
    grid: Grid, pose: Pose, target: Floats, calm: Floats, wanted: Floats, palette: Palette
) -> Floats:
    """Return cavity, tongue and teeth over a grid, (h, w, 3), 0 to 1."""
    upper, lower = rows(grid, pose, calm, wanted)
    lips, corner = _lips(grid, target)
    depth, height = grid.down - lips[0], lips[1] - grid.down
    level = float(palette.skin.mean())
    soft = max(0.007, 0.7 / grid.unit)
    deep = _step(depth / 0.05) * _step(height / 0.05)
    made = (CAVITY * level) * (1.15 - 0.5 * deep)[..., None]
    bulge = _step((lower.drop + TONGUE_HEIGHT) / TONGUE_HEIGHT) * (1 - corner**2) ** 0.5
    made = _over(made, TONGUE * level * 0.8, 0.85 * bulge)
    white = palette.teeth
    stands = _step(lower.drop / soft * 0.5 + 0.5) * np.minimum(1, lower.facing * 1.6)
    made = _over(made, _lit_row(lower, white * LOWER_LEVEL), stands)
    hangs = _step(-upper.drop / soft * 0.5 + 0.5) * np.minimum(1, upper.facing * 1.6)
    made = _over(made, _lit_row(upper, white), hangs)
    gum = hangs * _step((-upper.drop - CROWN) / 0.012)
    made = _over(made, GUM * level, gum)
    shadow = SHADOW + (1 - SHADOW) * _step((depth - SHADOW_DEPTH[0]) / np.ptp(SHADOW_DEPTH))
    corners = 1 - 0.5 * _step((corner - 0.5) / 0.5)
    across = np.clip(0.5 + 0.5 * (grid.along - _middle(grid, target)) / 0.25, 0, 1)
    tilt = palette.tilt ** (0.8 * (across - 0.5))
    out: Floats = (made * (shadow * corners * tilt)[..., None]).astype(np.float32)
    return np.clip(out, 0, 1)


def _middle(grid: Grid, target: Floats) -> float:
    """Return where the middle of the mouth lies along a grid."""
    return float(grid.place(target[UPPER_LIP[[0, -1]]])[:, 0].mean())


def _lit_row(row: Row, white: Floats) -> Floats:
    """Return the colour (h, w, 3) of a row of teeth: darker to the sides and between them."""
    level = (0.35 + 0.65 * row.facing) * (1 - 0.16 * row.groove) * (1 - 0.12 * row.side**2)
    edge = 1 - 0.10 * np.exp(-((row.drop / 0.012) ** 2))  # an edge lets light through
    out: Floats = white * (level * edge)[..., None]
    return out


def _with_real(made: Floats, box: Box, target: Floats, grid: Grid, exemplar: Exemplar) -> Floats:
    """Return *made* with what the exemplar shows between its own lips, unstretched."""
    own = exemplar.landmarks
    source = exemplar.box
    unit = interocular(own)
    hole = polygon(own[INNER_LIPS], source)
    reach = max(1, round(0.012 * unit))
    hole = cv2.erode(hole, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    if hole.sum() < 0.0006 * unit**2:
        return made
    hole = _blur(hole, max(0.012 * unit, 0.5))
    fixed = affine_between(target[SKULL], own[SKULL])
    out = made
    lower = fixed.copy()
    lower[:, 2] += own[CHIN, :2].mean(0) - _moved(fixed, target[CHIN]).mean(0)
    (above, below), _ = _lips(grid, target)
    low = _step(((grid.down - above) / np.maximum(below - above, 1e-3) - 0.45) / 0.3)
    for matrix, weight in ((lower, low), (fixed, 1 - low)):
        at = _moved(matrix, pixels(box).reshape(-1, 2)).reshape(*low.shape, 2)
        real = sample(exemplar.rgb, at, exemplar.origin).astype(np.float32)
        known = np.clip(sample(hole, at, exemplar.origin), 0, 1) * _in(at, source)
        out = _over(out, real, known * weight)
    return out


def _hem(made: Floats, inside: Floats, lip: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return *made* with a hem of lip around what is *inside*, and the inside with its hem."""
    reach = 2 * max(1, round(HEM * unit)) + 1
    wide: Floats = cv2.dilate(inside, np.ones((reach, reach), np.uint8))
    hem = _blur(wide - inside, max(0.004 * unit, 0.4))
    return _over(made, np.broadcast_to(lip * np.float32(0.9), made.shape), hem), wide


def _line(target: Floats, box: Box) -> Floats:
    """Return the line between the inner lips, (h, w) 0 to 1: a thin polygon would leave dots."""
    drawn = np.zeros((box.height, box.width), np.uint8)
    middle = (target[UPPER_LIP, :2] + target[LOWER_LIP, :2]) / 2 - [box.x0, box.y0]
    fixed = np.round(middle * 16).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, 255, 1, cv2.LINE_AA, shift=4)
    out: Floats = drawn.astype(np.float32) / np.float32(255)
    return out


def _rim(made: Floats, grid: Grid, target: Floats, lip: Floats) -> Floats:
    """Return *made* with the moist inner side of the lower lip, which opening brings to light."""
    (high, low), corner = _lips(grid, target)
    height = low - grid.down
    width = np.minimum(RIM, 0.35 * np.maximum(low - high, 0) + 1e-3)
    share = 0.85 * (1 - _step(height / width)) * (1 - 0.5 * corner**2)
    return _over(made, lip * np.array([0.92, 0.80, 0.80], np.float32), share)


def _lips(grid: Grid, target: Floats) -> tuple[tuple[Floats, Floats], Floats]:
    """Return where the inner lips lie below each pixel's column, and how near a corner it is.

    Returns:
        (h, w) upper and lower lip along ``down``, and 0 in the middle to 1 at the corners.
    """
    along = grid.along.ravel()
    edges = []
    for lip in (UPPER_LIP, LOWER_LIP):
        placed = grid.place(target[lip])
        order = np.argsort(placed[:, 0])
        edges.append(np.interp(along, placed[order, 0], placed[order, 1]))
    ends = grid.place(target[UPPER_LIP[[0, -1]]])[:, 0]
    corner = np.abs(along - ends.mean()) / max(abs(float(ends[1] - ends[0])) / 2, 1e-3)
    upper, lower, corner = (
        part.reshape(grid.along.shape).astype(np.float32) for part in (*edges, corner)
    )
    return (upper, lower), np.minimum(corner, 1)


def _around(points: Floats, box: Box, pose: Pose) -> Box | None:
    """Return the part of a box around points and their soft edge, None where there is none."""
    margin = 0.03 / float(pose.scale[0]) + 2
    if not math.isfinite(margin):
        return None
    x0, y0 = np.floor(points[:, :2].min(0) - margin).astype(int)
    x1, y1 = np.ceil(points[:, :2].max(0) + margin).astype(int) + 1
    part = Box(
        max(int(x0), box.x0), max(int(y0), box.y0), min(int(x1), box.x1), min(int(y1), box.y1)
    )
    return part if part.width > 0 and part.height > 0 else None


def _moved(matrix: Affine, points: Floats) -> Floats:
    out: Floats = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    return out


def _in(at: Floats, box: Box) -> NDArray[np.bool_]:
    x, y = at[..., 0], at[..., 1]
    inside: NDArray[np.bool_] = (x >= box.x0) & (x < box.x1) & (y >= box.y0) & (y < box.y1)
    return inside


def _over(below: Floats, above: Floats, share: NDArray[np.floating]) -> Floats:
    mixed: Floats = below + (above - below) * share[..., None]
    return mixed


def _blur(mask: Floats, sigma: float) -> Floats:
    out: Floats = cv2.GaussianBlur(mask, (0, 0), sigma)
    return out


def _step(x: Floats) -> Floats:
    x = np.clip(x, 0, 1)
    out: Floats = x * x * (3 - 2 * x)
    return out
