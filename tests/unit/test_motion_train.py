from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lipwright.face import shape
from lipwright.motion.train import amid, augment, corpus, features, measure, people
from lipwright.motion.train.corpus import Example

STATES = 1024
SMALL = {"directions": 40, "noise": 0.1, "dropout": 0.1, "rate": 3e-3}


def example(name: str, seed: int = 0, seconds: float = 1.6, rate: float = 25.0) -> Example:
    """A mouth that opens with the first speech state, heard through noise."""
    random = np.random.default_rng(seed)
    count = round(seconds * 50)
    loud = np.convolve(random.standard_normal(count + 8), np.ones(9) / 3, "valid")
    states = 0.1 * random.standard_normal((count, STATES))
    states[:, :32] += loud[:, None]
    times = np.arange(round(seconds * rate)) / rate
    gap = np.interp(times, (np.arange(count) + 0.5) / 50, loud) * 0.01
    mouth = np.repeat(shape.reference()[None, shape.MOUTH], len(times), 0)
    mouth[:, shape.LOWER_INNER, 1] += gap[:, None]
    return Example(
        name=name,
        times=times,
        mouth=(mouth + 1e-4 * random.standard_normal(mouth.shape)).astype(np.float32),
        states=states.astype(np.float16),
        speaker=name,
    )


def face(count: int, shift: np.ndarray | None = None) -> np.ndarray:
    """Landmarks (count, 478, 3) in pixels of the reference face, moved by shift (count, 2)."""
    points = np.repeat(shape.reference()[None] * 80, count, 0)
    if shift is not None:
        points[:, :, :2] += shift[:, None]
    return points.astype(np.float32)


# ------------------------------------------------------------------------------- what to learn from


def test_runs_end_where_the_face_is_lost_or_jumps() -> None:
    landmarks = face(60, np.where(np.arange(60) < 35, 0, 90)[:, None] * np.ones(2))
    landmarks[10:12] = np.nan
    runs = [(r.start, r.stop) for r in corpus.unbroken(landmarks)]
    assert runs == [(0, 10), (12, 35), (35, 60)]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("train__misc__a.mp4", {}, "used"),
        ("train__misc__3_hq.mp4", {}, "of a person in the measuring clips"),
        ("train__misc__a.mp4", {"states": np.zeros((0, STATES), np.float16)}, "no sound"),
        ("train__misc__a.mp4", {"landmarks": face(9)}, "face lost or cut"),
    ],
)
def test_clips_are_left_out_for_a_reason(name: str, change: dict, reason: str) -> None:
    facts = {
        "landmarks": face(40),
        "times": np.arange(40) / 25,
        "states": np.zeros((80, STATES), np.float16),
        "portrait": np.zeros((48, 48, 3), np.uint8),
    }
    clip = features.Clip(name=name, **{**facts, **change})
    assert corpus.usable(clip)[1] == reason


def test_clips_keep_in_the_cache(tmp_path: Path) -> None:
    clip = features.Clip(
        name="train__misc__a.mp4",
        landmarks=face(3),
        times=np.arange(3) / 25,
        states=np.ones((6, STATES), np.float16),
        portrait=np.zeros((48, 48, 3), np.uint8),
    )
    features.save(clip, tmp_path)
    again = features.load(tmp_path / "train__misc__a.mp4.npz")
    assert again.name == clip.name
    assert (again.landmarks == clip.landmarks).all()


# ------------------------------------------------------------------------------- people


def test_people_are_told_apart() -> None:
    random = np.random.default_rng(0)
    centres = 10 * random.standard_normal((6, 30))
    who = random.integers(0, 6, 200)
    points = centres[who] + random.standard_normal((200, 30))
    labels = people.cut(people.ward(points), 200, 6)
    assert len(set(zip(labels.tolist(), who.tolist(), strict=True))) == 6


def test_whole_branches_are_held_back() -> None:
    branches = np.random.default_rng(0).integers(0, 12, 500)
    held = people.hold_back(branches)
    share = np.isin(branches, list(held)).mean()
    assert 0.08 < share < 0.2


# ------------------------------------------------------------------------------- measures


def test_lag_is_positive_when_the_prediction_is_late() -> None:
    tracked = np.convolve(np.random.default_rng(0).standard_normal(210), np.ones(6), "valid")
    assert measure.lag(tracked[:-3], tracked[3:], 25) == pytest.approx(0.12, abs=0.01)
    assert measure.lag(tracked[3:], tracked[3:], 25) == pytest.approx(0, abs=0.01)


def test_still_curves_do_not_correlate() -> None:
    assert measure.correlation(np.ones(9), np.arange(9.0)) == 0


# ------------------------------------------------------------------------------- other sounds


def test_variants_keep_length_over_speed() -> None:
    random = np.random.default_rng(0)
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32)
    for _ in range(20):
        varied, speed = augment.vary(tone, [tone[:4000]], random)
        assert varied.dtype == np.float32
        assert len(varied) == round(len(tone) / speed)
        assert np.isfinite(varied).all()
        assert np.abs(varied).max() <= 1.001


def test_silence_varies_to_finite_sound() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        assert np.isfinite(augment.vary(np.zeros(3200, np.float32), [], random)[0]).all()


# --------------------------------------------------------------------------- heard amid others


class Ear:
    """Hears the mean of each state's samples."""

    def encode(self, samples: np.ndarray) -> np.ndarray:
        assert len(samples) % amid.HOP == 0
        return samples.reshape(-1, amid.HOP).mean(1, keepdims=True)


def sounds(*seconds: float) -> dict[str, np.ndarray]:
    """Sounds of a constant level each, by name."""
    return {f"{i}": np.full(round(s * 16000), i + 1, np.float32) for i, s in enumerate(seconds)}


def test_each_clip_gets_its_own_states_back_from_among_others() -> None:
    played = sounds(1.2, 0.5, 2.0, 1.01, 3.0, 4.0)
    heard = amid.hear(played, dict.fromkeys(played, "a"), Ear(), seed=3, varied=False)
    assert {name: len(states) for name, (states, _) in heard.items()} == {
        name: -(-len(sound) // amid.HOP) for name, sound in played.items()
    }
    for name, (states, speed) in heard.items():
        assert (states[:-1] == int(name) + 1).all()  # the last one may hold silence
        assert speed == 1


def test_a_varied_clip_played_faster_has_fewer_states() -> None:
    played = sounds(*[1.0] * 30)
    heard = amid.hear(played, dict.fromkeys(played, "a"), Ear(), seed=1, varied=True)
    speeds = {round(speed, 3): len(states) for states, speed in heard.values()}
    assert len(speeds) > 5
    for speed, count in speeds.items():
        assert count == pytest.approx(50 / speed, abs=1)


def test_groups_hold_one_speaker_each_and_fit_the_window() -> None:
    played = sounds(*[1.3] * 20, 12.0)
    speakers = {name: "even" if int(name) % 2 == 0 else "odd" for name in played}
    found = list(amid.groups(played, speakers, np.random.default_rng(0)))
    assert sorted(name for group in found for name in group) == sorted(played)
    for group in found:
        assert len({speakers[name] for name in group}) == 1
        states = sum(len(amid.whole(played[name])) for name in group) // amid.HOP
        assert states <= amid.WINDOW or len(group) == 1


def test_speakers_count_by_the_root_of_what_they_said() -> None:
    many = [replace(example(f"{i}"), speaker="many") for i in range(16)]
    few = [replace(example(f"few{i}"), speaker="few") for i in range(4)]
    found = corpus.weights([*many, *few])
    share = found[:16].sum() / found[16:].sum()
    assert share == pytest.approx(2)  # not 4
    assert found.mean() == pytest.approx(1)


# ------------------------------------------------------------------------------- training itself


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [example(f"train__misc__{i}.mp4", i) for i in range(12)]


def test_training_learns_and_repeats_itself(examples: list[Example]) -> None:
    pytest.importorskip("torch")
    from lipwright.motion.train import evaluate, fit

    recipe = fit.Recipe(components=3, emphasis=(1.0,), hidden=24, steps=40, batch=6, **SMALL)
    basis = fit.find_basis(examples, recipe.components)

    def run() -> tuple[list[float], np.ndarray]:
        losses: list[float] = []
        net = fit.train(examples, basis, recipe, lambda step, value, average: losses.append(value))
        return losses, evaluate.predict(net, basis, examples[0])

    runs = [run(), run()]
    assert np.mean(runs[0][0][-5:]) < 0.8 * np.mean(runs[0][0][:5])
    assert runs[0][0] == runs[1][0]
    assert (runs[0][1] == runs[1][1]).all()


def test_the_linear_part_alone_finds_a_linear_mouth(examples: list[Example]) -> None:
    torch = pytest.importorskip("torch")
    from lipwright.motion.train import evaluate, fit, linear
    from lipwright.motion.train.network import MotionNet

    basis = fit.find_basis(examples, 2)
    mean, directions = linear.main_directions(examples, 40)
    seen = [fit.project(e, mean, directions) for e in examples]
    taps = linear.ridge(seen, basis)
    net = MotionNet(*(torch.from_numpy(x) for x in (mean, directions, taps)), [])
    found = evaluate.by_speaker(net, basis, [example("unseen", 99)])
    assert found["unseen"].opening > 0.9


def test_exported_motion_equals_the_trained(examples: list[Example], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from lipwright.motion.basis import Basis
    from lipwright.motion.train import export, fit
    from lipwright.weights.store import onnx_session

    recipe = fit.Recipe(components=3, hidden=24, steps=5, batch=6, **SMALL)
    basis = fit.find_basis(examples, recipe.components)
    net = fit.train(examples, basis, recipe)
    export.write_motion(net, basis, tmp_path / "motion.onnx")
    session = onnx_session(tmp_path / "motion.onnx")
    states = np.random.default_rng(0).standard_normal((1, 70, STATES)).astype(np.float32)
    (found,) = session.run(["coefficients"], {"states": states})
    with torch.no_grad():
        wanted = net(torch.from_numpy(states)).numpy()
    assert np.abs(found - wanted).max() < 1e-3 * np.abs(wanted).max()  # kept in half precision
    facts = session.get_modelmeta().custom_metadata_map
    assert int(facts["reach"]) == net.reach
    assert (Basis.from_text(facts["basis"]).components == basis.components).all()


def test_the_scorer_learns_offsets_and_exports(examples: list[Example], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from lipwright.motion.train import contrast, export
    from lipwright.weights.store import onnx_session

    losses: list[float] = []
    recipe = contrast.Contrast(hidden=(16, 16), steps=30, clips=12, moments=4)
    net = contrast.train(examples, recipe, lambda step, value, average: losses.append(value))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    kept, dropped = contrast.correct(net, examples)
    assert len(kept) + dropped == len(examples)
    export.write_scorer(net, tmp_path / "scorer.onnx")
    names = [i.name for i in onnx_session(tmp_path / "scorer.onnx").get_inputs()]
    assert names == ["states", "mouth"]
