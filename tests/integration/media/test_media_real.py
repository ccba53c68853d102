"""Real recordings, where the development footage lies beside the checkout."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.media.decode.video import Reader, read_audio, read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.probe import probe, require_audio, require_video
from lipwright.media.timeline import plan
from lipwright.options import SyncMode

DATA = Path(__file__).parents[4] / "shared" / "data"
CLIPS = sorted(DATA.glob("clips/*.mp4"))
SPEECH = sorted(DATA.glob("speech/*"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not CLIPS, reason="no development footage beside the checkout"),
]


@pytest.mark.parametrize("path", SPEECH, ids=lambda p: p.stem)
def test_speech_has_the_samples_it_claims(path):
    audio = require_audio(probe(path))
    samples = read_audio(path, rate=audio.sample_rate)
    assert len(samples) == audio.duration * audio.sample_rate
    assert 0.05 < np.abs(samples).max() < 2


@pytest.mark.parametrize("path", CLIPS, ids=lambda p: p.stem)
def test_clips_become_results_with_the_frames_of_the_design(path, tmp_path):
    info, speech = probe(path), probe(SPEECH[0])
    video = require_video(info)
    times = [f.time for f in read_video(info, stop=5)]
    assert times[0] == 0
    assert all((time * video.rate).denominator == 1 for time in times)
    for mode in SyncMode:
        shape = plan(mode, video=5 / video.rate, audio=Fraction(1, 4), rate=video.rate)
        out = tmp_path / f"{mode}.mp4"
        shots = list(Reader(info).at(shape.picks(times)))
        with VideoWriter(out, like=video, timeline=shape, audio=speech) as writer:
            for shot in shots:
                writer.write(shot)
        result = probe(out)
        made = require_video(result)
        assert (made.width, made.height, made.rate) == (video.width, video.height, video.rate)
        assert made.duration == shape.frames / video.rate
        rate = require_audio(result).sample_rate
        assert require_audio(result).duration * rate == shape.audio_samples(rate)
        for shot, frame in zip(shots, read_video(result), strict=True):
            error = np.square(shot.planes[0].astype(float) - frame.picture.planes[0]).mean()
            assert 10 * np.log10(255**2 / error) > 40
