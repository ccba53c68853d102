"""A synthetic clip matches its ground truth, as the tracker and the audio show."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipwright.errors import Cancelled, InvalidOptions
from lipwright.face import canonical
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import track_faces
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_audio, require_video
from lipwright.progress import CancelToken, Progress
from lipwright.sample import SampleTruth, make_sample
from lipwright.sample.curves import head_motion, mouth_curves, mouth_displacements
from lipwright.sample.portrait import AnimatedPortrait

SIZE = (640, 480)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return make_sample(tmp_path_factory.mktemp("sample") / "talk.mp4", seconds=3, size=SIZE)


def test_clip_has_the_requested_frames_size_and_audio(truth: SampleTruth):
    info = probe(truth.path)
    video = require_video(info)
    assert (video.width, video.height, video.rate) == (*SIZE, 25)
    assert video.duration == require_audio(info).duration == 3
    assert truth.frames == sum(1 for _ in read_video(info)) == 75


def test_truth_is_stored_beside_the_clip(truth: SampleTruth):
    with np.load(truth.truth_path) as stored:
        assert Fraction(*map(int, stored["rate"])) == 25
        for name in ("opening", "width", "landmarks"):
            assert np.array_equal(stored[name], getattr(truth, name))


def test_tracker_measures_the_true_mouth(truth: SampleTruth):
    (track,) = track_faces(read_video(probe(truth.path)), FaceLandmarker())
    assert track.seen.all()
    mouths = canonical.mouth_shapes(track.landmarks)
    assert np.corrcoef(canonical.mouth_opening(mouths), truth.opening)[0, 1] > 0.95
    assert np.corrcoef(canonical.mouth_width(mouths), truth.width)[0, 1] > 0.6
    unit = np.linalg.norm(truth.landmarks[:, 263, :2] - truth.landmarks[:, 33, :2], axis=1)
    error = np.linalg.norm((track.landmarks - truth.landmarks)[..., :2], axis=2).mean(1) / unit
    assert error.max() < 0.03


def test_mouth_closes_and_opens(truth: SampleTruth):
    assert truth.opening.min() < 0.02
    assert truth.opening.max() > 0.1
    assert np.ptp(truth.width) > 0.03


def test_same_seed_makes_the_same_clip(truth: SampleTruth, tmp_path: Path):
    same_seed, other = (
        make_sample(tmp_path / f"{seed}.mp4", seconds=0.2, size=SIZE, seed=seed) for seed in (0, 1)
    )
    assert np.array_equal(same_seed.landmarks, truth.landmarks[:5])
    assert not np.allclose(other.landmarks, same_seed.landmarks, atol=0.1)
    assert np.allclose(other.opening, same_seed.opening, atol=1e-3)


def test_clip_longer_than_its_audio_ends_with_the_mouth_closed(tmp_path: Path):
    sample = make_sample(tmp_path / "talk.mp4", seconds=8, size=(64, 64), rate=Fraction(10))
    assert require_audio(probe(sample.path)).duration == 8
    assert sample.opening[-10:].max() < 0.02


def test_progress_is_reported_for_each_frame_and_cancel_leaves_no_file(tmp_path: Path):
    token, reports = CancelToken(), []

    def on_progress(progress: Progress) -> None:
        reports.append(progress)
        if progress.done == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        make_sample(
            tmp_path / "a.mp4", seconds=1, size=(64, 64), on_progress=on_progress, cancel=token
        )
    assert [p.done for p in reports] == [1, 2, 3]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [{"size": (63, 64)}, {"size": (64, 5000)}, {"rate": Fraction(1, 2)}, {"seconds": 0}],
)
def test_values_out_of_range_are_rejected(options: dict[str, object], tmp_path: Path):
    with pytest.raises(InvalidOptions, match="out of range"):
        make_sample(tmp_path / "a.mp4", **options)  # type: ignore[arg-type]


def test_curves_follow_the_audio():
    t = np.arange(32000) / 16000
    sound = np.where(t < 1, 0, 0.5 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)
    opening, width = mouth_curves(sound, np.array([0.5, 1.5, 3.0]))
    assert opening[0] == opening[2] == 0
    assert opening[1] > 0.15
    assert width[1] > width[0]


def test_silence_keeps_the_mouth_closed():
    opening, _ = mouth_curves(np.zeros(0, np.float32), np.array([0.0, 1.0]))
    assert not opening.any()


def test_displacements_give_the_wanted_opening_and_width():
    portrait = AnimatedPortrait(size=SIZE)
    wanted = np.array([0.0, 0.05, 0.2], np.float32)
    share = np.array([0.8, 0.9, 1.0], np.float32)
    mouths = portrait.mouth + mouth_displacements(portrait.mouth, wanted, share)
    assert np.allclose(canonical.mouth_opening(mouths), wanted, atol=0.03)
    assert np.allclose(
        canonical.mouth_width(mouths) / canonical.mouth_width(portrait.mouth[None]),
        share,
        atol=0.01,
    )


def test_head_motion_is_small_and_smooth():
    times = np.arange(250) / 25
    motion = head_motion(times, 50.0, np.array([100.0, 80.0]), 3)
    centre = motion[:, :, :2] @ np.array([100.0, 80.0]) + motion[:, :, 2]
    assert 0.5 < np.abs(centre - [100, 80]).max() < 3
    assert np.abs(np.diff(centre, n=2, axis=0)).max() < 0.1


def test_only_pixels_near_the_mouth_change():
    portrait = AnimatedPortrait(size=SIZE)
    no_motion = np.array([[1.0, 0, 0], [0, 1, 0]])
    moves = mouth_displacements(portrait.mouth, np.array([0.0, 0.2]), np.array([0.8, 1.0]))
    closed, opened = (portrait.draw(move, no_motion) for move in moves)
    changed = np.argwhere((closed != opened).any(-1))
    assert len(changed) > 100
    box = portrait._box
    assert changed.min(0)[0] >= box.y0
    assert changed.max(0)[1] < box.x1
    eyes = int(portrait._layout[1][33, 1])
    assert changed.min(0)[0] > eyes
