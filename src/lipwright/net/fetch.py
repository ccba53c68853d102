"""Download a URL, or decode a data URI, to a local file within limits."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from lipwright.errors import (
    InvalidOptions,
    LimitExceeded,
    MediaUnreadable,
    PublishFailed,
    SourceUnreachable,
    StorageFull,
    is_disk_full,
)
from lipwright.net.address import AllowList, check_allowed, parse_url
from lipwright.net.guard import Deadline, GuardedClient, HttpResponse, TransientError
from lipwright.net.sniff import SNIFF_BYTES, detect_non_media
from lipwright.progress import CancelToken

if TYPE_CHECKING:
    from lipwright.settings import Settings

OK = 200
TRANSIENT_STATUSES = {408, 425, 429}  # and all of 5xx
BASE64_CHUNK = 1 << 20  # characters decoded at a time, a multiple of 4
OnBytes = Callable[[int, int | None], None]  #: bytes received, total bytes if known

STATUS_REASONS = {
    401: "a login is required",
    403: "access is denied",
    404: "there is no such file",
    410: "the file was removed",
}
_DATA = re.compile(
    r"data:([\w.+/-]*)((?:;[\w.+-]+=[^;,\"]*)*)(;base64)?,", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class FetchRules:
    """Limits of a download: allowed hosts, size, time, retries."""

    allow_list: AllowList = field(default_factory=AllowList)
    max_bytes: int = 100_000_000
    max_data_uri_bytes: int = 64 * 1024 * 1024  #: decoded
    connect_seconds: float = 10.0
    idle_seconds: float = 20.0
    total_seconds: float = 300.0  #: for all attempts and redirects together
    max_redirects: int = 5
    attempts: int = 3
    retry_seconds: float = 1.0  #: delay before the second attempt; doubles each time
    max_retry_after: float = 30.0  #: longest Retry-After, seconds; above it, give up

    @classmethod
    def from_settings(cls, settings: Settings) -> FetchRules:
        """Return the rules that the settings describe.

        Raises:
            InvalidOptions: An entry of ``fetch_allow`` is not a host, address or network.
        """
        return cls(
            allow_list=AllowList.parse(settings.fetch_allow),
            max_bytes=settings.max_fetch_bytes,
            max_data_uri_bytes=settings.max_data_uri_bytes,
            connect_seconds=settings.fetch_connect_seconds,
            idle_seconds=settings.fetch_idle_seconds,
            total_seconds=settings.fetch_total_seconds,
            max_redirects=settings.fetch_max_redirects,
        )

    def create_client(self) -> GuardedClient:
        """Return an HTTP client with these hosts and timeouts."""
        return GuardedClient(
            allow_list=self.allow_list,
            connect_seconds=self.connect_seconds,
            idle_seconds=self.idle_seconds,
        )


def check_url(url: str, rules: FetchRules) -> None:
    """Refuse a URL that can be refused without network access.

    Raises:
        InvalidOptions: It is not an https URL (or http for a host in ``fetch_allow``), or it is
            ambiguous.
        SourceUnreachable: The host is an address that is not public.
    """
    check_allowed(parse_url(url), rules.allow_list)


def fetch(
    url: str,
    folder: Path,
    rules: FetchRules,
    *,
    cancel: CancelToken | None = None,
    on_bytes: OnBytes | None = None,
    client: GuardedClient | None = None,
) -> Path:
    """Download *url* to a new file in *folder* and return its path.

    Transient failures (no connection, a broken one, 5xx, 429) are retried as the rules say.

    Args:
        url: An https URL.
        folder: Where to create the file. The file name is random, not taken from the URL.
        rules: The limits.
        cancel: Cancel it from another thread to end the download within a fraction of a second.
        on_bytes: Called after every chunk.
        client: HTTP client to use instead of one made from *rules*.

    Raises:
        InvalidOptions: The URL is malformed, ambiguous or not https.
        SourceUnreachable: The download failed or took too long.
        LimitExceeded: The file is too large.
        MediaUnreadable: The file is a web page, a playlist, an archive or another non-media file.
        StorageFull: The disk is full.
        PublishFailed: The file cannot be stored here.
        Cancelled: The token was cancelled.
    """
    check_url(url, rules)
    client = client or rules.create_client()
    deadline = Deadline(rules.total_seconds, cancel)
    for attempt in count(1):
        try:
            with client.get(url, deadline, max_redirects=rules.max_redirects) as response:
                _check_status(response)
                return _save_body(response, folder, rules.max_bytes, on_bytes)
        except TransientError as error:
            delay = _retry_delay(error, attempt, rules)
            if attempt >= rules.attempts or delay is None:
                raise SourceUnreachable(
                    f"{parse_url(url).redacted} cannot be fetched: {error}; after {attempt} "
                    "attempts, try again later"
                ) from error
            deadline.sleep(delay)
    raise AssertionError("unreachable")


def save_data_uri(uri: str, folder: Path, rules: FetchRules) -> Path:
    """Decode a ``data:`` URI to a new file in *folder* and return its path.

    Raises:
        InvalidOptions: It is not a well-formed data URI.
        LimitExceeded: It holds too many bytes.
        MediaUnreadable: It holds something other than media.
        StorageFull: The disk is full.
        PublishFailed: The file cannot be stored here.
    """
    header = _DATA.match(uri[:1024])
    if header is None:
        raise InvalidOptions("that is not a data URI: write data:video/mp4;base64,…")
    text, limit = "".join(uri[header.end() :].split()), rules.max_data_uri_bytes
    if (len(text) * 3 // 4 - 2 if header[3] else len(text) // 3) > limit:
        raise _data_uri_too_large(limit)
    chunks = _decode_base64(text) if header[3] else iter([_decode_percent(text)])
    with _new_file(folder) as (path, file):
        for chunk in _require_media(_limit_bytes(chunks, limit), "the data URI"):
            _write(chunk, file)
    return path


def _check_status(response: HttpResponse) -> None:
    """Refuse a response that is not the file.

    Raises:
        TransientError: A retry may succeed.
        SourceUnreachable: A retry cannot succeed.
    """
    status = response.status
    if status in TRANSIENT_STATUSES or status >= 500:
        message = f"{response.url.authority} answers {status}"
        raise TransientError(message, retry_after=response.retry_after)
    if status != OK:
        reason = STATUS_REASONS.get(status, "which carries no file")
        raise SourceUnreachable(
            f"{response.url.redacted} answers {status}, {reason}: check that the URL opens without "
            "a login"
        )


def _save_body(
    response: HttpResponse, folder: Path, max_bytes: int, on_bytes: OnBytes | None
) -> Path:
    """Write the body to a new file."""
    with _new_file(folder) as (path, file):
        received = 0
        for chunk in _require_media(response.iter_bytes(max_bytes), response.url.redacted):
            _write(chunk, file)
            received += len(chunk)
            if on_bytes is not None:
                on_bytes(received, response.size)
    return path


def _require_media(chunks: Iterator[bytes], source: str) -> Iterator[bytes]:
    """Yield the chunks unless the first bytes show that they are not media.

    Raises:
        MediaUnreadable: They are not.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= SNIFF_BYTES:
            break
    if kind := detect_non_media(head[:SNIFF_BYTES]):
        raise MediaUnreadable(
            f"{source} is {kind}, not a video or audio file: give the address of the file itself, "
            "not of a page or list that links to it"
        )
    yield head
    yield from chunks


def _limit_bytes(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise _data_uri_too_large(limit)
        yield chunk


def _data_uri_too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"the data URI holds more than the limit of {limit} bytes: upload the file, give its URL, "
        "or ask the operator to raise max_data_uri_bytes"
    )


def _decode_base64(text: str) -> Iterator[bytes]:
    """Yield the decoded bytes of standard or URL-safe base64, with or without padding.

    Raises:
        InvalidOptions: It is not base64.
    """
    text = text.rstrip("=")
    try:
        for start in range(0, len(text), BASE64_CHUNK):
            chunk = text[start : start + BASE64_CHUNK].replace("-", "+").replace("_", "/")
            yield base64.b64decode(chunk + "=" * (-len(chunk) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOptions(
            f"the data URI is not base64 ({error}): encode the file again"
        ) from error


def _decode_percent(text: str) -> bytes:
    if not text.isascii():
        raise InvalidOptions("the data URI contains non-ASCII text: encode the file as base64")
    return unquote_to_bytes(text)


def _retry_delay(error: TransientError, attempt: int, rules: FetchRules) -> float | None:
    """Return the seconds to wait, None if the server asks for more than the limit."""
    requested = error.retry_after or 0.0
    backoff = rules.retry_seconds * 2 ** (attempt - 1)
    return None if requested > rules.max_retry_after else max(requested, backoff)


@contextmanager
def _new_file(folder: Path) -> Iterator[tuple[Path, FileIO]]:
    """Open a new file that only its owner can read; delete it if the block fails."""
    path = folder / f"source-{token_hex(8)}"
    with _translate_disk_errors():
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", buffering=0) as file:  # a buffer would raise again on close
            yield path, file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(chunk: bytes, file: FileIO) -> None:
    view = memoryview(chunk)
    while view:
        with _translate_disk_errors():
            view = view[file.write(view) :]


@contextmanager
def _translate_disk_errors() -> Iterator[None]:
    """Translate errors of the file system.

    Raises:
        StorageFull: The disk is full.
        PublishFailed: The folder does not exist or cannot be written.
    """
    try:
        yield
    except OSError as error:
        kind = StorageFull if is_disk_full(error) else PublishFailed
        raise kind(
            f"the source cannot be stored here ({error.strerror}): free space, then try again"
        ) from error
