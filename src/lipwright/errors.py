"""All errors, as one tree.

LipwrightError
├─ InputError            the caller can fix it; the same request fails again
│  ├─ SourceUnreachable     the source does not exist or cannot be opened
│  ├─ MediaUnreadable       not a media file, damaged, or without the required stream
│  ├─ LimitExceeded         larger or longer than the configured limits
│  │  └─ QuotaExceeded         the uploads of this API key have reached their quota
│  ├─ NoFaceFound           no usable face in the whole video
│  └─ InvalidOptions        an option is unknown, out of range or conflicts with another
├─ EngineError
│  ├─ EngineNotFound
│  ├─ WeightsMissing
│  ├─ WeightsCorrupt
│  └─ DeviceUnavailable
├─ OutputError
│  ├─ OutputUnwritable      the output folder is missing or read-only
│  ├─ EncodeFailed          the encoder or muxer failed; no partial file remains
│  ├─ StorageFull           a disk is full; retryable
│  └─ PublishFailed         the storage did not accept the file; retryable
├─ JobError
│  ├─ JobNotFound           no such job, or it belongs to another API key
│  ├─ JobNotFinished        the job has no result yet
│  ├─ IllegalTransition     the job's state does not allow the change
│  ├─ IdempotencyConflict   the idempotency key was used with another body
│  ├─ TooManyRequests       over a rate limit or a count limit; retryable
│  ├─ QueueUnavailable      the database is locked or unreachable; retryable
│  ├─ Busy                  another process holds the resource; retryable
│  ├─ ServiceUnavailable    the service is unreachable or does not answer as Lipwright; retryable
│  ├─ JobTimedOut           the job ran longer than the service allows
│  └─ WorkerDied            the worker crashed on every attempt of this job
├─ AccessDenied          the API key is missing, wrong or revoked
├─ KeyNotFound           no active API key has that id or name
├─ Crashed                a native library crashed, or memory ran out
├─ ExtraMissing          an optional dependency is not installed
└─ Cancelled             the job was cancelled as requested; not a failure
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import ClassVar


class LipwrightError(Exception):
    """Lipwright failed."""

    code: ClassVar[str] = "error"  #: stable name in JSON, of the service and of ``--json``
    retryable: ClassVar[bool] = False  #: whether the same request can succeed later
    exit_code: ClassVar[int] = 1  #: of the command line
    http_status: ClassVar[int] = 500  #: of the service

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class InputError(LipwrightError):
    """The input cannot be used; change it and try again."""

    code = "bad_input"
    exit_code = 3
    http_status = 422


class SourceUnreachable(InputError, OSError):
    """The source cannot be opened; check that it exists and may be read."""

    code = "source_unreachable"


class MediaUnreadable(InputError, ValueError):
    """The file cannot be read as media; re-encode it or use another file."""

    code = "media_unreadable"


class LimitExceeded(InputError, ValueError):
    """The input is over a limit; shorten it, shrink it or raise the limit."""

    code = "limit_exceeded"
    http_status = 413


class QuotaExceeded(LimitExceeded):
    """The uploads of this API key have reached their quota; erase uploads to make room."""

    code = "quota_exceeded"


class NoFaceFound(InputError, ValueError):
    """No face was found in the video; use ``allow_no_face`` to pass it through unchanged."""

    code = "no_face_found"
    exit_code = 4


class InvalidOptions(InputError, ValueError):
    """An option is unknown, out of range or conflicts with another option."""

    code = "invalid_options"
    exit_code = 2


class EngineError(LipwrightError):
    """The engine cannot run."""

    code = "engine_error"
    exit_code = 5


class EngineNotFound(EngineError, LookupError):
    """No engine of that name is installed; ``lipwright engines`` lists them."""

    code = "engine_not_found"
    http_status = 404


class WeightsMissing(EngineError, LookupError):
    """A model file is missing; reinstall lipwright, or see ``lipwright doctor``."""

    code = "weights_missing"


class WeightsCorrupt(EngineError, ValueError):
    """A model file does not match its checksum; reinstall lipwright."""

    code = "weights_corrupt"


class DeviceUnavailable(EngineError, ValueError):
    """The requested device is not available on this machine; use ``device="cpu"``."""

    code = "device_unavailable"


class OutputError(LipwrightError):
    """The result cannot be produced."""

    code = "output_error"
    exit_code = 6


class OutputUnwritable(OutputError, OSError):
    """The output cannot be written; check that the folder exists and is writable."""

    code = "output_unwritable"


class EncodeFailed(OutputError, OSError):
    """Encoding failed before the end; no partial file remains."""

    code = "encode_failed"


class StorageFull(OutputError, OSError):
    """A disk is full; free space, or set ``TMPDIR`` to a disk with room, then try again."""

    code = "storage_full"
    retryable = True
    http_status = 503


class PublishFailed(OutputError, OSError):
    """The storage did not accept the result; try again when it is available."""

    code = "publish_failed"
    retryable = True
    http_status = 503


class JobError(LipwrightError):
    """The job cannot be processed."""

    code = "job_error"
    exit_code = 7


class JobNotFound(JobError, LookupError):
    """There is no such job, or it has expired."""

    code = "job_not_found"
    http_status = 404


class JobNotFinished(JobError):
    """The job has not finished; wait for its result."""

    code = "job_not_finished"
    http_status = 409


class IllegalTransition(JobError, ValueError):
    """The state of the job does not allow this change."""

    code = "illegal_transition"
    http_status = 409


class IdempotencyConflict(JobError, ValueError):
    """This idempotency key was used with a different body; use a new key."""

    code = "idempotency_conflict"
    http_status = 422


class TooManyRequests(JobError):
    """Too many requests or waiting jobs; try again later."""

    code = "too_many_requests"
    retryable = True
    http_status = 429

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class QueueUnavailable(JobError):
    """The database of the queue is locked or unreachable; try again."""

    code = "queue_unavailable"
    retryable = True
    http_status = 503


class Busy(JobError):
    """Another process holds this resource; try again when it has ended."""

    code = "busy"
    retryable = True
    http_status = 503


class ServiceUnavailable(JobError, ConnectionError):
    """The service cannot be reached; check ``LIPWRIGHT_URL`` and that it runs, then try again."""

    code = "service_unavailable"
    retryable = True
    http_status = 503


class JobTimedOut(JobError, TimeoutError):
    """The job took longer than the service allows; shorten the input."""

    code = "job_timed_out"
    http_status = 504


class WorkerDied(JobError):
    """The worker crashed on every attempt of this job; see the log of the service."""

    code = "worker_died"


class Crashed(LipwrightError):
    """A native library crashed or memory ran out; re-encode the inputs or use smaller ones."""

    code = "crashed"
    exit_code = 9


class AccessDenied(LipwrightError, PermissionError):
    """The API key is missing, wrong or revoked; create one with ``lipwright keys create``."""

    code = "access_denied"
    exit_code = 8
    http_status = 401


class ExtraMissing(LipwrightError, ImportError):
    """An optional dependency is missing; install it with ``pip install "lipwright[server]"``."""

    code = "extra_missing"
    exit_code = 5


class KeyNotFound(LipwrightError, LookupError):
    """No active API key has that id or name; ``lipwright keys list`` shows them."""

    code = "key_not_found"
    exit_code = 8
    http_status = 404


class Cancelled(LipwrightError):
    """The job was cancelled; no partial output remains."""

    code = "cancelled"
    exit_code = 130
    http_status = 409


#: Error code -> class of this module. Subclasses in other modules share the code of their parent.
BY_CODE: Mapping[str, type[LipwrightError]] = {
    kind.code: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, LipwrightError)
}


def is_disk_full(error: OSError) -> bool:
    """Return whether an operating-system error means a full disk, quota or file-size limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
