"""Draws occluders in front of a mouth: a hand, a microphone, a cup, strands of hair.

Each occluder is a sprite of 1.6 x 1.6 inter-ocular distances with an exact mask. It enters from
outside the face, stays while it moves a little, and leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.media.picture import Picture
from lipwright.types import Floats

PIXELS = 640  # along each side of a sprite
EXTENT = 1.6  # of a sprite, inter-ocular distances
START_DISTANCE = 2.6  # from its target, inter-ocular distances
MASK_ALPHA = 0.5  # from which a pixel belongs to the occluder

Image = NDArray[np.float32]
Random = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Occluder:
    """A sprite and its path."""

    sprite: Image  #: (PIXELS, PIXELS, 4) R, G, B 0 to 255 and alpha 0 to 1
    target: tuple[float, float]  #: where its centre stays, from the mouth, inter-ocular distances
    origin: tuple[float, float]  #: unit vector to where it enters from
    angle: float  #: radians
    size: float  #: 1: as drawn


def hand(random: Random, skin: Floats) -> Occluder:
    """Return four fingers over the mouth, in the speaker's skin colour (3,), R, G, B 0 to 255."""
    colour = skin * random.uniform(0.82, 1.12)
    rgb, alpha = np.zeros((PIXELS, PIXELS, 3), np.float32), np.zeros((PIXELS, PIXELS), np.uint8)
    for k in range(4):
        finger = np.zeros_like(alpha)
        x = round(PIXELS * (0.22 + 0.18 * k + random.uniform(-0.01, 0.01)))
        top = round(PIXELS * (0.12 + 0.05 * abs(k - 1.5) + random.uniform(0, 0.04)))
        half = round(PIXELS * 0.082)
        cv2.line(finger, (x, top + half), (x, PIXELS), 255, 2 * half, cv2.LINE_AA)
        depth = cv2.distanceTransform((finger > 127).astype(np.uint8), cv2.DIST_L2, 5) / half
        shade = 0.62 + 0.42 * np.clip(depth, 0, 1) ** 0.5
        inside = finger > 0
        rgb[inside] = (colour * shade[..., None])[inside]
        for joint in (0.42, 0.7):
            y = top + round(joint * (PIXELS - top))
            for wrinkle in (0, 7):
                left, right = (x - half + 12, y + wrinkle), (x + half - 12, y + wrinkle)
                cv2.line(rgb, left, right, (colour * 0.86).tolist(), 3, cv2.LINE_AA)
        nail = (x, top + half)
        cv2.ellipse(rgb, nail, (half // 2, half * 2 // 3), 0, 0, 360, (colour * 1.12).tolist(), -1)
        alpha = np.maximum(alpha, finger)
    rgb += _grain(random, 4)
    return _occluder(random, rgb, alpha, up=-1.0, tilt=0.6)


def microphone(random: Random, skin: Floats) -> Occluder:
    """Return a dark microphone with a grille, held from below."""
    rgb, alpha = np.zeros((PIXELS, PIXELS, 3), np.float32), np.zeros((PIXELS, PIXELS), np.uint8)
    middle, radius = (PIXELS // 2, round(PIXELS * 0.34)), round(PIXELS * 0.23)
    handle = np.array([[0.4, 0.4], [0.6, 0.4], [0.57, 1.0], [0.43, 1.0]]) * PIXELS
    cv2.fillPoly(alpha, [handle.astype(np.int32)], 255, cv2.LINE_AA)
    across = (np.arange(PIXELS) - PIXELS / 2) / (0.1 * PIXELS)
    rgb[:] = (26 + 60 * np.exp(-((across + 0.35) ** 2) * 8))[None, :, None]
    ball = np.zeros_like(alpha)
    cv2.circle(ball, middle, radius, 255, -1, cv2.LINE_AA)
    y, x = np.mgrid[0:PIXELS, 0:PIXELS].astype(np.float32)
    mesh = 58 + 34 * np.sin((x + y) / 3.2) * np.sin((x - y) / 3.2)
    light = 1 - 0.55 * np.hypot(x - middle[0] + radius * 0.4, y - middle[1] + radius * 0.4) / radius
    inside = ball > 0
    rgb[inside] = (mesh * np.clip(light + 0.55, 0.3, 1.5))[inside][:, None] * [1.0, 1.0, 1.05]
    rgb += _grain(random, 3)
    return _occluder(random, rgb, np.maximum(alpha, ball), up=-1.0, tilt=0.5)


def cup(random: Random, skin: Floats) -> Occluder:
    """Return a cup of random colour, lifted to the lips."""
    colour = np.array(
        [[235, 232, 226], [178, 40, 46], [44, 84, 150], [60, 60, 62], [226, 190, 70]], np.float32
    )[random.integers(5)]
    alpha = np.zeros((PIXELS, PIXELS), np.uint8)
    shape = np.array([[0.23, 0.2], [0.77, 0.2], [0.73, 0.85], [0.27, 0.85]]) * PIXELS
    cv2.fillPoly(alpha, [shape.astype(np.int32)], 255, cv2.LINE_AA)
    rim = (PIXELS // 2, round(0.2 * PIXELS))
    cv2.ellipse(alpha, rim, (round(0.27 * PIXELS), round(0.05 * PIXELS)), 0, 0, 360, 255, -1)
    ear = (round(PIXELS * 0.77), PIXELS // 2)
    cv2.ellipse(alpha, ear, (60, 90), 0, 0, 360, 255, 30, cv2.LINE_AA)
    across = np.linspace(-1, 1, PIXELS, dtype=np.float32)[None, :, None]
    rgb = np.ones((PIXELS, PIXELS, 3), np.float32) * colour * (1.02 - 0.45 * (across + 0.3) ** 2)
    inner = (round(0.24 * PIXELS), round(0.035 * PIXELS))
    cv2.ellipse(rgb, rim, inner, 0, 0, 360, (colour * 0.35).tolist(), -1, cv2.LINE_AA)
    rgb += _grain(random, 2)
    return _occluder(random, rgb, alpha, up=-1.0, tilt=0.3)


def hair(random: Random, skin: Floats) -> Occluder:
    """Return dark strands of hair that fall over the mouth."""
    alpha = np.zeros((PIXELS, PIXELS), np.uint8)
    start = random.uniform(0.28, 0.42)
    for k in range(7):
        x0, bend = start + 0.05 * k + random.uniform(-0.02, 0.02), random.uniform(-0.12, 0.12)
        t = np.linspace(0, 1, 60)
        x = x0 + bend * np.sin(np.pi * t) + 0.08 * t
        line = (np.stack([x, t], 1) * PIXELS).astype(np.int32)
        cv2.polylines(alpha, [line], False, 255, int(random.integers(7, 20)), cv2.LINE_AA)
    base = np.array([46, 32, 24], np.float32) * random.uniform(0.7, 1.4)
    rgb = np.ones((PIXELS, PIXELS, 3), np.float32) * base + _grain(random, 6)
    return _occluder(random, rgb, alpha, up=1.0, tilt=0.4)


KINDS: dict[str, Callable[[Random, Floats], Occluder]] = {
    "hand": hand,
    "microphone": microphone,
    "cup": cup,
    "hair": hair,
}


def _occluder(random: Random, rgb: Any, alpha: Any, *, up: float, tilt: float) -> Occluder:
    """Give a sprite a random path.

    Args:
        random: generator.
        rgb: (PIXELS, PIXELS, 3) 0 to 255.
        alpha: (PIXELS, PIXELS) 0 to 255.
        up: -1 enters from below, 1 from above.
        tilt: largest angle, radians.
    """
    angle = random.uniform(-tilt, tilt)
    sprite = np.dstack([np.clip(rgb, 0, 255), alpha / np.float32(255)]).astype(np.float32)
    return Occluder(
        sprite=sprite,
        target=(random.uniform(-0.4, 0.4), random.uniform(0.15, 0.6) * -up),
        origin=(float(np.sin(angle) * up), float(-np.cos(angle) * up)),
        angle=angle,
        size=random.uniform(0.6, 1.1),
    )


def _grain(random: Random, sigma: float) -> Image:
    fine = random.normal(0, sigma, (PIXELS, PIXELS, 3))
    coarse = cv2.resize(random.normal(0, sigma, (24, 24)), (PIXELS, PIXELS))
    return (fine + coarse[..., None]).astype(np.float32)


def occluder_matrix(
    occluder: Occluder, landmarks: Floats, share: float, time: float
) -> NDArray[np.float64]:
    """Return the 2x3 matrix from the sprite's pixels to those of a frame.

    Args:
        occluder: to place.
        landmarks: (478, 3) pixels of the face.
        share: of its path, 0 (outside the face) to 1 (at its target).
        time: seconds, for its own motion.
    """
    unit = float(np.linalg.norm(landmarks[263] - landmarks[33]))
    mouth = landmarks[[13, 14], :2].mean(0)
    wobble = 0.03 * np.array([np.sin(2.1 * time), np.cos(1.7 * time)])
    offset = (
        np.array(occluder.target)
        + np.array(occluder.origin) * START_DISTANCE * (1 - share)
        + wobble
    )
    k = unit * EXTENT * occluder.size / PIXELS
    c, s = np.cos(occluder.angle + 0.05 * np.sin(1.3 * time)) * k, np.sin(occluder.angle) * k
    turn = np.array([[c, -s], [s, c]])
    middle = mouth + offset * unit
    return np.column_stack([turn, middle - turn @ [PIXELS / 2, PIXELS / 2]])


def draw_occluder(
    picture: Picture, occluder: Occluder, matrix: NDArray[np.float64]
) -> tuple[Picture, NDArray[np.bool_]]:
    """Return the picture with the occluder in it, and the occluder's mask (H, W) as displayed."""
    size = (picture.width, picture.height)
    drawn = cv2.warpAffine(occluder.sprite, matrix, size, flags=cv2.INTER_AREA)
    top = (1 << picture.depth) - 1
    rgb = np.clip(np.rint(drawn[..., :3] * (top / 255)), 0, top).astype(picture.planes[0].dtype)
    alpha = np.ascontiguousarray(drawn[..., 3])
    return picture.paste(picture.bounds, rgb, alpha), alpha > MASK_ALPHA


def approach(frames: int) -> Floats:
    """Return the share of an occluder's path at each frame (T,), 0 to 1.

    The occluder is outside, enters, stays, leaves, and is outside again.
    """
    t = np.linspace(0, 1, frames)
    share = np.interp(t, [0.18, 0.36, 0.7, 0.86], [0, 1, 1, 0])
    return (share * share * (3 - 2 * share)).astype(np.float32)
