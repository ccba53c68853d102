"""Records where the exemplar engine's path starts a new run of exemplars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lipwright.engines import exemplar
from lipwright.render.path import FrameFeatures, run_starts
from lipwright.types import Bools, Ints


@contextmanager
def record_run_starts() -> Iterator[list[Bools]]:
    """Collect, while the exemplar engine paints, which painted frames (m,) start a new run."""
    module: Any = exemplar
    find_path, starts = module.find_path, list[Bools]()

    def find_and_record(target: Any, bank: FrameFeatures, *args: Any) -> Ints:
        path: Ints = find_path(target, bank, *args)
        starts.append(run_starts(path, bank.source_frame.astype(np.int64)))
        return path

    module.find_path = find_and_record
    try:
        yield starts
    finally:
        module.find_path = find_path
