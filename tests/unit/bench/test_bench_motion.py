from __future__ import annotations

import math

import numpy as np
import pytest
from bench.motion import __main__ as motion
from bench.motion import tracker_reliability
from bench.motion.scores import ScoredSegment, SegmentScores
from training.motion.metrics import MIN_RUN_SECONDS

pytestmark = pytest.mark.model  # slow


def scored(name: str, seconds: float = 2 * MIN_RUN_SECONDS, **change: float) -> ScoredSegment:
    numbers = dict.fromkeys(SegmentScores.__annotations__.keys() - {"name", "seconds"}, 0.5)
    curve = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    return ScoredSegment(
        scores=SegmentScores(name=name, seconds=seconds, **{**numbers, **change}),
        predicted=curve,
        tracked=curve,
    )


def test_sets_count_equally_and_short_segments_together() -> None:
    segments = [
        scored("clips/a", opening=0.9, width=0.8),
        scored("eval/a", opening=0.5, width=0.4),
        scored("eval/b", opening=0.7, width=0.6),
        scored("eval/c", opening=0.0, width=0.0, seconds=MIN_RUN_SECONDS / 2),
    ]
    assert "opening r 0.750, width r 0.650" in motion.mean_of_sets(segments)
    table = list(motion.report(segments))
    assert len({line.count("|") for line in table}) == 1
    (short,) = (line for line in table if line.startswith("| eval/ under"))
    assert "| 1.000 | 1.000 | 1.00 |" in short


def test_interval_text_ignores_nan() -> None:
    text = motion.interval_text([0.2, 0.4, math.nan, 0.6])
    assert text.startswith("0.400 (")
    low, high = (float(v) for v in text[7:-1].split("–"))
    assert low < 0.4 < high


def test_ceiling_is_the_root_of_the_reliability() -> None:
    rows = [
        tracker_reliability.Reliability(folder="clips", yaw=5, opening=0.81, width=0.64),
        tracker_reliability.Reliability(folder="eval", yaw=30, opening=0.49, width=-0.1),
    ]
    clips, evaluation, frontal, turned = list(tracker_reliability.report(rows))[2:]
    assert "0.90" in clips
    assert "0.80" in clips
    assert clips.split("|", 2)[2] == frontal.split("|", 2)[2]
    assert evaluation.split("|", 2)[2] == turned.split("|", 2)[2]
    assert turned.endswith("| 0.00 |")


def test_variants_show_the_same_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    variants = tracker_reliability.picture_variants(np.random.default_rng(0))
    pictures = {name: variant(picture) for name, variant in variants.items()}
    assert (pictures["plain"] == picture).all()
    assert (pictures["mirrored"][:, ::-1] == picture).all()
    assert pictures["small"].shape == (32, 48, 3)
    assert pictures["small"].mean() == pytest.approx(picture.mean(), abs=2)


def test_baseline_receives_the_states_around_each_time() -> None:
    pytest.importorskip("torch")
    from bench.motion.baseline import CONTEXT, states_around

    states = np.arange(100, dtype=np.float32)[:, None]
    around = states_around(states, np.array([1.01, 0.01, 1.99]))
    assert around.shape == (3, 2 * CONTEXT + 1, 1)
    assert (around[0, :, 0] == np.arange(50 - CONTEXT, 51 + CONTEXT)).all()
    assert around[1, 0, 0] == 0
    assert around[2, -1, 0] == 99
