"""Paint output frames: study the speaker, decode in output order, paste the engine's patches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any

from lipwright.engines.base import DrivingSequence, Engine, FaceTrack, FaceView
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import VideoFrames, read_video
from lipwright.media.picture import Picture, align_box
from lipwright.pipeline.plan import RenderPlan
from lipwright.pipeline.views import crop_view, face_box, visible_mask
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

    def __call__(self, indices: Iterable[int]) -> Iterator[FaceView]:
        """Yield the views of source frames, in rising order."""
        plan, wanted = self._plan, [int(i) for i in indices]
        video, frames = plan.info, None
        try:
            for done, i in enumerate(wanted, 1):
                landmarks = self._face.landmarks[i]
                box = align_box(face_box(landmarks), video.width, video.height)
                cached = plan.cache.get(i, box)
                if cached is None:
                    frames = frames or read_video(plan.source, decode_options=self._decode_options)
                    view = crop_view(_frame(frames, i), landmarks)
                else:
                    view = FaceView(rgb=cached, box=box, landmarks=landmarks)
                self._on_view(done, len(wanted))
                yield view
        finally:
            if frames is not None:
                frames.close()


def study_speaker(
    plan: RenderPlan,
    engine: Engine,
    decode_options: DecodeOptions,
    on_view: OnView = lambda _done, _total: None,
) -> Any:
    """Let an engine study the face of a plan; return its speaker, None without a face."""
    if plan.face is None:
        return None
    return engine.study(plan.face, ViewFetcher(plan, plan.face, decode_options, on_view))


def render_frames(
    plan: RenderPlan,
    engine: Engine,
    speaker: Any,
    driving: DrivingSequence | None,
    part: range,
    *,
    decode_options: DecodeOptions,
    queue_size: int,
) -> Generator[Picture]:
    """Yield the output frames of a part, painted.

    Args:
        plan: the whole output.
        engine: the engine of the plan.
        speaker: as the engine studied it.
        driving: of the plan, for all output frames; None: nothing is painted.
        part: output frames.
        decode_options: threads and device of the decoder.
        queue_size: frames decoded ahead by a thread; 0: no thread.
    """
    indices = plan.indices[part.start : part.stop]
    reader = RandomAccessReader(plan.source, decode_options)
    with closing(prefetch(reader.read(indices), queue_size)) as pictures:
        if driving is None:
            yield from pictures
        else:
            yield from paste_patches(engine, speaker, driving, pictures, part.start)


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

    def views() -> Iterator[FaceView | None]:
        yield from (None for _ in range(first))
        for n, picture in enumerate(pictures):
            k, row = first + n, n % CHUNK_ROWS
            if not row:  # many rows at once are cheaper than one by one
                part = slice(k, k + CHUNK_ROWS)
                faces, occluders = driving.landmarks[part], driving.occluder[part]
            painted = driving.strength[k] > 0
            view = crop_view(picture, faces[row], occluders[row]) if painted else None
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
            yield picture.paste(patch.box, patch.rgb, visible_mask(patch, view))


def _frame(frames: VideoFrames, index: int) -> Picture:
    return next(frame.picture for frame in frames if frame.index == index)
