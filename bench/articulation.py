"""How well the mouth articulates: closures, pauses, sounds that are no speech, own style.

    python -m bench.articulation --cache FOLDER

What the motion alone does, before anything is painted, on the clips of ``clips/`` and ``eval/``
(tracked once into the cache, as by ``bench.motion``):

- the share of /p b m/ at which the lips of each development speaker close, by language, in speech
  whose phones are timed (`bench.phones`);
- the true closures of the clips closed again, with the style of the other half;
- opening and width r of one half, fitted to the own speech of the other;
- motion in pauses, and while no one speaks.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import measures, phones, sounds
from bench.footage import DATA, version
from bench.motion import Take, gather
from lipwright.face.lips import LIPS
from lipwright.face.shape import opening, width
from lipwright.media.decode.video import read_audio
from lipwright.motion import adaptation as adapt
from lipwright.motion import resampling as curve
from lipwright.motion import silence as rest
from lipwright.motion import speaking_style as style
from lipwright.motion.animate import perform
from lipwright.motion.basis import Basis
from lipwright.motion.model import MotionModel
from lipwright.motion.sync_scorer import RATE, SyncScorer
from lipwright.speech.activity import speech_activity
from lipwright.speech.audio import load as load_sound
from lipwright.speech.encoder import SpeechEncoder
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Bools, Doubles, Floats

Span = tuple[float, float]

RESULTS = Path(__file__).parent / "results" / "articulation.md"
PARTS = ("face", "motion", "speech", "weights")
FRAME = 1 / 25  # seconds
HALVES = 4.0  # seconds from which on a clip is cut in two
LEAST_CONFIDENCE = 0.2  # of a clip, so that its offset is known
SHORT_PAUSE = 0.2  # seconds
LEAST_FRAMES = 6  # in pauses, to measure a clip
GUARD = 0.12  # seconds at the ends of a pause that are still, or already, speech


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A recording, as the networks hear it."""

    states: Floats
    activity: Floats
    prediction: Floats

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.states) / 50


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A run of a clip, with its own sound."""

    name: str
    mouth: Floats
    times: Doubles  #: seconds of the sound that belongs to each frame
    heard: Heard
    take: Take

    @property
    def gap(self) -> measures.Gap:
        """What closed means for this mouth."""
        return measures.gap_of(opening(self.mouth))

    def halves(self) -> Iterator[tuple[slice, slice]]:
        """Yield what is known and what is asked."""
        middle = len(self.times) // 2
        yield slice(0, middle), slice(middle, None)
        yield slice(middle, None), slice(0, middle)


class Bench:
    """The networks, warm."""

    def __init__(self) -> None:
        self.model, self.scorer, self.encoder = MotionModel(), SyncScorer(), SpeechEncoder()

    def hear(self, samples: Floats) -> Heard:
        """Hear a recording (n,) of 16 kHz."""
        states = self.encoder.encode(samples)
        return Heard(
            states=states,
            activity=speech_activity(samples)[: len(states)],
            prediction=self.model.articulate(states),
        )

    def speakers(self, data: Path, cache: Path) -> list[Speaker]:
        """Return the runs of 4 s and more whose sound surely is theirs."""
        found = []
        for take in gather(data, cache):
            if take.seconds < HALVES:
                continue
            sync = self.scorer.offset(take.mouth, take.times, take.states)
            if sync.confidence < LEAST_CONFIDENCE:
                continue
            path = next(data.glob(f"{take.name}.*"))
            times = take.times + sync.offset / RATE
            heard = self.hear(read_audio(path, from_picture=True))
            found.append(
                Speaker(name=take.name, mouth=take.mouth, times=times, heard=heard, take=take)
            )
        return found

    def act(self, known: Floats, heard: Heard, times: Doubles) -> Floats:
        """Return the mouth shapes (n, 61, 3) of somebody known by shapes who says something."""
        basis, spoken = self.model.basis, rest.speaking(heard.activity)
        manner = style.fit(basis, known, heard.prediction, spoken)
        done = perform(basis, manner, heard.prediction, heard.activity)
        shapes: Floats = manner.mean + done.at(times)
        return shapes


def closed(gap: Floats, times: Doubles, spans: Sequence[Span], level: float) -> list[bool]:
    """Return for each span whether the lips come together in it, within a frame."""
    out = []
    for start, stop in spans:
        near = (times >= start - FRAME - 1e-6) & (times <= stop + FRAME + 1e-6)
        if near.any():
            out.append(bool(gap[near].min() <= level))
    return out


def phones_section(
    bench: Bench, speakers: Sequence[Speaker], utterances: Sequence[phones.Utterance]
) -> Iterator[str]:
    """Yield the table of /p b m/ by language."""
    people = [s for s in speakers if s.name.startswith("clips/")]
    shares: dict[str, list[bool]] = defaultdict(list)
    least: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, int] = defaultdict(int)
    for utterance in utterances:
        heard, spans = bench.hear(utterance.samples), phones.closures(utterance.phones)
        times = np.arange(0, heard.seconds, FRAME)
        counts[utterance.language] += len(spans)
        for person in people:
            gap = opening(bench.act(person.mouth, heard, times))
            found = closed(gap, times, spans, person.gap.closed)
            shares[utterance.language] += found
            least[utterance.language][person.name] += found
    yield "| language | /p b m/ | closed % | least of a speaker % |"
    yield "| --- | ---: | ---: | ---: |"
    for language, found in shares.items():
        if not found:
            yield f"| {language} | 0 | – | – |"
            continue
        worst = min(np.mean(v) for v in least[language].values())
        cells = f"{counts[language]} | {100 * np.mean(found):.0f} | {100 * worst:.0f}"
        yield f"| {language} | {cells} |"


def halves_section(bench: Bench, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield how true closures are closed again, by the style of the other half."""
    true = made = hit = right = 0.0
    ratios = []
    for person in speakers:
        frame = float(np.median(np.diff(person.times)))
        for known, asked in person.halves():
            shapes = bench.act(person.mouth[known], person.heard, person.times[asked])
            got, wanted = opening(shapes), opening(person.mouth[asked])
            events = measures.closures(wanted, person.gap, frame)
            painted = measures.closures(got, person.gap, frame)
            true, made = true + len(events), made + len(painted)
            hit += len(events) and len(events) * measures.closed_again(got, events, person.gap)
            right += len(painted) and len(painted) * measures.closed_again(
                wanted, painted, person.gap
            )
            ratios.append(float(got.std() / wanted.std()))
    spread = math.exp(float(np.mean(np.log(ratios))))
    yield (
        f"{100 * hit / true:.0f} % of {true:.0f} true closures are closed within a frame; "
        f"{100 * right / made:.0f} % of {made:.0f} closures made are true. Amplitude {spread:.2f} "
        "(geometric mean)."
    )


def adapted_section(bench: Bench, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield what the fit to the own speech of one half does to the other."""
    yield "| clip | learnt from s | decision | opening r | fitted | width r | fitted |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    basis = bench.model.basis
    for person in sorted(speakers, key=lambda s: -s.take.seconds):
        take, heard = person.take, person.heard
        for known, asked in person.halves():
            mouth, times = take.mouth[known], take.times[known]
            sync = bench.scorer.offset(mouth, times, heard.states)
            pairs = adapt.pair(mouth, times, heard.states, heard.prediction, sync)
            if take.seconds / 2 < adapt.LEAST_SECONDS:
                continue
            learnt = adapt.learn(basis, pairs)
            before = _agreement(basis, heard.prediction, person, asked)
            after, text = before, "none"
            if learnt:
                changed = learnt.correct(heard.prediction, heard.states)
                after = _agreement(basis, changed, person, asked)
                text = f"{learnt.opening:+.3f}, {learnt.width:+.3f} held out"
            yield (
                f"| {person.name} | {pairs.seconds:.0f} | {text} | {before[0]:.3f} | "
                f"{after[0]:.3f} | {before[1]:.3f} | {after[1]:.3f} |"
            )


def _agreement(
    basis: Basis, prediction: Floats, person: Speaker, asked: slice
) -> tuple[float, float]:
    moved = person.mouth.mean(0) + basis.shapes(curve.read(prediction, person.times[asked]))
    true = person.mouth[asked]
    return (
        measures.correlation(opening(moved), opening(true)),
        measures.correlation(width(moved), width(true)),
    )


def pauses_section(bench: Bench, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield how much the mouth moves in real pauses, against the true mouth."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for person in speakers:
        shapes = bench.act(person.mouth, person.heard, person.times)
        for name, mask in pauses(person.heard.activity, person.times).items():
            if mask.sum() >= LEAST_FRAMES:
                moved = [energy(m, mask) for m in (shapes, person.mouth)]
                found[name].append((*moved, measures.ratio(*moved)))
    yield "| pauses | clips | motion energy | of the true mouth | median ratio | highest |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, rows in found.items():
        made, true, ratio = np.array(rows).T
        yield (
            f"| {name} | {len(rows)} | {made.mean():.1f} | {true.mean():.1f} | "
            f"{np.median(ratio):.2f} | {ratio.max():.2f} |"
        )


def pauses(activity: Floats, times: Doubles) -> dict[str, Bools]:
    """Return which frames (n,) lie in pauses, short and long ones."""
    out = {
        "0.2 s to 0.4 s": np.zeros(len(times), bool),
        "from 0.4 s on": np.zeros(len(times), bool),
    }
    edges = np.flatnonzero(np.diff(np.pad(activity < measures.SPEECH, 1).astype(np.int8)))
    for start, stop in zip(edges[::2] / 50, edges[1::2] / 50, strict=True):
        if stop - start >= measures.LEAST_PAUSE:
            out["from 0.4 s on"] |= (times >= start + GUARD) & (times <= stop - GUARD)
        elif stop - start >= SHORT_PAUSE:
            out["0.2 s to 0.4 s"] |= (times >= start) & (times <= stop)
    return out


def energy(mouth: Floats, mask: Bools) -> float:
    """Return the motion energy of the lips where *mask* is set, millionths of squared units."""
    return 1e6 * measures.motion(mouth[:, : len(LIPS), :2], mask)


def sounds_section(
    bench: Bench, speakers: Sequence[Speaker], voices: Sequence[Floats]
) -> Iterator[str]:
    """Yield how much the mouth moves to sounds that are no speech, between two sentences."""
    person = max(speakers, key=lambda s: s.take.seconds)
    sentence, hush = voices[0], np.zeros(SAMPLE_RATE // 2, np.float32)
    yield "| sound | motion energy | of speech | share % |"
    yield "| --- | ---: | ---: | ---: |"
    for name, sound in sounds.no_speech(voices).items():
        heard = bench.hear(np.concatenate([sentence, hush, sound, hush, sentence]))
        times = np.arange(0, heard.seconds, FRAME)
        shapes = bench.act(person.mouth, heard, times)
        first = (len(sentence) + len(hush)) / SAMPLE_RATE
        during = (times > first + 0.25) & (times < first + sounds.SECONDS)
        speech = times < first - 0.5
        moved, spoken = energy(shapes, during), energy(shapes, speech)
        yield f"| {name} | {moved:.2f} | {spoken:.1f} | {100 * moved / spoken:.1f} |"


def real(data: Path) -> list[phones.Utterance]:
    """Return the recordings of ``speech/`` with the phones that are heard in them."""
    return [
        phones.recognised(path.stem, path.stem[:2], load_sound(path))
        for path in sorted((data / "speech").iterdir())
    ]


def report(data: Path, cache: Path) -> Iterator[str]:
    """Yield the lines of the page."""
    bench = Bench()
    speakers = bench.speakers(data, cache)
    voices = [load_sound(p) for p in sorted((data / "speech").iterdir())]
    yield "# Articulation, the motion alone\n"
    yield f"`python -m bench.articulation --cache FOLDER`, code and weights {version(*PARTS)}\n"
    yield "## /p b m/ closed, synthetic speech with timed phones\n"
    yield from phones_section(bench, speakers, list(phones.synthetic(cache / "phones")))
    yield "\n## /p b m/ closed, real recordings, phones as recognised\n"
    yield (
        "The recogniser knows English; in other languages it misses most phones and invents some: "
        "few to count, and rather a lower bound.\n"
    )
    yield from phones_section(bench, speakers, real(data))
    yield "\n## True closures of real clips, style of the other half\n"
    yield from halves_section(bench, speakers)
    yield "\n## Fitted to the own speech of the other half\n"
    yield f"Halves of {adapt.LEAST_SECONDS:.0f} s and more.\n"
    yield from adapted_section(bench, speakers)
    yield "\n## Real pauses\n"
    yield from pauses_section(bench, speakers)
    yield "\n## Sounds that are no speech\n"
    yield from sounds_section(bench, speakers, voices)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.articulation", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cache", type=Path, required=True, help="for tracked clips and speech")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    absent = phones.missing()
    if absent:
        raise SystemExit(f"{', '.join(absent)}: not installed; pip install -e '.[bench]'")
    lines = []
    for line in report(asked.data, asked.cache):
        print(line, flush=True)
        lines.append(line)
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
