from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from lipwright.errors import LimitExceeded, MediaUnreadable
from lipwright.media.probe import AudioInfo, MediaInfo, VideoInfo
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.limits import check_audio, check_length, check_video

VIDEO = VideoInfo(
    width=1920,
    height=1080,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(60),
    frames=1500,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)
AUDIO = AudioInfo(
    codec="pcm_s16le", sample_rate=16000, channels=1, layout="mono", duration=Fraction(60)
)


def media(video=VIDEO, audio=AUDIO):
    return MediaInfo(path=Path("talk.mp4"), container="mp4", video=video, audio=audio)


def test_values_at_the_limit_are_accepted():
    options = SyncOptions(max_pixels=1920 * 1080, max_seconds=60)
    check_video(media(), options)
    check_audio(media(), options)


def test_the_default_limit_allows_4k_in_either_orientation_but_not_8k():
    for size in ((3840, 2160), (2160, 3840), (4096, 2160)):
        check_video(media(replace(VIDEO, width=size[0], height=size[1])), SyncOptions())
    with pytest.raises(LimitExceeded, match=r"talk\.mp4: frames of 7680 x 4320 .* max_pixels"):
        check_video(media(replace(VIDEO, width=7680, height=4320)), SyncOptions())


def test_the_error_of_a_long_video_names_its_length_and_the_option():
    options = SyncOptions(max_seconds=59)
    with pytest.raises(LimitExceeded, match=r"talk\.mp4: video of 60 s .* 59 s.* max_seconds"):
        check_video(media(), options)


def test_audio_of_three_hours_exceeds_the_default_limit():
    with pytest.raises(LimitExceeded, match=r"talk\.mp4: audio of 10800 s"):
        check_audio(media(audio=replace(AUDIO, duration=Fraction(10800))), SyncOptions())


def test_the_length_of_the_result_is_limited_too():
    timeline = plan_timeline(
        SyncMode.LOOP, video=Fraction(1), audio=Fraction(100), rate=Fraction(25)
    )
    check_length(timeline, SyncOptions(max_seconds=100))
    with pytest.raises(LimitExceeded, match="the result of 100 s"):
        check_length(timeline, SyncOptions(max_seconds=99))


def test_the_number_of_frames_is_limited_too():
    fast = replace(VIDEO, rate=Fraction(1000), frames=60_000)
    with pytest.raises(
        LimitExceeded, match=r"talk\.mp4: video of 60000 frames .* 3660 .*frame rate"
    ):
        check_video(media(fast), SyncOptions(max_seconds=61))
    with pytest.raises(LimitExceeded, match="60000 frames"):  # the container does not say how many
        check_video(media(replace(fast, frames=None)), SyncOptions(max_seconds=61))
    check_video(media(fast), SyncOptions(max_seconds=1000))
    timeline = plan_timeline(
        SyncMode.LOOP, video=Fraction(1), audio=Fraction(100), rate=Fraction(1000)
    )
    with pytest.raises(LimitExceeded, match="the result of 100000 frames"):
        check_length(timeline, SyncOptions(max_seconds=100))


def test_a_missing_stream_is_an_unreadable_file():
    with pytest.raises(MediaUnreadable):
        check_video(media(video=None), SyncOptions())
    with pytest.raises(MediaUnreadable):
        check_audio(media(audio=None), SyncOptions())
