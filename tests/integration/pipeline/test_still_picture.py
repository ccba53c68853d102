"""Whole jobs whose source is a still picture."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from importlib.resources import files
from math import ceil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipwright.errors import LimitExceeded, MediaUnreadable, NoFaceFound
from lipwright.face.canonical import estimate_pose, mouth_opening, mouth_shapes
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio, require_video
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline
from lipwright.pipeline.result import SyncResult
from lipwright.sample import speech_asset
from lipwright.sample.curves import SAMPLE_RATE
from lipwright.speech import audio

SILENCE = 0.6  # seconds before the speech
SPEECH = 1.0
SECONDS = SILENCE + SPEECH


def portrait() -> np.ndarray:
    """Return the public-domain portrait, (h, w, 3) BGR: a smile with parted lips."""
    data = (files("lipwright") / "assets" / "portrait.png").read_bytes()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("still")
    cv2.imwrite(str(folder / "face.jpg"), portrait(), [cv2.IMWRITE_JPEG_QUALITY, 95])
    spoken = audio.load_audio(speech_asset("en"))[: round(SPEECH * SAMPLE_RATE)]
    samples = np.concatenate([np.zeros(round(SILENCE * SAMPLE_RATE), np.float32), spoken])
    with wave.open(str(folder / "speech.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Pipeline]:
    with Pipeline() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def spoken(folder: Path, pipeline: Pipeline) -> tuple[SyncResult, list[Picture]]:
    """A result, and its pictures before they are encoded."""
    pictures: list[Picture] = []

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            pictures.append(picture)
            super().write(picture)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VideoWriter", Writer)
        result = pipeline.sync(folder / "face.jpg", folder / "speech.wav", folder / "out.mp4")
    return result, pictures


def track_landmarks(pictures: list[Picture]) -> np.ndarray:
    """Return the landmarks (n, 478, 3) of the face in each picture."""
    tracker = Tracker(FaceLandmarker())
    for picture in pictures:
        tracker.feed(picture)
    (track,) = tracker.tracks()
    return track.landmarks


def test_the_result_lasts_as_long_as_the_speech(folder: Path, spoken):
    result, pictures = spoken
    assert result.frames == len(pictures) == ceil(SECONDS * 25)
    assert result.face_frames == result.frames
    assert not result.warnings
    video = require_video(probe(result.path))
    assert (video.rate, video.width, video.height) == (25, 512, 512)
    assert (video.codec, video.pix_fmt) == ("h264", "yuv420p")  # plays in every browser
    length = require_audio(probe(result.path)).duration
    assert length == require_audio(probe(folder / "speech.wav")).duration


def test_only_the_mouth_moves(folder: Path, spoken):
    _, pictures = spoken
    (source,) = read_video(probe(folder / "face.jpg"))
    (landmarks,) = track_landmarks([source.picture])
    upper = int(landmarks[197, 1])  # the bridge of the nose
    for picture in pictures:
        for plane, before in zip(picture.planes, source.picture.planes, strict=True):
            rows = upper * plane.shape[0] // 512
            assert np.array_equal(plane[:rows], before[:rows])
    angles = estimate_pose(track_landmarks(pictures)).angles()
    assert np.ptp(angles, axis=0).max() < 3  # degrees: error of the tracker while the jaw moves


def test_lips_are_closed_before_the_speech_and_open_in_it(spoken):
    _, pictures = spoken
    opening = mouth_opening(mouth_shapes(track_landmarks(pictures)))
    silent = opening[3 : int((SILENCE - 0.2) * 25)]  # the tracker has settled
    assert silent.max() < 0.03
    assert np.ptp(silent) < 0.005
    assert opening[int(SILENCE * 25) :].max() > 0.08


@pytest.mark.parametrize("mode", SyncMode)
def test_every_mode_gives_the_same_length(folder: Path, pipeline: Pipeline, mode, tmp_path: Path):
    out = tmp_path / "out.mp4"
    options = SyncOptions(mode=mode)
    result = pipeline.sync(folder / "face.jpg", folder / "speech.wav", out, options=options)
    assert result.frames == ceil(SECONDS * 25)
    assert result.mode is mode


def test_pictures_without_a_face_or_over_the_limit_are_refused(
    folder: Path, pipeline: Pipeline, tmp_path: Path
):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 300, 3), 120, np.uint8))
    with pytest.raises(NoFaceFound, match="wall"):
        pipeline.sync(tmp_path / "wall.png", folder / "speech.wav", tmp_path / "out.mp4")
    limited = SyncOptions(max_pixels=100_000)
    with pytest.raises(LimitExceeded, match="max_pixels"):
        pipeline.sync(
            folder / "face.jpg", folder / "speech.wav", tmp_path / "out.mp4", options=limited
        )
    assert not (tmp_path / "out.mp4").exists()


def test_odd_sides_are_cropped_to_even_ones(folder: Path, pipeline: Pipeline, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "face.png"), portrait()[:301, 80:381])
    out = tmp_path / "out.mp4"
    result = pipeline.sync(tmp_path / "face.png", folder / "speech.wav", out)
    video = require_video(probe(result.path))
    assert (video.width, video.height, video.codec) == (300, 300, "h264")


def test_a_still_picture_is_refused_as_audio(folder: Path, pipeline: Pipeline, tmp_path: Path):
    with pytest.raises(MediaUnreadable, match="no sound"):
        pipeline.sync(folder / "face.jpg", folder / "face.jpg", tmp_path / "out.mp4")
