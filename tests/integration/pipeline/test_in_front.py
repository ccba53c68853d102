"""An object in front of the mouth stays visible, and the rest of the mouth is painted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from face_clips import SIDE, frames, write_clip, write_speech
from lipwright.face.canonical import interocular_distance
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.landmarks import LIPS
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import probe
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline

COUNT = 44
COVERED = range(18, 32)  # frames in which the stick covers the mouth
TOLERANCE = 6  # levels by which a kept pixel may differ: four pixels share one chroma sample


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """The pictures that the writer receives, before they are encoded."""
    pictures: list[Picture] = []

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            pictures.append(picture)
            super().write(picture)

    monkeypatch.setattr(module, "VideoWriter", Writer)
    return pictures


def stick(picture: np.ndarray, mouth: np.ndarray, unit: float) -> np.ndarray:
    """Return the mask of a stick that covers one half of the mouth from below."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    x, y = mouth[0] + 0.16 * unit, mouth[1] - 0.06 * unit
    half = 0.11 * unit
    corners = [(x - half, y), (x + half, y), (x + half, SIDE), (x - half, SIDE)]
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 1)
    return mask > 0


def test_a_stick_in_front_of_the_mouth_stays_and_the_rest_is_painted(tmp_path: Path, written):
    clean, tracker = frames(COUNT), Tracker(FaceLandmarker())
    for rgb in clean:
        tracker.feed(Picture.from_rgb(rgb))
    landmarks = tracker.tracks()[0].landmarks
    pictures, masks = [], []
    for k, rgb in enumerate(clean):
        mask = np.zeros((SIDE, SIDE), bool)
        if k in COVERED:
            mask = stick(rgb, landmarks[k, LIPS, :2].mean(0), interocular_distance(landmarks[k]))
        pictures.append(np.where(mask[..., None], np.uint8([40, 60, 150]), rgb))
        masks.append(mask)
    clip = write_clip(tmp_path / "stick.mp4", pictures)
    speech = write_speech(tmp_path / "speech.wav", COUNT / 25)
    with Pipeline() as pipeline:
        pipeline.sync(clip, speech, tmp_path / "out.mp4")
    before = [f.picture for f in read_video(probe(clip))]
    changed = [
        np.abs(a.rgb().astype(int) - b.rgb()).max(-1) > TOLERANCE
        for a, b in zip(before, written, strict=True)
    ]
    covered = np.concatenate([c[m] for c, m in zip(changed, masks, strict=True) if m.any()])
    assert covered.mean() < 0.05
    uncovered = [c.sum() for k, c in enumerate(changed) if k not in COVERED]
    assert np.median(uncovered) > 100
