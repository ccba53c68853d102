"""The uploads of one key: files in storage with a row each."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lipwright.errors import SourceUnreachable
from lipwright.jobs.model import Key, Space, Upload
from lipwright.jobs.services import Services
from lipwright.net.fetch import FetchRules
from lipwright.server.deployment import Deployment
from lipwright.settings import Settings
from lipwright.weights.store import sha256 as sha256_of

CONTENT_TYPE = "application/octet-stream"  # never served as anything that a browser would run
MAX_NAME = 255  # characters


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where files of one key are put, found and removed."""

    services: Services
    key: Key
    rules: FetchRules
    incoming: Path  #: folder for files that are not whole yet, on the disk of the storage
    keep_seconds: float
    most: Space  #: what the uploads of the key may take up

    @classmethod
    def of(cls, parts: Deployment, key: Key) -> Shelf:
        """Return the shelf of a key."""
        return cls(
            services=parts.services,
            key=key,
            rules=parts.rules,
            incoming=parts.incoming,
            keep_seconds=parts.settings.upload_retention_seconds,
            most=quota_of(parts.settings),
        )

    def put(self, path: Path, *, name: str, sha256: str | None = None) -> Upload:
        """Store the file at *path*; it may be moved away from there.

        Raises:
            QuotaExceeded: the uploads of the key would take up too much.
            PublishFailed: it cannot be stored.
            QueueUnavailable: its row cannot be written.
        """
        now = datetime.now(UTC)  # the row gets the database's own times, as long apart
        upload = Upload(
            id=f"file_{secrets.token_hex(16)}",
            key_id=self.key.id,
            name=plain_name(name),
            size=path.stat().st_size,
            sha256=sha256 or sha256_of(path),
            created_at=now,
            expires_at=now + timedelta(seconds=self.keep_seconds),
        )
        blob = blob_name(upload.id)
        self.services.storage.put(blob, path, content_type=CONTENT_TYPE)
        try:
            return self.services.uploads.add(upload, self.most)
        except BaseException:
            self.services.storage.delete(blob)
            raise

    def find(self, file_id: str) -> Upload:
        """Return an upload of this key.

        Raises:
            SourceUnreachable: it is not there, has expired or is another key's.
        """
        return self.services.uploads.get(file_id, self.key.id)

    def remove(self, file_id: str) -> bool:
        """Remove an upload of this key; return whether it is gone now.

        One that has expired, or is held by a job, is let be: the sweeper removes it in time.

        Raises:
            QueueUnavailable: the database is away.
        """
        if not self._has(file_id):
            return True
        self.services.uploads.drop(file_id)
        if self._has(file_id):
            return False
        self.services.storage.delete(blob_name(file_id))
        return True

    def _has(self, file_id: str) -> bool:
        try:
            self.find(file_id)
        except SourceUnreachable:
            return False
        return True


def quota_of(settings: Settings) -> Space:
    """Return what the uploads of one key may take up."""
    return Space(files=settings.max_uploads_per_key, size=settings.max_uploads_bytes_per_key)


def blob_name(file_id: str) -> str:
    """Return the name in storage of an upload."""
    return f"uploads/{file_id}"


def plain_name(name: str) -> str:
    """Return a client's file name as it may be shown: the last part, printable, not too long."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:MAX_NAME].strip()
