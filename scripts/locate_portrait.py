"""Make assets/portrait_landmarks.npz: our own tracker's landmarks of the portrait.

The portrait is enlarged, turned and shifted a little many times, tracked each time, and the points
are averaged in its own pixels; that takes the tracker's jitter out.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.landmarker import FaceLandmarker, region_of

ASSETS = Path(str(files("lipwright") / "assets"))
SIDE = 860  # pixels of an enlarged view
FACE = (223.0, 125.0)  # somewhere in the portrait's face
VIEWS = 60


def view(
    portrait: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return an enlarged view and the 2x3 matrix from the portrait's pixels to its own."""
    angle, scale = np.radians(random.uniform(-6, 6)), random.uniform(2.2, 3.2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = SIDE / 2 + random.uniform(-20, 20, 2) - linear @ FACE
    matrix = np.column_stack([linear, shift])
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
    return np.asarray(cv2.warpAffine(portrait, matrix, (SIDE, SIDE), **how), np.uint8), matrix


def locate(
    net: FaceLandmarker, rgb: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return landmarks (478, 3) in the portrait's pixels, found in a view."""
    region = net.detect(rgb)[0].region
    for _ in range(4):  # the region settles on the landmarks it yields
        points, _ = net.place(rgb, region)
        region = region_of(points)
    linear = matrix[:, :2]
    flat = (points[:, :2] - matrix[:, 2]) @ np.linalg.inv(linear).T
    return np.column_stack([flat, points[:, 2] / np.sqrt(np.linalg.det(linear))])


if __name__ == "__main__":
    portrait = cv2.cvtColor(cv2.imread(str(ASSETS / "portrait.png")), cv2.COLOR_BGR2RGB)
    net, random = FaceLandmarker(), np.random.default_rng(0)
    found = np.stack([locate(net, *view(portrait, random)) for _ in range(VIEWS)])
    print(f"spread over views: {found[..., :2].std(0).mean():.3f} pixels")
    np.savez_compressed(
        ASSETS / "portrait_landmarks.npz", landmarks=found.mean(0).astype(np.float32)
    )
