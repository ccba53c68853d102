"""Stage 6: the trained networks as the files that the product ships."""

from __future__ import annotations

from pathlib import Path

from lipwright.motion.basis import Basis
from lipwright.motion.train.export import write
from lipwright.motion.train.network import ScorerNet, TemporalNet


def write_motion(net: TemporalNet, basis: Basis, path: Path) -> None:
    """Write the motion network with its basis."""
    facts = {"basis": basis.to_text(), "reach": str(net.reach)}
    write(path, {("states", "coefficients"): net}, facts)


def write_scorer(net: ScorerNet, path: Path) -> None:
    """Write both networks of the scorer, their vectors brought to length 1."""
    networks = {
        ("states", "states_vector"): net.speech,
        ("mouth", "mouth_vector"): net.mouth,
    }
    facts = {"states": str(net.speech.reach), "mouth": str(net.mouth.reach)}
    write(path, networks, facts, unit=True)
