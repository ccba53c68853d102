from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lipwright.face import canonical
from lipwright.motion.basis import Basis
from lipwright.motion.model import MotionModel
from lipwright.motion.speaking_style import MAX_OPENING_GAIN, fit_style
from motion_samples import mouths, wave


def test_opening_gain_follows_the_speakers_range(model: MotionModel) -> None:
    basis = model.basis
    prediction = wave(500, basis.size) / 2
    lively = fit_style(basis, mouths(basis, 1.4 * wave(400, basis.size)), prediction)
    quiet = fit_style(basis, mouths(basis, 0.7 * wave(400, basis.size)), prediction)
    assert lively.opening_gain > 1.5 * quiet.opening_gain
    assert "own range" in lively.description
    assert lively.opening_gain <= MAX_OPENING_GAIN


def shaped(basis: Basis, coefficients: np.ndarray, times: float) -> np.ndarray:
    """The same coefficients with the motion that does not open the mouth scaled by *times*."""
    opening = (coefficients @ basis.opening)[:, None] * basis.opening_direction
    return opening + times * (coefficients - opening)


def test_shape_gain_follows_the_speaker_independently_of_the_opening(
    model: MotionModel,
) -> None:
    basis, spoken = model.basis, wave(400, model.basis.size)
    prediction = shaped(basis, wave(500, basis.size), 0.7)
    plain = fit_style(basis, mouths(basis, spoken), prediction)
    lively = fit_style(basis, mouths(basis, shaped(basis, spoken, 1.4)), prediction)
    assert lively.opening_gain == pytest.approx(plain.opening_gain, rel=0.02)
    assert lively.shape_gain > 1.1 * plain.shape_gain
    open_lips = np.zeros(len(prediction), np.float32)
    a, b = (s.apply(basis, prediction, open_lips) for s in (plain, lively))
    assert ((b - b.mean(0)) @ basis.width).std() > 1.1 * ((a - a.mean(0)) @ basis.width).std()
    ratio = (lively.opening_gain / plain.opening_gain) * ((a - a.mean(0)) @ basis.opening)
    assert (b - b.mean(0)) @ basis.opening == pytest.approx(ratio, abs=1e-4)


def test_pursed_lips_use_the_opening_gain_where_they_close(
    model: MotionModel,
) -> None:
    basis = model.basis
    style = replace(
        fit_style(basis, mouths(basis, wave(400, basis.size)), wave(500, basis.size)),
        opening_gain=1.0,
        shape_gain=1.5,
        bias=np.zeros(basis.size, np.float32),
        centre=np.zeros(basis.size, np.float32),
    )
    wide = 3 * shaped(basis, basis.width[None] / np.linalg.norm(basis.width), 1.0)
    wide -= (wide @ basis.opening)[:, None] * basis.opening_direction
    both = np.concatenate([wide, -wide]).astype(np.float32)
    apart, together = (style.apply(basis, both, np.full(2, c, np.float32)) for c in (0, 1))
    assert together[0] == pytest.approx(apart[0])  # wide lips meet
    assert together[1] == pytest.approx(both[1], abs=1e-4)
    assert apart[1] == pytest.approx(1.5 * both[1], abs=1e-4)


def test_mouth_that_never_moves_gets_the_typical_range(model: MotionModel) -> None:
    basis = model.basis
    still = np.repeat(mouths(basis, basis.rest[None]), 100, 0)
    style = fit_style(basis, still, wave(500, basis.size))
    assert "typical" in style.description
    assert style.rest == pytest.approx(0, abs=1e-3)
    # Speech is centred on a more open mouth than the closed one that was seen.
    opened = canonical.mouth_opening(style.mean + basis.shapes(style.centre[None]))
    assert opened > canonical.mouth_opening(still[:1])


def test_frames_without_a_face_are_ignored(model: MotionModel) -> None:
    basis = model.basis
    seen = mouths(basis, wave(60, basis.size))
    gaps = np.concatenate([np.full((40, 61, 3), np.nan, np.float32), seen])
    prediction = wave(500, basis.size)
    a, b = fit_style(basis, seen, prediction), fit_style(basis, gaps, prediction)
    assert a.opening_gain == b.opening_gain
    assert np.allclose(a.mean, seen.mean(0), atol=1e-5)


def test_mouth_never_seen_fails(model: MotionModel) -> None:
    with pytest.raises(ValueError, match="not seen"):
        fit_style(model.basis, np.full((9, 61, 3), np.nan, np.float32), wave(9, model.basis.size))
