"""The engine seam: study a take into a speaker, then paint frames for a script.

An engine sees arrays and iterators, never files, queues or FFmpeg. Timeline, sound, tracking,
motion, cancelling and encoding belong to the pipeline; so an engine is one file. Register an
:class:`EngineSpec` in the entry-point group ``lipwright.engines``; prove it with
:func:`lipwright.testing.check_engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lipwright.media.picture import Box
from lipwright.options import Restore
from lipwright.runtime.device import Device
from lipwright.runtime.disk_array import Array
from lipwright.types import Floats


@dataclass(frozen=True, kw_only=True)
class FaceView:
    """The part of one frame around the speaker's face."""

    rgb: NDArray[Any]  #: (h, w, 3) RGB uint8 (0 to 255), or uint16 (0 to 1023) for 10-bit video
    box: Box  #: where it lies in the frame, pixels as displayed
    landmarks: Floats  #: (478, 3) pixels of the frame
    #: (h, w) 0 to 1, where something is in front of the face; the pipeline keeps those pixels
    occluder: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A painted view: what changes, and where."""

    rgb: NDArray[Any]  #: like the view's
    mask: Floats  #: (h, w) 0 keeps the frame's own pixel, bit for bit; 1 takes the painted one
    box: Box  #: the view's


@dataclass(frozen=True, kw_only=True)
class FaceTrack:
    """The speaker's face over the source take, T frames; NaN where it is not seen.

    Large arrays may lie on disk (:class:`lipwright.runtime.disk_array.Rows`): they are indexed as
    arrays are, and ``np.asarray`` brings them into memory.
    """

    landmarks: Array  #: (T, 478, 3) pixels as displayed, the tracker's jitter smoothed away
    confidence: Floats  #: (T,) 0 to 1
    sharpness: Floats  #: (T,) higher is sharper
    light: Floats  #: (T,) mean grey value of the face, 0 to 255
    depth: int  #: bits per sample of the views
    shot: NDArray[np.int64]  #: (T,) number of the shot each frame belongs to, from 0, rising
    #: (T, 32, 32) cells of the lower face behind something (:mod:`lipwright.face.occlusion`)
    occluder: Array


@dataclass(frozen=True, kw_only=True)
class DrivingSequence:
    """What the mouth does, for n output frames; what is large is made when it is asked for."""

    mouth: Array  #: (n, 61, 3) wanted canonical mouth shape (:mod:`lipwright.face.shape`)
    landmarks: Array  #: (n, 478, 3) of the frames to paint on, pixels; NaN where no face is
    source: Floats  #: (n,) source frame each one shows, may be fractional
    light: Floats  #: (n,) mean grey value of the face, 0 to 255
    strength: Floats  #: (n,) 0 to 1, how much of the effect is shown; 0: no paint
    shot: NDArray[np.int64]  #: (n,) number of the source shot each one belongs to
    occluder: Array  #: (n, 32, 32) as the portrait's
    restore: Restore = Restore.OFF  #: whether to super-resolve what is enlarged


#: Decodes views of the asked source frames (rising indices), one after the other.
FetchViews = Callable[[Iterable[int]], Iterator[FaceView]]


@runtime_checkable
class Engine(Protocol):
    """Paints mouths. One job at a time; may be reused for the next."""

    def study(self, portrait: FaceTrack, fetch: FetchViews) -> Any:
        """Return what must be known of this speaker, as an object of the engine's own."""

    def paint(
        self, speaker: Any, script: DrivingSequence, views: Iterable[FaceView | None]
    ) -> Iterator[Patch | None]:
        """Yield one patch per view, in order; None for a None view, or to leave it as it is."""

    def close(self) -> None:
        """Free what is held; calling it twice is fine."""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """Facts about an engine; cheap to import."""

    name: str
    summary: str  #: one line
    licence: str  #: SPDX identifier
    load: Callable[[Device], Engine]  #: open it, to compute on one of its devices
    weights: tuple[str, ...] = ()  #: names in the manifest that it needs
    devices: tuple[str, ...] = (Device.CPU,)  #: what it can compute on
    notes: tuple[str, ...] = ()

    def open(self, device: Device = Device.CPU) -> Engine:
        """Load the engine, for a device if it can use that, else for the CPU.

        Raises:
            EngineError: it cannot be loaded, or the device cannot be used.
        """
        usable = device in self.devices or (device is Device.AUTO and Device.CUDA in self.devices)
        return self.load(device if usable else Device.CPU)
