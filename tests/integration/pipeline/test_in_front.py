"""Whole jobs on the animated portrait: what comes before the mouth stays, who speaks is found."""

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
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline

COUNT = 44
THERE = slice(18, 32)  # frames in which the stick is before the mouth
SAME = 6  # codes by which a kept pixel may differ: chroma is shared by four pixels


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """The pictures that the writer gets."""
    pictures: list[Picture] = []

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            pictures.append(picture)
            super().write(picture)

    monkeypatch.setattr(module, "VideoWriter", Writer)
    return pictures


def stick(picture: np.ndarray, mouth: np.ndarray, unit: float) -> np.ndarray:
    """Return the mask of a stick that comes in from below, over one half of the mouth."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    x, y = mouth[0] + 0.16 * unit, mouth[1] - 0.06 * unit
    half = 0.11 * unit
    corners = [(x - half, y), (x + half, y), (x + half, SIDE), (x - half, SIDE)]
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 1)
    return mask > 0


def test_a_stick_before_the_mouth_stays_and_the_rest_is_painted(tmp_path: Path, handed):
    clean, tracker = frames(COUNT), Tracker(FaceLandmarker())
    for rgb in clean:
        tracker.feed(Picture.from_rgb(rgb))
    landmarks = tracker.tracks()[0].landmarks
    pictures, masks = [], []
    for k, rgb in enumerate(clean):
        mask = np.zeros((SIDE, SIDE), bool)
        if k in range(COUNT)[THERE]:
            mask = stick(rgb, landmarks[k, LIPS, :2].mean(0), interocular_distance(landmarks[k]))
        pictures.append(np.where(mask[..., None], np.uint8([40, 60, 150]), rgb))
        masks.append(mask)
    clip = write_clip(tmp_path / "stick.mp4", pictures)
    speech = write_speech(tmp_path / "speech.wav", COUNT / 25)
    with Pipeline() as pipeline:
        pipeline.sync(clip, speech, tmp_path / "out.mp4")
    before = [f.picture for f in read_video(probe(clip))]
    changed = [
        np.abs(a.rgb().astype(int) - b.rgb()).max(-1) > SAME
        for a, b in zip(before, handed, strict=True)
    ]
    hidden = np.concatenate([c[m] for c, m in zip(changed, masks, strict=True) if m.any()])
    assert hidden.mean() < 0.05
    free = [c.sum() for k, c in enumerate(changed) if k not in range(COUNT)[THERE]]
    assert np.median(free) > 100
