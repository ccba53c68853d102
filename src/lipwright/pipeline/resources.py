"""What all stages share: networks that stay loaded, threads and the device."""

from __future__ import annotations

from functools import cached_property

from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.occlusion import OcclusionDetector
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.motion.model import MotionModel
from lipwright.motion.sync_scorer import SyncScorer
from lipwright.runtime.device import Device
from lipwright.runtime.pipelining import QUEUE_SIZE
from lipwright.runtime.threads import thread_count
from lipwright.speech.encoder import SpeechEncoder
from lipwright.weights.store import WeightStore


class Resources:
    """Networks, loaded on first use and kept; threads and device of the stages."""

    def __init__(
        self,
        store: WeightStore | None = None,
        *,
        threads: int | None = None,
        device: Device = Device.CPU,
    ) -> None:
        """Take what the stages may use.

        Args:
            store: weights that the networks open; it lists those used.
            threads: maximum per native library, and 1 disables stage overlap; None: one per core.
            device: for decoding, speech encoding and super-resolution.

        Raises:
            InvalidOptions: *threads* is below 1.
        """
        self.store = store or WeightStore()
        self.threads, self.device = thread_count(threads), device

    @property
    def overlap(self) -> bool:
        """Whether stages run side by side."""
        return self.threads > 1

    @property
    def queue_size(self) -> int:
        """Items between two stages; 0 without overlap."""
        return QUEUE_SIZE if self.overlap else 0

    @property
    def decode_options(self) -> DecodeOptions:
        """Threads and device of decoders."""
        return DecodeOptions(self.threads, self.device)

    @cached_property
    def landmarker(self) -> FaceLandmarker:
        """Detects faces and their landmarks."""
        return FaceLandmarker(self.store)

    @cached_property
    def occlusion_detector(self) -> OcclusionDetector:
        """Detects what covers a face."""
        # It runs while no other thread is busy.
        return OcclusionDetector(self.store, threads=min(2, self.threads))

    @cached_property
    def speech_encoder(self) -> SpeechEncoder:
        """Encodes speech as states at 50 Hz."""
        return SpeechEncoder(self.store, device=self.device)

    @cached_property
    def motion_model(self) -> MotionModel:
        """Predicts mouth motion from speech states."""
        return MotionModel(self.store)

    @cached_property
    def sync_scorer(self) -> SyncScorer:
        """Scores how well a mouth and a voice agree."""
        return SyncScorer(self.store)
