"""A render plan: all that painting needs, as one value that can be stored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from lipwright.engines.base import DrivingSequence
from lipwright.media.frame_cache import FrameCache
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.options import Restore
from lipwright.pipeline import plan_file
from lipwright.pipeline.driving import AnimatedFace, build_driving_sequence
from lipwright.pipeline.timing import SourceIndices


@dataclass(frozen=True, kw_only=True)
class RenderPlan:
    """What :func:`lipwright.pipeline.stages.paint` paints, in whole or in parts.

    Painted parts are the same as those of the whole, bit for bit, in this process, in another one
    or on another machine of the same kind that has the same source file (:meth:`save`,
    :meth:`load`).
    """

    source: MediaInfo
    engine: str  #: name of an installed engine
    indices: SourceIndices  #: source frame of each output frame, and the share of the next one
    faces: tuple[AnimatedFace, ...]  #: empty: nothing is painted
    offset: Fraction = Fraction(0)  #: seconds of speech before the first frame
    restore: Restore = Restore.OFF
    cache: FrameCache = field(default_factory=FrameCache)  #: not stored; only saves decoding

    @property
    def frames(self) -> int:
        """Number of output frames."""
        return len(self.indices)

    @property
    def info(self) -> VideoInfo:
        """The video stream of the source."""
        return require_video(self.source)

    def driving_sequences(self) -> list[DrivingSequence]:
        """Return the mouth motion of all output frames, for each face."""
        sequences = (
            build_driving_sequence(
                animated.face, animated.motion, self.indices, self.info, float(self.offset)
            )
            for animated in self.faces
        )
        return [replace(driving, restore=self.restore) for driving in sequences]

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, without the source video and without the cache.

        The file appears when it is complete.

        Raises:
            OutputUnwritable: the folder is missing or read-only.
            StorageFull: the disk is full.
            SourceUnreachable: the source video is gone.
        """
        plan_file.save(
            Path(path),
            source=self.source.path,
            deinterlace=self.info.deinterlace,
            engine=self.engine,
            restore=self.restore,
            indices=self.indices,
            offset=self.offset,
            faces=self.faces,
        )

    @classmethod
    def load(cls, path: str | Path, *, source: str | Path | None = None) -> RenderPlan:
        """Read a plan.

        Args:
            path: written by :meth:`save`.
            source: the source video, if it is elsewhere now.

        Raises:
            SourceUnreachable: the plan or the source video cannot be opened.
            MediaUnreadable: the file is no render plan of this version.
            InvalidOptions: the source video is another file than the plan was made from.
        """
        loaded = plan_file.load(Path(path), None if source is None else Path(source))
        return cls(**loaded)
