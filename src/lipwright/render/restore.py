"""Super-resolve exemplars whose face is smaller than the one they are painted into.

SPAN (Wan et al. 2024, "Swift Parameter-free Attention Network for Efficient Super-Resolution").
It makes a small picture larger with sharper edges than interpolation does. It does not undo blur:
tried on blurred exemplars, also shrunk to what their edges are worth first, it came no nearer to
the truth, so a picture that is soft for another reason is left alone.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.face.shape import interocular
from lipwright.options import Restore
from lipwright.render.bank import Exemplar
from lipwright.runtime.device import Device
from lipwright.types import Floats
from lipwright.weights.store import WeightStore, onnx_session

MODELS = {2: "span_x2", 4: "span_x4"}
TILE = 128  # pixels of the small picture computed at once: bounds memory
OVERLAP = 10  # pixels a tile sees of its neighbours: what one output pixel depends on, about
LARGER = 1.3  # times the face of an exemplar, from which one counts as larger
MUCH_LARGER = 2.6  # from which it is worth four times the pixels
DENSE = 1.5  # pixels of what is sampled per pixel painted, at most
KEPT = 24  # restored exemplars held at a time


@dataclass(frozen=True, kw_only=True)
class Fine:
    """Pixels of an exemplar at a finer scale than its own."""

    rgb: NDArray[Any]  #: (h, w, 3) like the exemplar's
    scale: float  #: its pixels per pixel of the exemplar

    def local(self, positions: Floats, origin: tuple[int, int]) -> Floats:
        """Return positions (…, 2) in pixels of the exemplar's frame as pixels of this picture."""
        at = (positions - np.array(origin, np.float32) + 0.5) * np.float32(self.scale) - 0.5
        return np.asarray(at, np.float32)


class Restorer:
    """Holds the networks and the exemplars restored last."""

    def __init__(self, store: WeightStore | None = None, *, device: Device = Device.CPU) -> None:
        self._store, self._device = store or WeightStore(), device
        self._sessions: dict[int, Any] = {}
        self._fine: OrderedDict[tuple[int, int, int], tuple[Exemplar, Fine]] = OrderedDict()

    def fine(self, exemplar: Exemplar, choice: Restore, landmarks: Floats) -> Fine | None:
        """Return an exemplar restored, or None where it is to be used as it is.

        Args:
            exemplar: to be painted with.
            choice: what the job asks for.
            landmarks: (478, 3) of the face to be painted on, pixels.
        """
        growth = growth_of(exemplar, landmarks)
        factor = factor_for(choice, growth)
        if factor == 1:
            return None
        steps = max(2, round(2 * growth))  # halves, or each frame would have a scale of its own
        key = (id(exemplar), factor, steps)
        if key not in self._fine:
            self._fine[key] = (exemplar, self._restored(exemplar, factor, steps / 2))
            if len(self._fine) > KEPT:
                self._fine.popitem(last=False)
        self._fine.move_to_end(key)
        return self._fine[key][1]

    def _restored(self, exemplar: Exemplar, factor: int, growth: float) -> Fine:
        height, width = exemplar.rgb.shape[:2]
        fine = self.upscale(exemplar.rgb, factor)
        scale = min(float(factor), DENSE * growth)  # denser, the warp would skip pixels
        whole = round(width * scale), round(height * scale)
        if whole != fine.shape[1::-1]:
            fine = cv2.resize(fine, whole, interpolation=cv2.INTER_AREA)
        return Fine(rgb=fine, scale=scale)

    def upscale(self, rgb: NDArray[Any], factor: int) -> NDArray[Any]:
        """Return an (h, w, 3) RGB picture, 8 bits or 10 in uint16, *factor* (2 or 4) times larger.

        It is computed in tiles, so memory does not grow with it.
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
                made = self._run(tile.astype(np.float32) / top, factor)
                edge = OVERLAP * factor
                inner = made[edge : edge + h * factor, edge : edge + w * factor]
                codes = np.clip(np.rint(inner * top), 0, top).astype(rgb.dtype)
                out[y * factor : (y + h) * factor, x * factor : (x + w) * factor] = codes
        return out

    def _run(self, tile: Floats, factor: int) -> Floats:
        if factor not in self._sessions:
            path = self._store.path(MODELS[factor])
            self._sessions[factor] = onnx_session(path, device=self._device)
        batch = np.ascontiguousarray(tile.transpose(2, 0, 1)[None])
        (made,) = self._sessions[factor].run(None, {"data": batch})
        return np.asarray(made[0].transpose(1, 2, 0), np.float32)


def growth_of(exemplar: Exemplar, landmarks: Floats) -> float:
    """Return how much larger a face (478, 3) is than that of an exemplar."""
    return interocular(landmarks) / max(interocular(exemplar.landmarks), 1e-6)


def factor_for(choice: Restore, growth: float) -> int:
    """Return by how much to super-resolve an exemplar that is enlarged by *growth*: 1, 2 or 4."""
    if choice is Restore.OFF:
        return 1
    if choice is not Restore.AUTO:
        return 2 if choice is Restore.TWICE else 4
    return 1 if growth < LARGER else 2 if growth < MUCH_LARGER else 4
