"""Sound as the analysis hears it: mono float32 at 16 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lipwright.media.decode.video import read_audio
from lipwright.speech.mel import SAMPLE_RATE


def load(path: str | Path) -> NDArray[np.float32]:
    """Return the whole first sound track of any file.

    Returns:
        float32 (n,), mono, 16 kHz, -1 to 1.

    Raises:
        SourceUnreachable: if the file cannot be opened.
        MediaUnreadable: if it has no sound that can be decoded.
    """
    return np.asarray(read_audio(path, rate=SAMPLE_RATE), dtype=np.float32)
