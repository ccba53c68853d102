"""Make assets/portrait_landmarks.npz: the landmarks of the portrait, by our own tracker.

The landmarks are estimated in many views of the portrait, each enlarged, rotated and shifted
differently. Their mean in the portrait's pixels is free of the estimator's jitter.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.landmarker import FaceLandmarker, face_region

ASSETS = Path(str(files("lipwright") / "assets"))
SIDE = 860  # pixels, of an enlarged view
SETTLING = 4  # estimates after which the region no longer changes
FACE = (223.0, 125.0)  # a point in the portrait's face, pixels
VIEWS = 60


def random_view(
    portrait: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return an enlarged view and the 2x3 matrix from the portrait's pixels to the view's."""
    angle, scale = np.radians(random.uniform(-6, 6)), random.uniform(2.2, 3.2)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = SIDE / 2 + random.uniform(-20, 20, 2) - linear @ FACE
    matrix = np.column_stack([linear, shift])
    options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
    return np.asarray(cv2.warpAffine(portrait, matrix, (SIDE, SIDE), **options), np.uint8), matrix


def estimate_in_view(
    landmarker: FaceLandmarker, rgb: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the landmarks (478, 3) of a view in the portrait's pixels."""
    region = landmarker.detect(rgb)[0].region
    for _ in range(SETTLING):
        points, _ = landmarker.estimate_landmarks(rgb, region)
        region = face_region(points)
    linear = matrix[:, :2]
    flat = (points[:, :2] - matrix[:, 2]) @ np.linalg.inv(linear).T
    return np.column_stack([flat, points[:, 2] / np.sqrt(np.linalg.det(linear))])


def main() -> None:
    portrait = cv2.cvtColor(cv2.imread(str(ASSETS / "portrait.png")), cv2.COLOR_BGR2RGB)
    landmarker, random = FaceLandmarker(), np.random.default_rng(0)
    landmarks = np.stack(
        [estimate_in_view(landmarker, *random_view(portrait, random)) for _ in range(VIEWS)]
    )
    print(f"spread over views: {landmarks[..., :2].std(0).mean():.3f} pixels")
    np.savez_compressed(
        ASSETS / "portrait_landmarks.npz", landmarks=landmarks.mean(0).astype(np.float32)
    )


if __name__ == "__main__":
    main()
