"""The training of the occlusion detector: what it sees is true, and it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training.face import takes, things
from training.face.footage import Face, drawn
from training.face.things import SIZE

from lipwright.face.raster import SIDE, layout


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return drawn(3)


def test_things_are_drawn_within_their_sprite(faces: list[Face]) -> None:
    skins, covers = [takes.plain(f) for f in faces], []
    for seed in range(60):
        rgb, cover = things.draw(np.random.default_rng(seed), skins[0], skins)
        assert rgb.shape == (SIZE, SIZE, 3)
        assert 0 <= rgb.min() <= rgb.max() <= 255
        assert 0 <= cover.min() <= cover.max() <= 1
        covers.append(cover.mean())
    assert np.mean(np.array(covers) > 0.01) > 0.8
    assert np.std(covers) > 0.05


def test_the_same_seed_gives_the_same_take(faces: list[Face]) -> None:
    skins = [takes.plain(f) for f in faces]
    one, two = (takes.vary(np.random.default_rng(5), faces[0], skins) for _ in range(2))
    assert np.array_equal(one.rasters, two.rasters)
    assert np.array_equal(one.cover, two.cover)


def test_a_take_says_where_it_is_covered(faces: list[Face]) -> None:
    skins = [takes.plain(f) for f in faces]
    varied = [takes.vary(np.random.default_rng(s), faces[s % 3], skins) for s in range(40)]
    covered = [v.cover[:, layout().judged].mean() for v in varied]
    assert 0.15 < np.mean(np.array(covered) == 0) < 0.75  # some have nothing before them
    assert np.max(covered) > 0.1
    for take in varied:
        assert take.rasters.shape == (len(take.causes), SIDE, SIDE, 3)
        assert take.rasters.dtype == np.uint8
        assert take.visible.shape == take.cover.shape


def test_it_learns_and_is_written_as_it_is(faces: list[Face], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import export, fit
    from training.face.network import CellNet

    from lipwright.face.occlusion import OcclusionDetector
    from lipwright.face.uncovered import CHANNELS
    from lipwright.weights.store import onnx_session

    torch.manual_seed(0)
    net, random = CellNet(CHANNELS), np.random.default_rng(0)
    skins = [takes.plain(f) for f in faces]
    batch = fit.batch(net, [takes.vary(random, f, skins) for f in faces], random)
    optimiser, losses = torch.optim.Adam(net.parameters(), 3e-3), []
    for _ in range(12):
        loss = fit.loss_of(net, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]

    net.eval()
    export.write(net, tmp_path / "net.onnx")
    detector = OcclusionDetector()
    detector._session = onnx_session(tmp_path / "net.onnx")
    with torch.no_grad():
        true = torch.sigmoid(net(batch.first)).numpy()
    found = detector.chances(np.ascontiguousarray(batch.first.numpy()))
    assert found == pytest.approx(true, abs=1e-4)


def test_networks_are_mixed_weight_by_weight() -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import fit
    from training.face.network import CellNet

    from lipwright.face.uncovered import CHANNELS

    one, two = CellNet(CHANNELS).state_dict(), CellNet(CHANNELS).state_dict()
    both = fit.mixed(one, two, 0.25)
    for name, value in both.items():
        assert value.dtype == one[name].dtype
        if value.dtype == torch.float32:
            assert torch.allclose(value, 0.75 * one[name] + 0.25 * two[name], atol=1e-6)
    CellNet(CHANNELS).load_state_dict(both)


def test_it_goes_on_from_a_network_and_keeps_of_it(faces: list[Face], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra train")
    pytest.importorskip("onnx", reason="training needs the extra train")
    from training.face import fit
    from training.face.network import CellNet

    from lipwright.face.uncovered import CHANNELS

    first, many = CellNet(CHANNELS), [*faces, *faces] * (fit.HELD // 6 + 1)
    torch.save(first.state_dict(), tmp_path / "first.pt")
    recipe = fit.Recipe(steps=2, kept=1.0)
    same = fit.train(many, recipe, start=tmp_path / "first.pt").state_dict()
    assert torch.allclose(same["leave.weight"], first.state_dict()["leave.weight"])
    other = fit.train(many, fit.Recipe(steps=2), start=tmp_path / "first.pt").state_dict()
    assert not torch.allclose(other["leave.weight"], first.state_dict()["leave.weight"])
