"""Super-resolve exemplars whose face is smaller than the face they are painted into.

The network is SPAN (Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient
Super-Resolution"). It enlarges a small picture with sharper edges than interpolation does. It does
not undo blur: on blurred exemplars, even if first shrunk to the resolution of their edges, it came
no closer to the truth. A picture that is soft for another reason is therefore left unchanged.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.canonical import interocular_distance
from lipwright.options import Restore
from lipwright.render.bank import Exemplar
from lipwright.runtime.device import Device
from lipwright.types import Floats
from lipwright.weights.store import WeightStore, onnx_session

MODELS = {2: "span_x2", 4: "span_x4"}
TILE = 128  # pixels of the small picture computed at once: bounds memory
OVERLAP = 10  # pixels that a tile shares with its neighbours: about the network's receptive field
LARGER = 1.3  # magnification from which an exemplar is super-resolved
MUCH_LARGER = 2.6  # magnification from which it is super-resolved 4 times instead of twice
DENSITY = 1.5  # restored pixels per painted pixel, at most: the warp would skip more
STEPS_PER_UNIT = 2  # magnifications are rounded to halves, so that few restored versions are needed
CACHED_EXEMPLARS = 24  # restored exemplars held in memory


@dataclass(frozen=True, kw_only=True)
class RestoredExemplar:
    """The pixels of an exemplar at a higher resolution."""

    rgb: NDArray[Any]  #: (h, w, 3) dtype and range of the exemplar's
    scale: float  #: its pixels per pixel of the exemplar

    def local(self, positions: Floats, origin: tuple[int, int]) -> Floats:
        """Return positions (…, 2) in pixels of the exemplar's frame as pixels of this picture."""
        out = (positions - np.array(origin, np.float32) + 0.5) * np.float32(self.scale) - 0.5
        return np.asarray(out, np.float32)


class Restorer:
    """Holds the networks and caches the most recently restored exemplars."""

    def __init__(self, store: WeightStore | None = None, *, device: Device = Device.CPU) -> None:
        """Open no network yet: each is loaded on first use.

        Args:
            store: weights; None: those that came with the package.
            device: runs the networks.
        """
        self._store, self._device = store or WeightStore(), device
        self._sessions: dict[int, Any] = {}
        self._cache: OrderedDict[tuple[int, int, int], tuple[Exemplar, RestoredExemplar]] = (
            OrderedDict()
        )

    def restore(
        self, exemplar: Exemplar, choice: Restore, landmarks: Floats
    ) -> RestoredExemplar | None:
        """Return a restored exemplar, or None if the exemplar is to be used unchanged.

        Args:
            exemplar: to paint with.
            choice: option of the job.
            landmarks: (478, 3) of the face to paint on, pixels.
        """
        scale = magnification(exemplar, landmarks)
        factor = restore_factor(choice, scale)
        if factor == 1:
            return None
        steps = max(STEPS_PER_UNIT, round(STEPS_PER_UNIT * scale))
        key = (id(exemplar), factor, steps)
        if key not in self._cache:
            restored = self._restore(exemplar, factor, steps / STEPS_PER_UNIT)
            self._cache[key] = (exemplar, restored)
            if len(self._cache) > CACHED_EXEMPLARS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(key)
        return self._cache[key][1]

    def _restore(self, exemplar: Exemplar, factor: int, scale: float) -> RestoredExemplar:
        height, width = exemplar.rgb.shape[:2]
        rgb = self.upscale(exemplar.rgb, factor)
        density = min(float(factor), DENSITY * scale)
        size = round(width * density), round(height * density)
        if size != rgb.shape[1::-1]:
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        return RestoredExemplar(rgb=rgb, scale=density)

    def upscale(self, rgb: NDArray[Any], factor: int) -> NDArray[Any]:
        """Return a picture *factor* times larger (2 or 4), computed in tiles to bound memory.

        Args:
            rgb: (h, w, 3) RGB uint8, or 10 bits in uint16.
            factor: 2 or 4.
        """
        top = 255 if rgb.dtype == np.uint8 else 1023
        height, width = rgb.shape[:2]
        out = np.empty((height * factor, width * factor, 3), rgb.dtype)
        o = OVERLAP
        padded = cv2.copyMakeBorder(rgb, o, o, o, o, cv2.BORDER_REFLECT_101)
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                h, w = min(TILE, height - y), min(TILE, width - x)
                tile = padded[y : y + h + 2 * OVERLAP, x : x + w + 2 * OVERLAP]
                large = self._run(tile.astype(np.float32) / top, factor)
                edge = OVERLAP * factor
                inner = large[edge : edge + h * factor, edge : edge + w * factor]
                codes = np.clip(np.rint(inner * top), 0, top).astype(rgb.dtype)
                out[y * factor : (y + h) * factor, x * factor : (x + w) * factor] = codes
        return out

    def _run(self, tile: Floats, factor: int) -> Floats:
        if factor not in self._sessions:
            path = self._store.path(MODELS[factor])
            self._sessions[factor] = onnx_session(path, device=self._device)
        batch = np.ascontiguousarray(tile.transpose(2, 0, 1)[None])
        (large,) = self._sessions[factor].run(None, {"data": batch})
        return np.asarray(large[0].transpose(1, 2, 0), np.float32)


def magnification(exemplar: Exemplar, landmarks: Floats) -> float:
    """Return how many times larger a face (478, 3) is than that of an exemplar."""
    own = max(interocular_distance(exemplar.landmarks), 1e-6)
    return interocular_distance(landmarks) / own


def restore_factor(choice: Restore, scale: float) -> int:
    """Return the super-resolution factor for an exemplar magnified by *scale*: 1, 2 or 4."""
    if choice is Restore.OFF:
        return 1
    if choice is not Restore.AUTO:
        return 2 if choice is Restore.TWICE else 4
    return 1 if scale < LARGER else 2 if scale < MUCH_LARGER else 4
