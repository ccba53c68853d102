"""The parts of a service, bundled: what the API, the workers and the sweeper are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipwright.errors import PublishFailed
from lipwright.jobs.model import Deliveries, Keys, Ledger, Uploads
from lipwright.storage.base import Storage
from lipwright.storage.publish import Signer

if TYPE_CHECKING:
    from lipwright.settings import Settings


def _nothing() -> None:
    pass


def _forget_nothing(_work_ids: Iterable[str]) -> None:
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
    #: deletes what the work queue keeps of pieces of work, by `Job.work_id`; for the sweeper
    forget_work: Callable[[Iterable[str]], None] = _forget_nothing
    close: Callable[[], None] = _nothing  #: lets go of the database


def open_services(settings: Settings) -> Services:
    """Open what a service keeps on this machine, making or migrating it first.

    Raises:
        InvalidOptions: ``database_url`` is none that is known here.
        QueueUnavailable: the database cannot be opened.
        PublishFailed: the data folder cannot be made or written.
    """
    from lipwright.jobs.ledger.database import open_database
    from lipwright.jobs.ledger.deliveries import SqlDeliveries
    from lipwright.jobs.ledger.keys import SqlKeys
    from lipwright.jobs.ledger.rules import Terms
    from lipwright.jobs.ledger.sql import SqlLedger
    from lipwright.jobs.ledger.uploads import SqlUploads
    from lipwright.jobs.queue import WorkQueue, prepare
    from lipwright.storage.local import LocalStorage

    make_data_dir(settings.data_dir)
    with ExitStack() as stack:
        database = open_database(settings.database)
        stack.callback(database.close)
        prepare(settings.database)
        work = WorkQueue(settings.database)
        stack.callback(work.close)
        return Services(
            settings=settings,
            ledger=SqlLedger(
                database, enqueue=work.enqueue, drop=work.drop, terms=Terms.of(settings)
            ),
            keys=SqlKeys(database),
            uploads=SqlUploads(database),
            deliveries=SqlDeliveries(database),
            storage=LocalStorage(settings.data_dir / "storage"),
            signer=Signer.of(settings.data_dir),
            forget_work=work.forget,
            close=stack.pop_all().close,
        )


def make_data_dir(path: Path) -> None:
    """Make the data folder, for its owner only.

    Raises:
        PublishFailed: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as cause:
        raise PublishFailed(
            f"the data folder {path} cannot be made ({cause.strerror}); choose another data_dir"
        ) from cause
