"""The body of webhooks: the result of a job in the dialect that submitted it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from lipwright.jobs.model import Job
from lipwright.server.deployment import Links
from lipwright.server.runcomfy import wire as runcomfy
from lipwright.server.sync_v2 import wire as sync_v2
from lipwright.settings import Settings
from lipwright.storage.signed_urls import Signer


def payload_builder(settings: Settings, signer: Signer) -> Callable[[Job], Mapping[str, Any]]:
    """Return a function that builds the webhook body of a job.

    URLs in the body begin with ``public_url``, or with the listening address if it is not set.
    """

    def build_payload(job: Job) -> Mapping[str, Any]:
        links = Links(
            base=settings.public_url or f"http://{settings.host}:{settings.port}",
            signer=signer,
            seconds=settings.url_seconds,
            now=time.time(),
        )
        if job.spec.dialect == sync_v2.DIALECT:
            return sync_v2.generation(job, links)
        return runcomfy.result(job, links)

    return build_payload
