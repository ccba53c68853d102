"""How many frames a result would have, counted in the files themselves."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool

from lipwright.errors import SourceUnreachable, TooManyRequests
from lipwright.jobs.model import Key
from lipwright.media.timeline import plan
from lipwright.net.fetch import fetch, save_data_uri
from lipwright.server.deployment import Deployment, Links
from lipwright.server.inputs import Source, Wish
from lipwright.server.measure import Measure, Need, measure
from lipwright.server.submit import DATA, blamed, own_upload, scratch
from lipwright.server.uploads.service import Shelf, blob_name

RETRY_SECONDS = 10.0  # for who finds all busy


async def frames_of(parts: Deployment, wish: Wish, key: Key, links: Links) -> int:
    """Return how many frames the result of a wish would have.

    Raises:
        InputError: a source cannot be used.
        TooManyRequests: enough others are being counted.
    """
    if not parts.estimates.acquire(blocking=False):
        raise TooManyRequests(
            f"{parts.settings.estimates} estimates are being made: try again soon",
            retry_after=RETRY_SECONDS,
        )
    try:
        return await run_in_threadpool(_count, parts, Shelf.of(parts, key), wish, links)
    finally:
        parts.estimates.release()


def _count(parts: Deployment, shelf: Shelf, wish: Wish, links: Links) -> int:
    def measured(source: Source, need: Need) -> Measure:
        with blamed(source):
            path = _local(shelf, source, links, folder)
            return measure(path, need, seconds=parts.settings.estimate_seconds)

    with scratch(shelf.incoming) as folder:
        video, audio = measured(wish.video, "video"), measured(wish.audio, "audio")
    assert video.rate is not None
    assert audio.duration is not None
    length = video.duration or audio.duration  # a still picture is shown as long as the voice
    timeline = plan(wish.work["mode"], video=length, audio=audio.duration, rate=video.rate)
    return timeline.frames


def _local(shelf: Shelf, source: Source, links: Links, folder: Path) -> Path:
    if source.url[: len(DATA)].lower() == DATA:
        return save_data_uri(source.url, folder, shelf.rules)
    if not (file_id := own_upload(shelf, source.url, links.base)):
        return fetch(source.url, folder, shelf.rules)
    try:
        return shelf.services.storage.local(blob_name(file_id), folder)
    except FileNotFoundError as cause:
        raise SourceUnreachable("the uploaded file is not there: upload it again") from cause
