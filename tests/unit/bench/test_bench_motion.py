from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bench import motion, reliability
from training.motion.measure import LONG


def row(name: str, **change: float) -> motion.Row:
    facts: dict[str, Any] = dict.fromkeys(motion.Row.__annotations__, 0.5)
    return motion.Row(**{**facts, "name": name, "seconds": 2 * LONG, **change})


def rows(*found: motion.Row) -> list[tuple[motion.Row, np.ndarray, np.ndarray]]:
    curve = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    return [(r, curve, curve) for r in found]


def test_both_sets_count_alike_and_brief_runs_only_together() -> None:
    measured = rows(
        row("clips/a", opening=0.9, width=0.8),
        row("eval/a", opening=0.5, width=0.4),
        row("eval/b", opening=0.7, width=0.6),
        row("eval/c", opening=0.0, width=0.0, seconds=LONG / 2),
    )
    assert "opening r 0.750, width r 0.650" in motion.mean_of_sets(measured)
    table = list(motion.report(measured))
    assert len({line.count("|") for line in table}) == 1
    (brief,) = (line for line in table if line.startswith("| eval/ under"))
    assert "| 1.000 | 1.000 | 1.00 |" in brief


def test_intervals_hold_the_mean_and_leave_out_what_could_not_be_measured() -> None:
    text = motion.interval([0.2, 0.4, float("nan"), 0.6])
    assert text.startswith("0.400 (")
    low, high = (float(v) for v in text[7:-1].split("–"))
    assert low < 0.4 < high


def test_a_perfect_prediction_reaches_the_root_of_the_reliability() -> None:
    found = [
        reliability.Row(folder="clips", yaw=5, opening=0.81, width=0.64),
        reliability.Row(folder="eval", yaw=30, opening=0.49, width=-0.1),
    ]
    clips, evaluation, frontal, turned = list(reliability.report(found))[2:]
    assert "0.90" in clips
    assert "0.80" in clips
    assert clips.split("|", 2)[2] == frontal.split("|", 2)[2]
    assert evaluation.split("|", 2)[2] == turned.split("|", 2)[2]
    assert turned.endswith("| 0.00 |")


def test_looks_show_the_same_picture_otherwise() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    ways = reliability.looks(np.random.default_rng(0))
    seen = {name: way(picture) for name, way in ways.items()}
    assert (seen["plain"] == picture).all()
    assert (seen["mirrored"][:, ::-1] == picture).all()
    assert seen["small"].shape == (32, 48, 3)
    assert seen["small"].mean() == pytest.approx(picture.mean(), abs=2)


def test_the_baseline_hears_the_nearest_states_and_their_neighbours() -> None:
    pytest.importorskip("torch")
    from bench.baseline import REACH, around

    states = np.arange(100, dtype=np.float32)[:, None]
    heard = around(states, np.array([1.01, 0.01, 1.99]))
    assert heard.shape == (3, 2 * REACH + 1, 1)
    assert (heard[0, :, 0] == np.arange(50 - REACH, 51 + REACH)).all()
    assert heard[1, 0, 0] == 0
    assert heard[2, -1, 0] == 99
