"""How many frames a result would have, counted in the files themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from lipwright.errors import InputError, SourceUnreachable, TooManyRequests
from lipwright.jobs.base import Key
from lipwright.media.fetch import fetch, save_data_uri
from lipwright.media.probe import MediaInfo, probe, require_audio, require_video
from lipwright.media.timeline import plan
from lipwright.server.deployment import Deployment, Links
from lipwright.server.inputs import Source, Wish
from lipwright.server.intake import DATA, blamed, own_upload, scratch
from lipwright.server.shelf import Shelf, blob_name

RETRY_SECONDS = 10.0  # for who finds all busy

Facts = TypeVar("Facts")


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
        return await run_in_threadpool(_count, Shelf.of(parts, key), wish, links)
    finally:
        parts.estimates.release()


def _count(shelf: Shelf, wish: Wish, links: Links) -> int:
    with scratch(shelf.incoming) as folder:
        video = _facts(shelf, wish.video, links, folder, require_video)
        audio = _facts(shelf, wish.audio, links, folder, require_audio)
        timeline = plan(
            wish.work["mode"], video=video.duration, audio=audio.duration, rate=video.rate
        )
        return timeline.frames


def _facts(
    shelf: Shelf, source: Source, links: Links, folder: Path, need: Callable[[MediaInfo], Facts]
) -> Facts:
    """Return what a source holds of what its field needs."""
    with blamed(source):
        path = _local(shelf, source, links, folder)
        try:
            return need(probe(path))
        except InputError as error:  # it names a path that the caller never saw
            raise type(error)(str(error).replace(str(path), "the file")) from error


def _local(shelf: Shelf, source: Source, links: Links, folder: Path) -> Path:
    if source.url[: len(DATA)].lower() == DATA:
        return save_data_uri(source.url, folder, shelf.rules)
    if not (file_id := own_upload(shelf, source.url, links.base)):
        return fetch(source.url, folder, shelf.rules)
    try:
        return shelf.services.storage.local(blob_name(file_id), folder)
    except FileNotFoundError as cause:
        raise SourceUnreachable("the uploaded file is not there: upload it again") from cause
