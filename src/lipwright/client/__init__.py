"""Clients of the service, blocking and for asyncio, over the same calls and flows without I/O."""

from __future__ import annotations

from lipwright.client.asynchronous import AsyncClient, AsyncJobHandle
from lipwright.client.blocking import Client, JobHandle
from lipwright.client.values import (
    JobFailure,
    JobPage,
    JobResult,
    JobState,
    JobStatus,
    UploadedFile,
)

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "Client",
    "JobFailure",
    "JobHandle",
    "JobPage",
    "JobResult",
    "JobState",
    "JobStatus",
    "UploadedFile",
]
