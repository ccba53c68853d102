"""Measure the motion network alone, on footage that it never learnt from.

Usage: ``python -m bench.motion --data ../shared/data --cache FOLDER``

Each clip of ``clips/`` (with sound) and ``eval/`` is predicted from its own sound at its own
audio/video offset, as the scorer finds it. Clips of 2 s and more count by themselves, shorter ones
together. Then each speaker says the foreign recordings of ``speech/``: the scorer judges whether
that mouth goes with that voice as well as the real one with its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from training.motion import features
from training.motion.corpus import LEAST_FRAMES, middles, unbroken
from training.motion.measure import LONG, SETS, compare, curves, lag, mean_and_interval

from lipwright.face import shape
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.smooth import smooth
from lipwright.motion.animate import perform
from lipwright.motion.model import MotionModel
from lipwright.motion.silence import speaking
from lipwright.motion.speaking_style import fit
from lipwright.motion.sync_scorer import RATE, SyncScorer
from lipwright.speech.activity import speech_activity
from lipwright.speech.audio import load as load_sound
from lipwright.speech.encoder import SpeechEncoder
from lipwright.types import Floats

HEADS = (
    *("n", "opening r", "width r", "amplitude", "matched", "matched width"),
    *("lag ms", "sync", "dubbed", "dub at 0"),
)
HALVES = 4.0  # seconds from which on a clip is cut in two for the amplitude


@dataclass(frozen=True, kw_only=True)
class Take:
    """One unbroken run of a clip."""

    name: str
    times: NDArray[np.float64]
    mouth: Floats
    states: Floats

    @property
    def seconds(self) -> float:
        """Length."""
        return float(self.times[-1] - self.times[0])

    @property
    def rate(self) -> float:
        """Frames per second."""
        return (len(self.times) - 1) / self.seconds


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one run."""

    name: str
    seconds: float
    offset: float  #: frames of 25 Hz
    confidence: float  #: of the real clip at its offset
    opening: float
    width: float
    amplitude: float  #: of the bare prediction
    lag: float  #: seconds
    matched: float  #: amplitude with the style of the other half, nan where too short
    matched_width: float  #: the same of the width
    dubbed: float  #: mean confidence with foreign speech at offset 0
    shifted: float  #: share of the dubs whose best offset is within a frame


class Predictor(Protocol):
    """What moves a mouth to speech."""

    def predict(self, states: Floats, times: NDArray[np.float64], /) -> Floats:
        """Return displacements (n, 61, 3) at times (n,) of a sound with states (S, C)."""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A recording to be spoken."""

    states: Floats
    activity: Floats
    prediction: Floats  #: coefficients of the bare network


def gather(data: Path, cache: Path) -> Iterator[Take]:
    """Yield all runs of the measuring sets that show a face and have sound."""
    cache.mkdir(parents=True, exist_ok=True)
    landmarker, encoder = FaceLandmarker(), SpeechEncoder()
    for folder in SETS:
        for path in sorted((data / folder).glob("*.mp4")):
            name = features.name_of(path, data)
            if not (cache / f"{name}.npz").exists():
                features.save(features.study(path, name, landmarker, encoder), cache)
            clip = features.load(cache / f"{name}.npz")
            runs = [r for r in unbroken(clip.landmarks) if r.stop - r.start >= LEAST_FRAMES]
            for run in runs if len(clip.states) else []:
                yield Take(
                    name=f"{folder}/{path.stem}",
                    times=middles(clip.times)[run],
                    mouth=shape.mouth_shapes(smooth(clip.landmarks[run])),
                    states=clip.states.astype(np.float32),
                )


def measure(
    take: Take, model: MotionModel, scorer: SyncScorer, voices: Sequence[Voice]
) -> tuple[Row, Floats, Floats]:
    """Return what there is to say about one run, and the curves predicted and tracked."""
    sync = scorer.offset(take.mouth, take.times, take.states)
    prediction = model.articulate(take.states)
    times = take.times + sync.offset / RATE
    predicted, tracked = side_by_side(take, model, times)
    found = compare(predicted, tracked, take.seconds)
    dubs = [dub(take, model, scorer, v) for v in voices] if take.seconds >= LONG else []
    matched, matched_width = match_halves(take, model, prediction, times)
    row = Row(
        name=take.name,
        seconds=take.seconds,
        offset=sync.offset,
        confidence=sync.confidence,
        opening=found.opening,
        width=found.width,
        amplitude=found.amplitude,
        lag=lag(predicted[:, 0], tracked[:, 0], take.rate),
        matched=matched,
        matched_width=matched_width,
        dubbed=float(np.mean([d[0] for d in dubs])) if dubs else float("nan"),
        shifted=float(np.mean([abs(d[1]) <= 1 for d in dubs])) if dubs else float("nan"),
    )
    return row, predicted, tracked


def side_by_side(take: Take, model: Predictor, times: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Return the curves (T, 2) of a run, predicted at times (T,) of its sound and tracked."""
    moved = model.predict(take.states, times)
    return curves(take.mouth.mean(0) + moved), curves(take.mouth)


def match_halves(
    take: Take, model: MotionModel, prediction: Floats, times: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the amplitudes of each half with the style of the other, geometric means.

    Those of the opening and of the width.
    """
    if take.seconds < HALVES:
        return float("nan"), float("nan")
    middle = len(times) // 2
    ratios = []
    for known, asked in (
        (slice(0, middle), slice(middle, None)),
        (slice(middle, None), slice(0, middle)),
    ):
        states = np.clip((times[asked] * 50 - 0.5).round().astype(int), 0, len(prediction) - 1)
        style = fit(model.basis, take.mouth[known], prediction[states.min() : states.max() + 1])
        spoken = perform(model.basis, style, prediction, np.ones(len(prediction), np.float32))
        made = curves(style.mean + spoken.at(times[asked])).std(0)
        ratios.append(made / curves(take.mouth[asked]).std(0))
    opening, width = np.sqrt(ratios[0] * ratios[1])
    return float(opening), float(width)


def dub(take: Take, model: MotionModel, scorer: SyncScorer, voice: Voice) -> tuple[float, float]:
    """Let a speaker say something else; return confidence at offset 0 and the best offset."""
    style = fit(model.basis, take.mouth, voice.prediction, speaking(voice.activity))
    times = np.arange(0.5 / RATE, len(voice.states) / 50, 1 / RATE)
    spoken = perform(model.basis, style, voice.prediction, voice.activity)
    sync = scorer.offset(style.mean + spoken.at(times), times, voice.states)
    return sync.at(0), sync.offset


def report(rows: Sequence[tuple[Row, Floats, Floats]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| | {' | '.join(HEADS)} |"
    yield "|---" * (len(HEADS) + 1) + "|"
    for label, prefix in (("clips/", "clips/"), ("eval/", "eval/"), ("both", "")):
        chosen = [r for r in rows if r[0].name.startswith(prefix)]
        long = [r[0] for r in chosen if r[0].seconds >= LONG]
        cells = [interval([r.opening for r in long]), interval([r.width for r in long])]
        cells += [interval([r.amplitude for r in long], ".2f")]
        cells += [interval([r.matched for r in long], ".2f")]
        cells += [interval([r.matched_width for r in long], ".2f")]
        cells += [interval([1000 * r.lag for r in long], "+.0f", "+.0f")]
        cells += [interval([r.confidence for r in long]), interval([r.dubbed for r in long])]
        cells += [f"{100 * np.mean([r.shifted for r in long]):.0f} %"]
        yield f"| {label} | {len(long)} | " + " | ".join(cells) + " |"
        short = [r for r in chosen if r[0].seconds < LONG]
        if short:
            predicted, tracked = (np.concatenate([r[i] for r in short]) for i in (1, 2))
            found = compare(predicted, tracked, 1.0)
            yield (
                f"| {label} under 2 s, together | {len(short)} | {found.opening:.3f} | "
                f"{found.width:.3f} | {found.amplitude:.2f} | | | | | | |"
            )


def mean_of_sets(rows: Sequence[tuple[Row, Floats, Floats]]) -> str:
    """Return the mean over the two sets, each counting alike."""
    long = [(r.name, r.opening, r.width) for r, _, _ in rows if r.seconds >= LONG]
    opening, width = set_means(long).mean(0)
    return f"Mean of the two sets: opening r {opening:.3f}, width r {width:.3f}."


def set_means(runs: Sequence[tuple[str, float, float]]) -> NDArray[np.float64]:
    """Return opening and width r of each set (2, 2), means over its runs, which come with names."""
    return np.array([np.mean([r[1:] for r in runs if r[0].startswith(s)], 0) for s in SETS])


def interval(values: list[float], form: str = ".3f", ends: str = ".2f") -> str:
    """Return the mean of those measured, and its 95 % interval."""
    mean, low, high = mean_and_interval([v for v in values if np.isfinite(v)])
    return f"{mean:{form}} ({low:{ends}}–{high:{ends}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, required=True, help="folder for tracked clips")
    parser.add_argument("--json", type=Path, help="also write every row to this file")
    options = parser.parse_args()
    model, scorer, encoder = MotionModel(), SyncScorer(), SpeechEncoder()
    voices = []
    for path in sorted((options.data / "speech").iterdir()):
        sound = load_sound(path)
        states, activity = encoder.encode(sound), speech_activity(sound)
        prediction = model.articulate(states)
        voices.append(Voice(states=states, activity=activity, prediction=prediction))
    rows = [measure(t, model, scorer, voices) for t in gather(options.data, options.cache)]
    print("\n".join([*report(rows), "", mean_of_sets(rows)]))
    if options.json:
        options.json.write_text(json.dumps([vars(r[0]) for r in rows], indent=1))


if __name__ == "__main__":
    main()
