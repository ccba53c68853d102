from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions
from lipwright.media.timeline import Timeline, locate_frame, plan_timeline
from lipwright.options import SyncMode

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(50), Fraction(15, 2)]
rates = st.sampled_from(RATES)
modes = st.sampled_from(list(SyncMode))
frame_counts = st.integers(1, 400)
lengths = st.fractions(Fraction(1, 1000), 60, max_denominator=48000)


def grid(timeline: Timeline) -> list[Fraction]:
    """The source positions of all output frames, in frames."""
    return [timeline.source_time(k) * timeline.rate for k in range(timeline.frames)]


@pytest.mark.parametrize(
    ("mode", "longer_audio", "longer_video"),
    [
        ("cut_off", 4, 3),
        ("loop", 10, 3),
        ("bounce", 10, 3),
        ("silence", 10, 4),
        ("remap", 10, 3),
    ],
)
def test_each_mode_has_its_documented_duration(mode, longer_audio, longer_video):
    rate = Fraction(25)
    assert (
        plan_timeline(mode, video=Fraction(4), audio=Fraction(10), rate=rate).duration
        == longer_audio
    )
    assert (
        plan_timeline(mode, video=Fraction(4), audio=Fraction(3), rate=rate).duration
        == longer_video
    )


@given(modes, lengths, lengths, rates)
def test_frames_cover_the_audio_and_no_more(mode, video, audio, rate):
    timeline = plan_timeline(mode, video=video, audio=audio, rate=rate)
    assert timeline.frames == max(1, ceil(timeline.duration * rate))
    assert (timeline.frames - 1) / rate < timeline.duration <= timeline.frames / rate


@given(modes, lengths, lengths, rates)
def test_source_times_stay_inside_the_video(mode, video, audio, rate):
    timeline = plan_timeline(mode, video=video, audio=audio, rate=rate)
    assert timeline.source_time(0) == 0
    assert all(0 <= timeline.source_time(k) < video for k in range(timeline.frames))


@given(frame_counts, lengths, rates)
def test_cut_off_plays_the_video_as_it_is(count, audio, rate):
    timeline = plan_timeline("cut_off", video=count / rate, audio=audio, rate=rate)
    assert grid(timeline) == list(range(timeline.frames))


@given(frame_counts, lengths, rates)
def test_loop_restarts_at_the_first_frame(count, audio, rate):
    timeline = plan_timeline("loop", video=count / rate, audio=audio, rate=rate)
    assert timeline.source_frames == count
    assert grid(timeline) == [k % count for k in range(timeline.frames)]


@given(frame_counts, lengths, rates)
def test_bounce_moves_one_frame_at_a_time_and_repeats_none(count, audio, rate):
    steps = grid(plan_timeline("bounce", video=count / rate, audio=audio, rate=rate))
    if count == 1:
        assert set(steps) == {0}
        return
    assert all(abs(b - a) == 1 for a, b in pairwise(steps))
    turns = [steps[k] for k in range(1, len(steps) - 1) if steps[k - 1] == steps[k + 1]]
    assert set(turns) <= {0, count - 1}


def test_bounce_reverses_at_both_ends():
    timeline = plan_timeline("bounce", video=Fraction(4), audio=Fraction(12), rate=Fraction(1))
    assert grid(timeline) == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize(
    ("count", "indices"),
    [(1, [0, 0, 0, 0, 0]), (2, [0, 1, 0, 1, 0]), (3, [0, 1, 2, 1, 0])],
)
def test_bounce_of_few_frames_repeats_no_end(count, indices):
    timeline = plan_timeline("bounce", video=Fraction(count), audio=Fraction(5), rate=Fraction(1))
    assert grid(timeline) == indices


@given(frame_counts, lengths, rates)
def test_silence_holds_the_last_frame(count, audio, rate):
    timeline = plan_timeline("silence", video=count / rate, audio=audio, rate=rate)
    assert grid(timeline) == [min(k, count - 1) for k in range(timeline.frames)]


@given(frame_counts, lengths, rates)
def test_remap_moves_evenly_through_the_whole_video(count, audio, rate):
    video = count / rate
    timeline = plan_timeline("remap", video=video, audio=audio, rate=rate)
    times = [timeline.source_time(k) for k in range(timeline.frames)]
    step = video / audio / rate
    assert times == [k * step for k in range(timeline.frames)]
    assert times[-1] + step >= video


def test_remap_of_equal_lengths_is_the_video_itself():
    timeline = plan_timeline(
        "remap", video=Fraction(3), audio=Fraction(3), rate=Fraction(30000, 1001)
    )
    times = [Fraction(1001 * i, 30000) for i in range(90)]
    assert list(timeline.source_indices(times)) == [(k, 0.0) for k in range(90)]


def test_an_hour_has_no_drift():
    rate = Fraction(30000, 1001)
    timeline = plan_timeline("cut_off", video=Fraction(3600), audio=Fraction(3600), rate=rate)
    last = timeline.frames - 1
    assert timeline.source_time(last) == Fraction(last * 1001, 30000)
    assert timeline.frames == 107893


@given(lengths, st.sampled_from([8000, 22050, 44100, 48000]))
def test_audio_length_is_rounded_to_the_nearest_sample(audio, sample_rate):
    timeline = plan_timeline("loop", video=Fraction(1), audio=audio, rate=Fraction(25))
    assert abs(timeline.audio_samples(sample_rate) - audio * sample_rate) <= Fraction(1, 2)


def test_audio_of_whole_samples_keeps_all_of_them():
    timeline = plan_timeline(
        "loop", video=Fraction(1), audio=Fraction(132437, 44100), rate=Fraction(25)
    )
    assert timeline.audio_samples(44100) == 132437


@given(st.lists(lengths, min_size=1, max_size=20, unique=True), lengths)
def test_locate_frame_returns_the_displayed_frame(steps, t):
    times = sorted([Fraction(0), *steps])
    index, fraction = locate_frame(times, t)
    assert times[index] <= t
    if index + 1 < len(times):
        assert t < times[index + 1]
        assert t == times[index] + fraction * (times[index + 1] - times[index])
    assert 0 <= fraction < 1


def test_locate_frame_clamps_before_the_start_and_after_the_end():
    times = [Fraction(1), Fraction(2)]
    assert locate_frame(times, Fraction(0)) == (0, 0)
    assert locate_frame(times, Fraction(9)) == (1, 0)


@given(st.lists(st.integers(-15, 15), min_size=2, max_size=60))
def test_jittering_timestamps_neither_repeat_nor_skip_frames(jitter):
    rate = Fraction(30)
    times = [Fraction(i) / rate + Fraction(j, 1000) for i, j in enumerate(jitter)]
    times = [t - times[0] if i == 0 else t for i, t in enumerate(times)]
    count = len(times)
    timeline = plan_timeline("cut_off", video=count / rate, audio=count / rate, rate=rate)
    assert list(timeline.source_indices(times)) == [(i, 0.0) for i in range(count)]


def test_missing_frames_repeat_the_previous_one():
    rate = Fraction(10)
    times = [Fraction(i, 10) for i in (0, 1, 5, 6)]
    timeline = plan_timeline("cut_off", video=Fraction(7, 10), audio=Fraction(7, 10), rate=rate)
    assert [i for i, _ in timeline.source_indices(times)] == [0, 1, 1, 1, 1, 2, 3]


def test_remap_blends_between_frames():
    times = [Fraction(i, 10) for i in range(4)]
    timeline = plan_timeline(
        "remap", video=Fraction(4, 10), audio=Fraction(8, 10), rate=Fraction(10)
    )
    assert list(timeline.source_indices(times))[:4] == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5)]
    assert list(timeline.source_indices(times))[-1] == (3, 0.0)
    assert all(type(share) is float for _, share in timeline.source_indices(times))


@pytest.mark.parametrize("wrong", [{"video": 0}, {"audio": 0}, {"rate": 0}, {"audio": -1}])
def test_durations_and_rate_must_be_positive(wrong):
    given_values = {"video": Fraction(1), "audio": Fraction(1), "rate": Fraction(25), **wrong}
    with pytest.raises(InvalidOptions) as raised:
        plan_timeline("loop", **given_values)
    video, audio, rate = given_values.values()
    assert str(raised.value) == (
        f"a timeline needs positive durations and a positive rate, not video {video} s, audio "
        f"{audio} s at {rate}/s: check both files with 'lipwright probe'"
    )


def test_an_unknown_mode_is_refused():
    with pytest.raises(InvalidOptions, match="stretch"):
        plan_timeline("stretch", video=Fraction(1), audio=Fraction(1), rate=Fraction(25))


@pytest.mark.parametrize("k", [-1, 25, 26])
def test_frames_outside_the_output_raise_index_error(k):
    timeline = plan_timeline("loop", video=Fraction(1), audio=Fraction(1), rate=Fraction(25))
    with pytest.raises(IndexError, match=rf"^output frame {k} is outside 0 to 24$"):
        timeline.source_time(k)


@given(
    mode=st.sampled_from(list(SyncMode)),
    video=st.fractions(Fraction(1, 2), 20),
    audio=st.fractions(Fraction(1, 2), 20),
    rate=st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(12)]),
    delay=st.fractions(0, 5),
)
def test_a_late_video_is_fitted_to_the_rest_of_the_audio(mode, video, audio, rate, delay):
    late = plan_timeline(mode, video=video, audio=audio, rate=rate, offset=delay)
    assert (late.offset * rate).denominator == 1
    assert abs(late.offset - delay) <= 1 / rate / 2 or late.offset == 0
    rest = plan_timeline(mode, video=video, audio=audio - late.offset, rate=rate)
    assert (late.frames, late.duration) == (rest.frames, rest.duration + late.offset)
    times = [Fraction(i) / rate for i in range(late.source_frames)]
    assert list(late.source_indices(times)) == list(rest.source_indices(times))
    if mode not in (SyncMode.CUT_OFF, SyncMode.SILENCE):
        assert late.duration == audio


def test_a_delay_that_leaves_no_frame_is_ignored():
    timeline = plan_timeline(
        "cut_off", video=Fraction(3), audio=Fraction(1), rate=Fraction(25), offset=Fraction(1)
    )
    assert (timeline.offset, timeline.duration) == (0, 1)
