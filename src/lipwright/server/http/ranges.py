"""What part of a file a request asks for, and how it is announced (pure, RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

from lipwright.storage.base import Blob

_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)
_TAG = re.compile(r'(W/)?"([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Part:
    """The answer to a download: status, and the bytes from *start* up to *stop* (exclusive)."""

    status: int  #: 200 all, 206 a part, 304 nothing new, 412 another version, 416 no such part
    start: int = 0
    stop: int = 0


def part_of(blob: Blob, headers: Mapping[str, str]) -> Part:
    """Return what of *blob* a request with these headers gets.

    Several ranges at once, and units other than bytes, are answered with the whole file.
    """
    if (wanted := headers.get("if-match")) and not _names(wanted, blob.etag, weak=False):
        return Part(status=412)
    if _is_fresh(blob, headers):
        return Part(status=304)
    asked = headers.get("range")
    if not asked or not _still_the_same(blob, headers.get("if-range")):
        return Part(status=200, stop=blob.size)
    return _range(asked, blob.size)


def http_date(moment: datetime) -> str:
    """Write a time as HTTP does."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def disposition(place: str, name: str) -> str:
    """Return ``Content-Disposition`` for a file name of any letters (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{place}; filename="{plain}"{extended}'


def _is_fresh(blob: Blob, headers: Mapping[str, str]) -> bool:
    if tags := headers.get("if-none-match"):
        return _names(tags, blob.etag, weak=True)
    since = _date(headers.get("if-modified-since"))
    return since is not None and blob.modified_at.replace(microsecond=0) <= since


def _still_the_same(blob: Blob, validator: str | None) -> bool:
    if validator is None:
        return True
    if '"' in validator:
        return _names(validator, blob.etag, weak=False)
    return _date(validator) == blob.modified_at.replace(microsecond=0)


def _names(tags: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags names *etag*; a weak tag counts only where *weak*."""
    if tags.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _TAG.findall(tags))


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _range(asked: str, size: int) -> Part:
    match = _RANGE.fullmatch(asked)
    if not match or not (match[1] or match[2]):
        return Part(status=200, stop=size)
    if not match[1]:  # the last so many bytes
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return Part(status=200, stop=size)  # not a range at all, so it is ignored
    return Part(status=206, start=start, stop=stop) if start < stop else Part(status=416)
