"""Train the occlusion detector: ``python -m training.face all --cache FOLDER``.

The stages, in order: ``look`` (follow the face in every clip), ``fit`` (learn from them, with
things drawn before them), ``export`` (write the network as ONNX). What a stage finds lies in the
cache folder. Afterwards: ``python scripts/update_manifest.py occlusion``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from lipwright.face.uncovered import CHANNELS
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES
from training.face import export, fit, footage
from training.face.network import CellNet

FACES, NETWORK = "faces", "occlusion.pt"


def look(options: argparse.Namespace) -> None:
    """Stage ``look``."""
    footage.collect(options.data, options.cache / FACES)


def learn(options: argparse.Namespace) -> None:
    """Stage ``fit``."""
    faces = footage.read(options.cache / FACES)
    print(f"{len(faces)} clips, {sum(len(f.rasters) for f in faces)} frames")
    kept = options.cache / NETWORK
    recipe = fit.Recipe(
        steps=options.steps, rate=options.rate, seed=options.seed, kept=options.keep
    )
    net = fit.train(faces, recipe, kept, options.start)
    torch.save(net.state_dict(), kept)


def write(options: argparse.Namespace) -> None:
    """Stage ``export``."""
    net = CellNet(CHANNELS)
    net.load_state_dict(torch.load(options.cache / NETWORK))
    export.write(net.eval(), options.out / MANIFEST["occlusion"].file)


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "look": look,
    "fit": learn,
    "export": write,
}


def main() -> None:
    """Run one stage, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m training.face", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="footage")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what stages find")
    parser.add_argument("--out", type=Path, default=FILES, help="folder for the ONNX file")
    parser.add_argument("--steps", type=int, default=fit.Recipe.steps)
    parser.add_argument("--rate", type=float, default=fit.Recipe.rate, help="highest of learning")
    parser.add_argument("--start", type=Path, help="a network to go on from: occlusion.pt")
    parser.add_argument("--keep", type=float, default=0.0, help="share of it in the result, 0 to 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in STAGES if options.stage == "all" else [options.stage]:
        print(f"[{name}]", flush=True)
        STAGES[name](options)


if __name__ == "__main__":
    main()
