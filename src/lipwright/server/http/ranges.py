"""Conditional and range requests for one file (RFC 9110); no I/O."""

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
class ResolvedRange:
    """The response to a download: its status, and the bytes from *start* to *stop* (exclusive)."""

    status: int  #: 200 whole, 206 partial, 304 not modified, 412 changed, 416 unsatisfiable
    start: int = 0
    stop: int = 0


def resolve_range(blob: Blob, headers: Mapping[str, str]) -> ResolvedRange:
    """Return which bytes of *blob* a request with these headers receives.

    Multiple ranges and units other than bytes are answered with the whole file.
    """
    if (tags := headers.get("if-match")) and not _tags_match(tags, blob.etag, weak=False):
        return ResolvedRange(status=412)
    if _is_fresh(blob, headers):
        return ResolvedRange(status=304)
    range_header = headers.get("range")
    if not range_header or not _if_range_matches(blob, headers.get("if-range")):
        return ResolvedRange(status=200, stop=blob.size)
    return _parse_range(range_header, blob.size)


def http_date(moment: datetime) -> str:
    """Return a time in the format of HTTP headers."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def content_disposition(kind: str, name: str) -> str:
    """Return a ``Content-Disposition`` header for any file name (RFC 6266).

    Args:
        kind: ``inline`` or ``attachment``.
        name: file name.
    """
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


def _is_fresh(blob: Blob, headers: Mapping[str, str]) -> bool:
    if tags := headers.get("if-none-match"):
        return _tags_match(tags, blob.etag, weak=True)
    since = _date(headers.get("if-modified-since"))
    return since is not None and blob.modified_at.replace(microsecond=0) <= since


def _if_range_matches(blob: Blob, validator: str | None) -> bool:
    if validator is None:
        return True
    if '"' in validator:
        return _tags_match(validator, blob.etag, weak=False)
    return _date(validator) == blob.modified_at.replace(microsecond=0)


def _tags_match(tags: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags contains *etag*; weak tags match only if *weak*."""
    if tags.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in _TAG.findall(tags))


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _parse_range(range_header: str, size: int) -> ResolvedRange:
    match = _RANGE.fullmatch(range_header)
    if not match or not (match[1] or match[2]):
        return ResolvedRange(status=200, stop=size)
    if not match[1]:  # a suffix: the last N bytes
        start, stop = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        stop = min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return ResolvedRange(status=200, stop=size)  # malformed ranges are ignored
    return (
        ResolvedRange(status=206, start=start, stop=stop)
        if start < stop
        else ResolvedRange(status=416)
    )
