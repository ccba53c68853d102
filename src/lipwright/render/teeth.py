"""Where teeth are: two dental arches in the head's own frame, seen through its pose.

The upper row hangs from the skull, the lower one from the jaw. Sizes are those of adult crowns
(Wheeler's Dental Anatomy), over a distance of 90 mm between the outer eye corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import MOUTH, UPPER_INNER, Pose, to_image
from lipwright.media.picture import Box
from lipwright.types import Floats

# Widths of the crowns from the middle outwards: incisors, canine, premolars, molar.
UPPER_WIDTHS = (0.094, 0.072, 0.084, 0.078, 0.075, 0.11)
LOWER_WIDTHS = (0.058, 0.064, 0.075, 0.078, 0.078, 0.12)
UPPER_SHORTER = (0.0, 0.012, 0.002, 0.014, 0.022, 0.03)  # how much higher each crown ends
CROWN = 0.115  # height of the upper incisors
ARCH_WIDTH, ARCH_DEPTH = 0.30, 0.36  # half width at the molars, and their way back
BEHIND_LIPS = 0.05  # of the incisors behind the line where closed lips meet
BELOW_LINE = 0.032  # of the upper edge below that line
OVERBITE = 0.018  # of the lower edge above the upper one in a closed mouth
LOWER_MOST = 0.05  # of the lower teeth that shows above the lower lip
JAW_FOLLOW = 1.0  # of the chin's way that the lower incisors go
ROUND = 0.011  # by which an incisal edge is higher at its sides
GROOVE = 0.006  # width of the shade between two teeth
SPAN = np.radians(np.linspace(-80, 80, 65))  # places on an arch, from its middle

_AT = {int(landmark): i for i, landmark in enumerate(MOUTH)}
CHIN = [_AT[i] for i in (152, 148, 377)]
LOWER_INNER = [_AT[i] for i in (87, 14, 317)]
CORNERS = [_AT[i] for i in (78, 308)]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Pixels of a box in axes that lie with the face, in inter-ocular distances."""

    along: Floats  #: (h, w) to the face's left
    down: Floats  #: (h, w)
    axes: Floats  #: (2, 2) unit vectors along and down, in pixels of the frame
    unit: float  #: pixels per inter-ocular distance

    @classmethod
    def over(cls, box: Box, pose: Pose) -> Grid:
        """Lay the axes of one pose over a box."""
        right = pose.rotation[0, :2, 0]
        right = right / max(float(np.linalg.norm(right)), 1e-6)
        axes = np.array([right, [-right[1], right[0]]], np.float32)
        unit = float(1 / pose.scale[0])
        x = np.arange(box.x0, box.x1, dtype=np.float32)[None]
        y = np.arange(box.y0, box.y1, dtype=np.float32)[:, None]
        along, down = ((x * a[0] + y * a[1]) / np.float32(unit) for a in axes)
        return cls(along=along, down=down, axes=axes, unit=unit)

    def place(self, points: Floats) -> Floats:
        """Return points (n, 2+) of the frame in these axes, (n, 2)."""
        out: Floats = (points[:, :2] @ self.axes.T / np.float32(self.unit)).astype(np.float32)
        return out


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of teeth as it shows in each pixel, (h, w)."""

    drop: Floats  #: below the edge of the row; negative above it; inter-ocular distances
    facing: Floats  #: 1 in front, falling to 0 where the arch goes back into the dark
    groove: Floats  #: 1 between two teeth, 0 on them
    side: Floats  #: 0 in the middle of a tooth, 1 at its sides


def rows(grid: Grid, pose: Pose, calm: Floats, wanted: Floats) -> tuple[Row, Row]:
    """Return the upper and the lower row.

    Args:
        grid: pixels.
        pose: of one frame.
        calm: (61, 3) canonical mouth of the speaker when closed.
        wanted: (61, 3) canonical mouth to paint.
    """
    line = (calm[UPPER_INNER] + calm[LOWER_INNER]).mean(0) / 2
    size = float(np.clip(np.ptp(calm[CORNERS, 0]) / 0.48, 0.85, 1.15))
    fall = float((wanted[CHIN, 1] - calm[CHIN, 1]).mean()) * JAW_FOLLOW
    front = line + np.array([0, BELOW_LINE, BEHIND_LIPS], np.float32)
    upper = _row(grid, pose, front, size, UPPER_WIDTHS, 1)
    lip = float(wanted[LOWER_INNER, 1].mean())
    edge = max(line[1] + BELOW_LINE - OVERBITE + max(fall, 0), lip - LOWER_MOST)
    below = np.array([front[0], edge, front[2] + 0.01], np.float32)
    return upper, _row(grid, pose, below, size, LOWER_WIDTHS, -1)


def _row(
    grid: Grid, pose: Pose, front: Floats, size: float, widths: tuple[float, ...], sign: int
) -> Row:
    """Return a row whose middle edge is at *front*; *sign* 1 hangs down, -1 stands up."""
    across, back = ARCH_WIDTH * size * np.sin(SPAN), ARCH_DEPTH * size * (1 - np.cos(SPAN))
    arch = np.stack([across, np.zeros_like(across), back], 1) + front
    placed = grid.place(to_image(arch[None].astype(np.float32), pose)[0])
    seen = _rising(placed[:, 0])
    steps = np.hypot(np.diff(across), np.diff(back))
    arc = np.concatenate([[0], np.cumsum(steps)])
    arc -= np.interp(0.0, across, arc)
    x, at = placed[seen, 0], arc[seen]
    along = grid.along.ravel()
    shape = grid.along.shape
    where = np.interp(along, x, at)
    edge = np.interp(along, x, placed[seen, 1])
    facing = np.interp(along, x, np.exp(-((back[seen] / 0.17) ** 2)), left=0, right=0)
    bounds = np.cumsum(widths) * size
    tooth = np.minimum(np.searchsorted(bounds, np.abs(where)), len(widths) - 1)
    half = np.asarray(widths)[tooth] * size / 2
    off = (np.abs(where) - (bounds[tooth] - half)) / half  # -1 to 1 over one tooth
    bent = ROUND * np.abs(off) ** 3
    if sign > 0:
        bent = bent + np.asarray(UPPER_SHORTER)[tooth]
    edge = edge - sign * bent
    gap = np.maximum(1 - np.abs(off), 0) * half
    groove = np.exp(-((gap / max(GROOVE, 0.5 / grid.unit)) ** 2))

    def laid(values: NDArray[np.floating]) -> Floats:
        out: Floats = values.reshape(shape).astype(np.float32)
        return out

    return Row(
        drop=laid(grid.down.ravel() - edge),
        facing=laid(facing),
        groove=laid(groove),
        side=laid(np.minimum(np.abs(off), 1)),
    )


def _rising(x: Floats) -> slice:
    """Return the stretch around the middle over which *x* rises: what a turned head shows."""
    steps = np.diff(x) > 1e-6
    middle = len(x) // 2
    first, last = middle, middle
    while first > 0 and steps[first - 1]:
        first -= 1
    while last < len(steps) and steps[last]:
        last += 1
    return slice(first, last + 1)
