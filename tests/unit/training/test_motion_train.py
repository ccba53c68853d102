from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.motion import metrics
from training.motion.data import augment, corpus, features, mixing, speakers
from training.motion.data.corpus import Example

from lipwright.face import canonical
from lipwright.face.landmarks import LOWER_INNER_ROWS, MOUTH

pytestmark = pytest.mark.model  # slow

STATES = 1024
SMALL = {"directions": 40, "noise": 0.1, "dropout": 0.1, "rate": 3e-3}


def example(name: str, seed: int = 0, seconds: float = 1.6, rate: float = 25.0) -> Example:
    """A mouth that opens with the first speech states, plus noise."""
    random = np.random.default_rng(seed)
    count = round(seconds * 50)
    loud = np.convolve(random.standard_normal(count + 8), np.ones(9) / 3, "valid")
    states = 0.1 * random.standard_normal((count, STATES))
    states[:, :32] += loud[:, None]
    times = np.arange(round(seconds * rate)) / rate
    gap = np.interp(times, (np.arange(count) + 0.5) / 50, loud) * 0.01
    mouth = np.repeat(canonical.reference_face()[None, MOUTH], len(times), 0)
    mouth[:, LOWER_INNER_ROWS, 1] += gap[:, None]
    return Example(
        name=name,
        times=times,
        mouth=(mouth + 1e-4 * random.standard_normal(mouth.shape)).astype(np.float32),
        states=states.astype(np.float16),
        speaker=name,
    )


def face(count: int, shift: np.ndarray | None = None) -> np.ndarray:
    """Landmarks (count, 478, 3) in pixels of the reference face, moved by shift (count, 2)."""
    points = np.repeat(canonical.reference_face()[None] * 80, count, 0)
    if shift is not None:
        points[:, :, :2] += shift[:, None]
    return points.astype(np.float32)


# ------------------------------------------------------------------------------- corpus


def test_runs_end_where_the_face_is_lost_or_jumps() -> None:
    landmarks = face(60, np.where(np.arange(60) < 35, 0, 90)[:, None] * np.ones(2))
    landmarks[10:12] = np.nan
    runs = [(r.start, r.stop) for r in corpus.continuous_runs(landmarks)]
    assert runs == [(0, 10), (12, 35), (35, 60)]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("train__misc__a.mp4", {}, "used"),
        ("train__misc__3_hq.mp4", {}, "same person as in the test clips"),
        ("train__misc__a.mp4", {"states": np.zeros((0, STATES), np.float16)}, "no sound"),
        ("train__misc__a.mp4", {"landmarks": face(9)}, "face lost or cut"),
    ],
)
def test_clips_are_left_out_for_a_reason(name: str, change: dict, reason: str) -> None:
    assert corpus.usable_examples(clip(name, 40, **change))[1] == reason


def clip(name: str, frames: int, **change: np.ndarray) -> features.Clip:
    facts = {
        "landmarks": face(frames),
        "times": np.arange(frames) / 25,
        "states": np.zeros((2 * frames, STATES), np.float16),
        "portrait": np.zeros((48, 48, 3), np.uint8),
    }
    return features.Clip(name=name, **{**facts, **change})


def turned(frames: int, degrees: float) -> np.ndarray:
    """Landmarks of the reference face, its head turned."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return (face(frames) @ turn).astype(np.float32)


def cut(frames: int) -> np.ndarray:
    """Landmarks of a face that is elsewhere after every eighth frame."""
    return face(frames, 90.0 * (np.arange(frames) // 8)[:, None] * np.ones(2))


def lost(frames: int) -> np.ndarray:
    """Landmarks of which the tracker makes a mouth at another place half of the time."""
    landmarks = face(frames)
    landmarks[frames // 2 :, MOUTH, 0] += 100
    return landmarks


def test_load_examples_counts_clips_by_reason(tmp_path: Path) -> None:
    for made in (
        clip("train__misc__good.mp4", 40),
        clip("train__misc__dumb.mp4", 40, states=np.zeros((0, STATES), np.float16)),
        clip("train__misc__cut.mp4", 40, landmarks=cut(40)),
        clip("train__misc__turned.mp4", 40, landmarks=turned(40, 60)),
        clip("train__misc__lost.mp4", 40, landmarks=lost(40)),
        clip("train__misc__3_hq.mp4", 40),
        clip("eval__other.mp4", 40),
    ):
        features.save_clip(made, tmp_path)
    examples, reasons = corpus.load_examples(tmp_path)
    assert [e.name for e in examples] == ["train__misc__good.mp4"]
    assert reasons == Counter(
        {
            "used": 1,
            "no sound": 1,
            "face lost or cut": 1,
            "face turned away": 1,
            "implausible mouth": 1,
            "same person as in the test clips": 1,
        }
    )


def test_test_clips_are_not_in_training_and_may_show_turned_heads(tmp_path: Path) -> None:
    features.save_clip(clip("train__misc__a.mp4", 40), tmp_path)
    features.save_clip(clip("eval__b.mp4", 40, landmarks=turned(40, 60)), tmp_path)
    features.save_clip(clip("eval__brief.mp4", corpus.MIN_FRAMES - 1), tmp_path)
    assert [e.name for e in corpus.load_test_examples(tmp_path, ("clips", "eval"))] == [
        "eval__b.mp4"
    ]
    assert [e.name for e in corpus.load_examples(tmp_path)[0]] == ["train__misc__a.mp4"]


def test_clips_round_trip_through_the_cache(tmp_path: Path) -> None:
    saved = clip("train__misc__a.mp4", 3)
    features.save_clip(saved, tmp_path)
    again = features.load_clip(tmp_path / "train__misc__a.mp4.npz")
    assert again.name == saved.name
    assert (again.landmarks == saved.landmarks).all()


# ------------------------------------------------------------------------------- speakers


def test_clusters_hold_one_person_each_and_nest() -> None:
    pytest.importorskip("scipy")
    random = np.random.default_rng(0)
    centres = 10 * random.standard_normal((6, 30))
    who = random.integers(0, 6, 200)
    points = centres[who] + random.standard_normal((200, 30))
    labels, coarse = speakers.cluster(points, (6, 3))
    assert len(set(zip(labels.tolist(), who.tolist(), strict=True))) == 6
    assert len(set(zip(labels.tolist(), coarse.tolist(), strict=True))) == 6
    assert labels[0] == coarse[0] == 0


def test_held_out_branches_hold_about_the_wanted_share() -> None:
    branches = np.random.default_rng(0).integers(0, 12, 500)
    held = speakers.choose_held_out(branches)
    share = np.isin(branches, list(held)).mean()
    assert 0.08 < share < 0.2


# ------------------------------------------------------------------------------- metrics


def test_lag_is_positive_when_the_prediction_is_late() -> None:
    tracked = np.convolve(np.random.default_rng(0).standard_normal(210), np.ones(6), "valid")
    assert metrics.estimate_lag(tracked[:-3], tracked[3:], 25) == pytest.approx(0.12, abs=0.01)
    assert metrics.estimate_lag(tracked[3:], tracked[3:], 25) == pytest.approx(0, abs=0.01)


def test_correlation_with_a_constant_curve_is_zero() -> None:
    assert metrics.correlation(np.ones(9), np.arange(9.0)) == 0


# ------------------------------------------------------------------------------- augmentation


def test_length_of_variants_follows_their_speed() -> None:
    random = np.random.default_rng(0)
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32)
    for _ in range(20):
        varied, speed = augment.augment_sound(tone, [tone[:4000]], random)
        assert varied.dtype == np.float32
        assert len(varied) == round(len(tone) / speed)
        assert np.isfinite(varied).all()
        assert np.abs(varied).max() <= 1.001


def test_augmented_silence_is_finite() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        assert np.isfinite(augment.augment_sound(np.zeros(3200, np.float32), [], random)[0]).all()


# ------------------------------------------------------------------------------- sound in context


class FakeEncoder:
    """Encodes each state as the mean of its samples."""

    def encode(self, samples: np.ndarray) -> np.ndarray:
        assert len(samples) % mixing.HOP == 0
        return samples.reshape(-1, mixing.HOP).mean(1, keepdims=True)


def sounds(*seconds: float) -> dict[str, np.ndarray]:
    """Sounds of a constant level each, by name."""
    return {f"{i}": np.full(round(s * 16000), i + 1, np.float32) for i, s in enumerate(seconds)}


def test_each_clip_gets_its_own_states_from_the_joined_sound() -> None:
    played = sounds(1.2, 0.5, 2.0, 1.01, 3.0, 4.0)
    encoded = mixing.encode_in_context(
        played, dict.fromkeys(played, "a"), FakeEncoder(), seed=3, varied=False
    )
    assert {name: len(states) for name, (states, _) in encoded.items()} == {
        name: -(-len(sound) // mixing.HOP) for name, sound in played.items()
    }
    for name, (states, speed) in encoded.items():
        assert (states[:-1] == int(name) + 1).all()  # the last one may hold silence
        assert speed == 1


def test_faster_clips_have_fewer_states() -> None:
    played = sounds(*[1.0] * 30)
    encoded = mixing.encode_in_context(
        played, dict.fromkeys(played, "a"), FakeEncoder(), seed=1, varied=True
    )
    speeds = {round(speed, 3): len(states) for states, speed in encoded.values()}
    assert len(speeds) > 5
    for speed, count in speeds.items():
        assert count == pytest.approx(50 / speed, abs=1)


def test_groups_hold_one_speaker_each_and_fit_the_window() -> None:
    played = sounds(*[1.3] * 20, 12.0)
    speakers = {name: "even" if int(name) % 2 == 0 else "odd" for name in played}
    found = list(mixing.group_by_speaker(played, speakers, np.random.default_rng(0)))
    assert sorted(name for group in found for name in group) == sorted(played)
    for group in found:
        assert len({speakers[name] for name in group}) == 1
        states = sum(len(mixing.pad_to_state(played[name])) for name in group) // mixing.HOP
        assert states <= mixing.WINDOW or len(group) == 1


def test_speaker_weight_is_the_square_root_of_their_length() -> None:
    many = [replace(example(f"{i}"), speaker="many") for i in range(16)]
    few = [replace(example(f"few{i}"), speaker="few") for i in range(4)]
    found = corpus.speaker_weights([*many, *few])
    share = found[:16].sum() / found[16:].sum()
    assert share == pytest.approx(2)  # not 4
    assert found.mean() == pytest.approx(1)


# ------------------------------------------------------------------------------ learning curve


def crowd(count: int, clips: int = 4) -> list[Example]:
    return [
        replace(example(f"{who}_{i}", seed=10 * who + i), speaker=f"{who}")
        for who in range(count)
        for i in range(clips)
    ]


def test_task_selects_all_clips_of_some_speakers_or_some_clips_of_all() -> None:
    pytest.importorskip("torch")
    from training.motion import learning_curve

    examples = crowd(6)
    few = learning_curve.select_examples(
        examples, learning_curve.TrainingTask(speakers=2, share=1.0, draw=0)
    )
    assert len({e.speaker for e in few}) == 2
    assert len(few) == 8
    again = learning_curve.select_examples(
        examples, learning_curve.TrainingTask(speakers=2, share=1.0, draw=0)
    )
    assert [e.name for e in again] == [e.name for e in few]
    draws = [
        learning_curve.select_examples(
            examples, learning_curve.TrainingTask(speakers=2, share=1.0, draw=d)
        )
        for d in range(4)
    ]
    assert len({tuple(e.name for e in draw) for draw in draws}) > 1
    half = learning_curve.select_examples(
        examples, learning_curve.TrainingTask(speakers=6, share=0.5, draw=0)
    )
    assert Counter(e.speaker for e in half) == Counter({f"{i}": 2 for i in range(6)})


def test_power_law_is_recovered_from_its_points() -> None:
    pytest.importorskip("torch")
    from training.motion import learning_curve

    counts = [4, 8, 16, 28, 40]
    for exponent in learning_curve.EXPONENTS:
        true = learning_curve.PowerLaw(ceiling=0.8, deficit=0.5, exponent=exponent)
        found = learning_curve.fit_power_law(counts, [true.at(n) for n in counts], exponent)
        assert found.at(200) == pytest.approx(true.at(200), abs=1e-6)
        steep = learning_curve.fit_power_law(counts, [0.1 * n for n in range(1, 6)], exponent)
        assert steep.ceiling <= 1


def test_learning_curve_resumes_where_it_stopped(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from training.motion import learning_curve, train_motion
    from training.motion.network import MotionNet

    examples = crowd(5, 3)
    test_examples = [
        example(f"{s}__{i}", 90 + i, seconds=2.4) for s in metrics.TEST_SETS for i in range(2)
    ]
    trained: list[int] = []

    def train(chosen: list[Example]) -> tuple[MotionNet, train_motion.Basis]:
        trained.append(len(chosen))
        basis = train_motion.fit_basis(chosen, 2)
        recipe = train_motion.Recipe(directions=40, emphasis=())
        return train_motion.train(chosen, [], basis, recipe), basis

    path = tmp_path / "curve.jsonl"
    points = learning_curve.measure_curve(examples, test_examples, train, path)
    assert len(points) == len(trained) == len(list(learning_curve.plan_tasks(5)))
    assert points[-1].scores["eval opening"] > 0.9
    assert trained[-1] == len(examples)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    again = learning_curve.measure_curve(examples, test_examples, train, path)
    assert again == points
    assert len(trained) == len(points) + 1
    assert [json.loads(line)["speakers"] for line in path.read_text().splitlines()]
    lines = list(learning_curve.format_table(points))
    assert len({line.count("|") for line in lines}) == 1


def test_chart_shows_each_point_of_each_set_and_measure(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    from training.motion import chart, learning_curve

    keys = [f"{s} {m}" for s in metrics.TEST_SETS for m in metrics.MEASURES]
    points = [
        learning_curve.CurvePoint(
            **vars(task), seconds=60.0, scores=dict.fromkeys(keys, 0.7 - 0.5 / task.speakers)
        )
        for task in learning_curve.plan_tasks(40)
    ]
    chart.draw_chart(points, tmp_path / "curve.svg")
    picture = ElementTree.parse(tmp_path / "curve.svg")
    whole = sum(p.share == 1 for p in points)
    for kind, count in ((chart.DRAWS, whole), (chart.SHARES, len(points) - whole)):
        for key in keys:
            marks = picture.findall(f".//*[@id='{kind} {key}']//{{http://www.w3.org/2000/svg}}use")
            assert len(marks) == count


# ------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [example(f"train__misc__{i}.mp4", i) for i in range(12)]


def test_training_lowers_the_loss_and_is_reproducible(examples: list[Example]) -> None:
    pytest.importorskip("torch")
    from training.motion import evaluate, train_motion

    recipe = train_motion.Recipe(
        components=3, emphasis=(1.0,), hidden=24, steps=40, batch=6, **SMALL
    )
    basis = train_motion.fit_basis(examples, recipe.components)

    def run() -> tuple[list[float], np.ndarray]:
        losses: list[float] = []
        net = train_motion.train(
            examples, [], basis, recipe, lambda step, value, average: losses.append(value)
        )
        return losses, evaluate.predict(net, basis, examples[0])

    runs = [run(), run()]
    assert np.mean(runs[0][0][-5:]) < 0.8 * np.mean(runs[0][0][:5])
    assert runs[0][0] == runs[1][0]
    assert (runs[0][1] == runs[1][1]).all()


def test_linear_filter_alone_predicts_a_linear_mouth(examples: list[Example]) -> None:
    pytest.importorskip("torch")
    from training.motion import evaluate, train_motion

    basis = train_motion.fit_basis(examples, 2)
    net = train_motion.train(examples, [], basis, train_motion.Recipe(directions=40, emphasis=()))
    assert not net.members
    found = evaluate.evaluate_by_speaker(net, basis, [example("unseen", 99)])
    assert found["unseen"].opening > 0.9


def test_each_filter_uses_one_layer_and_has_half_the_weight(examples: list[Example]) -> None:
    pytest.importorskip("torch")
    from training.motion import linear_filter, train_motion

    basis = train_motion.fit_basis(examples, 2)
    directions, taps = linear_filter.fit_by_layer(examples, basis, 40)
    assert directions.shape == (STATES, 80)
    assert taps.shape[:2] == (2, 80)
    half = STATES // 2
    assert not directions[:half, 40:].any()
    assert not directions[half:, :40].any()
    deaf = [
        replace(e, states=np.where(np.arange(STATES) < half, e.states, 0).astype(np.float16))
        for e in examples
    ]
    alone = linear_filter.fit_by_layer(deaf, basis, 40)[1]
    # What layer 4 holds changes nothing of the filter that sees layer 2.
    assert np.allclose(alone[:, :40], taps[:, :40], atol=1e-5)
    assert np.allclose(alone[:, 40:], 0, atol=1e-5)
    assert np.abs(taps[:, :40]).max() > 1e-3


def test_exported_motion_equals_the_trained_network(
    examples: list[Example], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.motion import export, train_motion

    from lipwright.motion.basis import Basis
    from lipwright.weights.store import onnx_session

    recipe = train_motion.Recipe(components=3, hidden=24, steps=5, batch=6, **SMALL)
    basis = train_motion.fit_basis(examples, recipe.components)
    net = train_motion.train(examples, [], basis, recipe)
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


def test_scorer_trains_and_exports(examples: list[Example], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.motion import export, train_scorer

    from lipwright.weights.store import onnx_session

    losses: list[float] = []
    recipe = train_scorer.ScorerRecipe(hidden=(16, 16), steps=30, clips=12, moments=4)
    net = train_scorer.train(examples, recipe, lambda step, value, average: losses.append(value))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    kept, dropped = train_scorer.assign_offsets(net, examples)
    assert len(kept) + dropped == len(examples)
    export.write_scorer(net, tmp_path / "scorer.onnx")
    names = [i.name for i in onnx_session(tmp_path / "scorer.onnx").get_inputs()]
    assert names == ["states", "mouth"]


# ------------------------------------------------------------------------------- finetuning


def encoded_sound(seconds: float):
    """A sound, and its window as encoded by layer 2."""
    from training.motion import finetune

    from lipwright.weights.store import WeightStore, onnx_session

    sound = np.random.default_rng(1).normal(0, 0.1, round(16000 * seconds)).astype(np.float32)
    session = onnx_session(WeightStore().path("whisper_base_encoder"))
    return sound, finetune.encode_window(session, sound)


def test_untrained_adapters_leave_the_encoder_unchanged(examples: list[Example]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.motion import finetune, train_motion

    from lipwright.speech.encoder import SpeechEncoder

    sound, encoded = encoded_sound(1.3)
    basis = train_motion.fit_basis(examples, 3)
    net = finetune.build_net(
        examples, basis, finetune.FinetuneRecipe(components=3, directions=40, hidden=8)
    ).eval()
    with torch.no_grad():
        found = net.states(encoded).numpy()
    assert np.abs(found - SpeechEncoder().encode(sound)).max() < 0.05  # kept in half precision
    with torch.no_grad():
        alone = net(net.states(encoded)).numpy()
    assert np.allclose(finetune.predict_coefficients(net, [encoded]), alone, atol=1e-5)
    assert alone.shape == (65, 3)


def test_adapters_are_trained_with_the_network(examples: list[Example]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from training.motion import finetune, train_motion

    _, encoded = encoded_sound(2.0)
    clips = (finetune.WindowClip(name=examples[0].name, start=10, stop=90, speed=1.0),)
    windows = [finetune.TrainingWindow(encoded=encoded, clips=clips, speaker=examples[0].speaker)]
    basis = train_motion.fit_basis(examples, 3)
    losses: list[float] = []
    recipe = finetune.FinetuneRecipe(components=3, hidden=16, steps=40, windows=1, rank=2, **SMALL)
    net = finetune.finetune(
        examples, windows, basis, recipe, lambda step, value, _: losses.append(value)
    )
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    changes = [p for name, p in net.layers.named_parameters() if name.endswith("up")]
    assert all(float(p.detach().abs().max()) > 0 for p in changes)
    with torch.no_grad():
        assert np.isfinite(net(net.states(encoded)).numpy()).all()


def test_segments_lie_inside_their_clip(examples: list[Example]) -> None:
    pytest.importorskip("torch")
    from training.motion import finetune

    example = replace(examples[0], offset=0.1)
    encoded = finetune.EncodedWindow(
        raw=np.zeros((400, 512), np.float16), count=350, sinks=(np.zeros(0, np.int64),) * 4
    )
    clip = finetune.WindowClip(name=example.name, start=100, stop=160, speed=1.25)
    window = finetune.TrainingWindow(encoded=encoded, clips=(clip,), speaker="")
    target = np.arange(len(example.times), dtype=np.float32)[:, None]
    runs = {example.name: [(example, target)]}
    ((taps, weights, found),) = finetune.sample_segments(window, runs, np.random.default_rng(0))
    at = ((taps + 0.5) / 50 * weights).sum(1)
    expected = (example.times[found[:, 0].astype(int)] + 0.1) / 1.25 + 2.0
    assert np.abs(at - expected).max() < finetune.JITTER + 1e-6
    assert at.max() < 3.2
    short = replace(clip, stop=110)
    assert not list(
        finetune.sample_segments(replace(window, clips=(short,)), runs, np.random.default_rng(0))
    )
