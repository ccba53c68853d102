"""Refusing what a key may not store while it comes in, not when it is on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool

from lipwright.jobs.ledger.rules import check_space
from lipwright.jobs.model import Key
from lipwright.server.deployment import Deployment
from lipwright.server.uploads.service import quota_of


@asynccontextmanager
async def within_quota(
    parts: Deployment, key: Key, pieces: AsyncIterator[bytes], stated: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield *pieces* of an upload, counted among all that comes in for its key just now.

    The last word has the database, when the upload is whole.

    Args:
        parts: of this API.
        key: whose quota it is.
        pieces: the bytes as they come.
        stated: how many there will be, as far as that is told.

    Raises:
        QuotaExceeded: the uploads of the key would take up too much.
    """
    most = quota_of(parts.settings)
    used = await run_in_threadpool(parts.services.uploads.used, key.id)
    check_space(used, most, parts.arriving[key.id] + stated)
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in pieces:
            taken += len(piece)
            parts.arriving[key.id] += len(piece)
            check_space(used, most, parts.arriving[key.id])
            yield piece

    try:
        yield counted()
    finally:
        parts.arriving[key.id] -= taken
