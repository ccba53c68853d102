"""Pass B: what is painted, frame by frame, once a face is followed and a voice performed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from lipwright.engines.base import DrivingSequence, Engine, FaceTrack, FaceView
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.random_access import Reader
from lipwright.media.decode.video import VideoFrames, read_video
from lipwright.media.frame_cache import FrameCache
from lipwright.media.picture import Picture, aligned
from lipwright.media.probe import MediaInfo, VideoInfo, require_video
from lipwright.motion.animate import Performance
from lipwright.options import Restore
from lipwright.pipeline.staging import around, behind, script_for, view_of
from lipwright.runtime.disk_array import CHUNK_ROWS
from lipwright.runtime.pipelining import prefetch

Picks = list[tuple[int, float]]
Tell = Callable[[int, int], None]  #: told how many views of how many are fetched


@dataclass(frozen=True, kw_only=True)
class RenderPlan:
    """All that pass B works from."""

    source: MediaInfo
    info: VideoInfo  #: of its pictures, as they were decoded
    picks: Picks  #: the frame of the source that each output frame shows, and how far to the next
    portrait: FaceTrack | None  #: None: no face is painted
    performance: Performance | None
    album: FrameCache  #: of the source
    restore: Restore

    def script(self) -> DrivingSequence | None:
        """Return what the mouth does in the output; None where there is no face."""
        if self.portrait is None or self.performance is None:
            return None
        script = script_for(self.portrait, self.performance, self.picks, self.info)
        return replace(script, restore=self.restore)


class ViewFetcher:
    """Finds the views that an engine asks for while it studies; decodes those not in the album."""

    def __init__(
        self, brief: RenderPlan, portrait: FaceTrack, decoding: DecodeOptions, tell: Tell
    ) -> None:
        """Take a brief, its face, how to decode, and whom to tell."""
        self._brief, self._portrait = brief, portrait
        self._decoding, self._tell = decoding, tell

    def __call__(self, indices: Iterable[int]) -> Iterator[FaceView]:
        """Yield the views of frames, in rising order."""
        brief, wanted = self._brief, [int(i) for i in indices]
        video, frames = require_video(brief.source), None
        try:
            for done, i in enumerate(wanted, 1):
                landmarks = self._portrait.landmarks[i]
                box = aligned(around(landmarks), video.width, video.height)
                kept = brief.album.find(i, box)
                if kept is None:
                    frames = frames or read_video(brief.source, decoding=self._decoding)
                    view = view_of(_frame(frames, i), landmarks)
                else:
                    view = FaceView(rgb=kept, box=box, landmarks=landmarks)
                self._tell(done, len(wanted))
                yield view
        finally:
            if frames is not None:
                frames.close()


def study_speaker(brief: RenderPlan, engine: Engine, decoding: DecodeOptions, tell: Tell) -> Any:
    """Let an engine study the face of a brief, if there is one; return what it knows then."""
    if brief.portrait is None:
        return None
    return engine.study(brief.portrait, ViewFetcher(brief, brief.portrait, decoding, tell))


def render_frames(
    brief: RenderPlan,
    engine: Engine,
    speaker: Any,
    script: DrivingSequence | None,
    part: range,
    *,
    decoding: DecodeOptions,
    room: int,
) -> Generator[Picture]:
    """Yield the output frames of a part, painted.

    Args:
        brief: what to paint from.
        engine: that paints.
        speaker: as the engine studied it.
        script: of the brief.
        part: which output frames.
        decoding: how to decode.
        room: frames that are decoded ahead, in a thread of their own; 0: none.
    """
    picks = brief.picks[part.start : part.stop]
    with closing(prefetch(Reader(brief.source, decoding).at(picks), room)) as pictures:
        if script is None:
            yield from pictures
        else:
            yield from paste_patches(engine, speaker, script, pictures, part.start)


def paste_patches(
    engine: Engine,
    speaker: Any,
    script: DrivingSequence,
    pictures: Iterable[Picture],
    first: int = 0,
) -> Iterator[Picture]:
    """Yield each picture with its patch pasted in; the others as they are.

    Args:
        engine: that paints.
        speaker: as the engine studied it.
        script: of the whole output.
        pictures: of the output frames from *first* on.
        first: what comes before is looked at by the engine, but not painted.
    """
    waiting: deque[tuple[Picture, FaceView | None]] = deque()

    def views() -> Iterator[FaceView | None]:
        yield from (None for _ in range(first))
        for n, picture in enumerate(pictures):
            k, at = first + n, n % CHUNK_ROWS
            if not at:  # many rows at once are cheaper than one by one
                part = slice(k, k + CHUNK_ROWS)
                faces, occluders = script.landmarks[part], script.occluder[part]
            shown = script.strength[k] > 0
            view = view_of(picture, faces[at], occluders[at]) if shown else None
            waiting.append((picture, view))
            yield view

    patches = engine.paint(speaker, script, views())
    for _ in range(first):
        next(patches)
    for patch in patches:
        picture, view = waiting.popleft()
        if patch is None or view is None:
            yield picture
        else:
            yield picture.paste(patch.box, patch.rgb, behind(patch, view))


def _frame(frames: VideoFrames, index: int) -> Picture:
    return next(frame.picture for frame in frames if frame.index == index)
