"""With two faces side by side, only the face of the speaker changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from face_clips import write_speech
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, probe, require_video
from lipwright.media.timeline import plan_timeline
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline
from lipwright.sample import make_sample, speech_asset

SIDE, SECONDS = 256, 3.2


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MediaInfo]:
    """Two clips of one portrait with different speech."""
    folder, clips = tmp_path_factory.mktemp("clips"), {}
    for seed, language in enumerate(("en", "de")):
        voice = folder / f"{language}.flac"
        voice.write_bytes(speech_asset(language).read_bytes())
        out = folder / f"{language}.mp4"
        make_sample(out, seconds=SECONDS, size=(SIDE, SIDE), seed=seed, audio=voice)
        clips[language] = probe(out)
    return clips


@pytest.mark.parametrize("side", ["left", "right"])
def test_only_the_face_that_moves_with_the_voice_is_painted(
    side: str, clips: dict[str, MediaInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    written: list[Picture] = []

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            written.append(picture)
            super().write(picture)

    order = ("en", "de") if side == "left" else ("de", "en")
    pairs = zip(*(read_video(clips[name]) for name in order), strict=True)
    like = replace(require_video(clips["en"]), width=2 * SIDE)
    timeline = plan_timeline("cut_off", video=like.duration, audio=like.duration, rate=like.rate)
    clip = tmp_path / "two.mp4"
    with VideoWriter(clip, like=like, timeline=timeline, audio=clips["en"], crf=12) as writer:
        for a, b in pairs:
            writer.write(Picture.from_rgb(np.hstack([a.picture.rgb(), b.picture.rgb()])))
    monkeypatch.setattr(module, "VideoWriter", Writer)
    speech = write_speech(tmp_path / "speech.wav", 0.8)
    with Pipeline() as pipeline:
        pipeline.sync(clip, speech, tmp_path / "out.mp4")
    changed = np.zeros(2)
    source = [*read_video(probe(clip))]
    assert len(written) == 20  # the speech is shorter than the clip
    for before, after in zip(source[:20], written, strict=True):
        differs = before.picture.planes[0] != after.planes[0]
        changed += differs[:, :SIDE].sum(), differs[:, SIDE:].sum()
    speaker, other = changed if side == "left" else changed[::-1]
    assert speaker > 1000
    assert other == 0
