"""A URL or a data URI becomes a local file, within limits; or one clear error and no file."""

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
)
from lipwright.net.address import Allowed, check, parse_url
from lipwright.net.connect import Answer, Deadline, Guard, TryAgain
from lipwright.net.sniff import SNIFF_BYTES, foreign
from lipwright.progress import CancelToken

if TYPE_CHECKING:
    from lipwright.settings import Settings

OK = 200
PASSING = {408, 425, 429}  # and all of 5xx
BASE64_STEP = 1 << 20  # characters decoded at a time, a multiple of 4
OnBytes = Callable[[int, int | None], None]  # bytes so far, bytes in all if that is told

REASONS = {
    401: "it asks for a login",
    403: "it may not be read",
    404: "there is nothing",
    410: "it is gone",
}
_DATA = re.compile(
    r"data:([\w.+/-]*)((?:;[\w.+-]+=[^;,\"]*)*)(;base64)?,", re.ASCII | re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class FetchRules:
    """What may be fetched, from where, how large, how long it may take."""

    allowed: Allowed = field(default_factory=Allowed)
    max_bytes: int = 100_000_000
    max_data_uri_bytes: int = 64 * 1024 * 1024  #: decoded
    connect_seconds: float = 10.0
    idle_seconds: float = 20.0
    total_seconds: float = 300.0  #: for all attempts and redirects together
    max_redirects: int = 5
    attempts: int = 3
    retry_seconds: float = 1.0  #: pause before the second attempt; it doubles
    max_retry_after: float = 30.0  #: longest pause that a server may ask for, seconds

    @classmethod
    def of(cls, settings: Settings) -> FetchRules:
        """Return the rules of a deployment.

        Raises:
            InvalidOptions: ``fetch_allow`` has an entry that is no host, address or network.
        """
        return cls(
            allowed=Allowed.parse(settings.fetch_allow),
            max_bytes=settings.max_fetch_bytes,
            max_data_uri_bytes=settings.max_data_uri_bytes,
            connect_seconds=settings.fetch_connect_seconds,
            idle_seconds=settings.fetch_idle_seconds,
            total_seconds=settings.fetch_total_seconds,
            max_redirects=settings.fetch_max_redirects,
        )

    def guard(self) -> Guard:
        """Return what makes the connections."""
        return Guard(
            allowed=self.allowed,
            connect_seconds=self.connect_seconds,
            idle_seconds=self.idle_seconds,
        )


def check_url(url: str, rules: FetchRules) -> None:
    """Refuse a URL that can be seen to be unusable, without asking the network.

    Raises:
        InvalidOptions: it is no https URL (http for a host in ``fetch_allow``), or can be read in
            more than one way.
        SourceUnreachable: its host is an address that is not public.
    """
    check(parse_url(url), rules.allowed)


def fetch(
    url: str,
    folder: Path,
    rules: FetchRules,
    *,
    cancel: CancelToken | None = None,
    on_bytes: OnBytes | None = None,
    guard: Guard | None = None,
) -> Path:
    """Fetch *url* into a new file in *folder* and return it.

    What may pass (no connection, a broken one, 5xx, 429) is tried again, so often as the rules say.

    Args:
        url: an https URL.
        folder: where the file is made; its name is not taken from the URL.
        rules: the limits.
        cancel: set it from another thread to end the fetch, within a fraction of a second.
        on_bytes: called for every piece.
        guard: what makes the connections, in place of the rules' own.

    Raises:
        InvalidOptions: the URL cannot be used.
        SourceUnreachable: it cannot be fetched, or takes too long.
        LimitExceeded: it is too large.
        MediaUnreadable: it is a web page, a playlist, an archive, a text.
        PublishFailed: there is no room for it here.
        Cancelled: the end was asked for.
    """
    check_url(url, rules)
    guard = guard or rules.guard()
    deadline = Deadline(rules.total_seconds, cancel)
    for attempt in count(1):
        try:
            with guard.get(url, deadline, redirects=rules.max_redirects) as answer:
                _check_status(answer)
                return _land(answer, folder, rules.max_bytes, on_bytes)
        except TryAgain as error:
            pause = _pause(error, attempt, rules)
            if attempt >= rules.attempts or pause is None:
                raise SourceUnreachable(
                    f"{parse_url(url).shown} cannot be fetched: {error}; after {attempt} attempts, "
                    "try again later"
                ) from error
            deadline.sleep(pause)
    raise AssertionError("the loop ends by itself")


def save_data_uri(uri: str, folder: Path, rules: FetchRules) -> Path:
    """Write the bytes of a ``data:`` URI to a new file in *folder* and return it.

    Raises:
        InvalidOptions: it is not written as one.
        LimitExceeded: it holds too much.
        MediaUnreadable: it holds something else than media.
        PublishFailed: there is no room for it here.
    """
    head = _DATA.match(uri[:1024])
    if head is None:
        raise InvalidOptions("that is no data URI: write data:video/mp4;base64,…")
    text, limit = "".join(uri[head.end() :].split()), rules.max_data_uri_bytes
    if (len(text) * 3 // 4 - 2 if head[3] else len(text) // 3) > limit:
        raise _too_large(limit)
    pieces = _base64(text) if head[3] else iter([_percent(text)])
    with _landing(folder) as (path, file):
        for piece in _sniffed(_limited(pieces, limit), "the data URI"):
            _write(piece, file)
    return path


def _check_status(answer: Answer) -> None:
    """Refuse an answer that is not the file.

    Raises:
        TryAgain: the next one may be.
        SourceUnreachable: it will not be.
    """
    status = answer.status
    if status in PASSING or status >= 500:
        text = f"{answer.url.authority} answers {status}"
        raise TryAgain(text, retry_after=answer.retry_after)
    if status != OK:
        reason = REASONS.get(status, "no file comes with that")
        raise SourceUnreachable(
            f"{answer.url.shown} answers {status}, {reason}: check that anybody can open the URL"
        )


def _land(answer: Answer, folder: Path, max_bytes: int, on_bytes: OnBytes | None) -> Path:
    """Write the body to a new file."""
    with _landing(folder) as (path, file):
        done = 0
        for piece in _sniffed(answer.pieces(max_bytes), answer.url.shown):
            _write(piece, file)
            done += len(piece)
            if on_bytes is not None:
                on_bytes(done, answer.size)
    return path


def _sniffed(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    """Yield the pieces, once the first bytes show that they may be media.

    Raises:
        MediaUnreadable: they are something else.
    """
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= SNIFF_BYTES:
            break
    if found := foreign(head[:SNIFF_BYTES]):
        raise MediaUnreadable(
            f"{what} is {found}, not a video or audio file: give the address of the file itself, "
            "not of a page or list that leads to it"
        )
    yield head
    yield from pieces


def _limited(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    done = 0
    for piece in pieces:
        done += len(piece)
        if done > limit:
            raise _too_large(limit)
        yield piece


def _too_large(limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"the data URI holds more than the {limit} bytes that are taken: upload the file, give its "
        "URL, or have the operator raise max_data_uri_bytes"
    )


def _base64(text: str) -> Iterator[bytes]:
    """Yield what *text* stands for; also in the letters for URLs, or with its padding left out.

    Raises:
        InvalidOptions: it is not base64.
    """
    text = text.rstrip("=")
    try:
        for at in range(0, len(text), BASE64_STEP):
            step = text[at : at + BASE64_STEP].replace("-", "+").replace("_", "/")
            yield base64.b64decode(step + "=" * (-len(step) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidOptions(
            f"the data URI is no base64 ({error}): encode the file again"
        ) from error


def _percent(text: str) -> bytes:
    if not text.isascii():
        raise InvalidOptions("the data URI has more than ASCII in it: encode the file as base64")
    return unquote_to_bytes(text)


def _pause(error: TryAgain, attempt: int, rules: FetchRules) -> float | None:
    """Return how long to wait, None when that is longer than may be."""
    asked = error.retry_after or 0.0
    own = rules.retry_seconds * 2 ** (attempt - 1)
    return None if asked > rules.max_retry_after else max(asked, own)


@contextmanager
def _landing(folder: Path) -> Iterator[tuple[Path, FileIO]]:
    """Open a new file, for the owner only; it goes when the block fails."""
    path = folder / f"source-{token_hex(8)}"
    with _storing():
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with open(handle, "wb", buffering=0) as file:  # or closing it would fail once more
            yield path, file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _write(piece: bytes, file: FileIO) -> None:
    view = memoryview(piece)
    while view:
        with _storing():
            view = view[file.write(view) :]


@contextmanager
def _storing() -> Iterator[None]:
    """Turn errors of the disk into ours.

    Raises:
        PublishFailed: it is full, or not there.
    """
    try:
        yield
    except OSError as error:
        raise PublishFailed(
            f"the source cannot be stored here ({error.strerror}): free space, then try again"
        ) from error
