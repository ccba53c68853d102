"""Real recordings, if the development footage is present next to the checkout."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.probe import probe, require_audio, require_video
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode

DATA = Path(__file__).parents[4] / "shared" / "data"
CLIPS = sorted(DATA.glob("clips/*.mp4"))
SPEECH = sorted(DATA.glob("speech/*"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CLIPS, reason="no development footage next to the checkout"),
]


@pytest.mark.parametrize("path", SPEECH, ids=lambda p: p.stem)
def test_speech_has_the_declared_number_of_samples(path):
    audio = require_audio(probe(path))
    samples = read_audio(path, rate=audio.sample_rate)
    assert len(samples) == audio.duration * audio.sample_rate
    assert 0.05 < np.abs(samples).max() < 2


@pytest.mark.parametrize("path", CLIPS, ids=lambda p: p.stem)
def test_results_have_the_expected_frames_and_quality(path, tmp_path):
    info, speech = probe(path), probe(SPEECH[0])
    video = require_video(info)
    times = [f.time for f in read_video(info, stop=5)]
    assert times[0] == 0
    assert all((time * video.rate).denominator == 1 for time in times)
    for mode in SyncMode:
        timeline = plan_timeline(mode, video=5 / video.rate, audio=Fraction(1, 4), rate=video.rate)
        out = tmp_path / f"{mode}.mp4"
        pictures = list(RandomAccessReader(info).read(timeline.source_indices(times)))
        with VideoWriter(out, like=video, timeline=timeline, audio=speech) as writer:
            for picture in pictures:
                writer.write(picture)
        result = probe(out)
        output = require_video(result)
        assert (output.width, output.height, output.rate) == (video.width, video.height, video.rate)
        assert output.duration == timeline.frames / video.rate
        rate = require_audio(result).sample_rate
        assert require_audio(result).duration * rate == timeline.audio_samples(rate)
        for picture, frame in zip(pictures, read_video(result), strict=True):
            error = np.square(picture.planes[0].astype(float) - frame.picture.planes[0]).mean()
            assert 10 * np.log10(255**2 / error) > 40
