"""Train the networks of ``lipwright.motion``: ``python -m training.motion``.

The stages, in order:

- ``features``: track and encode every clip
- ``scorer``: train the sync scorer
- ``offsets``: correct the audio/video offset of each clip with the scorer
- ``mix``: encode each clip among other clips of its speaker
- ``validate``: train the motion network without the held-out speakers, and score it on them
- ``motion``: train the motion network on all speakers
- ``export``: write both networks as ONNX

``all`` runs all of them. Results of stages are written to the cache folder. The same data, seed and
number of threads give the same files.

Two more stages run only by name. ``curve``, after ``mix`` (or ``offsets``, with ``--networks 0``),
trains on more and more speakers and shows the accuracy on the test clips as a table, and as a chart
in the cache folder; when interrupted, it can be resumed. ``finetune``, after ``offsets``, trains
the upper layers of the speech encoder along and shows the gain on the test clips.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lipwright.motion.basis import Basis
from lipwright.weights.store import FILES
from training.motion import (
    chart,
    evaluate,
    export,
    finetune,
    learning_curve,
    metrics,
    train_motion,
    train_scorer,
)
from training.motion.data import corpus, features, mixing
from training.motion.network import NETWORK_SHARE, MotionNet

EXAMPLES, SCORER, CORRECTED = "examples.pkl", "scorer.pt", "corrected.pkl"
VARIANTS, MIXED = "variants", "mixed"
SPREAD, MOTION = "spread.npy", "motion.pt"
CURVE = "curve"
WINDOWS, TEST_WINDOWS = "windows.pkl", "test_windows.pkl"


def run_features(options: argparse.Namespace) -> None:
    """Stage ``features``."""
    features.extract_features(options.data, options.cache / "features")
    features.extract_variants(options.data, options.cache / VARIANTS)


def run_scorer(options: argparse.Namespace) -> None:
    """Stage ``scorer``."""
    examples, reasons = corpus.load_examples(options.cache / "features")
    print(f"clips: {json.dumps(reasons)}")
    training = [e for e in examples if not e.held_out]
    print(f"{len(training)} training runs, {len(examples) - len(training)} held out")
    varied = [*training, *corpus.load_variants(training, options.cache / VARIANTS)]
    net = train_scorer.train(
        varied, train_scorer.ScorerRecipe(seed=options.seed), train_motion.ProgressPrinter()
    )
    torch.save(net, options.cache / SCORER)
    (options.cache / EXAMPLES).write_bytes(pickle.dumps(examples))


def run_offsets(options: argparse.Namespace) -> None:
    """Stage ``offsets``."""
    examples = _examples(options.cache / EXAMPLES)
    net = torch.load(options.cache / SCORER, weights_only=False)
    kept, dropped = train_scorer.assign_offsets(net, examples)
    counts = Counter(round(e.offset * 25, 1) for e in kept)
    print(f"offsets in frames at 25 Hz: {dict(sorted(counts.items()))}; {dropped} runs dropped")
    (options.cache / CORRECTED).write_bytes(pickle.dumps(kept))


def run_mix(options: argparse.Namespace) -> None:
    """Stage ``mix``."""
    speakers = {e.name: e.speaker for e in _examples(options.cache / CORRECTED)}
    mixing.encode_all_in_context(options.data, options.cache / MIXED, speakers)


def run_validate(options: argparse.Namespace) -> None:
    """Stage ``validate``."""
    examples = _examples(options.cache / CORRECTED)
    training = [e for e in examples if not e.held_out]
    held_out = [e for e in examples if e.held_out]
    net, basis = _train(training, options)
    for speaker, found in sorted(evaluate.evaluate_by_speaker(net, basis, held_out).items()):
        print(
            f"{speaker}: opening r {found.opening:.3f}, width r {found.width:.3f}, "
            f"amplitude {found.amplitude:.2f}, {found.seconds:.0f} s"
        )
    spread = evaluate.opening_spread(net, basis, held_out)
    print(f"spread of the opening: predicted {spread:.4f}, true {basis.opening_spread:.4f}")
    np.save(options.cache / SPREAD, np.float32(spread))


def run_motion(options: argparse.Namespace) -> None:
    """Stage ``motion``."""
    net, basis = _train(_examples(options.cache / CORRECTED), options)
    basis = replace(basis, predicted_spread=float(np.load(options.cache / SPREAD)))
    torch.save({"net": net, "basis": basis}, options.cache / MOTION)


def run_curve(options: argparse.Namespace) -> None:
    """Stage ``curve``."""
    scorer = torch.load(options.cache / SCORER, weights_only=False)
    test_examples = corpus.load_test_examples(options.cache / "features", metrics.TEST_SETS)
    path = options.cache / f"{CURVE}-{len(_recipe(options).emphasis)}.jsonl"
    points = learning_curve.measure_curve(
        _examples(options.cache / CORRECTED),
        train_scorer.assign_best_offsets(scorer, test_examples),
        partial(_train, options=options),
        path,
    )
    print("\n".join(learning_curve.format_table(points)))
    chart.draw_chart(points, path.with_suffix(".svg"))


def run_finetune(options: argparse.Namespace) -> None:
    """Stage ``finetune``."""
    examples = _examples(options.cache / CORRECTED)
    scorer = torch.load(options.cache / SCORER, weights_only=False)
    test_examples = train_scorer.assign_best_offsets(
        scorer, corpus.load_test_examples(options.cache / "features", metrics.TEST_SETS)
    )
    windows = finetune.load_or_make(
        options.cache / WINDOWS,
        lambda: [
            *finetune.encode_training_windows(options.data, {e.name: e.speaker for e in examples})
        ],
    )
    encoded = finetune.load_or_make(
        options.cache / TEST_WINDOWS,
        lambda: finetune.encode_test_windows(options.data, {e.name for e in test_examples}),
    )
    options.networks = 0
    linear, basis = _train(examples, options)
    filtered = {
        id(e): evaluate.predict(linear, basis, e) / (1 - NETWORK_SHARE) for e in test_examples
    }
    for rank in (0, finetune.FinetuneRecipe.rank):
        recipe = finetune.FinetuneRecipe(rank=rank, seed=options.seed)
        net = finetune.finetune(examples, windows, basis, recipe, train_motion.ProgressPrinter())
        found = finetune.score_net(
            *(net, basis, test_examples, encoded),
            other_motion=lambda e: filtered[id(e)],
            share=NETWORK_SHARE,
        )
        for kind, (opening, width) in found.items():
            print(f"rank {rank}, {kind}: opening r {opening:.3f}, width r {width:.3f}")


def _train(examples: list[corpus.Example], options: argparse.Namespace) -> tuple[MotionNet, Basis]:
    recipe = _recipe(options)
    basis = train_motion.fit_basis(examples, recipe.components)
    varied: list[corpus.Example] = []
    for folder in (VARIANTS, MIXED) if recipe.emphasis else ():
        varied += corpus.load_variants(examples, options.cache / folder)
    net = train_motion.train(examples, varied, basis, recipe, train_motion.ProgressPrinter())
    return net, basis


def _recipe(options: argparse.Namespace) -> train_motion.Recipe:
    recipe = train_motion.Recipe(seed=options.seed)
    return replace(recipe, emphasis=recipe.emphasis[: options.networks])


def run_export(options: argparse.Namespace) -> None:
    """Stage ``export``."""
    found = torch.load(options.cache / MOTION, weights_only=False)
    export.write_motion(found["net"], found["basis"], options.out / "motion.onnx")
    net = torch.load(options.cache / SCORER, weights_only=False)
    export.write_scorer(net, options.out / "sync_scorer.onnx")


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "features": run_features,
    "scorer": run_scorer,
    "offsets": run_offsets,
    "mix": run_mix,
    "validate": run_validate,
    "motion": run_motion,
    "export": run_export,
}
EXTRA_STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    CURVE: run_curve,
    "finetune": run_finetune,
}


def _examples(path: Path) -> list[corpus.Example]:
    found: list[corpus.Example] = pickle.loads(path.read_bytes())
    return found


def main() -> None:
    """Run one stage or all of them."""
    parser = argparse.ArgumentParser(
        prog="python -m training.motion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=[*STAGES, *EXTRA_STAGES, "all"])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the footage"
    )
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for the results of stages"
    )
    parser.add_argument("--out", type=Path, default=FILES, help="folder for the ONNX files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--networks", type=int, help="number of networks to train; 0: only the linear filter"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in STAGES if options.stage == "all" else [options.stage]:
        {**STAGES, **EXTRA_STAGES}[name](options)


if __name__ == "__main__":
    main()
