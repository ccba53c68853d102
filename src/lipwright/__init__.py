"""Lip-sync: re-animate the mouth in a video to a speech recording.

```python
import lipwright

result = lipwright.sync("talk.mp4", "speech.wav", "dubbed.mp4")
print(result.frames, result.duration, result.warnings)
```

Public names are imported on first use: ``import lipwright`` loads no tensor runtime, no FFmpeg and
no web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lipwright.version import __version__

if TYPE_CHECKING:
    from lipwright.client import (
        AsyncClient,
        AsyncJobHandle,
        Client,
        JobFailure,
        JobHandle,
        JobPage,
        JobResult,
        JobState,
        JobStatus,
        UploadedFile,
    )
    from lipwright.engines.registry import list_engines
    from lipwright.errors import LipwrightError
    from lipwright.media.probe import MediaInfo, probe
    from lipwright.options import SpeakerPick, SyncMode, SyncOptions
    from lipwright.pipeline.pipeline import Pipeline, sync
    from lipwright.pipeline.result import SyncResult
    from lipwright.progress import CancelToken, Progress
    from lipwright.server.app import create_app
    from lipwright.settings import Settings

__all__ = [
    "AsyncClient",
    "AsyncJobHandle",
    "CancelToken",
    "Client",
    "JobFailure",
    "JobHandle",
    "JobPage",
    "JobResult",
    "JobState",
    "JobStatus",
    "LipwrightError",
    "MediaInfo",
    "Pipeline",
    "Progress",
    "Settings",
    "SpeakerPick",
    "SyncMode",
    "SyncOptions",
    "SyncResult",
    "UploadedFile",
    "__version__",
    "create_app",
    "list_engines",
    "probe",
    "sync",
]

_HOME = {
    "AsyncClient": "lipwright.client.asynchronous",
    "AsyncJobHandle": "lipwright.client.asynchronous",
    "CancelToken": "lipwright.progress",
    "Client": "lipwright.client.blocking",
    "JobFailure": "lipwright.client.values",
    "JobHandle": "lipwright.client.blocking",
    "JobPage": "lipwright.client.values",
    "JobResult": "lipwright.client.values",
    "JobState": "lipwright.client.values",
    "JobStatus": "lipwright.client.values",
    "LipwrightError": "lipwright.errors",
    "MediaInfo": "lipwright.media.probe",
    "Pipeline": "lipwright.pipeline.pipeline",
    "Progress": "lipwright.progress",
    "Settings": "lipwright.settings",
    "SpeakerPick": "lipwright.options",
    "SyncMode": "lipwright.options",
    "SyncOptions": "lipwright.options",
    "SyncResult": "lipwright.pipeline.result",
    "UploadedFile": "lipwright.client.values",
    "create_app": "lipwright.server.app",
    "list_engines": "lipwright.engines.registry",
    "probe": "lipwright.media.probe",
    "sync": "lipwright.pipeline.pipeline",
}  #: public name -> its module


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'lipwright' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
