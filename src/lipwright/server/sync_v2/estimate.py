"""Estimating a generation: the number of frames of its result, counted in the input files."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool

from lipwright.errors import SourceUnreachable, TooManyRequests
from lipwright.jobs.model import ApiKey
from lipwright.jobs.sweeper import upload_blob_name
from lipwright.media.timeline import plan_timeline
from lipwright.net.fetch import fetch, save_data_uri
from lipwright.server.deployment import Deployment, Links
from lipwright.server.inputs import SourceRef, SubmitRequest
from lipwright.server.measure import MediaLength, StreamKind, measure
from lipwright.server.submit import (
    errors_name_field,
    find_upload_id,
    is_data_uri,
    temporary_folder,
)
from lipwright.server.uploads.service import UploadService

RETRY_SECONDS = 10.0  # Retry-After when all slots are in use


async def estimate_frames(
    deployment: Deployment, submission: SubmitRequest, key: ApiKey, links: Links
) -> int:
    """Return the number of frames of the result of a submit request.

    Raises:
        InputError: a source cannot be used.
        TooManyRequests: all estimate slots are in use.
    """
    if not deployment.estimate_slots.acquire(blocking=False):
        raise TooManyRequests(
            f"{deployment.settings.estimates} estimates are running: try again soon",
            retry_after=RETRY_SECONDS,
        )
    uploads = UploadService.for_key(deployment, key)
    try:
        return await run_in_threadpool(_count_frames, deployment, uploads, submission, links)
    finally:
        deployment.estimate_slots.release()


def _count_frames(
    deployment: Deployment, uploads: UploadService, submission: SubmitRequest, links: Links
) -> int:
    def measure_source(source: SourceRef, kind: StreamKind) -> MediaLength:
        with errors_name_field(source):
            path = _local_path(uploads, source, links, folder)
            return measure(path, kind, seconds=deployment.settings.estimate_seconds)

    with temporary_folder(uploads.incoming) as folder:
        video = measure_source(submission.video, "video")
        audio = measure_source(submission.audio, "audio")
    assert video.rate is not None
    assert audio.duration is not None
    length = video.duration or audio.duration  # a still picture is shown as long as the audio
    timeline = plan_timeline(
        submission.options.mode, video=length, audio=audio.duration, rate=video.rate
    )
    return timeline.frames


def _local_path(uploads: UploadService, source: SourceRef, links: Links, folder: Path) -> Path:
    if is_data_uri(source.url):
        return save_data_uri(source.url, folder, uploads.fetch_rules)
    if not (file_id := find_upload_id(uploads, source.url, links.base)):
        return fetch(source.url, folder, uploads.fetch_rules)
    try:
        return uploads.services.storage.local_path(upload_blob_name(file_id), folder)
    except FileNotFoundError as cause:
        raise SourceUnreachable("the uploaded file no longer exists: upload it again") from cause
