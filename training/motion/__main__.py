"""Train the networks of ``lipwright.motion``: ``python -m training.motion``.

The stages, in order: ``features`` (see and hear every clip), ``scorer`` (learn which mouth and
which voice belong together), ``offsets`` (correct each clip's audio/video offset with it),
``amid`` (hear each clip amid others of its speaker), ``validate`` (learn to move the mouth and see
how well, on speakers held back), ``motion`` (the same from all speakers), ``export`` (write both
networks as ONNX). ``all`` does all of them. What a stage finds lies in the cache folder; the same
data, seed and number of threads give the same files.

``curve`` is asked for by itself, after ``amid`` (or ``offsets``, with ``--networks 0``): it
trains again and again, from more and more speakers, and shows how the agreement on the measuring
clips grows (a table, and a picture in the cache folder). Stopped, it goes on where it was. So is
``tune``, after ``offsets``: it lets the upper layers of the encoder learn, too, and shows what that
brings on the measuring clips.
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
    amid,
    chart,
    contrast,
    corpus,
    evaluate,
    export,
    features,
    fit,
    growth,
    measure,
    tune,
)
from training.motion.network import NETWORK_SHARE, MotionNet

EXAMPLES, SCORER, CORRECTED = "examples.pkl", "scorer.pt", "corrected.pkl"
VARIANTS, AMID = "variants", "amid"
SPREAD, MOTION = "spread.npy", "motion.pt"
CURVE = "curve"
WINDOWS, MEASURED = "windows.pkl", "measured.pkl"


def see_and_hear(options: argparse.Namespace) -> None:
    """Stage ``features``."""
    features.collect(options.data, options.cache / "features")
    features.vary(options.data, options.cache / VARIANTS)


def learn_scorer(options: argparse.Namespace) -> None:
    """Stage ``scorer``."""
    examples, reasons = corpus.read(options.cache / "features")
    print(f"clips: {json.dumps(reasons)}")
    learnt = [e for e in examples if not e.held]
    print(f"{len(learnt)} runs to learn from, {len(examples) - len(learnt)} held back")
    varied = [*learnt, *corpus.heard_again(learnt, options.cache / VARIANTS)]
    net = contrast.train(varied, contrast.Contrast(seed=options.seed), fit.Clock())
    torch.save(net, options.cache / SCORER)
    (options.cache / EXAMPLES).write_bytes(pickle.dumps(examples))


def correct_offsets(options: argparse.Namespace) -> None:
    """Stage ``offsets``."""
    examples = _examples(options.cache / EXAMPLES)
    net = torch.load(options.cache / SCORER, weights_only=False)
    kept, dropped = contrast.correct(net, examples)
    counts = Counter(round(e.offset * 25, 1) for e in kept)
    print(f"offsets in frames of 25 Hz: {dict(sorted(counts.items()))}; {dropped} runs left out")
    (options.cache / CORRECTED).write_bytes(pickle.dumps(kept))


def hear_amid(options: argparse.Namespace) -> None:
    """Stage ``amid``."""
    speakers = {e.name: e.speaker for e in _examples(options.cache / CORRECTED)}
    amid.collect(options.data, options.cache / AMID, speakers)


def validate(options: argparse.Namespace) -> None:
    """Stage ``validate``."""
    examples = _examples(options.cache / CORRECTED)
    learnt, held = [e for e in examples if not e.held], [e for e in examples if e.held]
    net, basis = _learn(learnt, options)
    for speaker, found in sorted(evaluate.by_speaker(net, basis, held).items()):
        print(
            f"{speaker}: opening r {found.opening:.3f}, width r {found.width:.3f}, "
            f"amplitude {found.amplitude:.2f}, {found.seconds:.0f} s"
        )
    spread = evaluate.opening_spread(net, basis, held)
    print(f"spread of the opening: predicted {spread:.4f}, true {basis.opening_spread:.4f}")
    np.save(options.cache / SPREAD, np.float32(spread))


def learn_motion(options: argparse.Namespace) -> None:
    """Stage ``motion``: the same as was validated, from all speakers."""
    net, basis = _learn(_examples(options.cache / CORRECTED), options)
    basis = replace(basis, predicted_spread=float(np.load(options.cache / SPREAD)))
    torch.save({"net": net, "basis": basis}, options.cache / MOTION)


def draw_curve(options: argparse.Namespace) -> None:
    """Stage ``curve``."""
    scorer = torch.load(options.cache / SCORER, weights_only=False)
    measuring = corpus.measured(options.cache / "features", measure.SETS)
    kept = options.cache / f"{CURVE}-{len(_recipe(options).emphasis)}.jsonl"
    points = growth.grow(
        _examples(options.cache / CORRECTED),
        contrast.place(scorer, measuring),
        partial(_learn, options=options),
        kept,
    )
    print("\n".join(growth.table(points)))
    kept.with_suffix(".svg").write_text(chart.chart(points))


def tune_layers(options: argparse.Namespace) -> None:
    """Stage ``tune``."""
    examples = _examples(options.cache / CORRECTED)
    scorer = torch.load(options.cache / SCORER, weights_only=False)
    measuring = contrast.place(scorer, corpus.measured(options.cache / "features", measure.SETS))
    windows = tune.kept(
        options.cache / WINDOWS,
        lambda: [*tune.hear_windows(options.data, {e.name: e.speaker for e in examples})],
    )
    heard = tune.kept(
        options.cache / MEASURED,
        lambda: tune.hear_measured(options.data, {e.name for e in measuring}),
    )
    options.networks = 0
    alone, basis = _learn(examples, options)
    filtered = {id(e): evaluate.predict(alone, basis, e) / (1 - NETWORK_SHARE) for e in measuring}
    for rank in (0, tune.Tuning.rank):
        tuning = tune.Tuning(rank=rank, seed=options.seed)
        net = tune.tune(examples, windows, basis, tuning, fit.Clock())
        found = tune.scores(
            *(net, basis, measuring, heard), beside=lambda e: filtered[id(e)], share=NETWORK_SHARE
        )
        for kind, (opening, width) in found.items():
            print(f"rank {rank}, {kind}: opening r {opening:.3f}, width r {width:.3f}")


def _learn(examples: list[corpus.Example], options: argparse.Namespace) -> tuple[MotionNet, Basis]:
    recipe = _recipe(options)
    basis = fit.find_basis(examples, recipe.components)
    varied: list[corpus.Example] = []
    for folder in (VARIANTS, AMID) if recipe.emphasis else ():
        varied += corpus.heard_again(examples, options.cache / folder)
    return fit.train(examples, varied, basis, recipe, fit.Clock()), basis


def _recipe(options: argparse.Namespace) -> fit.Recipe:
    recipe = fit.Recipe(seed=options.seed)
    return replace(recipe, emphasis=recipe.emphasis[: options.networks])


def write(options: argparse.Namespace) -> None:
    """Stage ``export``."""
    found = torch.load(options.cache / MOTION, weights_only=False)
    export.write_motion(found["net"], found["basis"], options.out / "motion.onnx")
    net = torch.load(options.cache / SCORER, weights_only=False)
    export.write_scorer(net, options.out / "sync_scorer.onnx")


STAGES: dict[str, Callable[[argparse.Namespace], None]] = {
    "features": see_and_hear,
    "scorer": learn_scorer,
    "offsets": correct_offsets,
    "amid": hear_amid,
    "validate": validate,
    "motion": learn_motion,
    "export": write,
}
ALONE: dict[str, Callable[[argparse.Namespace], None]] = {
    CURVE: draw_curve,
    "tune": tune_layers,
}


def _examples(path: Path) -> list[corpus.Example]:
    found: list[corpus.Example] = pickle.loads(path.read_bytes())
    return found


def main() -> None:
    """Run one stage, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m training.motion", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, *ALONE, "all"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="footage")
    parser.add_argument("--cache", type=Path, required=True, help="folder for what stages find")
    parser.add_argument("--out", type=Path, default=FILES, help="folder for the ONNX files")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--networks", type=int, help="train only so many; 0: the filter, from plain sound"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in STAGES if options.stage == "all" else [options.stage]:
        {**STAGES, **ALONE}[name](options)


if __name__ == "__main__":
    main()
