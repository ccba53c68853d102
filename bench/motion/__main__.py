"""Score the motion network alone, on footage that it never learnt from.

    python -m bench.motion --data ../shared/data --cache FOLDER

Each clip of ``clips/`` (with sound) and ``eval/`` is predicted from its own sound, at the
audio/video offset that the sync scorer estimates. Segments of 2 s and more are scored by
themselves, shorter ones together. Then each speaker is dubbed with the foreign recordings of
``speech/``, and the sync scorer compares the dubs with the real clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from training.motion.metrics import MIN_RUN_SECONDS, TEST_SETS, compare

from bench.common.clips import DATA
from bench.common.metrics import mean_and_interval
from bench.motion.scores import ScoredSegment, means_by_set, score_segment
from bench.motion.segments import load_segments, predict_speech
from lipwright.motion.model import MotionModel
from lipwright.motion.sync_scorer import SyncScorer
from lipwright.speech.audio import load_audio
from lipwright.speech.encoder import SpeechEncoder

HEADS = (
    *("n", "opening r", "width r", "amplitude", "matched", "matched width"),
    *("lag ms", "sync", "dubbed", "dub at 0"),
)


def report(segments: Sequence[ScoredSegment]) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    yield f"| | {' | '.join(HEADS)} |"
    yield "|---" * (len(HEADS) + 1) + "|"
    for label, prefix in (("clips/", "clips/"), ("eval/", "eval/"), ("both", "")):
        chosen = [s for s in segments if s.scores.name.startswith(prefix)]
        long = [s.scores for s in chosen if s.scores.seconds >= MIN_RUN_SECONDS]
        cells = [
            interval_text([s.opening for s in long]),
            interval_text([s.width for s in long]),
            interval_text([s.amplitude for s in long], ".2f"),
            interval_text([s.matched for s in long], ".2f"),
            interval_text([s.matched_width for s in long], ".2f"),
            interval_text([1000 * s.lag for s in long], "+.0f", "+.0f"),
            interval_text([s.confidence for s in long]),
            interval_text([s.dubbed for s in long]),
            f"{100 * np.mean([s.dubs_in_sync for s in long]):.0f} %",
        ]
        yield f"| {label} | {len(long)} | " + " | ".join(cells) + " |"
        short = [s for s in chosen if s.scores.seconds < MIN_RUN_SECONDS]
        if short:
            together = compare(
                np.concatenate([s.predicted for s in short]),
                np.concatenate([s.tracked for s in short]),
                1.0,
            )
            yield (
                f"| {label} under 2 s, together | {len(short)} | {together.opening:.3f} | "
                f"{together.width:.3f} | {together.amplitude:.2f} | | | | | | |"
            )


def mean_of_sets(segments: Sequence[ScoredSegment]) -> str:
    """Return the mean over the two sets, which count equally."""
    scores = [s.scores for s in segments if s.scores.seconds >= MIN_RUN_SECONDS]
    rows = [(s.name, s.opening, s.width) for s in scores]
    opening, width = means_by_set(rows, TEST_SETS).mean(0)
    return f"Mean of the two sets: opening r {opening:.3f}, width r {width:.3f}."


def interval_text(values: Sequence[float], form: str = ".3f", ends: str = ".2f") -> str:
    """Return the mean and the 95 % interval of the values that are not NaN."""
    mean, low, high = mean_and_interval(values)
    return f"{mean:{form}} ({low:{ends}}–{high:{ends}})"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.motion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder with clips/, eval/ and speech/"
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for tracked clips")
    parser.add_argument("--json", type=Path, help="also write the scores of every segment here")
    arguments = parser.parse_args()
    model, scorer, encoder = MotionModel(), SyncScorer(), SpeechEncoder()
    speeches = [
        predict_speech(load_audio(path), encoder, model)
        for path in sorted((arguments.data / "speech").iterdir())
    ]
    segments = [
        score_segment(segment, model, scorer, speeches)
        for segment in load_segments(arguments.data, arguments.cache)
    ]
    print("\n".join([*report(segments), "", mean_of_sets(segments)]))
    if arguments.json:
        rows = [vars(segment.scores) for segment in segments]
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
