"""Translation of operating-system errors into storage errors."""

from __future__ import annotations

from lipwright.errors import PublishFailed, StorageFull, is_disk_full


def storage_error(
    error: OSError, problem: str, *, advice: str = "check the data folder, then try again"
) -> PublishFailed | StorageFull:
    """Return the error to raise for a failed file operation.

    Args:
        error: what the operating system reported.
        problem: what failed, such as "cannot store jobs/a1/video.mp4".
        advice: what to do, unless the disk is full.
    """
    if is_disk_full(error):
        return StorageFull(f"{problem} ({error.strerror}); free space, then try again")
    return PublishFailed(f"{problem} ({error.strerror}); {advice}")
