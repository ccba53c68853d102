"""The parts of a service, bundled: what the API, the workers and the sweeper are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lipwright.jobs.base import Deliveries, Keys, Ledger, Uploads
from lipwright.storage.base import Storage
from lipwright.storage.publish import Signer

if TYPE_CHECKING:
    from lipwright.settings import Settings


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Services:
    """What keeps jobs, keys and files; each part may be a fake."""

    settings: Settings
    ledger: Ledger
    keys: Keys
    uploads: Uploads
    deliveries: Deliveries
    storage: Storage
    signer: Signer
    close: Callable[[], None] = _nothing  #: lets go of the database
