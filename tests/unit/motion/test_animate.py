from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lipwright.face import canonical
from lipwright.face.landmarks import LOWER_INNER_ROWS, UPPER_INNER_ROWS
from lipwright.motion.animate import separate_lips, synthesize_motion
from lipwright.motion.model import MotionModel
from lipwright.motion.silence import speech_mask
from lipwright.motion.speaking_style import fit_style
from motion_samples import mouths, speech, wave


def test_mouth_is_still_in_a_pause(model: MotionModel) -> None:
    basis = model.basis
    prediction = wave(300, basis.size) / 2
    style = fit_style(basis, mouths(basis, wave(200, basis.size)), prediction)
    spoken = synthesize_motion(basis, style, prediction, speech(2, 2, 2))
    moved = style.mean + spoken.displacements(np.arange(0, 6, 1 / 25))
    pause, talk = moved[60:90], moved[5:45]
    assert np.abs(np.diff(pause, axis=0)).max() < 1e-4
    assert np.abs(np.diff(talk, axis=0)).max() > 0.005
    assert canonical.mouth_opening(pause).max() < canonical.mouth_opening(talk).mean()


def test_prediction_and_activity_must_have_the_same_length(model: MotionModel) -> None:
    basis = model.basis
    style = fit_style(basis, mouths(basis, wave(50, basis.size)), wave(50, basis.size))
    with pytest.raises(ValueError, match="50 Hz"):
        synthesize_motion(basis, style, wave(50, basis.size), np.ones(49, np.float32))
    with pytest.raises(ValueError, match="at least one"):
        synthesize_motion(basis, style, wave(0, basis.size), np.ones(0, np.float32))


@pytest.mark.model
def test_an_hour_of_speech_needs_little_memory(model: MotionModel) -> None:
    basis, count = model.basis, 3600 * 50
    prediction = np.tile(wave(1000, basis.size) / 2, (count // 1000, 1))
    activity = np.tile(speech(12, 1, 6, 1), count // 1000)
    style = fit_style(
        basis, mouths(basis, wave(200, basis.size)), prediction, speech_mask(activity)
    )
    tracemalloc.start()
    hour = synthesize_motion(basis, style, prediction, activity)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert hour.coefficients.nbytes < 10e6
    assert peak < 100e6
    # Away from its ends, a part alone gives the same motion as within the hour.
    part = slice(50_000, 53_000)
    alone = synthesize_motion(basis, style, prediction[part], activity[part])
    assert np.allclose(alone.coefficients[100:-100], hour.coefficients[part][100:-100], atol=1e-4)


def test_lips_touch_but_do_not_cross(model: MotionModel) -> None:
    mouth = mouths(model.basis, 3 * wave(100, model.basis.size))
    parted = separate_lips(mouth, 0.0)
    gap = parted[:, LOWER_INNER_ROWS, 1] - parted[:, UPPER_INNER_ROWS, 1]
    assert gap.min() > -1e-6
    assert (separate_lips(parted, 0.0) == parted).all()
    crossed = mouth[:, LOWER_INNER_ROWS, 1] < mouth[:, UPPER_INNER_ROWS, 1]
    assert crossed.any()
