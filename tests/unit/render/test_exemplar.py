"""The engine of this project: its bank stays within its bytes, and no run goes over a cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.engines.exemplar import ExemplarEngine, of_shot
from lipwright.testing import (
    synthetic_face_views,
    synthetic_landmarks,
    synthetic_portrait,
    synthetic_script,
)

FRAMES = 48


def take(cuts=(), frames=FRAMES, depth=8):
    """A face that speaks: its portrait and its views."""
    gaps = (0.04 + 0.04 * np.sin(np.arange(frames) / 3)).astype(np.float32)
    landmarks = synthetic_landmarks(frames, opening=gaps, seed=3)
    views = synthetic_face_views(landmarks, depth=depth, seed=3)
    return synthetic_portrait(landmarks, views, depth=depth, cuts=cuts), views


def studied(portrait, views, **options):
    return ExemplarEngine(**options).study(portrait, lambda frames: (views[i] for i in frames))


def script_of(portrait, frames):
    count = len(frames)
    opening = (0.04 + 0.04 * np.cos(np.arange(count) / 2)).astype(np.float32)
    return synthetic_script(portrait, frames, opening=opening)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("share", [1.0, 0.4, 0.05])
def test_the_bank_stays_within_its_bytes_and_is_the_same_each_time(share, depth):
    portrait, views = take(depth=depth)
    whole = sum(e.rgb.nbytes for e in studied(portrait, views).exemplars)
    budget = int(share * whole)
    speakers = [studied(portrait, views, bank_bytes=budget) for _ in range(2)]
    kept = [s.exemplars for s in speakers]
    assert 0 < sum(e.rgb.nbytes for e in kept[0]) <= budget
    assert len(kept[0]) == len(kept[1])
    for one, other in zip(*kept, strict=True):
        assert np.array_equal(one.rgb, other.rgb)


def test_a_budget_too_small_for_one_exemplar_keeps_one():
    assert len(studied(*take(), bank_bytes=1).exemplars) == 1


def mixes_of(speaker, script):
    from lipwright.engines import exemplar

    return list(exemplar._mixes(speaker, script))


def test_exemplars_come_from_the_shot_that_is_painted():
    portrait, views = take(cuts=(16, 32))
    speaker = studied(portrait, views)
    script = script_of(portrait, list(range(FRAMES)))
    for k, mix in enumerate(mixes_of(speaker, script)):
        assert {int(speaker.shot[i]) for i, _ in mix} == {int(script.shot[k])}
        assert sum(share for _, share in mix) == pytest.approx(1)


def test_a_shot_without_a_usable_frame_borrows_from_the_others():
    portrait, views = take(cuts=(24,))
    unsure = portrait.confidence.copy()
    unsure[24:] = 0
    speaker = studied(replace(portrait, confidence=unsure), views)
    mixes = mixes_of(speaker, script_of(portrait, list(range(20, 30))))
    assert set(speaker.shot.tolist()) == {0}
    assert all(mixes)


def test_no_run_gives_way_over_a_cut_also_when_the_video_starts_again():
    portrait, views = take(cuts=(24,))
    speaker = studied(portrait, views)
    script = script_of(portrait, [*range(20, 30), *range(20, 30)])
    for k, mix in enumerate(mixes_of(speaker, script)):
        assert {int(speaker.shot[i]) for i, _ in mix} == {int(script.shot[k])}


def test_exemplars_of_a_shot_or_all():
    shot = np.array([0, 0, 2])
    assert of_shot(shot, 0).tolist() == [0, 1]
    assert of_shot(shot, 1).tolist() == [0, 1, 2]
