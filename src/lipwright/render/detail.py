"""Detail and grain of what is painted: as strong as the frame's own, band by band.

Sampling and dissolving soften, and an exemplar may be sharper or noisier than a frame that moves.
Detail is therefore measured in bands (a Laplacian pyramid's, Burt and Adelson 1983, at full size):
on skin, the frame itself says how strong it shall be. Lips and teeth of the frame say nothing, as
they speak otherwise; there the exemplar's own detail is what is wanted, in the focus of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.types import Bools, Floats

# Fine to coarse: sigma of the blur that ends a band, pixels; how much it may be raised or lowered.
BANDS = ((1.0, 1.6), (2.0, 1.3))
FOCUS = (0.7, 1.0)  # how soft a mouth may become, against its exemplar
ALIKE = 0.85  # skin whose detail is that near to the exemplar's is as much in focus: grain varies
OUTLIER = 4.0  # times the median: what is stronger on skin is an edge, not grain
LEAST_PIXELS = 64  # to judge by
MEDIAN_OF = 4000  # pixels, spread over all: enough for a median
EDGE = (
    0.02,
    0.75,
)  # of the mask, where detail must be grain; from there on it may be more and more
STEEP = 5.0  # how much sharper a mask's edge is for detail than for light
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of RGB, BT.709


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How strong detail is, standard deviations by band, fine to coarse; NaN: too little shows."""

    skin: Floats  #: (2,)
    lips: Floats  #: (2,)


def detail_of(rgb: NDArray[Any], skin: Bools, lips: Bools) -> Detail:
    """Measure the detail of a picture (h, w, 3) on skin (h, w) and on lips (h, w)."""
    return _measure(bands(rgb), skin, lips)


def bands(rgb: NDArray[Any]) -> list[Floats]:
    """Return the bands of luma (h, w) of a picture (h, w, 3), fine to coarse."""
    luma = cv2.transform(rgb.astype(np.float32, copy=False), LUMA[None])
    found = []
    for sigma, _ in BANDS:
        softer = cv2.GaussianBlur(luma, (0, 0), sigma)
        found.append(luma - softer)
        luma = softer
    return found


def mixed(details: list[tuple[Detail, float]]) -> Detail:
    """Return the detail of several pictures by shares, as if none softened the others."""
    skin = sum(np.float32(share) * d.skin**2 for d, share in details)
    lips = sum(np.float32(share) * d.lips**2 for d, share in details)
    return Detail(skin=np.sqrt(skin), lips=np.sqrt(lips))


def match_detail(patch: Floats, frame: Floats, mask: Floats, lips: Floats, own: Detail) -> Floats:
    """Return *patch* (h, w, 3) with detail as strong as that of *frame*.

    Args:
        patch: painted pixels, code values.
        frame: what lies under it.
        mask: (h, w) where the patch shows, 0 to 1.
        lips: (h, w) 1 where patch or frame show lips.
        own: detail of the exemplars that the patch was made of.
    """
    inside = mask > 0.1
    skin, mouth = inside & (lips < 0.5), inside & (lips >= 0.5)
    layers = bands(patch)
    made, asked = _measure(layers, skin, mouth), _measure(bands(frame), skin, mouth)
    focus = np.clip(asked.skin / own.skin / ALIKE, *FOCUS)
    shift = np.zeros_like(lips)
    soft = cv2.GaussianBlur(lips, (0, 0), BANDS[-1][0])
    for i, (_, most) in enumerate(BANDS):
        on_skin = _gain(asked.skin[i], made.skin[i], most)
        on_lips = _gain(own.lips[i] * focus[i], made.lips[i], most)
        shift += layers[i] * (np.float32(on_skin - 1) + soft * np.float32(on_lips - on_skin))
    matched: Floats = patch + shift[..., None]
    return matched


def lay(over: Floats, under: Floats, mask: Floats, strength: float | Floats) -> Floats:
    """Return *over* (h, w, 3) laid on *under* through a soft mask (h, w), by a share *strength*.

    The share is one for all, or one for each pixel (h, w).

    Light goes over softly; detail, which would be lost where two skins are averaged, at the middle
    of the mask's edge (Burt and Adelson 1983, "A multiresolution spline"). A fold that only one of
    both has would end there as a line: towards the edge, detail is no stronger than grain.
    """
    apart = over - under
    light = cv2.GaussianBlur(apart, (0, 0), BANDS[-1][0])
    detail = apart - light
    most = _most_grain(detail, (mask > EDGE[0]) & (mask < EDGE[1]))
    if np.isfinite(most):
        free = np.clip((mask - EDGE[1]) / np.float32(1 - EDGE[1]), 0, 1)[..., None]
        calm = np.clip(detail, -most, most)
        detail = calm + (detail - calm) * free
    steep = np.clip((mask - 0.5) * np.float32(STEEP) + np.float32(0.5), 0, 1)
    laid = light * mask[..., None] + detail * steep[..., None]
    out: Floats = under + laid * np.asarray(strength, np.float32)[..., None]
    return out


def _most_grain(detail: Floats, edge: Bools) -> float:
    """Return the strongest detail (h, w, 3) on the edge that still is grain; NaN: unknown."""
    values = detail[..., 1][edge]
    if len(values) < LEAST_PIXELS:
        return np.nan
    return float(OUTLIER * _usual_size(values))


def _gain(asked: float, made: float, most: float) -> float:
    """Return by how much a band is multiplied; 1 where nothing is known."""
    gain = asked / max(made, 1e-3)
    return float(np.clip(gain, 1 / most, most)) if np.isfinite(gain) else 1.0


def _measure(layers: list[Floats], skin: Bools, lips: Bools) -> Detail:
    on_skin = [_grain(layer[skin]) for layer in layers]
    on_lips = [_edges(layer[lips]) for layer in layers]
    return Detail(skin=np.array(on_skin, np.float32), lips=np.array(on_lips, np.float32))


def _grain(values: Floats) -> float:
    """Return a standard deviation that strong edges do not rule."""
    if len(values) < LEAST_PIXELS:
        return float("nan")
    size = np.abs(values)
    most = np.float32(OUTLIER * _usual_size(values) + 1e-3)
    return max(float(np.sqrt((np.minimum(size, most) ** 2).mean())), 1e-3)


def _usual_size(values: Floats) -> np.float32:
    """Return the median size of values (n,), of some of them where there are many."""
    size = np.abs(values[:: len(values) // MEDIAN_OF + 1])
    middle = len(size) // 2
    return np.float32(np.partition(size, middle)[middle])


def _edges(values: Floats) -> float:
    return float(np.sqrt((values**2).mean())) if len(values) >= LEAST_PIXELS else float("nan")
