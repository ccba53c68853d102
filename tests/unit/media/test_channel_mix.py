from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.media.decode.channel_mix import (
    MIX,
    ChannelLevels,
    MonoMixer,
    choose_channel,
    plain_mix,
)

RATE = 1000
BLOCK = 500


def sound(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


def mixed(channels, chunk=173):
    mixer = MonoMixer(RATE)
    parts = []
    for start in range(0, channels.shape[1], chunk):
        part = channels[:, start : start + chunk]
        parts += mixer.feed(part.mean(0), part)
    return np.concatenate([*parts, *mixer.finish()])


def test_ordinary_channels_are_mixed():
    channels = np.stack([sound(2200), sound(2200, 1)])
    np.testing.assert_array_equal(mixed(channels), channels.mean(0))


def test_of_opposite_channels_one_is_heard():
    voice = sound(2200)
    heard = mixed(np.stack([voice, -0.9 * voice]))
    np.testing.assert_allclose(heard[BLOCK:], voice[BLOCK:])


def test_the_choice_follows_the_sound_and_fades():
    voice = sound(4 * BLOCK)
    sign = np.repeat([1.0, 1.0, -1.0, -1.0], BLOCK).astype(np.float32)
    heard = mixed(np.stack([voice, voice * sign]))
    np.testing.assert_allclose(heard[: 2 * BLOCK], voice[: 2 * BLOCK], atol=1e-6)
    np.testing.assert_allclose(heard[2 * BLOCK + 20 :], voice[2 * BLOCK + 20 :], atol=1e-6)
    fade = slice(2 * BLOCK, 2 * BLOCK + 20)
    np.testing.assert_allclose(heard[fade], voice[fade] * np.arange(20) / 20, atol=1e-6)


@pytest.mark.parametrize(("gain", "choice"), [(0.33, MIX), (0.31, 2)])
def test_a_loss_of_more_than_ten_decibels_counts(gain, choice):
    voice = sound(BLOCK)
    channels = np.stack([0 * voice, 0 * voice, voice])
    assert choose_channel(gain * voice, channels) == choice


def test_silence_changes_no_choice():
    nothing = np.zeros((2, BLOCK), np.float32)
    assert choose_channel(nothing[0], nothing, 1) == 1
    assert choose_channel(nothing[0], nothing, MIX) == MIX


def test_of_two_equal_channels_the_chosen_one_stays():
    voice = sound(BLOCK)
    channels = np.stack([voice, -voice])
    assert choose_channel(voice * 0, channels, 1) == 1
    assert choose_channel(voice * 0, np.stack([voice, -0.5 * voice]), 1) == 0


@given(
    chunk=st.integers(1, 700),
    count=st.integers(1, 2000),
    lag=st.integers(0, 40),
    n=st.integers(2, 5),
)
def test_no_sample_is_lost(chunk, count, lag, n):
    """The two resamplers may deliver at different times."""
    channels = np.stack([sound(count)] * n)
    mix = channels[0]
    mixer, parts, sent = MonoMixer(RATE), [], 0
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        late = max(0, stop - lag) if stop < count else count
        parts += mixer.feed(mix[start:stop], channels[:, sent:late])
        sent = late
    parts += mixer.finish()
    np.testing.assert_array_equal(np.concatenate(parts), mix)


def test_the_plain_mix_peaks_like_the_loudest_channel():
    voice = sound(BLOCK)
    channels = np.stack([voice, voice, voice * 0])
    levels = ChannelLevels.measure([(channels, channels[:1])], 3)
    np.testing.assert_allclose(plain_mix(channels, levels), voice, rtol=1e-5)
    assert not levels.mix_loses


def test_a_single_channel_keeps_its_level_in_the_plain_mix():
    voice = sound(BLOCK)
    channels = np.stack([voice * 0] * 15 + [voice])
    levels = ChannelLevels.measure([(channels, channels[:1])], 16)
    np.testing.assert_allclose(plain_mix(channels, levels), voice)
    assert levels.mix_loses


def test_where_the_sum_cancels_the_loudest_channel_is_taken():
    voice = sound(BLOCK)
    channels = np.stack([-voice, voice * 0, 0.99 * voice])
    levels = ChannelLevels.measure([(channels, channels[1:2])], 3)
    np.testing.assert_array_equal(plain_mix(channels, levels), -voice)
