"""Match the detail and grain of painted pixels to the frame, band by band.

Sampling and dissolving soften a picture, and an exemplar may be sharper or noisier than a frame in
motion. Detail is therefore measured in bands (a Laplacian pyramid's, Burt and Adelson 1983, at full
size). On skin, the frame sets the strength of each band. Lips and teeth of the frame differ from
those of the exemplars, so there the exemplars' own detail sets it, in the focus of the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.types import Bools, Floats

# Fine to coarse: sigma of the blur that ends a band, pixels; limit of its gain and of its inverse.
BANDS = ((1.0, 1.6), (2.0, 1.3))
FOCUS = (0.7, 1.0)  # how soft a mouth may become, as a share of its exemplar's detail
ALIKE = 0.85  # ratio of the skin's detail that still counts as the same focus: grain varies
OUTLIER = 4.0  # times the median size: stronger detail on skin is an edge, not grain
LEAST_PIXELS = 64  # needed for a measurement
MEDIAN_OF = 4000  # pixels, spread evenly: enough for a median
EDGE = (0.02, 0.75)  # mask values where detail is limited to grain; towards 1 the limit fades out
STEEP = 5.0  # how many times sharper the mask's edge is for detail than for light
INSIDE_MASK = 0.1  # mask value from which pixels are measured
LIP_SHARE = 0.5  # of the lip mask, from which a pixel counts as lip
MIN_DETAIL = 1e-3  # code values; avoids a division by 0
LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of RGB, BT.709


@dataclass(frozen=True, kw_only=True)
class Detail:
    """Standard deviations of detail by band, fine to coarse; NaN: too few pixels to measure."""

    skin: Floats  #: (2,) code values
    lips: Floats  #: (2,) code values


def measure_detail(rgb: NDArray[Any], skin: Bools, lips: Bools) -> Detail:
    """Measure the detail of a picture (h, w, 3) on skin (h, w) and on lips (h, w)."""
    return _measure(split_bands(rgb), skin, lips)


def split_bands(rgb: NDArray[Any]) -> list[Floats]:
    """Return the bands of luma (h, w) of a picture (h, w, 3), fine to coarse."""
    luma = cv2.transform(rgb.astype(np.float32, copy=False), LUMA[None])
    bands = []
    for sigma, _ in BANDS:
        softer = cv2.GaussianBlur(luma, (0, 0), sigma)
        bands.append(luma - softer)
        luma = softer
    return bands


def mix_details(details: list[tuple[Detail, float]]) -> Detail:
    """Return the mean detail of several pictures by shares, as if mixing softened none of them."""
    skin = sum(np.float32(share) * d.skin**2 for d, share in details)
    lips = sum(np.float32(share) * d.lips**2 for d, share in details)
    return Detail(skin=np.sqrt(skin), lips=np.sqrt(lips))


def match_detail(patch: Floats, frame: Floats, mask: Floats, lips: Floats, own: Detail) -> Floats:
    """Return *patch* (h, w, 3) with detail as strong as that of *frame*.

    Args:
        patch: painted pixels, code values.
        frame: (h, w, 3) pixels under it, code values.
        mask: (h, w) of the patch, 0 to 1.
        lips: (h, w) 1 where patch or frame show lips.
        own: detail of the exemplars in the patch.
    """
    inside = mask > INSIDE_MASK
    skin, mouth = inside & (lips < LIP_SHARE), inside & (lips >= LIP_SHARE)
    bands = split_bands(patch)
    present, wanted = _measure(bands, skin, mouth), _measure(split_bands(frame), skin, mouth)
    focus = np.clip(wanted.skin / own.skin / ALIKE, *FOCUS)
    shift = np.zeros_like(lips)
    soft = cv2.GaussianBlur(lips, (0, 0), BANDS[-1][0])
    for i, (_, most) in enumerate(BANDS):
        on_skin = _gain(wanted.skin[i], present.skin[i], most)
        on_lips = _gain(own.lips[i] * focus[i], present.lips[i], most)
        shift += bands[i] * (np.float32(on_skin - 1) + soft * np.float32(on_lips - on_skin))
    matched: Floats = patch + shift[..., None]
    return matched


def blend_layers(over: Floats, under: Floats, mask: Floats, strength: float | Floats) -> Floats:
    """Blend *over* (h, w, 3) onto *under* (h, w, 3) through a soft mask (h, w).

    Light blends over the whole soft edge. Detail, which averaging two skins would weaken, changes
    over at the middle of the edge (Burt and Adelson 1983, "A multiresolution spline"). A fold in
    only one of the two would end there as a line, so detail near the edge is limited to grain.

    Args:
        over: code values.
        under: code values.
        mask: 0 to 1.
        strength: share of *over* where the mask is 1; one for all pixels, or (h, w).
    """
    difference = over - under
    light = cv2.GaussianBlur(difference, (0, 0), BANDS[-1][0])
    detail = difference - light
    limit = _grain_limit(detail, (mask > EDGE[0]) & (mask < EDGE[1]))
    if np.isfinite(limit):
        free = np.clip((mask - EDGE[1]) / np.float32(1 - EDGE[1]), 0, 1)[..., None]
        grain = np.clip(detail, -limit, limit)
        detail = grain + (detail - grain) * free
    steep = np.clip((mask - 0.5) * np.float32(STEEP) + np.float32(0.5), 0, 1)
    change = light * mask[..., None] + detail * steep[..., None]
    out: Floats = under + change * np.asarray(strength, np.float32)[..., None]
    return out


def _grain_limit(detail: Floats, edge: Bools) -> float:
    """Return the strongest detail (h, w, 3) on the edge that still is grain; NaN: unknown."""
    values = detail[..., 1][edge]
    if len(values) < LEAST_PIXELS:
        return np.nan
    return float(OUTLIER * _median_size(values))


def _gain(wanted: float, present: float, most: float) -> float:
    """Return the factor of a band, from 1 / most to most; 1 if one of both is unknown."""
    gain = wanted / max(present, MIN_DETAIL)
    return float(np.clip(gain, 1 / most, most)) if np.isfinite(gain) else 1.0


def _measure(bands: list[Floats], skin: Bools, lips: Bools) -> Detail:
    on_skin = [_grain_deviation(band[skin]) for band in bands]
    on_lips = [_deviation(band[lips]) for band in bands]
    return Detail(skin=np.array(on_skin, np.float32), lips=np.array(on_lips, np.float32))


def _grain_deviation(values: Floats) -> float:
    """Return the standard deviation of values (n,) whose outliers are limited; NaN if too few."""
    if len(values) < LEAST_PIXELS:
        return float("nan")
    size = np.abs(values)
    most = np.float32(OUTLIER * _median_size(values) + MIN_DETAIL)
    return max(float(np.sqrt((np.minimum(size, most) ** 2).mean())), MIN_DETAIL)


def _median_size(values: Floats) -> np.float32:
    """Return the median size of values (n,), or of an even sample of many values."""
    size = np.abs(values[:: len(values) // MEDIAN_OF + 1])
    middle = len(size) // 2
    return np.float32(np.partition(size, middle)[middle])


def _deviation(values: Floats) -> float:
    """Return the standard deviation of values (n,) around 0; NaN if there are too few."""
    return float(np.sqrt((values**2).mean())) if len(values) >= LEAST_PIXELS else float("nan")
