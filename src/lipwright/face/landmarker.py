"""Run the three face networks with LiteRT: detector, landmarks, blendshapes.

The models are MediaPipe's face landmarker v2 (Apache-2.0): BlazeFace short range (Bazarevsky et
al. 2019, arXiv:1907.05047), the attention mesh (Grishchenko et al. 2020, arXiv:2006.10962) and
blendshapes (model card "Blendshape V2").
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.types import Floats
from lipwright.weights.store import WeightStore

Image = NDArray[np.uint8]

DETECTOR_SIDE = 128  # pixels, input of the detector
LANDMARK_SIDE = 256  # pixels, input of the landmark network
REGION_SCALE = 1.5  # region side / extent of the landmarks, as the networks expect
LANDMARKS = 478
MIN_SCORE = 0.5  # of a detected face
TILE_OVERLAP = 0.5
_STDERR_LOCK = threading.Lock()

# The 146 landmarks that the blendshape network reads (MediaPipe face_blendshapes_graph.cc).
# fmt: off
BLENDSHAPE_LANDMARKS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65,
    66, 67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136,
    144, 145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172,
    173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283,
    284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324,
    332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385,
    386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472,
    473, 474, 475, 476, 477,
])
# fmt: on
BLENDSHAPES = 52

# Anchor centres of BlazeFace short range: 16x16 cells with 2 anchors, 8x8 cells with 6.
ANCHORS = np.array(
    [
        ((x + 0.5) / cells, (y + 0.5) / cells)
        for cells, repeats in ((16, 2), (8, 6))
        for y in range(cells)
        for x in range(cells)
        for _ in range(repeats)
    ],
    np.float32,
)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rotated square around a face, in pixels of the frame."""

    x: float  #: of the centre
    y: float  #: of the centre
    side: float
    angle: float  #: radians, of the line between the eyes


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One face that the detector found."""

    region: Region
    score: float  #: 0 to 1


class _TfliteModel:
    """A .tflite model as a function of one array."""

    def __init__(self, path: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with _silent_stderr():
            self._interpreter: Any = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [o["index"] for o in self._interpreter.get_output_details()]

    def __call__(self, x: Floats) -> list[Floats]:
        self._interpreter.set_tensor(self._input, x)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(i) for i in self._outputs]


class FaceLandmarker:
    """Detects faces and estimates their landmarks, one picture at a time. Not thread-safe."""

    def __init__(self, store: WeightStore | None = None, *, threads: int = 1) -> None:
        """Load the detector and the landmark network.

        Args:
            store: where the weights are; None: the files of the package.
            threads: of each network.

        Raises:
            WeightsMissing: a file is not installed.
            WeightsCorrupt: a file is not the published one.
        """
        self._store, self._threads = store or WeightStore(), threads
        self._detector = _TfliteModel(self._store.path("face_detector"), threads)
        self._landmark_model = _TfliteModel(self._store.path("face_landmarks"), threads)

    def detect(self, rgb: Image, *, tiles: bool = False) -> list[Detection]:
        """Return the faces of an RGB picture, best first.

        Args:
            rgb: (h, w, 3) RGB, 8 bit.
            tiles: if no face is found in the whole picture, also search overlapping square tiles.
                The short-range detector misses faces smaller than a fifth of its input.
        """
        detections = self._detect_in(rgb, 0, 0)
        if tiles and not detections:
            for x0, y0, side in _tiles(rgb.shape[1], rgb.shape[0]):
                detections += self._detect_in(rgb[y0 : y0 + side, x0 : x0 + side], x0, y0)
        return _suppress_overlaps(sorted(detections, key=lambda d: -d.score))

    def _detect_in(self, rgb: Image, x0: int, y0: int) -> list[Detection]:
        square, scale, pad_x, pad_y = _letterbox(rgb, DETECTOR_SIDE)
        boxes, logits = self._detector(
            (square[None] / np.float32(127.5) - np.float32(1)).astype(np.float32)
        )
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -60, 60)))
        detections = []
        for i in np.flatnonzero(scores > MIN_SCORE):
            values = boxes[0, i].reshape(8, 2)
            points = (ANCHORS[i] * DETECTOR_SIDE + values[[0, 2, 3]] - [pad_x, pad_y]) / scale
            (cx, cy), right, left = points + np.array([x0, y0])
            side = float(values[1].max()) / scale * REGION_SCALE
            angle = math.atan2(left[1] - right[1], left[0] - right[0])
            region = Region(x=float(cx), y=float(cy), side=side, angle=angle)
            detections.append(Detection(region=region, score=float(scores[i])))
        return detections

    def estimate_landmarks(self, rgb: Image, region: Region) -> tuple[Floats, float]:
        """Return the landmarks of the face in a region, and the probability that there is one.

        Args:
            rgb: (h, w, 3) RGB, 8 bit.
            region: around the face, in pixels of *rgb*.

        Returns:
            float32 (478, 3) x, y, z in pixels of *rgb*, and the presence, 0 to 1.
        """
        matrix = _to_square(region, LANDMARK_SIDE)
        crop = _warp_down(rgb, matrix)
        values = (crop[None] / np.float32(255)).astype(np.float32, copy=False)
        points, presence = self._landmark_model(values)[:2]
        p = points.reshape(LANDMARKS, 3)
        inverse = cv2.invertAffineTransform(matrix)
        # The networks put pixel edges, not centres, at integers: hence the half pixels.
        xy = (p[:, :2] - 0.5) @ inverse[:, :2].T + inverse[:, 2]
        z = p[:, 2:] * (region.side / LANDMARK_SIDE)
        logit = float(np.clip(presence.ravel()[0], -60, 60))
        return np.hstack([xy, z]).astype(np.float32), 1 / (1 + math.exp(-logit))

    @cached_property
    def _blendshape_model(self) -> _TfliteModel:
        """The blendshape network, loaded at the first use because no job needs it."""
        return _TfliteModel(self._store.path("face_blendshapes"), self._threads)

    def blendshapes(self, landmarks: Floats) -> Floats:
        """Return the 52 blendshape weights (0 to 1) of landmarks (478, 3)."""
        return self._blendshape_model(landmarks[None, BLENDSHAPE_LANDMARKS, :2])[0].reshape(
            BLENDSHAPES
        )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Suppress what LiteRT prints while it loads; it has no option and bypasses ``sys.stderr``."""
    with _STDERR_LOCK:
        saved = os.dup(2)
        devnull = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(devnull, 2)
            yield
        finally:
            os.dup2(saved, 2)
            os.close(devnull)
            os.close(saved)


def face_region(landmarks: Floats) -> Region:
    """Return the region in which to search for this face in the next frame."""
    eye = landmarks[263, :2] - landmarks[33, :2]
    angle = math.atan2(float(eye[1]), float(eye[0]))
    c, s = math.cos(angle), math.sin(angle)
    upright = landmarks[:468, :2] @ np.array([[c, -s], [s, c]], np.float32)
    low, high = upright.min(0), upright.max(0)
    mx, my = (low + high) / 2
    return Region(
        x=float(c * mx - s * my),
        y=float(s * mx + c * my),
        side=float((high - low).max()) * REGION_SCALE,
        angle=angle,
    )


def region_iou(a: Region, b: Region) -> float:
    """Return the intersection over union of two regions, treated as upright squares."""
    half = (a.side + b.side) / 2
    ix = min(half - abs(a.x - b.x), a.side, b.side)
    iy = min(half - abs(a.y - b.y), a.side, b.side)
    if ix <= 0 or iy <= 0:
        return 0.0
    return ix * iy / (a.side**2 + b.side**2 - ix * iy)


def _to_square(region: Region, side: int) -> NDArray[np.float64]:
    """Return the 2x3 matrix that maps the region onto a side x side picture."""
    k = side / region.side
    c, s = math.cos(region.angle) * k, math.sin(region.angle) * k
    centre = (side - 1) / 2
    return np.array(
        [
            [c, s, centre - c * region.x - s * region.y],
            [-s, c, centre + s * region.x - c * region.y],
        ]
    )


def _warp_down(rgb: Image, matrix: NDArray[np.float64]) -> Image:
    """Warp to the landmark network's input; downscale by area first to avoid aliasing."""
    scale = math.hypot(matrix[0, 0], matrix[0, 1])
    if scale < 0.7:
        side = LANDMARK_SIDE
        corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
        inverse = cv2.invertAffineTransform(matrix)
        corners = corners @ inverse[:, :2].T + inverse[:, 2]
        last = np.array(rgb.shape[1::-1]) - 1  # a region beyond it still gets one pixel
        x0, y0 = np.clip(np.floor(corners.min(0)).astype(int), 0, last)
        x1, y1 = np.ceil(corners.max(0)).astype(int) + 1
        rgb = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
        kx, ky = rgb.shape[1] / size[0], rgb.shape[0] / size[1]
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        grow = np.array([[kx, 0, (kx - 1) / 2 + x0], [0, ky, (ky - 1) / 2 + y0], [0, 0, 1.0]])
        matrix = matrix @ grow
    square: Image = cv2.warpAffine(rgb, matrix, (LANDMARK_SIDE, LANDMARK_SIDE))
    return square


def _letterbox(rgb: Image, side: int) -> tuple[Image, float, int, int]:
    """Fit a picture into a black square; return it with scale and padding (x, y)."""
    h, w = rgb.shape[:2]
    scale = side / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    square = np.zeros((side, side, 3), np.uint8)
    y, x = (side - size[1]) // 2, (side - size[0]) // 2
    square[y : y + size[1], x : x + size[0]] = small
    return square, scale, x, y


def _tiles(width: int, height: int) -> list[tuple[int, int, int]]:
    """Return square tiles (x0, y0, side) that cover the picture, the larger ones first."""
    tiles = []
    for side in (min(width, height), min(width, height) // 2):
        step = max(1, int(side * TILE_OVERLAP))
        xs = [*range(0, width - side, step), width - side]
        ys = [*range(0, height - side, step), height - side]
        tiles += [(x, y, side) for y in ys for x in xs if side >= 32]
    return tiles


def _suppress_overlaps(detections: list[Detection]) -> list[Detection]:
    """Keep the best of overlapping detections (non-maximum suppression)."""
    kept: list[Detection] = []
    for d in detections:
        if all(region_iou(d.region, k.region) < 0.3 for k in kept):
            kept.append(d)
    return kept
