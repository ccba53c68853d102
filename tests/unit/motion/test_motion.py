from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipwright.face import shape
from lipwright.motion import resampling as curve
from lipwright.motion import silence as rest
from lipwright.motion import sync_scorer as scorer
from lipwright.motion.animate import part_lips, perform
from lipwright.motion.basis import Basis, mirror, principal, twins
from lipwright.motion.model import MotionModel, blocks
from lipwright.motion.speaking_style import MOST_GAIN, fit
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import SpeechEncoder


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return MotionModel()


@pytest.fixture(scope="module")
def states() -> np.ndarray:
    """Speech-like states (900, 1024): smooth noise."""
    noise = np.random.default_rng(0).standard_normal((920, 1024)).astype(np.float32)
    return np.stack([noise[i : i + 8].mean(0) for i in range(900)])


def mouths(basis: Basis, coefficients: np.ndarray) -> np.ndarray:
    return shape.reference()[shape.MOUTH] + basis.shapes(coefficients)


def wave(count: int, size: int) -> np.ndarray:
    """Lively coefficients (count, size)."""
    t = np.arange(count)[:, None] / 25
    return np.sin(t * np.linspace(9, 23, size) + np.arange(size)).astype(np.float32)


# ------------------------------------------------------------------------------- curves in time


@given(st.integers(1, 60), st.lists(st.floats(-1, 3), min_size=1, max_size=20))
def test_taps_lie_inside_and_weigh_one_in_all(count: int, times: list[float]) -> None:
    indices, weights = curve.taps(count, np.array(times))
    assert indices.min() >= 0
    assert indices.max() < count
    assert weights.sum(1) == pytest.approx(1, abs=1e-5)


def test_reading_keeps_straight_lines_and_holds_the_ends() -> None:
    line = np.arange(50, dtype=np.float32)[:, None] * 2
    times = np.linspace(0.05, 0.9, 33)
    assert curve.read(line, times)[:, 0] == pytest.approx((times * 50 - 0.5) * 2, abs=1e-3)
    ends = curve.read(line, np.array([-1.0, 0.0, 1.0, 9.0]))[:, 0]
    assert ends == pytest.approx([0, 0, 98, 98])


def test_reading_at_the_states_gives_the_states() -> None:
    values = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    assert np.allclose(curve.read(values, curve.centres(20)), values, atol=1e-5)


def test_an_empty_curve_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="empty"):
        curve.read(np.zeros((0, 3), np.float32), np.array([0.0]))


# ------------------------------------------------------------------------------- blocks


@given(
    st.lists(st.integers(0, 40), max_size=8),
    st.integers(0, 9),
    st.integers(1, 25),
)
def test_blocks_cover_each_state_once_with_its_surroundings(
    lengths: list[int], reach: int, size: int
) -> None:
    total = sum(lengths)
    whole = np.arange(total, dtype=np.float32)[:, None]
    pieces = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    held = np.clip(np.arange(-reach, total + reach), 0, max(total - 1, 0))
    found = []
    for block in blocks(pieces, reach, size):
        count = len(block) - 2 * reach
        assert 1 <= count <= size
        start = len(found)
        assert (block[:, 0] == held[start : start + len(block)]).all()
        found += block[reach : reach + count, 0].tolist()
    assert found == whole[:, 0].tolist()


# ------------------------------------------------------------------------------- basis


def test_twins_are_each_others_mirror_image() -> None:
    assert (twins()[twins()] == np.arange(61)).all()
    face = shape.reference()[None, shape.MOUTH]
    assert np.allclose(mirror(mirror(face)), face)


def test_principal_directions_are_symmetric_and_ordered() -> None:
    moved = np.random.default_rng(0).standard_normal((300, 61, 3)).astype(np.float32)
    found = principal(moved, 5)
    assert np.allclose(mirror(found), found, atol=1e-4)
    sizes = np.linalg.norm(found.reshape(5, -1), axis=1)
    assert (np.diff(sizes) <= 1e-6).all()


def test_basis_survives_its_text_and_inverts(model: MotionModel) -> None:
    basis = model.basis
    again = Basis.from_text(basis.to_text())
    for name, value in vars(basis).items():
        assert np.all(getattr(again, name) == np.float32(value))
    wanted = wave(30, basis.size)
    assert np.allclose(basis.coefficients(basis.shapes(wanted)), wanted, atol=1e-3)


# ------------------------------------------------------------------------------- the network


def test_windowed_prediction_has_no_seam(model: MotionModel, states: np.ndarray) -> None:
    long = np.tile(states, (3, 1))  # 54 s: several blocks
    whole = model.articulate(long)
    assert whole.shape == (len(long), model.basis.size)
    cut = model.articulate(long[i : i + 37] for i in range(0, len(long), 37))
    assert np.abs(cut - whole).max() < 1e-4
    # Away from the ends, a stretch heard alone moves the mouth as it does within the whole.
    alone = model.articulate(long[900:1800])
    assert np.abs(alone[100:800] - whole[1000:1700]).max() < 1e-4


@pytest.mark.parametrize("rate", [10, 24000 / 1001, 25, 30, 50, 120])
def test_any_rate_shows_the_same_motion(
    model: MotionModel, states: np.ndarray, rate: float
) -> None:
    times = np.arange(0, 18, 1 / rate)
    moved = model.predict(states, times)
    assert moved.shape == (len(times), 61, 3)
    assert moved.dtype == np.float32
    dense = model.predict(states, np.arange(0, 18, 0.001))
    assert np.abs(moved - dense[np.minimum((times * 1000).round().astype(int), 17999)]).max() < 0.02


def test_no_speech_gives_no_motion(model: MotionModel) -> None:
    assert model.articulate(np.zeros((0, 1024), np.float32)).shape == (0, model.basis.size)
    assert model.articulate([]).shape == (0, model.basis.size)


def test_one_state_is_enough(model: MotionModel, states: np.ndarray) -> None:
    assert model.predict(states[:1], np.array([0.0, 0.02])).shape == (2, 61, 3)


# ------------------------------------------------------------------------------- style


def test_style_takes_over_the_speakers_range(model: MotionModel) -> None:
    basis = model.basis
    prediction = wave(500, basis.size) / 2
    lively = fit(basis, mouths(basis, 1.4 * wave(400, basis.size)), prediction)
    quiet = fit(basis, mouths(basis, 0.7 * wave(400, basis.size)), prediction)
    assert lively.gain > 1.5 * quiet.gain
    assert "own range" in lively.text
    assert lively.gain <= MOST_GAIN


def shaped(basis: Basis, coefficients: np.ndarray, times: float) -> np.ndarray:
    """The same with what does not open the mouth as many times as large."""
    opening = (coefficients @ basis.opening)[:, None] * basis.opener
    return opening + times * (coefficients - opening)


def test_style_takes_over_how_far_the_mouth_is_shaped_apart_from_its_opening(
    model: MotionModel,
) -> None:
    basis, spoken = model.basis, wave(400, model.basis.size)
    prediction = shaped(basis, wave(500, basis.size), 0.7)
    plain = fit(basis, mouths(basis, spoken), prediction)
    lively = fit(basis, mouths(basis, shaped(basis, spoken, 1.4)), prediction)
    assert lively.gain == pytest.approx(plain.gain, rel=0.02)
    assert lively.shaping > 1.1 * plain.shaping
    open_lips = np.zeros(len(prediction), np.float32)
    a, b = (s.bring(basis, prediction, open_lips) for s in (plain, lively))
    assert ((b - b.mean(0)) @ basis.width).std() > 1.1 * ((a - a.mean(0)) @ basis.width).std()
    gain = (lively.gain / plain.gain) * ((a - a.mean(0)) @ basis.opening)
    assert (b - b.mean(0)) @ basis.opening == pytest.approx(gain, abs=1e-4)


def test_pursed_lips_that_close_are_shaped_as_little_as_they_are_opened(
    model: MotionModel,
) -> None:
    basis = model.basis
    style = replace(
        fit(basis, mouths(basis, wave(400, basis.size)), wave(500, basis.size)),
        gain=1.0,
        shaping=1.5,
        bias=np.zeros(basis.size, np.float32),
        centre=np.zeros(basis.size, np.float32),
    )
    wide = 3 * shaped(basis, basis.width[None] / np.linalg.norm(basis.width), 1.0)
    wide -= (wide @ basis.opening)[:, None] * basis.opener
    both = np.concatenate([wide, -wide]).astype(np.float32)
    apart, together = (style.bring(basis, both, np.full(2, c, np.float32)) for c in (0, 1))
    assert together[0] == pytest.approx(apart[0])  # wide lips meet
    assert together[1] == pytest.approx(both[1], abs=1e-4)
    assert apart[1] == pytest.approx(1.5 * both[1], abs=1e-4)


def test_a_mouth_that_never_moved_gets_the_typical_range(model: MotionModel) -> None:
    basis = model.basis
    still = np.repeat(mouths(basis, basis.rest[None]), 100, 0)
    style = fit(basis, still, wave(500, basis.size))
    assert "typical" in style.text
    assert style.rest == pytest.approx(0, abs=1e-3)
    # Speech is centred on an opener mouth than the closed one that was seen.
    opened = shape.opening(style.mean + basis.shapes(style.centre[None]))
    assert opened > shape.opening(still[:1])


def test_frames_without_a_face_do_not_count(model: MotionModel) -> None:
    basis = model.basis
    seen = mouths(basis, wave(60, basis.size))
    gaps = np.concatenate([np.full((40, 61, 3), np.nan, np.float32), seen])
    prediction = wave(500, basis.size)
    a, b = fit(basis, seen, prediction), fit(basis, gaps, prediction)
    assert a.gain == b.gain
    assert np.allclose(a.mean, seen.mean(0), atol=1e-5)


def test_a_mouth_never_seen_has_no_style(model: MotionModel) -> None:
    with pytest.raises(ValueError, match="not seen"):
        fit(model.basis, np.full((9, 61, 3), np.nan, np.float32), wave(9, model.basis.size))


# ------------------------------------------------------------------------------- pauses


def speech(*seconds: float) -> np.ndarray:
    """Activity that is 1, 0, 1, … for so many seconds each."""
    return np.concatenate(
        [np.full(round(s * 50), 1.0 - i % 2, np.float32) for i, s in enumerate(seconds)]
    )


def test_short_gaps_are_no_pauses() -> None:
    assert rest.presence(speech(1, 0.16, 1)) == pytest.approx(1, abs=1e-6)
    assert rest.speaking(speech(1, 0.16, 1)).all()


def test_long_pauses_come_to_rest_and_stay() -> None:
    share = rest.presence(speech(1, 1, 1))
    assert share[:40] == pytest.approx(1, abs=1e-5)
    assert share[65:85] == pytest.approx(0, abs=1e-6)
    assert np.abs(np.diff(share)).max() < 0.25
    assert (rest.speaking(speech(1, 1, 1)) == (speech(1, 1, 1) > 0)).all()


def test_the_longer_the_pause_the_calmer() -> None:
    least = [rest.presence(speech(1, pause, 1)).min() for pause in (0.2, 0.3, 0.4, 0.5, 0.7)]
    assert least == sorted(least, reverse=True)
    assert least[0] == pytest.approx(1)
    assert least[-1] == pytest.approx(0, abs=1e-6)


def test_clicks_are_no_speech() -> None:
    quiet = np.zeros(200, np.float32)
    quiet[100:102] = 1
    assert (rest.presence(quiet) == 0).all()


def test_what_never_surely_is_speech_is_none() -> None:
    breath = np.zeros(300, np.float32)
    breath[120:150] = 0.45  # as breath and music are taken for
    assert (rest.presence(breath) == 0).all()
    unsure_end = breath + 0
    unsure_end[105:122] = 0.95  # the same, as the end of a word
    assert rest.presence(unsure_end)[115:145].min() > 0.99


def noise(seed: int, seconds: float, low: float, high: float) -> np.ndarray:
    """Noise between two frequencies, loudest 1."""
    count = round(seconds * 16000)
    hertz = np.fft.rfftfreq(count, 1 / 16000)
    random = np.random.default_rng(seed)
    spectrum = random.standard_normal(len(hertz)) + 1j * random.standard_normal(len(hertz))
    sound = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), count)
    return (sound / np.abs(sound).max()).astype(np.float32)


def breaths() -> np.ndarray:
    one = 0.08 * noise(0, 0.6, 300, 5000) * np.hanning(9600)
    return np.tile(np.concatenate([one, np.zeros(8000)]), 5).astype(np.float32)


def melody() -> np.ndarray:
    t = np.arange(5600) / 16000
    tones = [
        sum(np.sin(2 * np.pi * f * h * t) / h for h in range(1, 7)) * np.exp(-4 * t)
        for f in (262, 330, 392, 523, 440, 349, 392, 330, 294, 262)
    ]
    return (0.1 * np.concatenate(tones)).astype(np.float32)


def clicks() -> np.ndarray:
    out = np.zeros(64000, np.float32)
    for start in range(3000, 60000, 3700):
        out[start : start + 80] = (
            0.3 * noise(start, 80 / 16000, 0, 8000) * np.exp(-np.arange(80) / 15)
        )
    return out


@pytest.mark.parametrize(
    "sound",
    [breaths(), melody(), clicks(), 0.1 * noise(1, 4, 50, 7000)],
    ids=["breaths", "melody", "clicks", "noise"],
)
def test_the_mouth_does_not_chatter_to_what_is_no_speech(
    model: MotionModel, sound: np.ndarray
) -> None:
    basis = model.basis
    prediction = model.articulate(SpeechEncoder().encode(sound))
    style = fit(basis, mouths(basis, wave(200, basis.size)), prediction)
    spoken = perform(basis, style, prediction, speech_activity(sound))
    moved = spoken.at(np.arange(0, len(sound) / 16000, 1 / 25))
    assert np.abs(np.diff(moved, axis=0)).max() < 1e-3


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1, width=32), max_size=80))
def test_presence_is_a_share(values: list[float]) -> None:
    share = rest.presence(np.array(values, np.float32))
    assert share.shape == (len(values),)
    assert ((share >= -1e-6) & (share <= 1 + 1e-6)).all()


# ------------------------------------------------------------------------------- performance


def test_the_mouth_is_calm_in_a_pause(model: MotionModel) -> None:
    basis = model.basis
    prediction = wave(300, basis.size) / 2
    style = fit(basis, mouths(basis, wave(200, basis.size)), prediction)
    spoken = perform(basis, style, prediction, speech(2, 2, 2))
    moved = style.mean + spoken.at(np.arange(0, 6, 1 / 25))
    pause, talk = moved[60:90], moved[5:45]
    assert np.abs(np.diff(pause, axis=0)).max() < 1e-4
    assert np.abs(np.diff(talk, axis=0)).max() > 0.005
    assert shape.opening(pause).max() < shape.opening(talk).mean()


def test_lengths_must_agree(model: MotionModel) -> None:
    basis = model.basis
    style = fit(basis, mouths(basis, wave(50, basis.size)), wave(50, basis.size))
    with pytest.raises(ValueError, match="50 Hz"):
        perform(basis, style, wave(50, basis.size), np.ones(49, np.float32))
    with pytest.raises(ValueError, match="at least one"):
        perform(basis, style, wave(0, basis.size), np.ones(0, np.float32))


def test_an_hour_is_performed_in_little_memory_and_without_a_seam(model: MotionModel) -> None:
    basis, count = model.basis, 3600 * 50
    prediction = np.tile(wave(1000, basis.size) / 2, (count // 1000, 1))
    activity = np.tile(speech(12, 1, 6, 1), count // 1000)
    style = fit(basis, mouths(basis, wave(200, basis.size)), prediction, rest.speaking(activity))
    tracemalloc.start()
    hour = perform(basis, style, prediction, activity)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert hour.coefficients.nbytes < 10e6
    assert peak < 100e6
    # A stretch of it, performed alone, moves as within the hour away from its ends.
    part = slice(50_000, 53_000)
    alone = perform(basis, style, prediction[part], activity[part])
    assert np.allclose(alone.coefficients[100:-100], hour.coefficients[part][100:-100], atol=1e-4)


def test_lips_touch_but_do_not_cross(model: MotionModel) -> None:
    mouth = mouths(model.basis, 3 * wave(100, model.basis.size))
    parted = part_lips(mouth, 0.0)
    gap = parted[:, shape.LOWER_INNER, 1] - parted[:, shape.UPPER_INNER, 1]
    assert gap.min() > -1e-6
    assert (part_lips(parted, 0.0) == parted).all()
    crossed = mouth[:, shape.LOWER_INNER, 1] < mouth[:, shape.UPPER_INNER, 1]
    assert crossed.any()


# ------------------------------------------------------------------------------- scorer


@pytest.mark.parametrize("late", [-4.0, 0.0, 2.5, 3.3])
def test_match_finds_by_how_much_the_sound_is_late(late: float) -> None:
    noise = np.random.default_rng(0).standard_normal((408, 64))
    voice = np.stack([noise[i : i + 9].mean(0) for i in range(400)])
    voice /= np.linalg.norm(voice, axis=1, keepdims=True)
    voice = voice.astype(np.float32)
    times = (np.arange(30, 150) + 0.5) / 25
    found = scorer.best(scorer.match(curve.read(voice, times + late / 25), times, voice))
    assert found.offset == pytest.approx(late, abs=0.1)
    assert found.confidence > 0.9
    assert found.at(late) == pytest.approx(found.confidence, abs=0.05)


def test_scorer_takes_gaps_and_any_rate() -> None:
    net = scorer.SyncScorer()
    random = np.random.default_rng(0)
    mouth = shape.reference()[shape.MOUTH] + 0.02 * random.standard_normal((90, 61, 3))
    mouth = mouth.astype(np.float32)
    mouth[20:30] = np.nan
    states = random.standard_normal((150, 1024)).astype(np.float32)
    found = net.offset(mouth, np.arange(90) / 30, states)
    assert np.isfinite(found.scores).all()
    assert -1 <= found.confidence <= 1
    again = net.offset(mouth, np.arange(90) / 30, states)
    assert (again.scores == found.scores).all()


def test_nothing_to_compare_scores_nothing() -> None:
    net = scorer.SyncScorer()
    unseen = np.full((30, 61, 3), np.nan, np.float32)
    assert net.offset(unseen, np.arange(30) / 25, np.zeros((50, 1024), np.float32)).confidence == 0
    seen = np.zeros((30, 61, 3), np.float32)
    assert net.offset(seen, np.arange(30) / 25, np.zeros((0, 1024), np.float32)).offset == 0
