"""Position the teeth in each pixel: two dental arches in head coordinates, projected by the pose.

The upper row is fixed to the skull, the lower one to the jaw. Sizes are those of adult crowns
(Wheeler's Dental Anatomy) divided by 90 mm, the distance between the outer eye corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import Pose, to_image
from lipwright.face.landmarks import LOWER_INNER_ROWS, UPPER_INNER_ROWS, mouth_rows
from lipwright.media.picture import Box
from lipwright.types import Floats

# All lengths are inter-ocular distances unless noted.
# Widths of the crowns from the middle outwards: incisors, canine, premolars, molar.
UPPER_WIDTHS = (0.094, 0.072, 0.084, 0.078, 0.075, 0.11)
LOWER_WIDTHS = (0.058, 0.064, 0.075, 0.078, 0.078, 0.12)
UPPER_SHORTER = (0.0, 0.012, 0.002, 0.014, 0.022, 0.03)  # how much higher each upper crown ends
CROWN = 0.115  # height of the upper incisors
ARCH_WIDTH, ARCH_DEPTH = 0.30, 0.36  # of an arch at the molars: half its width, and its depth
ARCH_SHADE_DEPTH = 0.17  # depth into the mouth at which light on the teeth falls to 1 / e
BEHIND_LIPS = 0.05  # of the upper incisors, behind the line where closed lips meet
LOWER_BEHIND_UPPER = 0.01  # of the lower incisors, behind the upper ones
BELOW_LINE = 0.032  # of the upper edge, below the line where closed lips meet
OVERBITE = 0.018  # of the lower edge above the upper one in a closed mouth
MAX_LOWER_SHOWN = 0.05  # height of the lower teeth that shows above the lower lip, at most
JAW_FOLLOW = 1.0  # share of the chin's displacement that the lower incisors follow
EDGE_ROUNDING = 0.011  # by which an incisal edge is higher at its sides than in its middle
GROOVE_WIDTH = 0.006  # of the shade between two teeth
MIN_GROOVE_PIXELS = 0.5  # pixels: the least width of that shade, or it would flicker in small faces
TYPICAL_MOUTH_WIDTH = 0.48  # width of a closed mouth for which the sizes above hold
ARCH_SCALE = (0.85, 1.15)  # limits of the scale of the arches: jaws vary less than mouths do
ARCH_ANGLES = np.radians(np.linspace(-80, 80, 65))  # radians: points on an arch, from its middle
FRONT_STEP = 1e-6  # least step along the face between points that face the camera

# Rows of mouth shapes: the chin, and the inner corners of the mouth.
CHIN_ROWS = mouth_rows(152, 148, 377)
INNER_CORNER_ROWS = mouth_rows(78, 308)


@dataclass(frozen=True, kw_only=True)
class FaceGrid:
    """Coordinates of a box's pixels on axes that turn with the face, in inter-ocular distances."""

    along: Floats  #: (h, w) towards the face's left
    down: Floats  #: (h, w) towards its chin
    axes: Floats  #: (2, 2) unit vectors along and down, in pixels of the frame
    unit: float  #: pixels per inter-ocular distance

    @classmethod
    def over(cls, box: Box, pose: Pose) -> FaceGrid:
        """Return the grid of a box for one pose."""
        right = pose.rotation[0, :2, 0]
        right = right / max(float(np.linalg.norm(right)), 1e-6)
        axes = np.array([right, [-right[1], right[0]]], np.float32)
        unit = float(1 / pose.scale[0])
        x = np.arange(box.x0, box.x1, dtype=np.float32)[None]
        y = np.arange(box.y0, box.y1, dtype=np.float32)[:, None]
        along, down = ((x * a[0] + y * a[1]) / np.float32(unit) for a in axes)
        return cls(along=along, down=down, axes=axes, unit=unit)

    def place(self, points: Floats) -> Floats:
        """Return points (n, 2+) in pixels of the frame on these axes, (n, 2)."""
        out: Floats = (points[:, :2] @ self.axes.T / np.float32(self.unit)).astype(np.float32)
        return out


@dataclass(frozen=True, kw_only=True)
class TeethRow:
    """One row of teeth as seen in each pixel (h, w)."""

    drop: Floats  #: below the edge of the row, negative above it; inter-ocular distances
    facing: Floats  #: 1 in front, falling to 0 where the arch recedes into the dark
    groove: Floats  #: 1 between two teeth, 0 on them
    side: Floats  #: 0 in the middle of a tooth, 1 at its sides


def teeth_rows(
    grid: FaceGrid, pose: Pose, closed_mouth: Floats, wanted: Floats
) -> tuple[TeethRow, TeethRow]:
    """Return the upper and the lower row.

    Args:
        grid: coordinates of the pixels.
        pose: of one frame.
        closed_mouth: (61, 3) canonical mouth shape of the speaker when closed.
        wanted: (61, 3) canonical mouth shape to paint.
    """
    line = (closed_mouth[UPPER_INNER_ROWS] + closed_mouth[LOWER_INNER_ROWS]).mean(0) / 2
    width = np.ptp(closed_mouth[INNER_CORNER_ROWS, 0])
    scale = float(np.clip(width / TYPICAL_MOUTH_WIDTH, *ARCH_SCALE))
    fall = float((wanted[CHIN_ROWS, 1] - closed_mouth[CHIN_ROWS, 1]).mean()) * JAW_FOLLOW
    front = line + np.array([0, BELOW_LINE, BEHIND_LIPS], np.float32)
    upper = _teeth_row(grid, pose, front, scale, UPPER_WIDTHS, 1)
    lip = float(wanted[LOWER_INNER_ROWS, 1].mean())
    edge = max(line[1] + BELOW_LINE - OVERBITE + max(fall, 0), lip - MAX_LOWER_SHOWN)
    lower_front = np.array([front[0], edge, front[2] + LOWER_BEHIND_UPPER], np.float32)
    return upper, _teeth_row(grid, pose, lower_front, scale, LOWER_WIDTHS, -1)


def _teeth_row(
    grid: FaceGrid, pose: Pose, front: Floats, scale: float, widths: tuple[float, ...], sign: int
) -> TeethRow:
    """Return a row whose middle edge is at *front*; *sign* is 1 for the upper, -1 for the lower."""
    across = ARCH_WIDTH * scale * np.sin(ARCH_ANGLES)
    back = ARCH_DEPTH * scale * (1 - np.cos(ARCH_ANGLES))
    arch = np.stack([across, np.zeros_like(across), back], 1) + front
    placed = grid.place(to_image(arch[None].astype(np.float32), pose)[0])
    visible = _visible_stretch(placed[:, 0])
    steps = np.hypot(np.diff(across), np.diff(back))
    arc = np.concatenate([[0], np.cumsum(steps)])
    arc -= np.interp(0.0, across, arc)
    x, arc_visible = placed[visible, 0], arc[visible]
    along = grid.along.ravel()
    shape = grid.along.shape
    position = np.interp(along, x, arc_visible)  # along the arch, 0 in its middle
    edge = np.interp(along, x, placed[visible, 1])
    light = np.exp(-((back[visible] / ARCH_SHADE_DEPTH) ** 2))
    facing = np.interp(along, x, light, left=0, right=0)
    bounds = np.cumsum(widths) * scale
    tooth = np.minimum(np.searchsorted(bounds, np.abs(position)), len(widths) - 1)
    half = np.asarray(widths)[tooth] * scale / 2
    offset = (np.abs(position) - (bounds[tooth] - half)) / half  # -1 to 1 over one tooth
    raised = EDGE_ROUNDING * np.abs(offset) ** 3
    if sign > 0:
        raised = raised + np.asarray(UPPER_SHORTER)[tooth]
    edge = edge - sign * raised
    gap = np.maximum(1 - np.abs(offset), 0) * half
    groove = np.exp(-((gap / max(GROOVE_WIDTH, MIN_GROOVE_PIXELS / grid.unit)) ** 2))

    def to_grid(values: NDArray[np.floating]) -> Floats:
        out: Floats = values.reshape(shape).astype(np.float32)
        return out

    return TeethRow(
        drop=to_grid(grid.down.ravel() - edge),
        facing=to_grid(facing),
        groove=to_grid(groove),
        side=to_grid(np.minimum(np.abs(offset), 1)),
    )


def _visible_stretch(x: Floats) -> slice:
    """Return the stretch around the middle over which *x* rises: the part that a turned head shows.

    Args:
        x: (n,) points of an arch along the face.
    """
    rising = np.diff(x) > FRONT_STEP
    middle = len(x) // 2
    first, last = middle, middle
    while first > 0 and rising[first - 1]:
        first -= 1
    while last < len(rising) and rising[last]:
        last += 1
    return slice(first, last + 1)
