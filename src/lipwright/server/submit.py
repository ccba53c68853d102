"""Taking a job in: its sources checked or stored, its row and work written.

A source is a public URL (checked now, fetched by the worker), the URL of an upload of the same
key, or a ``data:`` URI, which becomes an upload. Rows never hold file contents.
"""

from __future__ import annotations

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
from lipwright.jobs.model import Job, Key, Limits, Ticket, Upload
from lipwright.net.fetch import FetchRules, check_url, save_data_uri
from lipwright.server.deployment import Deployment, Links
from lipwright.server.errors import Fault, InvalidBody
from lipwright.server.inputs import Source, Wish, swapped
from lipwright.server.runcomfy.schemas import MAX_URL
from lipwright.server.uploads.service import Shelf

UPLOAD_PATH = re.compile(r"/v1/files/(file_[0-9a-f]{32})")
DATA = "data:"


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A file that came along with a call."""

    path: Path
    name: str
    sha256: str

    @property
    def url(self) -> str:
        """What its source says: the same for the same bytes, so that equal calls are equal."""
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """Who submits, and what came in headers."""

    key: Key
    links: Links
    idempotency_key: str | None = None
    trace: str | None = None
    files: Mapping[str, Brought] = field(default_factory=dict)  #: by their URL in the wish


def submit(parts: Deployment, wish: Wish, call: Call) -> Job:
    """Check and store the sources, write the job; return it, or the one of an equal earlier call.

    Raises:
        InputError: a source cannot be used.
        IdempotencyConflict: the same idempotency key came with another body.
        TooManyRequests: over a limit.
        QueueUnavailable: the database is away.
        PublishFailed: a data URI cannot be stored.
    """
    shelf = Shelf.of(parts, call.key)
    with _stored_sources(shelf, wish, call) as stored:
        job, new = parts.services.ledger.submit(
            _ticket(wish, call, stored), _limits(parts, call.key)
        )
        if new:
            stored.keep = True
        return job


def erase(parts: Deployment, job_id: str, key: Key) -> None:
    """Erase a job with its results, and its uploads unless another unfinished job holds them.

    Raises:
        JobNotFound: there is none.
        JobNotFinished: it is running.
    """
    services = parts.services
    job = services.ledger.erase(job_id, key.id)
    services.storage.delete(f"jobs/{job.id}/")
    shelf = Shelf.of(parts, key)
    for file_id in uploads_of(job):
        shelf.remove(file_id)


def uploads_of(job: Job) -> list[str]:
    """Return the ids of the uploads that a job reads."""
    sources = (str(job.ticket.work.get(name, "")) for name in ("video", "audio"))
    return sorted({s.removeprefix("file:") for s in sources if s.startswith("file:")})


@dataclass(kw_only=True)
class _Stored:
    """The sources of one call, and the uploads made for it."""

    video: str = ""
    audio: str = ""
    made: dict[str, Upload]  #: by the data URI, or the URL of a file that came along
    keep: bool = False


@contextmanager
def _stored_sources(shelf: Shelf, wish: Wish, call: Call) -> Iterator[_Stored]:
    """Yield the sources as the worker reads them; what was stored goes again unless kept."""
    stored = _Stored(made={})
    try:
        stored.video = _source(shelf, wish.video, call, stored.made)
        stored.audio = _source(shelf, wish.audio, call, stored.made)
        if wish.webhook:
            _check_url(wish.webhook, shelf.rules)
        yield stored
    finally:
        if not stored.keep:
            for upload in stored.made.values():
                shelf.remove(upload.id)


def _source(shelf: Shelf, source: Source, call: Call, made: dict[str, Upload]) -> str:
    """Return a source as the worker reads it: ``file:ID`` or a checked URL."""
    with blamed(source):
        if source.url[: len(DATA)].lower() == DATA:
            if source.url not in made:
                made[source.url] = _store_data_uri(shelf, source.url)
            return f"file:{made[source.url].id}"
        if file := call.files.get(source.url):
            if source.url not in made:
                made[source.url] = shelf.put(file.path, name=file.name, sha256=file.sha256)
            return f"file:{made[source.url].id}"
        _check_length(source)
        if file_id := own_upload(shelf, source.url, call.links.base):
            return f"file:{file_id}"
        _check_url(source, shelf.rules)
        return source.url


def own_upload(shelf: Shelf, url: str, base: str) -> str | None:
    """Return the upload of this key that *url* names, None when it is another server's URL.

    An id is 128 random bits: who has it in a path of this form means that upload, whatever name
    this service was reached by.

    Raises:
        SourceUnreachable: it is a URL of this service, but no such upload is there.
    """
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    found = UPLOAD_PATH.search(path)
    if not (found and path.endswith(found[0])):
        return None
    try:
        return shelf.find(found[1]).id
    except SourceUnreachable:
        if url.startswith(f"{base}/"):
            raise
        return None


def _store_data_uri(shelf: Shelf, uri: str) -> Upload:
    with scratch(shelf.incoming) as folder:
        return shelf.put(save_data_uri(uri, folder, shelf.rules), name="")


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder that goes with all that is in it."""
    made = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check_url(source: Source, rules: FetchRules) -> None:
    with blamed(source):
        _check_length(source)
        check_url(source.url, rules)


def _check_length(source: Source) -> None:
    if len(source.url) > MAX_URL:
        raise LimitExceeded(f"the URL is longer than {MAX_URL} characters: use a shorter one")


@contextmanager
def blamed(source: Source) -> Iterator[None]:
    """Say which field a source came in when it cannot be used."""
    try:
        yield
    except InvalidBody:
        raise
    except InputError as error:
        raise InvalidBody(Fault(loc=source.loc, message=str(error)), reason=error) from error


def _ticket(wish: Wish, call: Call, stored: _Stored) -> Ticket:
    echo = {uri: call.links.of_upload(upload.id) for uri, upload in stored.made.items()}
    return Ticket(
        id=str(uuid.uuid4()),
        key_id=call.key.id,
        model_id=wish.model_id,
        dialect=wish.dialect,
        engine=wish.engine,
        input=swapped(dict(wish.input), echo),
        work={"video": stored.video, "audio": stored.audio, **wish.work},
        priority=call.key.priority,
        webhook_url=wish.webhook.url if wish.webhook else None,
        idempotency_key=call.idempotency_key,
        fingerprint=wish.fingerprint,
        trace=call.trace,
    )


def _limits(parts: Deployment, key: Key) -> Limits:
    settings = parts.settings
    queued, rate = key.max_queued, key.submits_per_minute
    return Limits(
        max_queued=settings.max_queued_per_key if queued is None else queued,
        submits_per_minute=settings.submits_per_minute if rate is None else rate,
    )
