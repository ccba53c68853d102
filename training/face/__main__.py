"""Train the occlusion detector: ``python -m training.face all --cache FOLDER``.

The stages, in order: ``track`` (track the face in every clip), ``fit`` (train on the faces, with
occluders drawn in front of them), ``export`` (write the network as ONNX). Stages keep their results
in the cache folder. Afterwards, run ``python scripts/update_manifest.py occlusion``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from lipwright.face.occlusion_input import CHANNELS
from lipwright.weights.manifest import MANIFEST
from lipwright.weights.store import FILES
from training.face import dataset, export, fit
from training.face.network import OcclusionNet

FACES, NETWORK = "faces", "occlusion.pt"


def track_faces(options: argparse.Namespace) -> None:
    """Run the stage ``track``."""
    dataset.track_clips(options.data, options.cache / FACES)


def fit_network(options: argparse.Namespace) -> None:
    """Run the stage ``fit``."""
    clips = dataset.load_clips(options.cache / FACES)
    print(f"{len(clips)} clips, {sum(len(c.rasters) for c in clips)} frames")
    checkpoint = options.cache / NETWORK
    recipe = fit.Recipe(
        steps=options.steps, rate=options.rate, seed=options.seed, start_share=options.keep
    )
    net = fit.train(clips, recipe, checkpoint, options.start)
    torch.save(net.state_dict(), checkpoint)


def export_network(options: argparse.Namespace) -> None:
    """Run the stage ``export``."""
    net = OcclusionNet(CHANNELS)
    net.load_state_dict(torch.load(options.cache / NETWORK))
    export.write_onnx(net.eval(), options.out / MANIFEST["occlusion"].file)


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "track": track_faces,
    "fit": fit_network,
    "export": export_network,
}


def main() -> None:
    """Run one stage, or all stages."""
    parser = argparse.ArgumentParser(prog="python -m training.face", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the footage"
    )
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for the results of the stages"
    )
    parser.add_argument("--out", type=Path, default=FILES, help="folder for the ONNX file")
    parser.add_argument("--steps", type=int, default=fit.Recipe.steps)
    parser.add_argument("--rate", type=float, default=fit.Recipe.rate, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="checkpoint to continue from: an occlusion.pt")
    parser.add_argument(
        "--keep", type=float, default=0.0, help="share of --start in the result, 0 to 1"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in STAGES if options.stage == "all" else [options.stage]:
        print(f"[{name}]", flush=True)
        STAGES[name](options)


if __name__ == "__main__":
    main()
