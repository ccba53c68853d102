"""One video and one recording, stage by stage."""

from __future__ import annotations

from lipwright.pipeline.pipeline import Pipeline, sync
from lipwright.pipeline.result import SyncResult

__all__ = ["Pipeline", "SyncResult", "sync"]
