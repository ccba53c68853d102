"""What is said of speech that has several audio tracks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from lipwright.media.inspect.tracks import TrackInfo
from lipwright.media.probe import AudioInfo, MediaInfo
from lipwright.pipeline.warnings.speech import track_warnings


def speech(*languages, used=0, codec="aac"):
    audio = AudioInfo(
        codec="aac",
        sample_rate=48000,
        channels=1,
        layout="mono",
        duration=Fraction(3),
        stream=used + 1,
    )
    tracks = (
        TrackInfo(index=0, kind="video", codec="h264"),
        *(
            TrackInfo(index=i, kind="audio", codec=codec if i != used + 1 else "aac", language=name)
            for i, name in enumerate(languages, 1)
        ),
    )
    return MediaInfo(
        path=Path("v.m4a"), container="mov,mp4", video=None, audio=audio, tracks=tracks
    )


@pytest.mark.parametrize(
    ("languages", "shown"),
    [
        (("eng", "deu"), " (eng, deu)"),
        (("eng", None, "fra"), " (eng, unknown, fra)"),
        ((None, None), ""),
    ],
)
def test_a_choice_among_tracks_is_said(languages, shown):
    (warning,) = track_warnings(speech(*languages, used=1), None)
    assert warning == (
        f"v.m4a has {len(languages)} audio tracks{shown}: track 2 was used; choose with audio_track"
    )


@pytest.mark.parametrize("chosen", [1, 2])
def test_a_stated_choice_is_not_repeated(chosen):
    assert [*track_warnings(speech("eng", "deu", used=chosen - 1), chosen)] == []


def test_a_single_track_has_no_warning():
    assert [*track_warnings(speech("eng"), None)] == []


def test_tracks_that_cannot_be_decoded_do_not_count():
    assert [*track_warnings(speech("eng", "deu", codec=""), None)] == []
