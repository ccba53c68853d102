"""Everything that can go wrong, as one tree.

LipwrightError
├─ InputError        the caller can fix it; trying again unchanged cannot help
│  ├─ SourceUnreachable   no such file, or it cannot be opened
│  ├─ MediaUnreadable     not media, damaged, or without the stream that is needed
│  ├─ LimitExceeded       larger or longer than the configured limits
│  │  └─ QuotaExceeded    the key stores as many files or bytes as it may
│  ├─ NoFaceFound         no usable face in the whole video
│  └─ InvalidOptions      an option that does not exist or does not fit
├─ EngineError
│  ├─ EngineNotFound
│  ├─ WeightsMissing
│  ├─ WeightsCorrupt
│  └─ DeviceUnavailable
├─ OutputError
│  ├─ OutputUnwritable    the folder is missing or closed to writing
│  ├─ EncodeFailed        the encoder or the disk gave up; nothing is left behind
│  └─ PublishFailed       the storage did not take the file; retryable
├─ JobError
│  ├─ JobNotFound         there is no such job, or it belongs to another key
│  ├─ JobNotFinished      it has no result yet
│  ├─ IllegalTransition   its state does not allow that
│  ├─ IdempotencyConflict the same idempotency key came with another body
│  ├─ TooManyRequests     over a rate or a number; try again later
│  ├─ QueueUnavailable    the database is locked or away; retryable
│  ├─ ServiceUnavailable  the service cannot be reached, or something else answers; retryable
│  ├─ JobTimedOut         it took longer than the service allows
│  └─ WorkerDied          its worker died again and again
├─ AccessDenied          the API key is missing, wrong or revoked
├─ KeyNotFound           no active API key has that id or name
├─ ExtraMissing          a part that is installed by its own word is missing
└─ Cancelled         a request that was honoured, not a failure
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class LipwrightError(Exception):
    """Something went wrong in Lipwright."""

    code: ClassVar[str] = "error"  #: stable name, on the wire and in ``--json``
    retryable: ClassVar[bool] = False  #: whether the same request may succeed later
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
    """The key stores as many files or bytes as it may; erase files that are not needed any more."""

    code = "quota_exceeded"


class NoFaceFound(InputError, ValueError):
    """No face was found in the video; use ``allow_no_face`` to pass it through unchanged."""

    code = "no_face_found"
    exit_code = 4


class InvalidOptions(InputError, ValueError):
    """An option is unknown or does not fit the others."""

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
    """The device asked for is not available here; use ``device="cpu"``."""

    code = "device_unavailable"


class OutputError(LipwrightError):
    """The result cannot be produced."""

    code = "output_error"
    exit_code = 6


class OutputUnwritable(OutputError, OSError):
    """The result cannot be written there; check that the folder exists and may be written."""

    code = "output_unwritable"


class EncodeFailed(OutputError, OSError):
    """Encoding stopped before the end, often because the disk is full; nothing was left behind."""

    code = "encode_failed"


class PublishFailed(OutputError, OSError):
    """The result could not be stored; try again when the storage is back."""

    code = "publish_failed"
    retryable = True
    http_status = 503


class JobError(LipwrightError):
    """The job cannot be served."""

    code = "job_error"
    exit_code = 7


class JobNotFound(JobError, LookupError):
    """There is no such job, or it has expired."""

    code = "job_not_found"
    http_status = 404


class JobNotFinished(JobError):
    """The job is still running; wait for it."""

    code = "job_not_finished"
    http_status = 409


class IllegalTransition(JobError, ValueError):
    """The state of the job does not allow that."""

    code = "illegal_transition"
    http_status = 409


class IdempotencyConflict(JobError, ValueError):
    """This idempotency key was used with another body; use a new one."""

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
    """The database of the queue is locked or away; try again."""

    code = "queue_unavailable"
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
    """The worker died on this job again and again; the service's log says more."""

    code = "worker_died"


class AccessDenied(LipwrightError, PermissionError):
    """The API key is missing, wrong or revoked; create one with ``lipwright keys create``."""

    code = "access_denied"
    exit_code = 8
    http_status = 401


class ExtraMissing(LipwrightError, ImportError):
    """A part of Lipwright is not installed; add it with ``pip install "lipwright[server]"``."""

    code = "extra_missing"
    exit_code = 5


class KeyNotFound(LipwrightError, LookupError):
    """No active API key has that id or name; ``lipwright keys list`` shows them."""

    code = "key_not_found"
    exit_code = 8
    http_status = 404


class Cancelled(LipwrightError):
    """The job was cancelled; nothing was left behind."""

    code = "cancelled"
    exit_code = 130
    http_status = 409


#: The tree by code; what other modules derive from a class of it, with the same code, is not in it.
BY_CODE: Mapping[str, type[LipwrightError]] = {
    kind.code: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, LipwrightError)
}
