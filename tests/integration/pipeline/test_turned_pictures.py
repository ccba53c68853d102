"""A face that is upside down or lies on its side, by pixels or by a wrong matrix, is animated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from face_clips import frames, write_clip, write_speech
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.pipeline.pipeline import Pipeline

COUNT = 12
PAINTED = 24  # levels by which painting changes a pixel of the mouth, more than encoding does


@pytest.fixture(scope="module")
def pipeline():
    with Pipeline(threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    return write_speech(tmp_path_factory.mktemp("speech") / "speech.wav", COUNT / 25)


@pytest.fixture(scope="module")
def upright(pipeline, speech, tmp_path_factory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("upright")
    clip = write_clip(folder / "clip.mp4", frames(COUNT))
    pipeline.sync(clip, speech, folder / "result.mp4")
    return pictures(folder / "result.mp4")


def pictures(path: Path) -> np.ndarray:
    """Return the frames (T, h, w, 3) as they are displayed."""
    return np.stack([frame.picture.rgb() for frame in read_video(probe(path))]).astype(np.int16)


@pytest.mark.parametrize(("turned", "rotation"), [(1, 0), (2, 0), (0, 180), (0, 90)])
def test_a_turned_face_is_painted_as_the_upright_one(
    pipeline, speech, upright, tmp_path, turned, rotation
):
    stored = [np.ascontiguousarray(np.rot90(rgb, -turned)) for rgb in frames(COUNT)]
    clip = write_clip(tmp_path / "clip.mp4", stored, rotation=rotation)
    job = pipeline.sync(clip, speech, tmp_path / "result.mp4")
    assert job.face_frames == COUNT
    assert not [text for text in job.warnings if "unchanged" in text]
    shown = pictures(tmp_path / "result.mp4")
    source = np.stack(frames(COUNT)).astype(np.int16)
    shown = min(
        (np.rot90(shown, k, axes=(1, 2)) for k in range(4)),
        key=lambda back: np.abs(back - source).mean(),
    )
    mouth = np.abs(upright - source).max(-1) > PAINTED
    assert mouth.mean() > 0.003
    to_upright = np.abs(shown - upright)[mouth].mean()
    to_source = np.abs(shown - source)[mouth].mean()
    assert to_upright < 0.5 * to_source
    assert np.abs(shown - source)[~mouth].mean() < 4  # the rest is kept
