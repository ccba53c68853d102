from __future__ import annotations

import numpy as np
import pytest

from lipwright.face import canonical
from lipwright.face.landmarks import MOUTH
from lipwright.motion.basis import Basis, mirror, mirror_indices, principal_directions
from lipwright.motion.model import MotionModel
from motion_samples import wave


def test_mirroring_twice_gives_the_original() -> None:
    assert (mirror_indices()[mirror_indices()] == np.arange(61)).all()
    face = canonical.reference_face()[None, MOUTH]
    assert np.allclose(mirror(mirror(face)), face)


@pytest.mark.model
def test_principal_directions_are_symmetric_and_ordered() -> None:
    moved = np.random.default_rng(0).standard_normal((300, 61, 3)).astype(np.float32)
    found = principal_directions(moved, 5)
    assert np.allclose(mirror(found), found, atol=1e-4)
    sizes = np.linalg.norm(found.reshape(5, -1), axis=1)
    assert (np.diff(sizes) <= 1e-6).all()


def test_basis_round_trips_through_text_and_inverts(model: MotionModel) -> None:
    basis = model.basis
    again = Basis.from_text(basis.to_text())
    for name, value in vars(basis).items():
        assert np.all(getattr(again, name) == np.float32(value))
    wanted = wave(30, basis.size)
    assert np.allclose(basis.coefficients(basis.shapes(wanted)), wanted, atol=1e-3)
