"""The uploads of one API key: files in storage, each with a row in the ledger."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lipwright.errors import SourceUnreachable
from lipwright.jobs.model import ApiKey, Upload, UploadUsage
from lipwright.jobs.services import Services
from lipwright.jobs.sweeper import upload_blob_name
from lipwright.net.fetch import FetchRules
from lipwright.server.deployment import Deployment
from lipwright.settings import Settings
from lipwright.weights import store

CONTENT_TYPE = "application/octet-stream"  # browsers never run it
MAX_FILENAME = 255  # characters


@dataclass(frozen=True, kw_only=True)
class UploadService:
    """Stores, finds and removes the uploads of one API key."""

    services: Services
    key: ApiKey
    fetch_rules: FetchRules
    incoming: Path  #: folder of unfinished uploads, on the disk of the storage
    retention_seconds: float
    quota: UploadUsage  #: most files and bytes of the key

    @classmethod
    def for_key(cls, deployment: Deployment, key: ApiKey) -> UploadService:
        """Return the service for the uploads of *key*."""
        return cls(
            services=deployment.services,
            key=key,
            fetch_rules=deployment.fetch_rules,
            incoming=deployment.incoming,
            retention_seconds=deployment.settings.upload_retention_seconds,
            quota=upload_quota(deployment.settings),
        )

    def put(self, path: Path, *, name: str, sha256: str | None = None) -> Upload:
        """Store a file.

        Args:
            path: the file; it may be moved away.
            name: file name as sent by the client.
            sha256: of the file; None: computed.

        Raises:
            QuotaExceeded: the uploads of the key would exceed the quota.
            OutputError: the file cannot be stored.
            QueueUnavailable: the database is unavailable.
        """
        now = datetime.now(UTC)  # the row gets the database's own times, with the same difference
        upload = Upload(
            id=f"file_{secrets.token_hex(16)}",
            key_id=self.key.id,
            name=sanitize_filename(name),
            size=path.stat().st_size,
            sha256=sha256 or store.sha256(path),
            created_at=now,
            expires_at=now + timedelta(seconds=self.retention_seconds),
        )
        blob = upload_blob_name(upload.id)
        self.services.storage.put(blob, path, content_type=CONTENT_TYPE)
        try:
            return self.services.uploads.add(upload, self.quota)
        except BaseException:
            self.services.storage.delete(blob)
            raise

    def find(self, file_id: str) -> Upload:
        """Return an upload of this key.

        Raises:
            SourceUnreachable: it does not exist, has expired or belongs to another key.
        """
        return self.services.uploads.get(file_id, self.key.id)

    def remove(self, file_id: str) -> bool:
        """Remove an upload of this key and return whether it is gone.

        Uploads that have expired or that a job reads are left to the sweeper.

        Raises:
            QueueUnavailable: the database is unavailable.
        """
        if not self._exists(file_id):
            return True
        self.services.uploads.delete(file_id)
        if self._exists(file_id):
            return False
        self.services.storage.delete(upload_blob_name(file_id))
        return True

    def _exists(self, file_id: str) -> bool:
        try:
            self.find(file_id)
        except SourceUnreachable:
            return False
        return True


def upload_quota(settings: Settings) -> UploadUsage:
    """Return the most files and bytes that the uploads of one key may take up."""
    return UploadUsage(files=settings.max_uploads_per_key, size=settings.max_uploads_bytes_per_key)


def sanitize_filename(name: str) -> str:
    """Return a client's file name for display: last segment, printable characters, 255 at most."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:MAX_FILENAME].strip()
