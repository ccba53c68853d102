"""Paint output frames: study the speaker, decode in output order, paste the engine's patches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from lipwright.engines.base import DrivingSequence, Engine, FaceTrack, FaceView
from lipwright.face.overlays.graphics import OverlayReader
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import VideoFrames, read_video
from lipwright.media.picture import Picture, align_box
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.views import (
    crop_view,
    face_box,
    visible_mask,
    with_graphics,
    without_graphics,
)
from lipwright.runtime.disk_array import CHUNK_ROWS
from lipwright.runtime.pipelining import prefetch

OnView = Callable[[int, int], None]  #: called with the number of views fetched, and of all


class ViewFetcher:
    """Returns the views that an engine studies; decodes those that are not in the cache."""

    def __init__(
        self, plan: RenderPlan, face: FaceTrack, decode_options: DecodeOptions, on_view: OnView
    ) -> None:
        self._plan, self._face = plan, face
        self._decode_options, self._on_view = decode_options, on_view
        self._overlays = OverlayReader(face.overlays) if face.overlays else None

    def __call__(self, indices: Iterable[int]) -> Iterator[FaceView]:
        """Yield the views of source frames, in rising order."""
        plan, wanted = self._plan, [int(i) for i in indices]
        video, frames = plan.info, None
        try:
            for done, i in enumerate(wanted, 1):
                landmarks = self._face.landmarks[i]
                box = align_box(face_box(landmarks), video.width, video.height)
                overlays = partial(self._overlays.matte, [i]) if self._overlays else None
                cached = plan.cache.get(i, box)
                if cached is None:
                    frames = frames or read_video(plan.source, decode_options=self._decode_options)
                    view = crop_view(_frame(frames, i), landmarks, overlays=overlays)
                else:
                    view = FaceView(rgb=cached, box=box, landmarks=landmarks)
                    view = without_graphics(view, overlays)
                self._on_view(done, len(wanted))
                yield view
        finally:
            if frames is not None:
                frames.close()


def study_speakers(
    plan: RenderPlan,
    engine: Engine,
    decode_options: DecodeOptions,
    on_view: OnView = lambda _done, _total: None,
) -> list[Any]:
    """Let an engine study the faces of a plan; return its speakers."""
    return [
        engine.study(item.face, ViewFetcher(plan, item.face, decode_options, on_view))
        for item in plan.faces
    ]


def render_frames(
    plan: RenderPlan,
    engine: Engine,
    speakers: Sequence[Any],
    drivings: Sequence[DrivingSequence],
    part: range,
    *,
    decode_options: DecodeOptions,
    queue_size: int,
) -> Generator[Picture]:
    """Yield the output frames of a part, painted.

    Args:
        plan: the whole output.
        engine: the engine of the plan.
        speakers: as the engine studied them.
        drivings: of the plan, for all output frames, one for each speaker.
        part: output frames.
        decode_options: threads and device of the decoder.
        queue_size: frames decoded ahead by a thread; 0: no thread.
    """
    indices = plan.indices[part.start : part.stop]
    reader = RandomAccessReader(plan.source, decode_options)
    with closing(prefetch(reader.read(indices), queue_size)) as pictures:
        painted: Iterable[Picture] = pictures
        for speaker, driving in zip(speakers, drivings, strict=True):
            painted = paste_patches(engine, speaker, driving, painted, part.start)
        yield from painted


def paste_patches(
    engine: Engine,
    speaker: Any,
    driving: DrivingSequence,
    pictures: Iterable[Picture],
    first: int = 0,
) -> Iterator[Picture]:
    """Yield each picture with its patch pasted in, or unchanged where the engine paints nothing.

    Args:
        engine: paints the patches.
        speaker: as the engine studied it.
        driving: for all output frames.
        pictures: the output frames from *first* on.
        first: the engine receives no views of earlier frames, but plans its path over them.
    """
    waiting: deque[tuple[Picture, FaceView | None]] = deque()
    reader = OverlayReader(driving.overlays) if driving.overlays else None

    def views() -> Iterator[FaceView | None]:
        yield from (None for _ in range(first))
        for n, picture in enumerate(pictures):
            k, row = first + n, n % CHUNK_ROWS
            if not row:  # many rows at once are cheaper than one by one
                part = slice(k, k + CHUNK_ROWS)
                faces, occluders = driving.landmarks[part], driving.occluder[part]
            view = None
            if driving.strength[k] > 0:
                find = partial(reader.matte, _mixed(driving.source_frame[k])) if reader else None
                view = crop_view(picture, faces[row], occluders[row], find)
            waiting.append((picture, view))
            yield view

    patches = engine.paint(speaker, driving, views())
    for _ in range(first):
        next(patches)
    for patch in patches:
        picture, view = waiting.popleft()
        if patch is None or view is None:
            yield picture
        else:
            whole = with_graphics(patch, view)
            yield picture.paste(whole.box, whole.rgb, visible_mask(whole, view))


def _mixed(source_frame: np.floating[Any]) -> list[int]:
    """Return the source frames that an output frame is mixed of."""
    first = int(source_frame)
    return [first] if source_frame == first else [first, first + 1]


def _frame(frames: VideoFrames, index: int) -> Picture:
    return next(frame.picture for frame in frames if frame.index == index)
