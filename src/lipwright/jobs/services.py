"""The shared parts of a service: ledger, keys, uploads, deliveries and storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipwright.jobs.ledger.base import ApiKeys, Deliveries, Ledger, Uploads
from lipwright.storage.base import Storage
from lipwright.storage.errors import storage_error
from lipwright.storage.signed_urls import Signer

if TYPE_CHECKING:
    from lipwright.settings import Settings


def _close_nothing() -> None:
    pass


def _delete_nothing(_work_ids: Iterable[str]) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Services:
    """The parts that store jobs, keys and files; each may be a fake."""

    settings: Settings
    ledger: Ledger
    keys: ApiKeys
    uploads: Uploads
    deliveries: Deliveries
    storage: Storage
    signer: Signer
    #: deletes the work queue's records of work items, by `Job.work_id`; for the sweeper
    delete_work: Callable[[Iterable[str]], None] = _delete_nothing
    close: Callable[[], None] = _close_nothing  #: closes the database


def open_services(settings: Settings) -> Services:
    """Open the database, the queue and the storage; create or migrate them first.

    Raises:
        InvalidOptions: ``database_url`` is not supported.
        QueueUnavailable: the database cannot be opened.
        PublishFailed: the data folder cannot be created or written.
        StorageFull: its disk is full.
    """
    from lipwright.jobs.ledger.database import open_database
    from lipwright.jobs.ledger.deliveries import SqlDeliveries
    from lipwright.jobs.ledger.keys import SqlApiKeys
    from lipwright.jobs.ledger.rules import LedgerPolicy
    from lipwright.jobs.ledger.sql import SqlLedger
    from lipwright.jobs.ledger.uploads import SqlUploads
    from lipwright.jobs.queue import WorkQueue, migrate_queue
    from lipwright.storage.local import LocalStorage

    create_data_dir(settings.data_dir)
    with ExitStack() as stack:
        database = open_database(settings.database)
        stack.callback(database.close)
        migrate_queue(settings.database)
        queue = WorkQueue(settings.database)
        stack.callback(queue.close)
        return Services(
            settings=settings,
            ledger=SqlLedger(
                database,
                enqueue=queue.enqueue,
                cancel_work=queue.cancel,
                policy=LedgerPolicy.from_settings(settings),
            ),
            keys=SqlApiKeys(database),
            uploads=SqlUploads(database),
            deliveries=SqlDeliveries(database),
            storage=LocalStorage(settings.data_dir / "storage"),
            signer=Signer.from_data_dir(settings.data_dir),
            delete_work=queue.delete,
            close=stack.pop_all().close,
        )


def create_data_dir(path: Path) -> None:
    """Create the data folder, for its owner only.

    Raises:
        PublishFailed: it cannot be created.
        StorageFull: its disk is full.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as cause:
        raise storage_error(
            cause, f"cannot create the data folder {path}", advice="choose another data_dir"
        ) from cause
