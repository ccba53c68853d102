"""Whole jobs on synthetic clips: frame counts, painted pixels, results and errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import pytest

from face_clips import FRAMES, RATE, SIDE, frames, shifted, wall, write_clip, write_speech
from lipwright.engines.base import DrivingSequence, Patch
from lipwright.engines.registry import find_engine
from lipwright.errors import Cancelled, EngineNotFound, InvalidOptions, NoFaceFound
from lipwright.face.canonical import mouth_opening, mouth_shapes
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import Tracker
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import probe, require_audio, require_video
from lipwright.options import SpeakerPick, SyncMode, SyncOptions
from lipwright.pipeline import pipeline as module
from lipwright.pipeline.pipeline import Pipeline, sync
from lipwright.pipeline.result import SyncResult
from lipwright.progress import CancelToken, Progress
from lipwright.sample import make_sample, speech_asset

SHORT, LONG = 0.52, 1.31  # seconds of speech: 13 frames; 33 frames, the last one partly covered


@dataclass
class Recording:
    """The values that a job passed on before encoding."""

    pictures: list[Picture]  # passed to the writer
    patches: list[Patch | None]  # painted by the engine
    driving: list[DrivingSequence]  # passed to the engine


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Record the pictures that the writer receives."""
    recording = Recording([], [], [])

    class Writer(VideoWriter):
        def write(self, picture: Picture) -> None:
            recording.pictures.append(picture)
            super().write(picture)

    monkeypatch.setattr(module, "VideoWriter", Writer)
    return recording


@pytest.fixture
def recorded(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Pipeline, Recording]]:
    """A pipeline, and a recording of its writer and its engine."""
    spec = find_engine("exemplar")

    class Engine(type(spec.open())):
        def paint(self, speaker, driving, views):
            recording.driving.append(driving)
            for patch in super().paint(speaker, driving, views):
                recording.patches.append(patch)
                yield patch

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    with Pipeline() as pipeline:
        yield pipeline, recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def talk(folder: Path) -> Path:
    return write_clip(folder / "talk.mp4", frames())


@pytest.fixture(scope="module")
def short(folder: Path) -> Path:
    return write_speech(folder / "short.wav", SHORT)


@pytest.fixture(scope="module")
def long(folder: Path) -> Path:
    return write_speech(folder / "long.wav", LONG)


@pytest.fixture(scope="module")
def passthrough() -> Iterator[Pipeline]:
    with Pipeline(engine="passthrough") as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def exemplar() -> Iterator[Pipeline]:
    with Pipeline() as pipeline:
        yield pipeline


def decoded(path: Path) -> list[Picture]:
    return [frame.picture for frame in read_video(probe(path))]


def equal(a: Picture, b: Picture) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def difference(a: Picture, b: Picture) -> np.ndarray:
    """Return the absolute difference of the luma (H, W)."""
    return np.abs(a.planes[0].astype(int) - b.planes[0])


# --------------------------------------------------------------------- every mode, frame by frame
def source_frames(mode: SyncMode, frames_out: int) -> list[int] | None:
    """Return the source frame of each output frame; None if frames are interpolated."""
    n = FRAMES
    return {
        SyncMode.CUT_OFF: list(range(frames_out)),
        SyncMode.LOOP: [k % n for k in range(frames_out)],
        SyncMode.BOUNCE: [
            min(k % (2 * n - 2), 2 * n - 2 - k % (2 * n - 2)) for k in range(frames_out)
        ],
        SyncMode.SILENCE: [min(k, n - 1) for k in range(frames_out)],
        SyncMode.REMAP: None,
    }[mode]


@pytest.mark.parametrize("mode", SyncMode)
@pytest.mark.parametrize("length", [SHORT, LONG])
def test_every_mode_has_the_exact_length_and_order_of_frames(
    mode, length, talk, short, long, passthrough, recording, tmp_path
):
    speech = short if length == SHORT else long
    video, voice = Fraction(FRAMES) / RATE, require_audio(probe(speech)).duration
    duration = {SyncMode.CUT_OFF: min(video, voice), SyncMode.SILENCE: max(video, voice)}
    seconds = duration.get(mode, voice)
    out = tmp_path / "out.mp4"
    result = passthrough.sync(talk, speech, out, options=SyncOptions(mode=mode))

    assert result.frames == ceil(seconds * RATE) == len(recording.pictures)
    assert (result.duration, result.rate, result.mode) == (seconds, RATE, mode)
    written = probe(out)
    assert require_video(written).rate == RATE
    assert require_video(written).duration == result.frames / RATE
    assert require_audio(written).duration == pytest.approx(float(seconds), abs=1 / 16000)
    assert len(decoded(out)) == result.frames
    order, source = source_frames(mode, result.frames), decoded(talk)
    if order is not None:
        assert all(equal(p, source[i]) for p, i in zip(recording.pictures, order, strict=True))
    else:
        assert equal(recording.pictures[0], source[0])
        last = min(round((result.frames - 1) * float(video / voice)), FRAMES - 1)
        nearest = min(
            range(FRAMES), key=lambda i: difference(recording.pictures[-1], source[i]).mean()
        )
        assert abs(nearest - last) <= 1


@pytest.mark.parametrize("mode", SyncMode)
def test_every_mode_paints_every_frame(mode, talk, long, exemplar, recording, tmp_path):
    options = SyncOptions(mode=mode)
    result = exemplar.sync(talk, long, tmp_path / "out.mp4", options=options)
    assert result.face_frames == result.frames == len(recording.pictures)
    cut = [text for text in result.warnings if "s of speech are cut" in text]
    assert result.warnings == tuple(cut)
    assert bool(cut) == (mode is SyncMode.CUT_OFF)


def test_the_ntsc_frame_rate_is_kept_exactly(long, passthrough, tmp_path):
    rate = Fraction(30000, 1001)
    clip = write_clip(tmp_path / "ntsc.mp4", frames(), rate=rate)
    out = tmp_path / "out.mov"
    result = passthrough.sync(clip, long, out, options=SyncOptions(mode=SyncMode.LOOP))
    assert require_video(probe(out)).rate == rate == result.rate
    assert result.frames == ceil(require_audio(probe(long)).duration * rate) == 40
    times = [frame.time for frame in read_video(probe(out))]
    assert times == [k / rate for k in range(40)]


# ------------------------------------------------------------------------------ unchanged pixels
def test_samples_outside_the_mask_are_those_of_the_source(talk, short, recorded, tmp_path):
    pipeline, recording = recorded
    pipeline.sync(talk, short, tmp_path / "out.mp4")
    source = decoded(talk)[:13]
    for before, after, patch in zip(source, recording.pictures, recording.patches, strict=True):
        assert patch is not None
        mask = np.zeros((SIDE, SIDE), bool)
        box = patch.box
        mask[box.y0 : box.y1, box.x0 : box.x1] = patch.mask > 0
        assert 0.005 < mask.mean() < 0.5
        blocks = mask.reshape(SIDE // 2, 2, SIDE // 2, 2).any((1, 3))
        for plane, old, touched in zip(
            after.planes, before.planes, (mask, blocks, blocks), strict=True
        ):
            assert np.array_equal(plane[~touched], old[~touched])
    assert (
        max(difference(*pair).max() for pair in zip(source, recording.pictures, strict=True)) > 20
    )


def test_passthrough_changes_no_sample(talk, short, passthrough, recording, tmp_path):
    result = passthrough.sync(talk, short, tmp_path / "out.mp4")
    assert all(equal(a, b) for a, b in zip(decoded(talk)[:13], recording.pictures, strict=True))
    assert result.engine == "passthrough"


def test_frames_without_a_face_are_unchanged_and_the_effect_fades_before_them(
    folder, exemplar, recording, tmp_path
):
    gap = range(8, 16)
    pictures = [wall(k) if k in gap else rgb for k, rgb in enumerate(frames(30))]
    clip = write_clip(folder / "gap.mp4", pictures)
    speech = write_speech(tmp_path / "speech.wav", 1.2)
    result = exemplar.sync(clip, speech, tmp_path / "out.mp4")
    source = decoded(clip)
    untouched = [equal(a, b) for a, b in zip(source, recording.pictures, strict=True)]
    assert all(untouched[k] for k in gap)
    assert sum(untouched) <= len(gap) + 2
    assert result.face_frames == result.frames - sum(untouched)
    assert result.first_face == untouched.index(False)
    assert f"({sum(untouched)} of 30) are unchanged: no face is seen" in result.warnings[0]
    # The effect fades at the edges of the gap instead of popping.
    change = [difference(a, b).mean() for a, b in zip(source, recording.pictures, strict=True)]
    assert change[7] < 0.6 * max(change[:5])


@pytest.mark.parametrize("side", ["left", "right"])
def test_of_two_faces_only_the_selected_one_changes(
    side, folder, short, exemplar, recording, tmp_path
):
    clip = folder / "two.mp4"
    if not clip.exists():
        write_clip(clip, [np.hstack([rgb, rgb[:, ::-1]]) for rgb in frames()])
    pick = SpeakerPick(x=SIDE / 2 if side == "left" else 1.5 * SIDE, y=SIDE / 2, seconds=0.2)
    result = exemplar.sync(clip, short, tmp_path / "out.mp4", options=SyncOptions(speaker=pick))
    assert result.face_frames == result.frames == 13
    assert any("another face is in view in 13 of 13 frames" in text for text in result.warnings)
    for before, after in zip(decoded(clip)[:13], recording.pictures, strict=True):
        changed = np.argwhere(difference(before, after) > 0)[:, 1]
        assert len(changed) > 50
        assert (changed < SIDE).all() if side == "left" else (changed >= SIDE).all()


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_the_same_job_gives_the_same_pictures(threads, talk, short, exemplar, recording, tmp_path):
    exemplar.sync(talk, short, tmp_path / "a.mp4")
    with Pipeline(threads=threads) as other:
        other.sync(talk, short, tmp_path / "b.mp4")
    first, second = recording.pictures[:13], recording.pictures[13:]
    assert all(equal(a, b) for a, b in zip(first, second, strict=True))


# ------------------------------------------------------------------------------------ mouth motion
def test_the_mouth_moves_with_the_speech_and_rests_in_silence(talk, exemplar, recording, tmp_path):
    speech = write_speech(tmp_path / "speech.wav", 1.6, then_silent=1.2)
    exemplar.sync(talk, speech, tmp_path / "out.mp4", options=SyncOptions(mode=SyncMode.LOOP))
    tracker = Tracker(FaceLandmarker())
    for picture in recording.pictures:
        tracker.feed(picture)
    (track,) = tracker.tracks()
    assert track.seen.all()
    opening = mouth_opening(mouth_shapes(track.landmarks))
    speaking, silent = opening[2:38], opening[50:68]
    assert speaking.std() > 2 * silent.std()
    assert speaking.max() > silent.mean() + 0.03


# --------------------------------------------------------------------------------- unusual sources
def test_ten_bit_video_stays_ten_bit(short, recorded, tmp_path):
    pipeline, recording = recorded
    random = np.random.default_rng(0)
    ten_bit = [
        rgb.astype(np.uint16) * 4 + random.integers(0, 4, rgb.shape, np.uint16) for rgb in frames()
    ]
    clip = write_clip(tmp_path / "ten_bit.mp4", ten_bit)
    pipeline.sync(clip, short, tmp_path / "out.mp4")
    video = require_video(probe(tmp_path / "out.mp4"))
    assert (video.bit_depth, video.pix_fmt) == (10, "yuv420p10le")
    assert all(picture.depth == 10 for picture in recording.pictures)
    assert all(patch is not None and patch.rgb.dtype == np.uint16 for patch in recording.patches)
    changed = np.concatenate(
        [
            after.planes[0][difference(before, after) > 0]
            for before, after in zip(decoded(clip)[:13], recording.pictures, strict=True)
        ]
    )
    assert len(np.unique(changed % 4)) == 4  # painted in ten bits, not in eight
    assert changed.max() > 255


@pytest.mark.parametrize(
    ("size", "rotation"), [((217, 223), 0), ((220, 224), 90), ((200, 224), 270), ((201, 223), 90)]
)
def test_odd_sizes_and_rotated_videos_are_painted_and_kept(
    size, rotation, short, recorded, tmp_path
):
    pipeline, recording = recorded
    pictures = [rgb[: size[1], 4 : 4 + size[0]] for rgb in frames()]
    clip = write_clip(tmp_path / "odd.mp4", pictures, rotation=rotation)
    result = pipeline.sync(clip, short, tmp_path / "out.mp4")
    assert result.face_frames == 13
    before, after = (require_video(probe(path)) for path in (clip, tmp_path / "out.mp4"))
    assert (after.width, after.height, after.rotation) == (*size, rotation)
    assert (before.width, before.height, before.rotation) == (*size, rotation)
    assert all(p is not None and p.mask.any() for p in recording.patches)


@pytest.mark.parametrize("direction", [(-1, 0), (1, 0), (0, 1)], ids=["left", "right", "down"])
def test_a_face_that_leaves_the_frame_is_painted_until_then(
    direction, exemplar, recording, tmp_path
):
    steps = [10 * max(k - 6, 0) for k in range(30)]
    walking = [
        shifted(rgb, direction[0] * step, direction[1] * step)
        for step, rgb in zip(steps, frames(30), strict=True)
    ]
    clip = write_clip(tmp_path / "walk.mp4", walking)
    speech = write_speech(tmp_path / "speech.wav", 1.2)
    result = exemplar.sync(clip, speech, tmp_path / "out.mp4")
    assert 8 <= result.face_frames < 30
    source = decoded(clip)
    assert not equal(source[3], recording.pictures[3])
    assert equal(source[29], recording.pictures[29])


@pytest.mark.parametrize("mode", SyncMode)
def test_a_video_of_one_frame_is_dubbed_in_any_mode(mode, short, exemplar, recording, tmp_path):
    clip = write_clip(tmp_path / "one.mp4", frames()[:1])
    result = exemplar.sync(clip, short, tmp_path / "out.mp4", options=SyncOptions(mode=mode))
    assert result.frames == (1 if mode is SyncMode.CUT_OFF else 13)
    assert result.face_frames == result.frames
    if mode is SyncMode.LOOP:
        (source,) = decoded(clip)
        assert max(difference(source, picture).max() for picture in recording.pictures) > 10


def test_one_audio_sample_gives_one_frame(talk, exemplar, tmp_path):
    speech = write_speech(tmp_path / "short.wav", 1 / 16000)
    result = exemplar.sync(talk, speech, tmp_path / "out.mp4")
    assert (result.frames, result.duration) == (1, Fraction(1, 16000))


@pytest.mark.parametrize("side", [96, 384])
@pytest.mark.parametrize("seconds", [0.2, 0.32])
def test_an_opening_mouth_in_a_very_short_clip_is_painted(side, seconds, passthrough, tmp_path):
    clip = make_sample(tmp_path / "talk.mp4", seconds=seconds, size=(side, side), rate=RATE).path
    result = passthrough.sync(clip, speech_asset("en"), tmp_path / "out.mp4")
    assert result.face_frames == result.frames


def test_the_audio_of_a_video_is_accepted_as_speech(
    folder, talk, short, exemplar, passthrough, tmp_path
):
    passthrough.sync(talk, short, tmp_path / "spoken.mp4")
    result = exemplar.sync(talk, tmp_path / "spoken.mp4", tmp_path / "out.mkv")
    assert result.frames == 13


def test_no_face_is_an_error_and_writes_no_file(folder, short, exemplar, tmp_path):
    clip = write_clip(folder / "wall.mp4", [wall(k) for k in range(12)])
    with pytest.raises(NoFaceFound, match=r"12 frames of .*wall\.mp4.*allow_no_face"):
        exemplar.sync(clip, short, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_a_video_without_a_face_is_unchanged_if_allowed(
    folder, long, exemplar, recording, tmp_path
):
    clip = write_clip(folder / "empty.mp4", [wall(k) for k in range(12)])
    reports: list[Progress] = []
    options = SyncOptions(allow_no_face=True, mode=SyncMode.BOUNCE)
    result = exemplar.sync(
        clip, long, tmp_path / "out.mp4", options=options, on_progress=reports.append
    )
    source = decoded(clip)
    order = [min(k % 22, 22 - k % 22) for k in range(33)]
    assert all(equal(p, source[i]) for p, i in zip(recording.pictures, order, strict=True))
    assert (result.face_frames, result.first_face) == (0, None)
    assert result.style == "none: no face"
    assert "no face was found: the picture is unchanged" in result.warnings
    assert reports[-1].fraction == 1


# ----------------------------------------------------------------- progress, cancellation, failure
def test_progress_never_decreases_and_ends_at_one(talk, long, exemplar, tmp_path):
    reports: list[Progress] = []
    options = SyncOptions(mode=SyncMode.LOOP)
    exemplar.sync(talk, long, tmp_path / "out.mp4", options=options, on_progress=reports.append)
    fractions = [p.fraction for p in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert list(dict.fromkeys(p.stage for p in reports)) == ["track", "hear", "study", "paint"]
    assert all(p.total is None or 0 <= p.done <= p.total for p in reports)
    assert (reports[-1].done, reports[-1].total) == (33, 33)
    assert len(reports) > 10


@pytest.mark.parametrize("stage", ["", "track", "hear", "study", "paint"])
def test_cancelling_writes_no_file_and_the_pipeline_stays_usable(
    stage, talk, short, exemplar, tmp_path
):
    token = CancelToken()
    if not stage:
        token.cancel()

    def on_progress(progress: Progress) -> None:
        if progress.stage == stage:
            token.cancel()

    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    with pytest.raises(Cancelled):
        exemplar.sync(talk, short, out, on_progress=on_progress, cancel=token)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    assert out.read_bytes() == b"older"
    assert exemplar.sync(talk, short, out).frames == 13


class StageError(Exception):
    """Raised by an engine or a writer of a test."""


@pytest.mark.parametrize("where", ["study", "paint", "writer"])
def test_a_failure_writes_no_file(where, talk, short, monkeypatch, tmp_path):
    spec = find_engine("exemplar")

    class Engine(type(spec.open())):
        def study(self, face, fetch_views):
            if where == "study":
                raise StageError
            return super().study(face, fetch_views)

        def paint(self, speaker, driving, views):
            for k, patch in enumerate(super().paint(speaker, driving, views)):
                if where == "paint" and k == 7:
                    raise StageError
                yield patch

    class Writer(VideoWriter):
        def write(self, picture):
            if where == "writer":
                raise StageError
            super().write(picture)

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    monkeypatch.setattr(module, "VideoWriter", Writer)
    with pytest.raises(StageError), Pipeline() as pipeline:
        pipeline.sync(talk, short, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_an_engine_that_yields_too_few_patches_is_an_error(talk, short, monkeypatch, tmp_path):
    spec = find_engine("passthrough")

    class Engine(type(spec.open())):
        def paint(self, speaker, driving, views):
            yield from list(super().paint(speaker, driving, views))[:-1]

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    with pytest.raises(Exception, match="12 of its 13"), Pipeline() as pipeline:
        pipeline.sync(talk, short, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_an_engine_may_read_all_views_before_it_yields(
    talk, short, monkeypatch, recording, tmp_path
):
    spec = find_engine("passthrough")

    class Engine(type(spec.open())):
        def paint(self, speaker, driving, views):
            yield from list(super().paint(speaker, driving, views))

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    with Pipeline() as pipeline:
        pipeline.sync(talk, short, tmp_path / "out.mp4")
    assert all(equal(a, b) for a, b in zip(decoded(talk)[:13], recording.pictures, strict=True))


def test_a_speaker_that_is_not_visible_is_refused(folder, short, exemplar, tmp_path):
    clip = write_clip(folder / "late.mp4", [*(wall(k) for k in range(6)), *frames()])
    options = SyncOptions(speaker=SpeakerPick(x=100, y=100, seconds=0.0))
    with pytest.raises(InvalidOptions, match="no face is seen at 0 s"):
        exemplar.sync(clip, short, tmp_path / "out.mp4", options=options)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------ result
def test_the_result_describes_the_job(talk, short, exemplar, tmp_path):
    result = exemplar.sync(str(talk), str(short), str(tmp_path / "out.mp4"))
    assert isinstance(result, SyncResult)
    assert result.path == tmp_path / "out.mp4"
    assert result.engine == "exemplar"
    assert set(result.timings) == {"track", "hear", "study", "paint"}
    assert all(seconds >= 0 for seconds in result.timings.values())
    needed = {"face_detector", "face_landmarks", "whisper_base_encoder", "silero_vad", "motion"}
    assert needed <= set(result.weights)
    assert all(len(sha) == 64 for sha in result.weights.values())
    assert result.style
    with pytest.raises(AttributeError):
        result.frames = 3


def test_sync_runs_one_job(talk, short, tmp_path):
    assert sync(talk, short, tmp_path / "out.mp4", engine="passthrough").frames == 13
    with pytest.raises(EngineNotFound, match="neural"):
        sync(talk, short, tmp_path / "two.mp4", engine="neural")
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_closing_a_pipeline_twice_closes_its_engine(monkeypatch):
    spec = find_engine("passthrough")
    closed: list[bool] = []

    class Engine(type(spec.open())):
        def close(self):
            closed.append(True)
            super().close()

    monkeypatch.setattr(
        module, "find_engine", lambda _: replace(spec, load=lambda device, store: Engine())
    )
    pipeline = Pipeline()
    assert not closed
    pipeline.close()
    assert closed
    pipeline.close()
