"""A synthetic clip is what its truth says: seen by our own tracker, heard in its own sound."""

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
from lipwright.sample import (
    AnimatedPortrait,
    SampleTruth,
    head_motion,
    make_sample,
    mouth_curves,
    mouth_displacements,
)

SIZE = (640, 480)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> SampleTruth:
    return make_sample(tmp_path_factory.mktemp("sample") / "talk.mp4", seconds=3, size=SIZE)


def test_the_clip_has_the_frames_size_and_sound_it_should(truth: SampleTruth):
    info = probe(truth.path)
    video = require_video(info)
    assert (video.width, video.height, video.rate) == (*SIZE, 25)
    assert video.duration == require_audio(info).duration == 3
    assert truth.frames == sum(1 for _ in read_video(info)) == 75


def test_the_truth_is_kept_beside_the_clip(truth: SampleTruth):
    with np.load(truth.truth_path) as kept:
        assert Fraction(*map(int, kept["rate"])) == 25
        for name in ("opening", "width", "landmarks"):
            assert np.array_equal(kept[name], getattr(truth, name))


def test_the_tracker_sees_the_true_mouth(truth: SampleTruth):
    (seen,) = track_faces(read_video(probe(truth.path)), FaceLandmarker())
    assert seen.seen.all()
    mouths = canonical.mouth_shapes(seen.landmarks)
    assert np.corrcoef(canonical.mouth_opening(mouths), truth.opening)[0, 1] > 0.95
    assert np.corrcoef(canonical.mouth_width(mouths), truth.width)[0, 1] > 0.6
    unit = np.linalg.norm(truth.landmarks[:, 263, :2] - truth.landmarks[:, 33, :2], axis=1)
    off = np.linalg.norm((seen.landmarks - truth.landmarks)[..., :2], axis=2).mean(1) / unit
    assert off.max() < 0.03


def test_the_mouth_closes_and_opens(truth: SampleTruth):
    assert truth.opening.min() < 0.02
    assert truth.opening.max() > 0.1
    assert np.ptp(truth.width) > 0.03


def test_the_same_seed_makes_the_same_clip(truth: SampleTruth, tmp_path: Path):
    again, other = (
        make_sample(tmp_path / f"{seed}.mp4", seconds=0.2, size=SIZE, seed=seed) for seed in (0, 1)
    )
    assert np.array_equal(again.landmarks, truth.landmarks[:5])
    assert not np.allclose(other.landmarks, again.landmarks, atol=0.1)
    assert np.allclose(other.opening, again.opening, atol=1e-3)


def test_a_clip_longer_than_its_sound_ends_in_silence_with_the_mouth_closed(tmp_path: Path):
    whole = make_sample(tmp_path / "talk.mp4", seconds=8, size=(64, 64), rate=Fraction(10))
    assert require_audio(probe(whole.path)).duration == 8
    assert whole.opening[-10:].max() < 0.02


def test_progress_is_told_for_each_frame_and_cancel_leaves_nothing(tmp_path: Path):
    token, heard = CancelToken(), []

    def listen(progress: Progress) -> None:
        heard.append(progress)
        if progress.done == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        make_sample(tmp_path / "a.mp4", seconds=1, size=(64, 64), on_progress=listen, cancel=token)
    assert [p.done for p in heard] == [1, 2, 3]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wish",
    [{"size": (63, 64)}, {"size": (64, 5000)}, {"rate": Fraction(1, 2)}, {"seconds": 0}],
)
def test_what_cannot_be_made_is_refused(wish: dict[str, object], tmp_path: Path):
    with pytest.raises(InvalidOptions, match="out of range"):
        make_sample(tmp_path / "a.mp4", **wish)  # type: ignore[arg-type]


def test_curves_follow_the_sound():
    t = np.arange(32000) / 16000
    sound = np.where(t < 1, 0, 0.5 * np.sin(2 * np.pi * 150 * t)).astype(np.float32)
    opening, width = mouth_curves(sound, np.array([0.5, 1.5, 3.0]))
    assert opening[0] == opening[2] == 0
    assert opening[1] > 0.15
    assert width[1] > width[0]


def test_silence_moves_nothing():
    opening, _ = mouth_curves(np.zeros(0, np.float32), np.array([0.0, 1.0]))
    assert not opening.any()


def test_moves_reach_the_wanted_opening_and_width():
    scene = AnimatedPortrait(size=SIZE)
    wanted = np.array([0.0, 0.05, 0.2], np.float32)
    share = np.array([0.8, 0.9, 1.0], np.float32)
    mouths = scene.mouth + mouth_displacements(scene.mouth, wanted, share)
    assert np.allclose(canonical.mouth_opening(mouths), wanted, atol=0.03)
    assert np.allclose(
        canonical.mouth_width(mouths) / canonical.mouth_width(scene.mouth[None]), share, atol=0.01
    )


def test_the_head_sways_a_little_and_without_jerks():
    times = np.arange(250) / 25
    sways = head_motion(times, 50.0, np.array([100.0, 80.0]), 3)
    at = sways[:, :, :2] @ np.array([100.0, 80.0]) + sways[:, :, 2]
    assert 0.5 < np.abs(at - [100, 80]).max() < 3
    assert np.abs(np.diff(at, n=2, axis=0)).max() < 0.1


def test_pixels_far_from_the_mouth_do_not_change():
    scene = AnimatedPortrait(size=SIZE)
    still = np.array([[1.0, 0, 0], [0, 1, 0]])
    moves = mouth_displacements(scene.mouth, np.array([0.0, 0.2]), np.array([0.8, 1.0]))
    closed, opened = (scene.draw(move, still) for move in moves)
    changed = np.argwhere((closed != opened).any(-1))
    assert len(changed) > 100
    box = scene._box
    assert changed.min(0)[0] >= box.y0
    assert changed.max(0)[1] < box.x1
    eyes = int(scene._layout[1][33, 1])
    assert changed.min(0)[0] > eyes
