"""Mix the channels of a recording so that what any of them holds is heard.

A downmix by layout loses a voice in an unusual place: channels in opposite phase cancel, the LFE
channel is left out, and channels without a known order get roles by guess. A mix that is more than
`MAX_LOSS_DB` below the loudest channel counts as lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lipwright.types import Floats

MAX_LOSS_DB = 10.0  # of power, below the loudest channel
MAX_LOSS = 10 ** (-MAX_LOSS_DB / 10)  # the same as a ratio of powers
KEEP_CHANNEL = 0.5  # ratio to the loudest channel's power above which the chosen one is kept
BLOCK_SECONDS = 0.5  # of one decision
FADE_SECONDS = 0.02  # between two decisions
SILENCE = 1e-9  # power of a block (-90 dBFS) that changes no decision
UNORDERED = " channels"  # end of FFmpeg's name of a layout whose channels have no known role

MIX = -1  # choice of a block: the mix instead of a channel


def is_unordered(layout: str) -> bool:
    """Whether the channels of a layout (FFmpeg's name) have no known roles."""
    return layout.endswith(UNORDERED)


class MonoMixer:
    """Turns channels into one, block by block: their mix, or the loudest where the mix cancels."""

    def __init__(self, rate: int) -> None:
        """Mix samples of *rate* hertz."""
        self._block = round(rate * BLOCK_SECONDS)
        self._fade = round(rate * FADE_SECONDS)
        self._mix: Floats = np.zeros(0, np.float32)
        self._channels: Floats | None = None  # (c, n), as long as the mix or not
        self._choice = MIX

    def feed(self, mix: Floats, channels: Floats) -> Iterator[Floats]:
        """Yield what is decided after a chunk of the mix (n,) and one of the channels (c, m).

        Their lengths may differ for a while, as those of two resamplers do.
        """
        if self._channels is not None and len(self._channels) != len(channels):
            yield from self.finish()
        self._mix = np.concatenate([self._mix, mix])
        pending = self._channels
        self._channels = channels if pending is None else np.concatenate([pending, channels], 1)
        while min(len(self._mix), self._channels.shape[1]) >= self._block:
            yield self._decide(self._block)

    def finish(self) -> Iterator[Floats]:
        """Yield the rest."""
        if self._channels is not None and (rest := min(len(self._mix), self._channels.shape[1])):
            yield self._decide(rest)
        if len(self._mix):  # the channels ended earlier by a few samples
            yield self._mix
        self._mix, self._channels = np.zeros(0, np.float32), None

    def _decide(self, count: int) -> Floats:
        assert self._channels is not None
        mix, channels = self._mix[:count], self._channels[:, :count]
        self._mix, self._channels = self._mix[count:], self._channels[:, count:]
        before = self._choice if self._choice < len(channels) else MIX
        self._choice = choose_channel(mix, channels, before)
        heard = mix if self._choice == MIX else channels[self._choice]
        if self._choice == before:
            return np.ascontiguousarray(heard)
        old = mix if before == MIX else channels[before]
        fade = min(self._fade, count)
        share = np.ones(count, np.float32)
        share[:fade] = np.arange(fade, dtype=np.float32) / max(fade, 1)
        return heard * share + old * (1 - share)


def choose_channel(mix: Floats, channels: Floats, before: int = MIX) -> int:
    """Return the channel to hear in a block, or `MIX`.

    Args:
        mix: (n,) downmix.
        channels: (c, n).
        before: the choice of the block before, kept in silence and while it is about as loud.
    """
    powers = np.square(channels, dtype=np.float64).mean(1)
    loudest = int(powers.argmax())
    if powers[loudest] < SILENCE:
        return before
    if np.square(mix, dtype=np.float64).mean() >= MAX_LOSS * powers[loudest]:
        return MIX
    if before != MIX and powers[before] >= KEEP_CHANNEL * powers[loudest]:
        return before
    return loudest


@dataclass(frozen=True, kw_only=True)
class ChannelLevels:
    """Levels of a whole recording."""

    powers: Floats  #: (c,) mean square of each channel
    peaks: Floats  #: (c,) largest magnitude of each channel
    sum_peak: float  #: largest magnitude of the sum of all channels
    mix_power: float  #: mean square of the loudest channel of the downmix

    @classmethod
    def measure(cls, chunks: Iterable[tuple[Floats, ...]], channels: int) -> ChannelLevels:
        """Measure chunks of the channels (c, n) and of their downmix (d, m)."""
        total, mixed = 0, 0
        energy, peaks, sum_peak = np.zeros(channels), np.zeros(channels), 0.0
        mix_energy = np.zeros(1)
        for kept, mix in chunks:
            if len(kept) == channels and kept.shape[1]:
                total += kept.shape[1]
                energy += np.square(kept, dtype=np.float64).sum(1)
                peaks = np.maximum(peaks, np.abs(kept).max(1))
                sum_peak = max(sum_peak, float(np.abs(kept.sum(0)).max()))
            if mix.shape[1]:
                mixed += mix.shape[1]
                mix_energy = mix_energy + np.square(mix, dtype=np.float64).sum(1)
        return cls(
            powers=(energy / max(total, 1)).astype(np.float32),
            peaks=peaks.astype(np.float32),
            sum_peak=sum_peak,
            mix_power=float(mix_energy.max()) / max(mixed, 1),
        )

    @property
    def mix_loses(self) -> bool:
        """Whether the downmix loses what a channel holds."""
        loudest = float(self.powers.max(initial=0.0))
        return loudest >= SILENCE and self.mix_power < MAX_LOSS * loudest

    @property
    def sum_gain(self) -> float:
        """Gain at which the sum of all channels peaks like the loudest of them."""
        loudest = float(self.peaks.max(initial=0.0))
        return min(1.0, loudest / self.sum_peak) if self.sum_peak > 0 else 1.0

    @property
    def sum_cancels(self) -> bool:
        """Whether the channels cancel in their sum."""
        return self.sum_peak**2 < MAX_LOSS * float(self.peaks.max(initial=0.0)) ** 2


def plain_mix(channels: Floats, levels: ChannelLevels) -> Floats:
    """Return all channels (c, n) with equal weights as one (n,), or the loudest if they cancel."""
    if levels.sum_cancels:
        loudest: Floats = channels[min(int(levels.powers.argmax()), len(channels) - 1)]
        return loudest
    mix: Floats = channels.sum(0, dtype=np.float32) * np.float32(levels.sum_gain)
    return mix
