"""Refusing an upload over the quota while it arrives, before it fills the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool

from lipwright.jobs.ledger.rules import check_quota
from lipwright.jobs.model import ApiKey
from lipwright.server.deployment import Deployment
from lipwright.server.uploads.service import upload_quota


@asynccontextmanager
async def within_quota(
    deployment: Deployment, key: ApiKey, chunks: AsyncIterator[bytes], declared: int
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield *chunks* of an upload, counted together with all other uploads that arrive for the key.

    The database checks the quota again when the upload is complete.

    Args:
        deployment: this API.
        key: API key of the caller.
        chunks: bytes as they arrive.
        declared: length of the upload by its headers, 0 if unknown.

    Raises:
        QuotaExceeded: the uploads of the key would exceed the quota.
    """
    quota = upload_quota(deployment.settings)
    usage = await run_in_threadpool(deployment.services.uploads.usage, key.id)
    check_quota(usage, quota, deployment.incoming_bytes[key.id] + declared)
    received = 0

    async def count() -> AsyncIterator[bytes]:
        nonlocal received
        async for chunk in chunks:
            received += len(chunk)
            deployment.incoming_bytes[key.id] += len(chunk)
            check_quota(usage, quota, deployment.incoming_bytes[key.id])
            yield chunk

    try:
        yield count()
    finally:
        deployment.incoming_bytes[key.id] -= received
