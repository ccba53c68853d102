"""What a webhook call says: the same object as the result call of its dialect."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from lipwright.jobs.model import Job
from lipwright.server.deployment import Links
from lipwright.server.runcomfy import wire as runcomfy
from lipwright.server.sync_v2 import wire as sync_v2
from lipwright.settings import Settings
from lipwright.storage.publish import Signer


def payload_of(settings: Settings, signer: Signer) -> Callable[[Job], Mapping[str, Any]]:
    """Return what makes the body of webhook calls.

    Their URLs begin with ``public_url``; without one, with the address that is listened on.
    """

    def payload(job: Job) -> Mapping[str, Any]:
        links = Links(
            base=settings.public_url or f"http://{settings.host}:{settings.port}",
            signer=signer,
            seconds=settings.url_seconds,
            now=time.time(),
        )
        if job.ticket.dialect == sync_v2.DIALECT:
            return sync_v2.generation(job, links)
        return runcomfy.result(job, links)

    return payload
