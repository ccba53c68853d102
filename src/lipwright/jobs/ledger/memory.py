"""The ledger, keys, uploads and deliveries in memory: for tests, and to read what they mean.

They keep to the same rules as the ones in a database, for one process, until it ends.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from lipwright.errors import InvalidOptions, KeyNotFound, SourceUnreachable
from lipwright.jobs.ledger import rules
from lipwright.jobs.ledger.memory_jobs import MemoryLedger
from lipwright.jobs.ledger.memory_tables import Store, available, is_held, rounded
from lipwright.jobs.model import Delivery, Key, Space, Upload

__all__ = ["Memory", "MemoryDeliveries", "MemoryKeys", "MemoryLedger", "MemoryUploads"]

_PENDING = "pending"


class MemoryKeys:
    """The :class:`lipwright.jobs.model.Keys` in memory."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    def create(
        self,
        name: str,
        *,
        priority: int = 10,
        concurrency: int | None = None,
        submits_per_minute: int | None = None,
        max_queued: int | None = None,
    ) -> tuple[Key, str]:
        """See Keys.create."""
        rules.check_key(name, priority, concurrency, submits_per_minute, max_queued)
        secret = rules.new_secret()
        with self._store.transaction() as tables:
            if any(key.active and key.name == name for key, _ in tables.keys.values()):
                raise InvalidOptions(rules.taken(name))
            key = Key(
                id=rules.new_key_id(),
                name=name,
                created_at=self._store.now(),
                priority=priority,
                concurrency=concurrency,
                submits_per_minute=submits_per_minute,
                max_queued=max_queued,
            )
            tables.keys[key.id] = (key, rules.digest(secret))
        return key, secret

    def list(self) -> Sequence[Key]:
        """See Keys.list."""
        with self._store.look() as tables:
            return [key for key, _ in tables.keys.values()]

    def revoke(self, id_or_name: str) -> Key:
        """See Keys.revoke."""
        with self._store.transaction() as tables:
            active = [key for key, _ in tables.keys.values() if key.active]
            found = [key for key in active if id_or_name in (key.id, key.name)]
            if not found:
                raise KeyNotFound(rules.unknown(id_or_name))
            chosen = max(found, key=lambda key: key.id == id_or_name)
            revoked = replace(chosen, revoked_at=self._store.now())
            tables.keys[revoked.id] = (revoked, tables.keys[revoked.id][1])
        return revoked

    def verify(self, secret: str) -> Key | None:
        """See Keys.verify."""
        wanted = rules.digest(secret)
        with self._store.look() as tables:
            keys = list(tables.keys.values())
        matching = [key for key, stored in keys if hmac.compare_digest(stored, wanted)]
        return next((key for key in matching if key.active), None)


class MemoryUploads:
    """The :class:`lipwright.jobs.model.Uploads` in memory."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    def add(self, upload: Upload, most: Space | None = None) -> Upload:
        """See Uploads.add."""
        with self._store.transaction() as tables:
            if most:
                rules.check_space(self.used(upload.key_id), most, upload.size)
            now = self._store.now()
            kept = upload.expires_at - upload.created_at
            stored = replace(upload, created_at=now, expires_at=rounded(now + kept))
            tables.uploads[upload.id] = (stored, False)
        return stored

    def used(self, key_id: str) -> Space:
        """See Uploads.used."""
        with self._store.look() as tables:
            sizes = [up.size for up, _ in tables.uploads.values() if up.key_id == key_id]
        return Space(files=len(sizes), size=sum(sizes))

    def get(self, file_id: str, key_id: str) -> Upload:
        """See Uploads.get."""
        with self._store.look() as tables:
            held = is_held(tables, file_id)
            if not available(tables, file_id, key_id, None if held else self._store.now()):
                raise SourceUnreachable(rules.lost(file_id))
            return tables.uploads[file_id][0]

    def expired(self, limit: int = 100) -> Sequence[Upload]:
        """See Uploads.expired."""
        with self._store.transaction() as tables:
            now = self._store.now()
            over = [
                upload
                for upload, _ in tables.uploads.values()
                if upload.expires_at <= now and not is_held(tables, upload.id)
            ]
            chosen = sorted(over, key=lambda upload: upload.expires_at)[:limit]
            tables.uploads.update({upload.id: (upload, True) for upload in chosen})
        return chosen

    def drop(self, file_id: str) -> None:
        """See Uploads.drop."""
        with self._store.transaction() as tables:
            if not is_held(tables, file_id):
                tables.uploads.pop(file_id, None)


class MemoryDeliveries:
    """The :class:`lipwright.jobs.model.Deliveries` in memory."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = store or Store()

    def due(self, limit: int, lease_seconds: float) -> Sequence[Delivery]:
        """See Deliveries.due."""
        with self._store.transaction() as tables:
            now = self._store.now()
            ready = [
                (call.next_at, call, created_at)
                for call, created_at in tables.deliveries.values()
                if call.state == _PENDING and call.next_at is not None and call.next_at <= now
            ]
            chosen = sorted(ready, key=lambda item: item[0])[:limit]
            until = rounded(now + timedelta(seconds=lease_seconds))
            for _, call, created_at in chosen:
                leased = replace(call, attempts=call.attempts + 1, next_at=until)
                tables.deliveries[call.id] = (leased, created_at)
            return [self._aged(*tables.deliveries[call.id]) for _, call, _ in chosen]

    def delivered(self, delivery_id: str) -> None:
        """See Deliveries.delivered."""
        self._note(delivery_id, state="delivered", next_at=None, last_error=None)

    def again(self, delivery_id: str, error: str, delay_seconds: float) -> None:
        """See Deliveries.again."""
        next_at = rounded(self._store.now() + timedelta(seconds=delay_seconds))
        self._note(delivery_id, next_at=next_at, last_error=error[: rules.MAX_ERROR])

    def dead(self, delivery_id: str, error: str) -> None:
        """See Deliveries.dead."""
        self._note(delivery_id, state="dead", next_at=None, last_error=error[: rules.MAX_ERROR])

    def of_job(self, job_id: str) -> Sequence[Delivery]:
        """See Deliveries.of_job."""
        with self._store.look() as tables:
            calls = list(tables.deliveries.values())
        return [self._aged(*item) for item in calls if item[0].job_id == job_id]

    def _aged(self, call: Delivery, created_at: datetime) -> Delivery:
        return replace(call, age_seconds=(self._store.now() - created_at).total_seconds())

    def _note(self, delivery_id: str, **values: Any) -> None:
        with self._store.transaction() as tables:
            call, created_at = tables.deliveries.get(delivery_id, (None, None))
            if call and created_at and call.state == _PENDING:
                tables.deliveries[delivery_id] = (replace(call, **values), created_at)


class Memory(Store):
    """All parts over one store, as a database gives them; arguments as of Store."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.ledger = MemoryLedger(self)
        self.keys = MemoryKeys(self)
        self.uploads = MemoryUploads(self)
        self.deliveries = MemoryDeliveries(self)
