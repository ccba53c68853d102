"""Test the training of the occlusion network: dataset, synthetic takes, fit and export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training.face import occluder_sprites, synthetic_takes
from training.face.dataset import FaceClip, draw_clips
from training.face.occluder_sprites import SPRITE_SIZE

from lipwright.face.lower_face_raster import RASTER_SIDE, raster_layout

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def clips() -> list[FaceClip]:
    return draw_clips(3)


def test_sprites_have_valid_colours_and_cover(clips: list[FaceClip]) -> None:
    skins, covers = [synthetic_takes.first_frame(f) for f in clips], []
    for seed in range(60):
        rgb, cover = occluder_sprites.draw_sprite(np.random.default_rng(seed), skins[0], skins)
        assert rgb.shape == (SPRITE_SIZE, SPRITE_SIZE, 3)
        assert 0 <= rgb.min() <= rgb.max() <= 255
        assert 0 <= cover.min() <= cover.max() <= 1
        covers.append(cover.mean())
    assert np.mean(np.array(covers) > 0.01) > 0.8
    assert np.std(covers) > 0.05


def test_same_seed_gives_the_same_take(clips: list[FaceClip]) -> None:
    skins = [synthetic_takes.first_frame(f) for f in clips]
    one, two = (
        synthetic_takes.synthesise_take(np.random.default_rng(5), clips[0], skins) for _ in range(2)
    )
    assert np.array_equal(one.rasters, two.rasters)
    assert np.array_equal(one.cover, two.cover)


def test_takes_have_arrays_of_one_shape_and_varied_cover(clips: list[FaceClip]) -> None:
    skins = [synthetic_takes.first_frame(f) for f in clips]
    synthesised = [
        synthetic_takes.synthesise_take(np.random.default_rng(s), clips[s % 3], skins)
        for s in range(40)
    ]
    covered = [v.cover[:, raster_layout().searched].mean() for v in synthesised]
    assert 0.15 < np.mean(np.array(covered) == 0) < 0.75  # some have no occluder
    assert np.max(covered) > 0.1
    for take in synthesised:
        assert take.rasters.shape == (len(take.predictors), RASTER_SIDE, RASTER_SIDE, 3)
        assert take.rasters.dtype == np.uint8
        assert take.visible.shape == take.cover.shape


def test_training_reduces_the_loss_and_export_keeps_the_output(
    clips: list[FaceClip], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import export, fit
    from training.face.network import OcclusionNet

    from lipwright.face.occlusion import OcclusionDetector
    from lipwright.face.occlusion_input import CHANNELS
    from lipwright.weights.store import onnx_session

    torch.manual_seed(0)
    net, random = OcclusionNet(CHANNELS), np.random.default_rng(0)
    skins = [synthetic_takes.first_frame(f) for f in clips]
    batch = fit.make_batch(
        net, [synthetic_takes.synthesise_take(random, f, skins) for f in clips], random
    )
    optimiser, losses = torch.optim.Adam(net.parameters(), 3e-3), []
    for _ in range(12):
        loss = fit.compute_loss(net, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]

    net.eval()
    export.write_onnx(net, tmp_path / "net.onnx")
    detector = OcclusionDetector()
    detector._session = onnx_session(tmp_path / "net.onnx")
    with torch.no_grad():
        true = torch.sigmoid(net(batch.first)).numpy()
    detected = detector.probabilities(np.ascontiguousarray(batch.first.numpy()))
    assert detected == pytest.approx(true, abs=1e-4)


def test_blended_weights_are_the_weighted_mean() -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import fit
    from training.face.network import OcclusionNet

    from lipwright.face.occlusion_input import CHANNELS

    one, two = OcclusionNet(CHANNELS).state_dict(), OcclusionNet(CHANNELS).state_dict()
    both = fit.blend_weights(one, two, 0.25)
    for name, value in both.items():
        assert value.dtype == one[name].dtype
        if value.dtype == torch.float32:
            assert torch.allclose(value, 0.75 * one[name] + 0.25 * two[name], atol=1e-6)
    OcclusionNet(CHANNELS).load_state_dict(both)


def test_training_continues_from_a_network_and_blends_with_it(
    clips: list[FaceClip], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import fit
    from training.face.network import OcclusionNet

    from lipwright.face.occlusion_input import CHANNELS

    first, many = OcclusionNet(CHANNELS), [*clips, *clips] * (fit.VALIDATION_CLIPS // 6 + 1)
    torch.save(first.state_dict(), tmp_path / "first.pt")
    recipe = fit.Recipe(steps=2, start_share=1.0)
    same = fit.train(many, recipe, start=tmp_path / "first.pt").state_dict()
    assert torch.allclose(same["head.weight"], first.state_dict()["head.weight"])
    other = fit.train(many, fit.Recipe(steps=2), start=tmp_path / "first.pt").state_dict()
    assert not torch.allclose(other["head.weight"], first.state_dict()["head.weight"])
