"""Draw random occluder sprites: fingers, solid objects, strands of hair, other skin.

A sprite has SPRITE_SIZE pixels a side, R, G, B and cover. The detector is measured with occluders
that are drawn differently (``bench/occlusion/synthetic_occluders.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.lower_face_raster import RASTER_SIDE
from lipwright.types import Floats

PIXELS_PER_CELL = 4  # pixels of a sprite per cell
SPRITE_SIZE = RASTER_SIDE * PIXELS_PER_CELL

Random = np.random.Generator
#: Colours (SPRITE_SIZE, SPRITE_SIZE, 3) 0 to 255, and cover (SPRITE_SIZE, SPRITE_SIZE) 0 to 1.
Sprite = tuple[Floats, Floats]
Cover = NDArray[np.uint8]


def draw_sprite(random: Random, face: Floats, others: list[Floats]) -> Sprite:
    """Return a random occluder.

    Args:
        random: source of all random choices.
        face: (SIDE, SIDE, 3) RGB of the face that it will cover.
        others: (SIDE, SIDE, 3) RGB of other people's faces.
    """
    kinds: list[Callable[[], tuple[Floats, Cover]]] = [
        lambda: _fingers(random, face),
        lambda: _solid_object(random, face),
        lambda: _strands(random),
        lambda: _other_face(random, face, others),
    ]
    rgb, cover = kinds[random.choice(4, p=[0.38, 0.17, 0.35, 0.1])]()
    solid = cover.astype(np.float32) / np.float32(255)
    return np.clip(rgb, 0, 255).astype(np.float32), solid


def place_sprite(sprite: Sprite, matrix: Floats, blur: float) -> tuple[Floats, Floats]:
    """Transform a sprite and resample it on the raster.

    Args:
        sprite: of :func:`draw_sprite`.
        matrix: (2, 3) affine, in pixels of sprites.
        blur: standard deviation, pixels of sprites; 0: none.

    Returns:
        Cover (SIDE, SIDE) 0 to 1, and colours weighted with it (SIDE, SIDE, 3).
    """
    rgb, cover = sprite
    whole: list[Floats] = [cover, rgb * cover[..., None]]
    parts = [cv2.warpAffine(x, matrix, (SPRITE_SIZE, SPRITE_SIZE)) for x in whole]
    if blur > 0:
        parts = [cv2.GaussianBlur(x, (0, 0), blur) for x in parts]
    small = [cv2.resize(x, (RASTER_SIDE, RASTER_SIDE), interpolation=cv2.INTER_AREA) for x in parts]
    return small[0], small[1]


def _grain(random: Random, fine: float, coarse: float) -> Floats:
    rough = cv2.resize(
        random.normal(0, coarse, (8, 8)), (SPRITE_SIZE, SPRITE_SIZE), interpolation=cv2.INTER_CUBIC
    )
    grain: Floats = (random.normal(0, fine, (SPRITE_SIZE, SPRITE_SIZE)) + rough)[..., None].astype(
        np.float32
    )
    return grain


def _skin_colour(random: Random, face: Floats) -> Floats:
    """Return a colour close to that of a random cell of the face."""
    cell = face[random.integers(2, 20), random.integers(8, 24)]
    return np.asarray(
        cell * random.uniform(0.6, 1.15) * (1 + random.normal(0, 0.04, 3)), np.float32
    )


def _random_colour(random: Random) -> Floats:
    """Return a dark colour, a light one, or any other."""
    kind = random.random()
    if kind < 0.35:
        rgb = random.uniform(5, 70) * (1 + random.normal(0, 0.05, 3))
    elif kind < 0.55:
        rgb = random.uniform(90, 245) * (1 + random.normal(0, 0.05, 3))
    else:
        rgb = random.uniform(0, 255, 3)
    return np.asarray(rgb, np.float32)


def _random_centre(random: Random, spread: float = 0.2) -> NDArray[np.float64]:
    return SPRITE_SIZE / 2 + random.normal(0, spread, 2) * SPRITE_SIZE


def _pixel(point: NDArray[np.float64]) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _fingers(random: Random, face: Floats) -> tuple[Floats, Cover]:
    colour = _skin_colour(random, face) if random.random() < 0.8 else _random_colour(random)
    rgb, cover = (
        np.zeros((SPRITE_SIZE, SPRITE_SIZE, 3), np.float32),
        np.zeros((SPRITE_SIZE, SPRITE_SIZE), np.uint8),
    )
    half = random.uniform(1.0, 3.2) * PIXELS_PER_CELL
    gap, count = half * random.uniform(1.75, 2.4), int(random.integers(1, 6))
    angle = random.uniform(-0.9, 0.9) + (np.pi if random.random() < 0.25 else 0)
    along = np.array([np.sin(angle), -np.cos(angle)])
    across, base = np.array([along[1], -along[0]]), _random_centre(random)
    dark = random.uniform(0.1, 0.5)
    for k in range(count):
        tip = base + across * (k - (count - 1) / 2) * gap + along * random.normal(0, half * 0.7)
        far = tip - along * SPRITE_SIZE * random.uniform(0.3, 1.5)
        finger = np.zeros_like(cover)
        cv2.line(finger, _pixel(tip), _pixel(far), 255, int(max(2, 2 * half)), cv2.LINE_AA)
        depth = cv2.distanceTransform((finger > 127).astype(np.uint8), cv2.DIST_L2, 3) / half
        shade = 1 - dark + dark * np.clip(depth, 0, 1) ** 0.6
        rgb[finger > 0] = (colour * shade[..., None])[finger > 0]
        for _ in range(int(random.integers(0, 4))):
            at = tip - along * half * random.uniform(0.5, 6)
            wrinkle = (colour * random.uniform(0.7, 0.95)).tolist()
            side = across * half * 0.7
            cv2.line(rgb, _pixel(at - side), _pixel(at + side), wrinkle, PIXELS_PER_CELL // 2)
        if random.random() < 0.5:
            nail = (colour * random.uniform(0.95, 1.25)).tolist()
            cv2.circle(rgb, _pixel(tip), int(half * 0.5), nail, -1)
        cover = np.maximum(cover, finger)
    if random.random() < 0.3:
        palm = base - along * SPRITE_SIZE * 0.35
        cv2.circle(cover, _pixel(palm), int(gap * count * 0.55) + 1, 255, -1, cv2.LINE_AA)
        rgb[(cover > 0) & (rgb.sum(-1) == 0)] = colour * random.uniform(0.8, 1.05)
    return rgb + _grain(random, random.uniform(0, 5), random.uniform(0, 6)), cover


def _solid_object(random: Random, face: Floats) -> tuple[Floats, Cover]:
    colour = _random_colour(random) if random.random() < 0.85 else _skin_colour(random, face)
    cover, middle = _blob_mask(random)
    y, x = np.mgrid[0:SPRITE_SIZE, 0:SPRITE_SIZE] / SPRITE_SIZE - 0.5
    angle = random.uniform(0, 2 * np.pi)
    slope = x * np.cos(angle) + y * np.sin(angle)
    light = 1 + random.uniform(-1, 1) * slope - random.uniform(0, 2) * slope**2
    if random.random() < 0.35:
        often = random.uniform(0.3, 2.5) / PIXELS_PER_CELL * SPRITE_SIZE
        waves = [np.sin((x * np.cos(a) + y * np.sin(a)) * often) for a in (angle + 1, angle + 2.5)]
        weave = waves[0] * (waves[1] if random.random() < 0.5 else 1)
        light = light * (1 + random.uniform(0.1, 0.6) * weave)
    rgb = (light[..., None] * colour).astype(np.float32)
    if random.random() < 0.25:
        spots = np.zeros_like(cover)
        for _ in range(int(random.integers(1, 6))):
            at = middle + random.normal(0, 5 * PIXELS_PER_CELL, 2)
            cv2.circle(
                spots,
                _pixel(at),
                int(random.uniform(0.5, 4) * PIXELS_PER_CELL),
                255,
                -1,
                cv2.LINE_AA,
            )
        rgb[spots > 127] = _random_colour(random)
    return rgb + _grain(random, random.uniform(0, 5), random.uniform(0, 8)), cover


def _blob_mask(random: Random) -> tuple[Cover, NDArray[np.float64]]:
    """Return an ellipse, a box or a polygon, sometimes with a handle, and its centre."""
    cover, middle = np.zeros((SPRITE_SIZE, SPRITE_SIZE), np.uint8), _random_centre(random, 0.18)
    kind = random.random()
    if kind < 0.35:
        axes = [int(r * PIXELS_PER_CELL) for r in random.uniform(2, 14, 2)]
        turn = random.uniform(0, 180)
        cv2.ellipse(cover, _pixel(middle), axes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    elif kind < 0.75:
        sides = random.uniform(2, 24, 2) * PIXELS_PER_CELL
        box = cv2.boxPoints((middle.tolist(), sides.tolist(), random.uniform(0, 180)))
        corners = cv2.convexHull(
            (box + random.normal(0, 1.2 * PIXELS_PER_CELL, box.shape)).astype(np.int32)
        )
        cv2.fillConvexPoly(cover, corners, 255, cv2.LINE_AA)
    else:
        corners = middle + random.normal(0, 6 * PIXELS_PER_CELL, (int(random.integers(4, 8)), 2))
        cv2.fillPoly(cover, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    if random.random() < 0.4:
        end = middle + random.normal(0, 1, 2) * SPRITE_SIZE
        cv2.line(
            cover,
            _pixel(middle),
            _pixel(end),
            255,
            int(random.uniform(1, 6) * PIXELS_PER_CELL),
            cv2.LINE_AA,
        )
    return cover, middle


def _strands(random: Random) -> tuple[Floats, Cover]:
    kind = random.random()
    brown, blond = np.array([[46, 34, 26], [150, 120, 80]], np.float32)
    colour: Floats
    if kind < 0.6:
        colour = brown * random.uniform(0.4, 1.6)
    else:
        colour = blond * random.uniform(0.6, 1.5) if kind < 0.84 else _random_colour(random)
    cover = np.zeros((SPRITE_SIZE, SPRITE_SIZE), np.uint8)
    angle = random.normal(0, 0.5) if random.random() < 0.8 else random.uniform(0, 2 * np.pi)
    along = np.array([np.sin(angle), np.cos(angle)])
    across, middle = np.array([along[1], -along[0]]), _random_centre(random)
    length, gap = SPRITE_SIZE * random.uniform(0.4, 1.6), random.uniform(0.3, 2.2) * PIXELS_PER_CELL
    start = middle - along * length * random.uniform(0, 0.5)
    count, bend = int(random.integers(1, 14)), random.normal(0, 0.12) * length
    t = np.linspace(0, 1, 24)[:, None]
    for k in range(count):
        own = bend * 0.6 + random.normal(0, 0.06) * length
        beside = (k - (count - 1) / 2) * gap + random.normal(0, 0.5 * gap)
        aside = beside + own * np.sin(np.pi * t) + random.normal(0, 0.06) * length * t
        points = start + along * length * (t - 0.3) + across * aside
        thick = max(1, int(random.uniform(0.25, 1.3) * PIXELS_PER_CELL))
        cv2.polylines(
            cover, [(points * 8).astype(np.int32)], False, 255, thick, cv2.LINE_AA, shift=3
        )
    rgb = np.asarray(colour, np.float32) * (1 + _grain(random, 0.15, 0.1))
    return rgb + _grain(random, 4, 0), cover


def _other_face(random: Random, face: Floats, others: list[Floats]) -> tuple[Floats, Cover]:
    """Return a piece of another person's face."""
    skin = others[random.integers(len(others))]
    matrix = cv2.getRotationMatrix2D(
        (RASTER_SIDE / 2, RASTER_SIDE / 2),
        random.uniform(0, 360),
        PIXELS_PER_CELL * random.uniform(0.5, 1.4),
    )
    matrix[:, 2] += (SPRITE_SIZE - RASTER_SIDE) / 2 + random.normal(0, 0.2, 2) * SPRITE_SIZE
    rgb = cv2.warpAffine(skin, matrix, (SPRITE_SIZE, SPRITE_SIZE), borderMode=cv2.BORDER_REFLECT)
    if random.random() < 0.6:
        rgb = rgb * (_skin_colour(random, face) / (rgb.mean((0, 1)) + 1))
    return rgb, _blob_mask(random)[0] if random.random() < 0.5 else _fingers(random, face)[1]
