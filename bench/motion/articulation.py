"""Score articulation: lip closures, pauses, sounds that are not speech, and speaker adaptation.

    python -m bench.motion.articulation --cache FOLDER

The motion is scored before anything is painted, on the clips of ``clips/`` and ``eval/`` (tracked
once into the cache, which ``bench.motion`` shares):

- the share of /p b m/ at which the lips of each development speaker close, by language, in speech
  with timed phones (`bench.motion.timed_speech`);
- how many true closures of the clips are reproduced in the style of the other half;
- opening r and width r of one half, adapted to the own speech of the other;
- mouth motion in pauses, and during sounds that are not speech.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.common import metrics
from bench.common.clips import DATA, RESULTS, code_version
from bench.motion import non_speech, timed_speech
from bench.motion.segments import (
    MIN_HALVES_SECONDS,
    ClipSegment,
    PredictedSpeech,
    load_segments,
    predict_speech,
    swapped_halves,
)
from lipwright.face.canonical import mouth_opening, mouth_width
from lipwright.face.landmarks import LIPS
from lipwright.media.decode.audio import read_audio
from lipwright.motion.adaptation import MIN_SECONDS, fit_adaptation, pair_speech_with_mouth
from lipwright.motion.animate import synthesize_motion
from lipwright.motion.basis import Basis
from lipwright.motion.model import MotionModel
from lipwright.motion.resampling import STATE_RATE, resample
from lipwright.motion.silence import speech_mask
from lipwright.motion.speaking_style import fit_style
from lipwright.motion.sync_scorer import MOUTH_RATE, SyncScorer
from lipwright.speech.audio import load_audio
from lipwright.speech.encoder import SpeechEncoder
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Bools, Doubles, Floats

Span = tuple[float, float]  # start and stop, seconds

PARTS = ("face", "motion", "speech", "weights")  # of the package that a result depends on
FRAME = 1 / 25  # seconds
MIN_CONFIDENCE = 0.2  # of a clip's sync, for its offset to be trusted
MIN_PAUSE_FRAMES = 6  # to measure a clip
SHORT_PAUSE_SECONDS = 0.2  # from here to `metrics.MIN_PAUSE_SECONDS`: a short pause
SHORT_PAUSE, LONG_PAUSE = "0.2 s to 0.4 s", "from 0.4 s on"
GAP_SECONDS = 0.5  # of silence between a sound and the sentences around it


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A segment of a clip, with its own sound."""

    segment: ClipSegment
    speech: PredictedSpeech
    times: Doubles  #: (T,) seconds of the sound that belongs to each frame

    @property
    def name(self) -> str:
        """Folder and clip."""
        return self.segment.name

    @property
    def mouth(self) -> Floats:
        """Tracked mouth shapes (T, 61, 3)."""
        return self.segment.mouth

    @property
    def levels(self) -> metrics.ClosureLevels:
        """The levels at which this mouth counts as closed and open."""
        return metrics.estimate_closure_levels(mouth_opening(self.mouth))


class Networks:
    """The networks, loaded once."""

    def __init__(self) -> None:
        self.model, self.scorer, self.encoder = MotionModel(), SyncScorer(), SpeechEncoder()

    def predict_speech(self, samples: Floats) -> PredictedSpeech:
        """Encode a recording (n,) of 16 kHz and predict its motion."""
        return predict_speech(samples, self.encoder, self.model)

    def load_speakers(self, data: Path, cache: Path) -> list[Speaker]:
        """Return the segments of 4 s and more whose sound is in sync with the mouth."""
        speakers = []
        for segment in load_segments(data, cache):
            if segment.seconds < MIN_HALVES_SECONDS:
                continue
            sync = self.scorer.estimate_offset(segment.mouth, segment.times, segment.states)
            if sync.confidence < MIN_CONFIDENCE:
                continue
            path = next(data.glob(f"{segment.name}.*"))
            speech = self.predict_speech(read_audio(path, align_to_video=True))
            times = segment.times + sync.offset / MOUTH_RATE
            speakers.append(Speaker(segment=segment, speech=speech, times=times))
        return speakers

    def animate(self, known: Floats, speech: PredictedSpeech, times: Doubles) -> Floats:
        """Return the mouth shapes of a speaker at some times of a speech.

        Args:
            known: mouth shapes (T, 61, 3) of the speaker, to fit the style.
            speech: to speak.
            times: (n,) seconds.

        Returns:
            Mouth shapes (n, 61, 3).
        """
        basis, speaking = self.model.basis, speech_mask(speech.activity)
        style = fit_style(basis, known, speech.prediction, speaking)
        motion = synthesize_motion(basis, style, speech.prediction, speech.activity)
        shapes: Floats = style.mean + motion.displacements(times)
        return shapes


def closes_in_spans(
    openings: Floats, times: Doubles, spans: Sequence[Span], level: float
) -> list[bool]:
    """Return for each span whether the lips close in it, within a frame.

    Args:
        openings: (T,) gaps of the inner lips.
        times: (T,) seconds.
        spans: spans outside *times* are left out.
        level: gap at which the lips count as closed.
    """
    results = []
    for start, stop in spans:
        near = (times >= start - FRAME - 1e-6) & (times <= stop + FRAME + 1e-6)
        if near.any():
            results.append(bool(openings[near].min() <= level))
    return results


def closures_by_language(
    networks: Networks,
    speakers: Sequence[Speaker],
    utterances: Sequence[timed_speech.Utterance],
) -> Iterator[str]:
    """Yield the table of the share of /p b m/ at which the lips close, by language."""
    development = [s for s in speakers if s.name.startswith("clips/")]
    closed: dict[str, list[bool]] = defaultdict(list)
    by_speaker: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, int] = defaultdict(int)
    for utterance in utterances:
        language = utterance.language
        speech = networks.predict_speech(utterance.samples)
        spans = timed_speech.bilabial_spans(utterance.phones)
        times = np.arange(0, speech.seconds, FRAME)
        counts[language] += len(spans)
        for speaker in development:
            openings = mouth_opening(networks.animate(speaker.mouth, speech, times))
            results = closes_in_spans(openings, times, spans, speaker.levels.closed)
            closed[language] += results
            by_speaker[language][speaker.name] += results
    yield "| language | /p b m/ | closed % | lowest speaker % |"
    yield "| --- | ---: | ---: | ---: |"
    for language, results in closed.items():
        if not results:
            yield f"| {language} | 0 | – | – |"
            continue
        lowest = min(np.mean(v) for v in by_speaker[language].values())
        cells = f"{counts[language]} | {100 * np.mean(results):.0f} | {100 * lowest:.0f}"
        yield f"| {language} | {cells} |"


def reproduced_closures(networks: Networks, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield how many true closures are reproduced in the style of the other half."""
    true_count = predicted_count = recalled = correct = 0.0
    amplitudes = []
    for speaker in speakers:
        frame, levels = float(np.median(np.diff(speaker.times))), speaker.levels
        for known, half in swapped_halves(len(speaker.times)):
            shapes = networks.animate(speaker.mouth[known], speaker.speech, speaker.times[half])
            predicted, true = mouth_opening(shapes), mouth_opening(speaker.mouth[half])
            true_closures = metrics.find_closures(true, levels, frame)
            predicted_closures = metrics.find_closures(predicted, levels, frame)
            if true_closures:
                true_count += len(true_closures)
                recall = metrics.closure_recall(predicted, true_closures, levels)
                recalled += len(true_closures) * recall
            if predicted_closures:
                predicted_count += len(predicted_closures)
                precision = metrics.closure_recall(true, predicted_closures, levels)
                correct += len(predicted_closures) * precision
            amplitudes.append(float(predicted.std() / true.std()))
    amplitude = math.exp(float(np.mean(np.log(amplitudes))))
    yield (
        f"{100 * recalled / true_count:.0f} % of {true_count:.0f} true closures are reproduced "
        f"within a frame; {100 * correct / predicted_count:.0f} % of {predicted_count:.0f} "
        f"predicted closures are true. Amplitude {amplitude:.2f} (geometric mean)."
    )


def adaptation_gains(networks: Networks, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield the table of what the adaptation to one half changes in the other."""
    yield "| clip | learnt from s | decision | opening r | adapted | width r | adapted |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    basis = networks.model.basis
    for speaker in sorted(speakers, key=lambda s: -s.segment.seconds):
        segment, speech = speaker.segment, speaker.speech
        for known, half in swapped_halves(len(speaker.times)):
            mouth, times = segment.mouth[known], segment.times[known]
            sync = networks.scorer.estimate_offset(mouth, times, speech.states)
            pairs = pair_speech_with_mouth(mouth, times, speech.states, speech.prediction, sync)
            if segment.seconds / 2 < MIN_SECONDS:
                continue
            adaptation = fit_adaptation(basis, pairs)
            before = _correlations(basis, speech.prediction, speaker, half)
            after, decision = before, "none"
            if adaptation:
                corrected = adaptation.correct(speech.prediction, speech.states)
                after = _correlations(basis, corrected, speaker, half)
                decision = f"{adaptation.opening_gain:+.3f}, {adaptation.width_gain:+.3f} held out"
            yield (
                f"| {speaker.name} | {pairs.seconds:.0f} | {decision} | {before[0]:.3f} | "
                f"{after[0]:.3f} | {before[1]:.3f} | {after[1]:.3f} |"
            )


def _correlations(
    basis: Basis, prediction: Floats, speaker: Speaker, half: slice
) -> tuple[float, float]:
    displacements = basis.shapes(resample(prediction, speaker.times[half]))
    predicted, true = speaker.mouth.mean(0) + displacements, speaker.mouth[half]
    return (
        metrics.correlation(mouth_opening(predicted), mouth_opening(true)),
        metrics.correlation(mouth_width(predicted), mouth_width(true)),
    )


def motion_in_pauses(networks: Networks, speakers: Sequence[Speaker]) -> Iterator[str]:
    """Yield the table of how much the mouth moves in real pauses, against the true mouth."""
    energies: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for speaker in speakers:
        shapes = networks.animate(speaker.mouth, speaker.speech, speaker.times)
        for name, mask in find_pauses(speaker.speech.activity, speaker.times).items():
            if mask.sum() >= MIN_PAUSE_FRAMES:
                predicted, true = (motion_energy(m, mask) for m in (shapes, speaker.mouth))
                energies[name].append((predicted, true, metrics.ratio(predicted, true)))
    yield "| pauses | clips | motion energy | of the true mouth | median ratio | highest |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, rows in energies.items():
        predicted_all, true_all, ratios = np.array(rows).T
        yield (
            f"| {name} | {len(rows)} | {predicted_all.mean():.1f} | {true_all.mean():.1f} | "
            f"{np.median(ratios):.2f} | {ratios.max():.2f} |"
        )


def find_pauses(activity: Floats, times: Doubles) -> dict[str, Bools]:
    """Return which frames (n,) lie in short and in long pauses.

    Args:
        activity: (S,) probability of speech at 50 Hz.
        times: (n,) of the frames, seconds.
    """
    masks = {name: np.zeros(len(times), bool) for name in (SHORT_PAUSE, LONG_PAUSE)}
    silent = np.pad(activity < metrics.SPEECH_THRESHOLD, 1).astype(np.int8)
    edges = np.flatnonzero(np.diff(silent)) / STATE_RATE
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= metrics.MIN_PAUSE_SECONDS:
            first, last = start + metrics.PAUSE_MARGIN, stop - metrics.PAUSE_MARGIN
            masks[LONG_PAUSE] |= (times >= first) & (times <= last)
        elif stop - start >= SHORT_PAUSE_SECONDS:
            masks[SHORT_PAUSE] |= (times >= start) & (times <= stop)
    return masks


def motion_energy(mouth: Floats, mask: Bools) -> float:
    """Return the mean square velocity of the lips inside a mask, 10⁻⁶ canonical units squared.

    Args:
        mouth: mouth shapes (T, 61, 3).
        mask: (T,) frames to use.
    """
    return 1e6 * metrics.mean_square_velocity(mouth[:, : len(LIPS), :2], mask)


def motion_without_speech(
    networks: Networks, speakers: Sequence[Speaker], recordings: Sequence[Floats]
) -> Iterator[str]:
    """Yield the table of how much the mouth moves during sounds that are not speech.

    Args:
        networks: to predict with.
        speakers: the one with the longest segment is used.
        recordings: speech (n,) of 16 kHz; the first one is played before and after each sound.
    """
    speaker = max(speakers, key=lambda s: s.segment.seconds)
    sentence, gap = recordings[0], np.zeros(round(GAP_SECONDS * SAMPLE_RATE), np.float32)
    yield "| sound | motion energy | of speech | share % |"
    yield "| --- | ---: | ---: | ---: |"
    for name, sound in non_speech.make_sounds(recordings).items():
        speech = networks.predict_speech(np.concatenate([sentence, gap, sound, gap, sentence]))
        times = np.arange(0, speech.seconds, FRAME)
        shapes = networks.animate(speaker.mouth, speech, times)
        start = (len(sentence) + len(gap)) / SAMPLE_RATE
        in_sound = (times > start + GAP_SECONDS / 2) & (times < start + non_speech.SECONDS)
        in_speech = times < start - GAP_SECONDS
        sound_energy, speech_energy = (motion_energy(shapes, m) for m in (in_sound, in_speech))
        share = 100 * sound_energy / speech_energy
        yield f"| {name} | {sound_energy:.2f} | {speech_energy:.1f} | {share:.1f} |"


def recognise_recordings(data: Path) -> list[timed_speech.Utterance]:
    """Return the recordings of ``speech/`` with the phones recognised in them."""
    return [
        timed_speech.recognise(path.stem, path.stem[:2], load_audio(path))
        for path in sorted((data / "speech").iterdir())
    ]


def report(data: Path, cache: Path) -> Iterator[str]:
    """Yield the lines of the result page."""
    networks = Networks()
    speakers = networks.load_speakers(data, cache)
    recordings = [load_audio(p) for p in sorted((data / "speech").iterdir())]
    synthetic = list(timed_speech.synthesise(cache / "phones"))
    yield "# Articulation, the motion alone\n"
    yield (
        f"`python -m bench.motion.articulation --cache FOLDER`, code and weights "
        f"{code_version(*PARTS)}\n"
    )
    yield "## /p b m/ closed, synthetic speech with timed phones\n"
    yield from closures_by_language(networks, speakers, synthetic)
    yield "\n## /p b m/ closed, real recordings, phones as recognised\n"
    yield (
        "The recogniser knows English only. In other languages it misses most phones and invents "
        "some, so the counts are small and the shares are lower bounds.\n"
    )
    yield from closures_by_language(networks, speakers, recognise_recordings(data))
    yield "\n## True closures of real clips, style of the other half\n"
    yield from reproduced_closures(networks, speakers)
    yield "\n## Adaptation to the own speech of the other half\n"
    yield f"Halves of {MIN_SECONDS:.0f} s and more.\n"
    yield from adaptation_gains(networks, speakers)
    yield "\n## Real pauses\n"
    yield from motion_in_pauses(networks, speakers)
    yield "\n## Sounds that are not speech\n"
    yield from motion_without_speech(networks, speakers, recordings)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.motion.articulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", type=Path, default=DATA, help="folder with clips/, eval/ and speech/"
    )
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder for tracked clips and synthetic speech"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "articulation.md")
    arguments = parser.parse_args()
    missing = timed_speech.missing_packages()
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not installed; pip install -e '.[bench]'")
    lines = []
    for line in report(arguments.data, arguments.cache):
        print(line, flush=True)
        lines.append(line)
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
