"""Take graphics out of a view before a mouth is painted, and lay them over it again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lipwright.face.overlays.fill import fill_holes
from lipwright.face.overlays.graphics import OPAQUE, ViewMatte
from lipwright.types import DeepRgb, Floats

EDGE_STEP = 0.1  # difference of opacity within 5 x 5 pixels that makes an edge


@dataclass(frozen=True, kw_only=True)
class SeparatedView:
    """A view without its graphics, and what is needed to put them back."""

    face: DeepRgb  #: (h, w, 3) the face as it would look; smooth under opaque graphics
    opaque: Floats  #: (h, w) 0 to 1, soft at the edge: pixels to keep
    alpha: Floats  #: (h, w) opacity, 0 to 1


def separate(rgb: DeepRgb, matte: ViewMatte) -> SeparatedView:
    """Take the graphics out of a view.

    Args:
        rgb: (h, w, 3) uint8, or uint16 (10 bit); not modified.
        matte: of the graphics.
    """
    unit = 1 if rgb.dtype == np.uint8 else 4
    alpha = matte.alpha
    solid = alpha >= OPAQUE
    square = np.ones((5, 5), np.uint8)
    step = cv2.dilate(alpha, square) - cv2.erode(alpha, square)
    hole = cv2.dilate(solid.astype(np.uint8), square[:3, :3]) > 0
    hole |= step > EDGE_STEP
    face = rgb.copy()
    thin = (alpha > 0) & ~hole
    clear = (rgb[thin] - matte.own[thin] * unit) / (1 - alpha[thin])[:, None]
    face[thin] = np.clip(np.rint(clear), 0, 256 * unit - 1).astype(rgb.dtype)
    fill_holes(face, hole)
    kept = cv2.dilate(solid.astype(np.float32), square[:3, :3])
    opaque = np.maximum(cv2.blur(cv2.dilate(kept, square[:3, :3]), (3, 3)), kept)
    return SeparatedView(face=face, opaque=opaque, alpha=alpha)


def recombine(painted: DeepRgb, view: DeepRgb, separated: SeparatedView) -> DeepRgb:
    """Return the painted face (h, w, 3) under the graphics of its view (h, w, 3).

    Where the paint equals the face, the pixels are those of the view, bit for bit.
    """
    top = 255 if view.dtype == np.uint8 else 1023
    change = painted.astype(np.float32) - separated.face
    change *= (1 - separated.alpha)[..., None]
    out: DeepRgb = np.clip(np.rint(view + change), 0, top).astype(view.dtype)
    return out
