from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lipwright.media.picture import Box
from lipwright.options import Restore
from lipwright.render import restore
from lipwright.render.bank import ExemplarStore, crop_exemplar
from lipwright.render.restore import Restorer, magnification, restore_factor
from lipwright.testing import draw_face, synthetic_landmarks

pytestmark = pytest.mark.model

SIZE = (288, 256)
VIEW = Box(20, 10, 270, 250)


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return Restorer()


def landmarks():
    return synthetic_landmarks(1, opening=np.array([0.05], np.float32), seed=4)[0]


def view(depth=8):
    rgb = draw_face(landmarks(), SIZE, depth=depth)
    return rgb[VIEW.y0 : VIEW.y1, VIEW.x0 : VIEW.x1]


def exemplar(blur=0.0):
    rgb = view()
    return crop_exemplar(
        ExemplarStore(), cv2.GaussianBlur(rgb, (0, 0), blur) if blur else rgb, VIEW, landmarks()
    )


def edges(side=48, depth=8):
    """Return a picture of discs (side, side, 3), and the same 4 times larger."""
    big = np.full((4 * side, 4 * side, 3), 60, np.uint8)
    for i, colour in enumerate(((230, 200, 190), (120, 60, 60), (20, 20, 30))):
        cv2.circle(big, (2 * side, 2 * side), (7 - 2 * i) * side // 4, colour, -1)
    small = cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA)
    return (small, big) if depth == 8 else (small.astype(np.uint16) * 4, big)


@pytest.mark.parametrize("factor", [2, 4])
def test_upscaling_is_closer_to_the_truth_than_interpolation(restorer, factor):
    small, big = edges()
    large = restorer.upscale(small, factor)
    truth = cv2.resize(big, large.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)
    plain = cv2.resize(small, large.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    assert large.shape == (48 * factor, 48 * factor, 3)
    assert large.dtype == np.uint8
    assert np.abs(large - truth).mean() < 0.8 * np.abs(plain - truth).mean()


def test_tiles_leave_no_seam(restorer, monkeypatch):
    small, _ = edges(60)
    whole = restorer.upscale(small, 2)
    monkeypatch.setattr(restore, "TILE", 24)
    assert np.abs(restorer.upscale(small, 2).astype(int) - whole).max() <= 2


def test_10_bit_pictures_stay_10_bit(restorer):
    small, _ = edges(32)
    tall = restorer.upscale(small.astype(np.uint16) * 4, 2)
    assert tall.dtype == np.uint16
    assert tall.max() <= 1023
    assert np.abs(tall / 4 - restorer.upscale(small, 2)).mean() < 1


@pytest.mark.parametrize(
    ("choice", "scale", "factor"),
    [
        (Restore.AUTO, 1.0, 1),
        (Restore.AUTO, 0.5, 1),
        (Restore.AUTO, 1.6, 2),
        (Restore.AUTO, 3.0, 4),
        (Restore.OFF, 3.0, 1),
        (Restore.TWICE, 1.0, 2),
        (Restore.FOURFOLD, 0.5, 4),
    ],
)
def test_restore_factor_by_choice_and_magnification(choice, scale, factor):
    assert restore_factor(choice, scale) == factor


def test_auto_restores_only_smaller_exemplars(restorer):
    assert restorer.restore(exemplar(), Restore.AUTO, landmarks()) is None
    assert magnification(exemplar(), 2 * landmarks()) == pytest.approx(2)
    assert restorer.restore(exemplar(), Restore.AUTO, 2 * landmarks()) is not None


def warped(restored, kept, times):
    """Return the pixels that the warp samples for a face that many times larger."""
    height, width = (times * side for side in kept.rgb.shape[:2])
    y, x = (np.mgrid[0:height, 0:width].astype(np.float32) + 0.5) / times - 0.5
    at = np.stack([x, y], -1) + np.array(kept.origin, np.float32)
    local = (
        at - np.array(kept.origin, np.float32)
        if restored is None
        else restored.local(at, kept.origin)
    )
    rgb = kept.rgb if restored is None else restored.rgb
    return cv2.remap(rgb, local, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize(("choice", "times"), [(Restore.TWICE, 2), (Restore.FOURFOLD, 4)])
def test_restored_exemplar_is_sharper_and_not_shifted(restorer, choice, times):
    small = exemplar()
    restored = restorer.restore(small, choice, times * landmarks())
    large, plain = warped(restored, small, times), warped(None, small, times)
    assert np.abs(large.astype(int) - plain).mean() < 6
    steep = [np.quantile(np.abs(cv2.Sobel(luma(a), -1, 0, 1)), 0.995) for a in (large, plain)]
    assert steep[0] > 1.1 * steep[1]
    shift, _ = cv2.phaseCorrelate(luma(large), luma(plain))
    assert np.abs(shift).max() < 0.25 * times


def luma(rgb):
    return rgb.astype(np.float32).mean(2)


def test_cache_is_bounded_and_keeps_exemplars_apart(monkeypatch):
    monkeypatch.setattr(restore, "CACHED_EXEMPLARS", 2)
    restorer = Restorer()
    exemplars = [exemplar(b) for b in (1.0, 2.0, 3.0)]
    large = [restorer.restore(e, Restore.TWICE, landmarks()) for e in exemplars]
    again = restorer.restore(exemplars[2], Restore.TWICE, landmarks())
    assert again is large[2]
    assert len(restorer._cache) <= 2
    first = restorer.restore(exemplars[0], Restore.TWICE, landmarks())
    assert np.array_equal(first.rgb, large[0].rgb)


def test_restore_does_not_modify_the_exemplar(restorer):
    soft = exemplar(2.0)
    before = soft.rgb.copy()
    restorer.restore(soft, Restore.TWICE, landmarks())
    assert (soft.rgb == before).all()
    assert replace(soft).tone.blur == soft.tone.blur
