"""Cut the pixels around a face out of a picture."""

from __future__ import annotations

import math

import cv2
import numpy as np

from lipwright.face.landmarker import Image, Region
from lipwright.media.picture import Box, Picture

CROP_MARGIN = 2  # pixels around a region, for interpolation
CROP_SIDE = 684  # pixels, longest side of the crop the landmark network's input is taken from


def crop_around(picture: Picture, region: Region) -> tuple[Image, int, int, float]:
    """Return RGB pixels (8 bit) around a region, the x and y of their origin, and their scale."""
    turn = abs(math.cos(region.angle)) + abs(math.sin(region.angle))
    half = region.side * turn / 2 + CROP_MARGIN
    x, y = region.x, region.y
    box = picture.align(Box(int(x - half), int(y - half), int(x + half) + 1, int(y + half) + 1))
    if box.x1 - box.x0 < 2 or box.y1 - box.y0 < 2:
        box = picture.align(Box(0, 0, 2, 2))
    if max(box.width, box.height) > CROP_SIDE:
        rgb, scale = picture.crop(box).small_rgb(CROP_SIDE)
        return rgb, box.x0, box.y0, scale
    pixels = picture.rgb(box)
    if pixels.dtype != np.uint8:
        pixels = pixels >> (picture.depth - 8)
    return pixels.astype(np.uint8, copy=False), box.x0, box.y0, 1.0


def measure_quality(crop: Image, region: Region) -> tuple[float, float, tuple[float, float, float]]:
    """Return sharpness, mean grey value and mean R, G, B of the middle of a face."""
    half = region.side / 3
    x0, y0 = max(int(region.x - half), 0), max(int(region.y - half), 0)
    face = crop[y0 : int(region.y + half) + 1, x0 : int(region.x + half) + 1]
    if face.size == 0:
        return 0.0, 0.0, (0.0, 0.0, 0.0)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    red, green, blue, _ = cv2.mean(face)
    _, sharpness = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(sharpness[0, 0]), cv2.mean(grey)[0], (red, green, blue)
