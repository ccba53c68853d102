"""The exemplar engine: its bank stays within its size, and no run crosses a cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.engines.exemplar import ExemplarEngine, exemplars_of_shot
from lipwright.testing import (
    synthetic_driving_sequence,
    synthetic_face_track,
    synthetic_face_views,
    synthetic_landmarks,
)

pytestmark = pytest.mark.model

FRAMES = 48


def make_take(cuts=(), frames=FRAMES, depth=8):
    """Return a speaking face: its track and its views."""
    gaps = (0.04 + 0.04 * np.sin(np.arange(frames) / 3)).astype(np.float32)
    landmarks = synthetic_landmarks(frames, opening=gaps, seed=3)
    views = synthetic_face_views(landmarks, depth=depth, seed=3)
    return synthetic_face_track(landmarks, views, depth=depth, cuts=cuts), views


def study(face, views, **options):
    return ExemplarEngine(**options).study(face, lambda frames: (views[i] for i in frames))


def driving_of(face, frames):
    count = len(frames)
    opening = (0.04 + 0.04 * np.cos(np.arange(count) / 2)).astype(np.float32)
    return synthetic_driving_sequence(face, frames, opening=opening)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.05])
def test_bank_stays_within_its_size_and_is_deterministic(share, depth):
    face, views = make_take(depth=depth)
    whole = sum(e.rgb.nbytes for e in study(face, views).exemplars)
    budget = int(share * whole)
    speakers = [study(face, views, bank_bytes=budget) for _ in range(2)]
    kept = [s.exemplars for s in speakers]
    assert 0 < sum(e.rgb.nbytes for e in kept[0]) <= budget
    assert len(kept[0]) == len(kept[1])
    for one, other in zip(*kept, strict=True):
        assert np.array_equal(one.rgb, other.rgb)


def test_bank_too_small_for_one_exemplar_keeps_one():
    assert len(study(*make_take(), bank_bytes=1).exemplars) == 1


def mixes_of(speaker, driving):
    from lipwright.engines import exemplar

    return list(exemplar._exemplar_mixes(speaker, driving))


def test_exemplars_come_from_the_painted_shot():
    face, views = make_take(cuts=(16, 32))
    speaker = study(face, views)
    driving = driving_of(face, list(range(FRAMES)))
    for k, mix in enumerate(mixes_of(speaker, driving)):
        assert {int(speaker.shot[i]) for i, _ in mix} == {int(driving.shot[k])}
        assert sum(share for _, share in mix) == pytest.approx(1)


def test_shot_without_usable_frames_uses_the_others():
    face, views = make_take(cuts=(24,))
    unsure = face.confidence.copy()
    unsure[24:] = 0
    speaker = study(replace(face, confidence=unsure), views)
    mixes = mixes_of(speaker, driving_of(face, list(range(20, 30))))
    assert set(speaker.shot.tolist()) == {0}
    assert all(mixes)


def test_no_run_dissolves_across_a_cut_also_when_the_video_repeats():
    face, views = make_take(cuts=(24,))
    speaker = study(face, views)
    driving = driving_of(face, [*range(20, 30), *range(20, 30)])
    for k, mix in enumerate(mixes_of(speaker, driving)):
        assert {int(speaker.shot[i]) for i, _ in mix} == {int(driving.shot[k])}


def test_exemplars_of_shot_falls_back_to_all():
    shot = np.array([0, 0, 2])
    assert exemplars_of_shot(shot, 0).tolist() == [0, 1]
    assert exemplars_of_shot(shot, 1).tolist() == [0, 1, 2]
