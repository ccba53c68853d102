"""Load sound for analysis: mono float32 at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.audio import read_audio
from lipwright.speech.mel import SAMPLE_RATE


def load_audio(path: str | Path) -> NDArray[np.float32]:
    """Return the whole first audio track of a file.

    Returns:
        float32 (n,), mono, 16 kHz, -1 to 1.

    Raises:
        SourceUnreachable: if the file cannot be opened.
        MediaUnreadable: if it has no sound that can be decoded.
    """
    return np.asarray(read_audio(path, rate=SAMPLE_RATE), dtype=np.float32)
