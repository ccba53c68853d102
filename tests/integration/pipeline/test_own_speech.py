"""A job adapts to the source's own speech only if it matches the mouth."""

from __future__ import annotations

from pathlib import Path

import pytest

from face_clips import RATE, frames, write_clip, write_speech
from lipwright.media.decode.audio import read_audio
from lipwright.motion import animate as module
from lipwright.motion.adaptation import MIN_SECONDS, TrainingPairs
from lipwright.pipeline.pipeline import Pipeline

SECONDS = MIN_SECONDS + 1.0


@pytest.fixture(scope="module")
def pipeline():
    with Pipeline() as opened:
        yield opened


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[TrainingPairs]:
    """The training pairs that jobs fit an adaptation to."""
    fits: list[TrainingPairs] = []
    fit = module.fit_adaptation

    def spy(basis, pairs):
        fits.append(pairs)
        return fit(basis, pairs)

    monkeypatch.setattr(module, "fit_adaptation", spy)
    return fits


@pytest.fixture(scope="module")
def talking(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip whose mouth matches its sound, because it was dubbed before."""
    folder = tmp_path_factory.mktemp("own")
    clip = write_clip(folder / "mute.mp4", frames(round(SECONDS * RATE)))
    speech = write_speech(folder / "speech.wav", SECONDS)
    return pipeline.sync(clip, speech, folder / "talking.mp4").path


def test_the_motion_adapts_to_the_speech_of_the_source(
    pipeline: Pipeline, talking: Path, fitted: list[TrainingPairs], tmp_path: Path
) -> None:
    other = write_speech(tmp_path / "other.wav", 1.0)
    result = pipeline.sync(talking, other, tmp_path / "out.mp4")
    (pairs,) = fitted
    assert pairs.seconds > MIN_SECONDS
    assert abs(pairs.times[0]) < 0.1  # mouth and sound are in sync
    assert ("own speech" in result.style) or ("own range" in result.style)


def test_a_silent_source_gives_no_adaptation(
    pipeline: Pipeline, fitted: list[TrainingPairs], tmp_path: Path
) -> None:
    clip = write_clip(tmp_path / "mute.mp4", frames(10))
    speech = write_speech(tmp_path / "speech.wav", 0.4)
    result = pipeline.sync(clip, speech, tmp_path / "out.mp4")
    assert not fitted
    assert "own speech" not in result.style


def test_reading_audio_stops_at_max_seconds(tmp_path: Path) -> None:
    speech = write_speech(tmp_path / "long.wav", 5.0)
    whole, part = read_audio(speech), read_audio(speech, max_seconds=1.25)
    assert len(part) == 20000
    assert (whole[:20000] == part).all()
    assert len(read_audio(speech, max_seconds=60)) == len(whole)
