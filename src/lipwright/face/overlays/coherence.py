"""Tell edges that stand still on the screen from those that move with a face.

In a few consecutive samples of a video, the gradient at each pixel is compared over time: as it
stands on the screen, and after the samples were aligned to the head and to the jaw. The coherence
of a gradient is the squared length of its mean over its mean squared length: 1 where it never
changes. (The median of gradients shows a watermark likewise: Dekel et al. 2017, "On the
effectiveness of visible watermarks".) An edge of a graphic is coherent on the screen and not on the
face. The comparison needs no threshold on how far the head moves: where it stands still, neither
is better, and nothing is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.landmarks import JAW, RIGID
from lipwright.media.picture import Box
from lipwright.types import Bools, Doubles, Floats

NOSE_BASE, NOSE_BRIDGE, CHIN = 2, 168, 152  # landmarks
# fmt: off
FACE_OUTLINE = np.array([
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
])
# fmt: on
BELOW_NOSE = 0.1  # inter-ocular distances below the nose at which the searched area begins
INSIDE_OUTLINE = 0.06  # inter-ocular distances that it keeps from the outline of the face
MIN_GRADIENT = 10.0  # codes per pixel of an edge
MIN_COHERENCE = 0.88  # of the edge of a graphic, on the screen
MAX_INCOHERENCE = 0.4  # of it, on the screen, over that on the face
MIN_FACE_INCOHERENCE = 0.05  # of it, on the face
NOISE_ENERGY = 1.0  # squared codes per pixel, added to both sides of a coherence

Luma = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class EdgeMaps:
    """The edges in the samples of a window, (h, w) each."""

    gradient_x: Floats  #: mean over the samples, codes per pixel
    gradient_y: Floats
    still: Floats  #: coherence on the screen, 0 to 1
    moving: Floats | None = None  #: the better coherence on the head or the jaw

    @property
    def strength(self) -> Floats:
        """Length of the mean gradient, codes per pixel."""
        strength: Floats = cv2.magnitude(self.gradient_x, self.gradient_y)
        return strength

    def graphic_edges(self, min_gradient: float = MIN_GRADIENT, slack: float = 0.0) -> Bools:
        """Return the pixels that belong to the edge of a graphic.

        Args:
            min_gradient: codes per pixel.
            slack: 0 to 1, how far the conditions are loosened.
        """
        edges = (self.strength > min_gradient) & (self.still > MIN_COHERENCE - 0.2 * slack)
        if self.moving is None:
            return edges
        away = 1 - self.moving
        edges &= (away > MIN_FACE_INCOHERENCE) & (
            1 - self.still < MAX_INCOHERENCE * (1 + 0.75 * slack) * away
        )
        return edges


def still_edges(samples: Sequence[Luma]) -> EdgeMaps:
    """Return the edges of samples (h, w) as they stand on the screen."""
    x, y, still = _coherence(samples)
    return EdgeMaps(gradient_x=x, gradient_y=y, still=still)


def compare_motion(
    samples: Sequence[Luma], faces: Sequence[Floats], still: EdgeMaps, reference: int
) -> EdgeMaps:
    """Compare the edges of samples with those on the face.

    Args:
        samples: (h, w) each.
        faces: landmarks (478, 2+) of each, in pixels of the samples.
        still: of the samples.
        reference: index of the sample that the others are aligned to.
    """
    size = samples[0].shape[1::-1]
    moving = []
    for part in (RIGID, JAW):
        aligned = [
            cv2.warpAffine(
                sample,
                similarity(faces[reference][part], face[part]),
                size,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for sample, face in zip(samples, faces, strict=True)
        ]
        moving.append(_coherence(aligned)[2])
    return EdgeMaps(
        gradient_x=still.gradient_x,
        gradient_y=still.gradient_y,
        still=still.still,
        moving=cv2.max(*moving),
    )


def searched_area(faces: Sequence[Floats], size: tuple[int, int]) -> Bools:
    """Return the mask (h, w) of the lower face, where all of some samples show it.

    Args:
        faces: landmarks (478, 2+) of each sample, in its pixels.
        size: width and height.
    """
    area = np.ones(size[::-1], np.uint8)
    for face in faces:
        bridge, chin, nose = (face[i, :2] for i in (NOSE_BRIDGE, CHIN, NOSE_BASE))
        unit = float(np.linalg.norm(face[263, :2] - face[33, :2]))
        down = (chin - bridge) / max(float(np.linalg.norm(chin - bridge)), 1e-6)
        across = np.array([-down[1], down[0]])
        top = nose + BELOW_NOSE * unit * down
        far = 4 * unit
        below = [top - far * across, top + far * across]
        below += [below[1] + far * down, below[0] + far * down]
        area &= _polygon(face[FACE_OUTLINE, :2], size) & _polygon(np.array(below), size)
    side = 2 * max(1, round(INSIDE_OUTLINE * unit)) + 1
    inside: Bools = cv2.erode(area, np.ones((side, side), np.uint8), borderValue=0) > 0
    return inside


def similarity(source: Floats, target: Floats) -> Doubles:
    """Return the (2, 3) similarity transform that fits points (n, 2+) to others best."""
    a, b = source[:, :2].astype(np.float64), target[:, :2].astype(np.float64)
    middle, other = a.mean(0), b.mean(0)
    a, b = a - middle, b - other
    size = max(float((a**2).sum()), 1e-9)
    c = float((a * b).sum()) / size
    s = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / size
    turn = np.array([[c, -s], [s, c]])
    return np.column_stack([turn, other - turn @ middle])


def soften(luma: Luma) -> Luma:
    """Return luma with less noise of the codec, as gradients are measured in."""
    out: Luma = cv2.GaussianBlur(luma, (3, 3), 0)
    return out


def gradients(luma: Luma) -> tuple[Floats, Floats]:
    """Return the horizontal and vertical gradient (h, w), codes per pixel."""
    return (
        cv2.Scharr(luma, cv2.CV_32F, 1, 0, scale=1 / 32),
        cv2.Scharr(luma, cv2.CV_32F, 0, 1, scale=1 / 32),
    )


def relative(landmarks: Floats, box: Box, shrink: int = 1) -> Floats:
    """Return landmarks (478, 2) in pixels of a part of the frame that was scaled down."""
    points = (landmarks[:, :2] - [box.x0, box.y0] + 0.5) / shrink - 0.5
    return np.asarray(points, np.float32)


def _coherence(samples: Sequence[Luma]) -> tuple[Floats, Floats, Floats]:
    """Return the mean gradient of samples (h, w) and its coherence."""
    shape = samples[0].shape
    sums: list[Any] = [np.zeros(shape, np.float32) for _ in range(3)]
    for sample in samples:
        for total, part in zip(sums[:2], gradients(sample), strict=True):
            cv2.accumulate(part, total)
            cv2.accumulateSquare(part, sums[2])
    x, y, energy = (np.asarray(total / len(samples), np.float32) for total in sums)
    mean = cv2.blur(x * x + y * y, (3, 3)) + NOISE_ENERGY
    coherence: Floats = mean / (cv2.blur(energy, (3, 3)) + NOISE_ENERGY)
    return x, y, coherence


def _polygon(points: Floats | Doubles, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1, shift=4)
    return mask
