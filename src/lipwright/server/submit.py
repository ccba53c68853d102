"""Submitting a job: checks or stores its sources, then writes it to the ledger.

A source is a public URL (checked now, fetched by the worker), the URL of an upload of the same
API key, or a ``data:`` URI, which becomes an upload. The ledger never holds file contents.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lipwright.errors import InputError, LimitExceeded, SourceUnreachable
from lipwright.jobs.ledger.rules import upload_ids
from lipwright.jobs.model import ApiKey, Job, JobSpec, SubmitLimits, Upload
from lipwright.jobs.payload import JobPayload
from lipwright.jobs.sweeper import job_prefix
from lipwright.net.fetch import FetchRules, check_url, save_data_uri
from lipwright.server.deployment import Deployment, Links
from lipwright.server.errors import FieldError, InvalidBody
from lipwright.server.inputs import SourceRef, SubmitRequest, replace_strings
from lipwright.server.runcomfy.schemas import MAX_URL
from lipwright.server.uploads.service import UploadService

log = logging.getLogger("lipwright.server")

UPLOAD_PATH = re.compile(r"/v1/files/(file_[0-9a-f]{32})")
DATA_SCHEME = "data:"


@dataclass(frozen=True, kw_only=True)
class AttachedFile:
    """A file in the body of a submit call."""

    path: Path
    name: str
    sha256: str

    @property
    def url(self) -> str:
        """The URL of its source: the same for the same bytes, so that equal requests are equal."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, kw_only=True)
class SubmitContext:
    """The caller of a submit call, its headers and its attached files."""

    key: ApiKey
    links: Links
    http_request_id: str
    idempotency_key: str | None = None
    trace: str | None = None  #: W3C traceparent
    files: Mapping[str, AttachedFile] = field(default_factory=dict)  #: by the URL of their source


def submit(deployment: Deployment, submission: SubmitRequest, context: SubmitContext) -> Job:
    """Check and store the sources and write the job.

    Returns:
        The new job, or the job of an earlier call with the same idempotency key.

    Raises:
        InputError: a source cannot be used.
        IdempotencyConflict: the idempotency key was used with another body.
        TooManyRequests: a limit is reached.
        QueueUnavailable: the database is unavailable.
        OutputError: a data URI or an attached file cannot be stored.
    """
    uploads = UploadService.for_key(deployment, context.key)
    with _store_sources(uploads, submission, context) as stored:
        job, created = deployment.services.ledger.submit(
            _job_spec(submission, context, stored), _submit_limits(deployment, context.key)
        )
        stored.keep = created
    ids = {"http_request_id": context.http_request_id, "job_id": job.id}
    log.info("job submitted" if created else "job submitted before", extra=ids)
    return job


def erase(deployment: Deployment, job_id: str, key: ApiKey) -> None:
    """Erase a job, its results, and its uploads unless another unfinished job reads them.

    Raises:
        JobNotFound: there is no such job.
        JobNotFinished: it is running.
    """
    services = deployment.services
    job = services.ledger.erase(job_id, key.id)
    services.storage.delete(job_prefix(job.id))
    uploads = UploadService.for_key(deployment, key)
    for file_id in sorted(upload_ids(job.spec.payload)):
        uploads.remove(file_id)


@dataclass(kw_only=True)
class _StoredSources:
    """The sources of one submit call, and the uploads created for it."""

    video: str = ""
    audio: str = ""
    created: dict[str, Upload]  #: by the URL of the source: a data URI or an attached file
    keep: bool = False


@contextmanager
def _store_sources(
    uploads: UploadService, submission: SubmitRequest, context: SubmitContext
) -> Iterator[_StoredSources]:
    """Yield the sources as the worker reads them; the created uploads are removed unless kept."""
    stored = _StoredSources(created={})
    try:
        stored.video = _resolve_source(uploads, submission.video, context, stored.created)
        stored.audio = _resolve_source(uploads, submission.audio, context, stored.created)
        if submission.webhook:
            _check_url(submission.webhook, uploads.fetch_rules)
        yield stored
    finally:
        if not stored.keep:
            for upload in stored.created.values():
                uploads.remove(upload.id)


def _resolve_source(
    uploads: UploadService, source: SourceRef, context: SubmitContext, created: dict[str, Upload]
) -> str:
    """Return a source as the worker reads it: ``file:ID`` or a checked URL."""
    with errors_name_field(source):
        if is_data_uri(source.url):
            if source.url not in created:
                created[source.url] = _store_data_uri(uploads, source.url)
            return f"file:{created[source.url].id}"
        if file := context.files.get(source.url):
            if source.url not in created:
                created[source.url] = uploads.put(file.path, name=file.name, sha256=file.sha256)
            return f"file:{created[source.url].id}"
        _check_length(source)
        if file_id := find_upload_id(uploads, source.url, context.links.base):
            return f"file:{file_id}"
        _check_url(source, uploads.fetch_rules)
        return source.url


def is_data_uri(url: str) -> bool:
    """Whether *url* is a ``data:`` URI."""
    return url[: len(DATA_SCHEME)].lower() == DATA_SCHEME


def find_upload_id(uploads: UploadService, url: str, base: str) -> str | None:
    """Return the id of this key's upload that *url* names, None if it is another server's URL.

    The host is not compared, as this service may have several names: an id has 128 random bits, so
    a path with it can only mean that upload.

    Args:
        uploads: of the caller.
        url: of the source.
        base: base URL of this service, as the caller knows it.

    Raises:
        SourceUnreachable: *url* begins with *base*, but there is no such upload.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    match = UPLOAD_PATH.search(path)
    if not (match and path.endswith(match[0])):
        return None
    try:
        return uploads.find(match[1]).id
    except SourceUnreachable:
        if url.startswith(f"{base}/"):
            raise
        return None


def _store_data_uri(uploads: UploadService, uri: str) -> Upload:
    with temporary_folder(uploads.incoming) as folder:
        return uploads.put(save_data_uri(uri, folder, uploads.fetch_rules), name="")


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in *parent*; it is removed at the end of the block."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_url(source: SourceRef, rules: FetchRules) -> None:
    with errors_name_field(source):
        _check_length(source)
        check_url(source.url, rules)


def _check_length(source: SourceRef) -> None:
    if len(source.url) > MAX_URL:
        raise LimitExceeded(f"the URL is longer than {MAX_URL} characters: use a shorter one")


@contextmanager
def errors_name_field(source: SourceRef) -> Iterator[None]:
    """Re-raise input errors of the block as errors of the field that *source* came in."""
    try:
        yield
    except InvalidBody:
        raise
    except InputError as error:
        raise InvalidBody(FieldError(loc=source.loc, message=str(error)), cause=error) from error


def _job_spec(submission: SubmitRequest, context: SubmitContext, stored: _StoredSources) -> JobSpec:
    upload_urls = {
        url: context.links.upload_url(upload.id) for url, upload in stored.created.items()
    }
    payload = JobPayload(
        video=stored.video, audio=stored.audio, options=submission.options, seed=submission.seed
    )
    return JobSpec(
        id=str(uuid.uuid4()),
        key_id=context.key.id,
        model_id=submission.model_id,
        dialect=submission.dialect,
        engine=submission.engine,
        input=replace_strings(dict(submission.input), upload_urls),
        payload=payload.to_json(),
        priority=context.key.priority,
        webhook_url=submission.webhook.url if submission.webhook else None,
        idempotency_key=context.idempotency_key,
        fingerprint=submission.fingerprint,
        trace=context.trace,
    )


def _submit_limits(deployment: Deployment, key: ApiKey) -> SubmitLimits:
    settings = deployment.settings
    queued, rate = key.max_queued, key.submits_per_minute
    return SubmitLimits(
        max_queued=settings.max_queued_per_key if queued is None else queued,
        submits_per_minute=settings.submits_per_minute if rate is None else rate,
    )
