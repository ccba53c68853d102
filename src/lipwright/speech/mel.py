"""Compute Whisper's log-mel spectrogram in NumPy.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, section 2.2;
the mel scale is Slaney's (Auditory Toolbox, 1998).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16000  # Hz
WINDOW = 400  # samples of one Fourier window, 25 ms
HOP = 160  # samples from one frame to the next, 10 ms
MELS = 80

DYNAMIC_RANGE = 8.0  # decades of power kept below the loudest cell
POWER_FLOOR = 1e-10

_LINEAR_HZ_PER_MEL = 200.0 / 3  # below 1 kHz
_LOG_START_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0  # natural log of frequency per mel, above 1 kHz


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert Slaney mels to Hz."""
    start = _LOG_START_HZ / _LINEAR_HZ_PER_MEL
    above = _LOG_START_HZ * np.exp(_LOG_STEP * (mel - start))
    return np.where(mel < start, mel * _LINEAR_HZ_PER_MEL, above)


@cache
def mel_filters() -> NDArray[np.float32]:
    """Return the triangular mel filters of equal area, float32 (80, 201), 0 to 8 kHz."""
    bins = np.fft.rfftfreq(WINDOW, 1.0 / SAMPLE_RATE)
    top = _LOG_START_HZ / _LINEAR_HZ_PER_MEL + np.log(SAMPLE_RATE / 2 / _LOG_START_HZ) / _LOG_STEP
    edges = _hertz(np.linspace(0.0, top, MELS + 2))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (right - left))
    return weights.astype(np.float32)


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Whisper's input for one window of sound.

    The floor is eight decades below the loudest cell of *this* window, as in Whisper's training.
    A value therefore depends on the rest of the window only where it is very quiet.

    Args:
        samples: mono sound, float32 (n,), 16 kHz, -1 to 1; n > 200.

    Returns:
        float32 (80, n // 160), one column each 10 ms.
    """
    padded = np.pad(samples, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    windows = windows[: len(samples) // HOP]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(windows * hann, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    decades = np.log10(np.maximum(mel_filters() @ power.T, POWER_FLOOR))
    decades = np.maximum(decades, decades.max() - DYNAMIC_RANGE)
    return np.asarray((decades + 4.0) / 4.0, dtype=np.float32)
