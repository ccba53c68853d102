"""The interface between the pipeline and an engine.

An engine first studies a face and then paints mouths that follow a driving sequence. It receives
arrays and iterators, never files, queues or FFmpeg: the pipeline handles timeline, audio, tracking,
motion, cancellation and encoding, so an engine fits into one file. To add one, register an
:class:`EngineSpec` in the entry-point group ``lipwright.engines`` and test it with
:func:`lipwright.testing.check_engine`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lipwright.face.overlays.graphics import OverlayGraphics
from lipwright.media.picture import Box
from lipwright.options import Restore
from lipwright.render.overlay import SeparatedView
from lipwright.runtime.device import Device
from lipwright.runtime.disk_array import Array
from lipwright.types import Floats
from lipwright.weights.store import WeightStore


@dataclass(frozen=True, kw_only=True)
class FaceView:
    """The part of one frame around the speaker's face."""

    rgb: NDArray[Any]  #: (h, w, 3) RGB uint8 (0 to 255), or uint16 (0 to 1023) for 10-bit video
    box: Box  #: position in the frame, pixels as displayed
    landmarks: Floats  #: (478, 3) pixels of the frame
    #: (h, w) 0 to 1, where something covers the face: the pipeline keeps those pixels
    occluder: Floats | None = None
    #: graphics that were taken out of *rgb*: the pipeline lays them over the patch again
    overlay: Overlay | None = None


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """The graphics in front of a face in a view, such as captions and watermarks."""

    shown: NDArray[Any]  #: (h, w, 3) the view with them, as in the frame
    separated: SeparatedView


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A painted view and the mask of its changes."""

    rgb: NDArray[Any]  #: shape and dtype of the view
    mask: Floats  #: (h, w) 0 keeps the frame's own pixel, bit for bit; 1 takes the painted one
    box: Box  #: the view's


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """The speaker's face in each of the T frames of the take; NaN where it is not visible.

    Large arrays may be stored on disk (:class:`lipwright.runtime.disk_array.DiskArray`). Index them
    like NumPy arrays; ``np.asarray`` loads a whole one into memory.
    """

    landmarks: Array  #: (T, 478, 3) pixels as displayed, smoothed against the tracker's jitter
    confidence: Floats  #: (T,) 0 to 1
    sharpness: Floats  #: (T,) higher is sharper
    light: Floats  #: (T,) mean grey value of the face, 0 to 255
    depth: int  #: bits per sample of the views
    shot: NDArray[np.int64]  #: (T,) number of each frame's shot, from 0, rising
    #: (T, 32, 32) covered cells of the lower face (:mod:`lipwright.face.occlusion`)
    occluder: Array
    overlays: OverlayGraphics | None = None  #: graphics that stand on the screen; None: none
    #: (T, 32, 32) cells of the lower face under an opaque graphic; None: none
    overlay_cells: Array | None = None


@dataclass(frozen=True, kw_only=True)
class DrivingSequence:
    """The mouth motion to paint on n output frames. Large arrays are computed on access."""

    mouth: Array  #: (n, 61, 3) canonical mouth shape to paint (:mod:`lipwright.face.canonical`)
    landmarks: Array  #: (n, 478, 3) face to paint on, pixels; NaN without a face
    source_frame: Floats  #: (n,) source frame that each output frame shows, may be fractional
    light: Floats  #: (n,) mean grey value of the face, 0 to 255
    strength: Floats  #: (n,) 0 to 1, how much of the effect is shown; 0: paint nothing
    shot: NDArray[np.int64]  #: (n,) number of the source shot of each frame
    occluder: Array  #: (n, 32, 32) like that of the face track
    overlays: OverlayGraphics | None = None  #: of the source, by source frame
    restore: Restore = Restore.OFF  #: whether to super-resolve enlarged exemplars


#: Decodes the views of source frames (rising indices), one after the other.
FetchViews = Callable[[Iterable[int]], Iterator[FaceView]]


@runtime_checkable
class Engine(Protocol):
    """Paints mouths. Runs one job at a time and may be reused for the next."""

    def study(self, face: FaceTrack, fetch_views: FetchViews) -> Any:
        """Return what ``paint`` needs to know about this speaker, an object of any type."""

    def paint(
        self, speaker: Any, driving: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield one patch per view, in order; None for a None view or to leave it unchanged."""

    def close(self) -> None:
        """Release all resources. A second call does nothing."""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """Description of an engine; cheap to import."""

    name: str
    summary: str  #: one line
    licence: str  #: SPDX identifier
    #: opens the engine on one of its devices; it reads weights through the store
    load: Callable[[Device, WeightStore], Engine]
    weights: tuple[str, ...] = ()  #: names of the weights it needs, see the manifest
    devices: tuple[str, ...] = (Device.CPU,)  #: devices it can use

    def open(self, device: Device = Device.CPU, store: WeightStore | None = None) -> Engine:
        """Load the engine on a device if it supports that device, else on the CPU.

        Args:
            device: preferred device.
            store: weights that the engine may open; None: those that came with the package.

        Raises:
            EngineError: the engine cannot be loaded, or the device cannot be used.
        """
        usable = device in self.devices or (device is Device.AUTO and Device.CUDA in self.devices)
        chosen = device if usable else Device.CPU
        load: Callable[..., Engine] = self.load
        if _takes_store(load):
            return load(chosen, store or WeightStore())
        warnings.warn(
            f"engine {self.name!r}: load(device) is deprecated, use load(device, store)",
            DeprecationWarning,
            stacklevel=2,
        )
        return load(chosen)


def _takes_store(load: Callable[..., Engine]) -> bool:
    """Return whether *load* accepts a device and a store; older engines accept only a device."""
    try:
        inspect.signature(load).bind(Device.CPU, None)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature
        return True
    return True
