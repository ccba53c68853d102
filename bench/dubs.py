"""The main job on real footage: every clip, three foreign voices, all five modes.

    python -m bench.dubs [--clips NAME ...] [--modes MODE ...]

Checks each result against the timeline to the frame and the sample, and scores the synchrony of
the ``cut_off`` dubs. Runs that were done with the same code and weights are not done again.
docs/reference/measures.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench import sheets
from bench.footage import CACHE, DATA, Clip, Cupboard, Studio, find, version
from bench.measures import acceleration, ratio
from bench.played import count_frames, faults, play
from bench.regions import Regions, lips_of
from bench.retake import compared, run_starts, same_face
from bench.tables import Column, table
from lipwright.face.neutral import fit_drift
from lipwright.face.shape import align, mouth_shapes, opening
from lipwright.face.smooth import smooth
from lipwright.face.track import RawTrack, track_faces
from lipwright.media.decode.video import Reader, read_video
from lipwright.media.probe import probe, require_audio
from lipwright.media.timeline import Timeline, plan
from lipwright.options import SyncMode, SyncOptions
from lipwright.types import Floats, Rgb

LANGUAGES = ("de", "es", "fr", "ja", "zh", "ar")
CHOICE = (0, 1, 3, 2, 4, 5)  # of the languages, counted from a clip's own number
VOICES = 3  # of them that a clip says, if not asked for more
SHEET_FRAMES = 6
RESULTS = Path(__file__).parent / "results"

CONFIDENCE = (
    Column(key="own", head="own voice"),
    Column(key="zero", head="dub at 0", aim="≥ own"),
    Column(key="ratio", head="dub / own", aim="≥ 0.8"),
    Column(key="still_own", head="own voice, head still"),
    Column(key="still_zero", head="dub at 0, head still", aim="≥ own"),
    Column(key="still_ratio", head="dub / own, head still", aim="≥ 0.8"),
    Column(key="best", head="dub at best"),
    Column(key="offset", head="best offset ms", form="+.0f", factor=1000, aim="± 20"),
    Column(key="undubbed", head="not dubbed"),
)
PICTURE = (
    Column(key="sharpness", head="sharpness"),
    Column(key="flicker", head="flicker", aim="≤ 1.1"),
    Column(key="below", head="below chin", form=".1f"),
    Column(key="starts", head="new runs %", form=".0f", factor=100, aim="≤ 10"),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One dub and what was found in it."""

    clip: str
    speech: str
    mode: str
    version: str
    planned: int = 0  #: frames
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0  #: processor time of the job, its tracking and study aside
    output_seconds: float = 0.0
    style: str = ""
    own: float = float("nan")  #: sync confidence of the clip with its own sound, best offset
    zero: float = float("nan")  #: of the dub, offset 0
    best: float = float("nan")
    offset: float = float("nan")  #: seconds by which the sound comes after the picture
    still_own: float = float("nan")  #: as own, what follows the head's turns taken off the shapes
    still_zero: float = float("nan")  #: as zero, in the same way
    undubbed: float = float("nan")  #: of the clip as it is with the new voice, offset 0
    sharpness: float = float("nan")  #: fine energy around the mouth, dub over source
    flicker: float = float("nan")  #: of the skin around the lips, dub over source
    below: float = float("nan")  #: change below the chin, 8-bit levels
    starts: float = float("nan")  #: share of painted frames that start a new run

    @property
    def key(self) -> str:
        """A name for files."""
        return f"{self.clip}--{self.speech}--{self.mode}"


def voices(folder: Path, number: int) -> list[Path]:
    """Return the recordings for the clip of that number, one of each language but English."""
    names = [LANGUAGES[(number + i) % len(LANGUAGES)] for i in CHOICE]
    return [next(iter(sorted(folder.glob(f"{name}_*")))) for name in names]


@cache
def frames_of(path: Path) -> int:
    return count_frames(path)


def planned(clip: Clip, speech: Path, mode: SyncMode) -> Timeline:
    """Plan the output anew, from a fresh count of the clip's frames."""
    info = clip.take.info
    regular = Fraction(frames_of(clip.info.path)) / info.rate
    length = info.duration if info.variable_rate else regular
    return plan(mode, video=length, audio=require_audio(probe(speech)).duration, rate=info.rate)


class Bench:
    """Does runs, or takes their results from the folder where they are kept."""

    def __init__(
        self, studio: Studio, kept: Path, pictures: Path, *, any_version: bool, every: bool
    ) -> None:
        self._studio, self._kept, self._pictures, self._every = studio, kept, pictures, every
        self._version, self._any = version(), any_version
        kept.mkdir(parents=True, exist_ok=True)

    def run(self, clip: Clip, speech: Path, mode: SyncMode) -> Run:
        """Dub, or remember having dubbed."""
        blank = Run(clip=clip.name, speech=speech.stem, mode=mode.value, version=self._version)
        record = self._kept / f"{blank.key}.json"
        if record.exists():
            found = Run(**json.loads(record.read_text()))
            if self._any or found.version == self._version:
                return found
        try:
            done = self._dub(clip, speech, mode, blank)
            record.write_text(json.dumps(asdict(done)))
        except Exception as error:  # one broken run must not cost the others
            done = replace(blank, faults=[f"{type(error).__name__}: {error}"])
        print(f"{done.key}: {done.seconds:.1f} s, {'; '.join(done.faults) or 'as planned'}")
        return done

    def _dub(self, clip: Clip, speech: Path, mode: SyncMode, blank: Run) -> Run:
        timeline = planned(clip, speech, mode)
        with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
            out = Path(folder) / "dub.mp4"
            began = time.process_time()
            with run_starts() as starts:
                result = self._studio.sync(
                    clip.info.path, speech, out, options=SyncOptions(mode=mode)
                )
            facts: dict[str, Any] = {
                "planned": timeline.frames,
                "seconds": time.process_time() - began,
                "output_seconds": float(timeline.duration),
                "style": result.style,
                "faults": faults(play(out, timeline.rate), timeline),
                "starts": float(np.concatenate(starts).mean()) if starts else float("nan"),
            }
            at = place(timeline)
            if mode is SyncMode.CUT_OFF:
                scores, at = self._scored(clip, speech, out, timeline)
                facts |= scores | looks(clip, out, timeline)
            self._sheet(clip, blank, out, timeline, at)
        return replace(blank, **facts)

    def _scored(
        self, clip: Clip, speech: Path, out: Path, timeline: Timeline
    ) -> tuple[dict[str, float], int]:
        """Return the confidences of a dub, and a frame with the mouth wide open."""
        studio, sound = self._studio, self._studio.sound(speech)
        shown = [i for i, _ in timeline.picks(clip.take.times)]
        tracks: tuple[RawTrack, ...] = track_faces(read_video(probe(out)), studio.landmarker())
        painted = smooth(same_face(tracks, clip.track.landmarks[shown]))
        mouth = mouth_shapes(painted)
        times = np.arange(len(mouth)) / float(timeline.rate)
        own = studio.agreement(clip.mouth(), clip.times, clip.sound)
        dub = studio.agreement(mouth, times, sound)
        before = studio.agreement(clip.mouth()[shown], times, sound)
        scores = {
            "own": own.confidence,
            "zero": dub.at_zero,
            "best": dub.confidence,
            "offset": dub.offset,
            "undubbed": before.at_zero,
            "still_own": studio.agreement(
                still(smooth(clip.track.landmarks)), clip.times, clip.sound
            ).confidence,
            "still_zero": studio.agreement(still(painted), times, sound).at_zero,
        }
        return scores, int(np.argmax(np.nan_to_num(opening(mouth))))

    def _sheet(self, clip: Clip, run: Run, out: Path, timeline: Timeline, at: int) -> None:
        """Write consecutive frames around frame *at*, source and result, and all if asked for."""
        start = max(0, min(at - SHEET_FRAMES // 2, timeline.frames - SHEET_FRAMES))
        window = slice(start, start + SHEET_FRAMES)
        shown = slice(0, timeline.frames) if self._every else window
        pairs = list(_pairs(clip, out, timeline, shown))
        some = pairs[window] if self._every else pairs
        sheets.write(self._pictures / f"dub_{run.key}.png", [(f"{run.key} frame {start}", some)])
        if self._every:
            mouths = [lips_of(result) for result, _ in pairs]
            sheets.write_every(self._pictures, f"every_{run.key}", mouths)


def _pairs(clip: Clip, out: Path, timeline: Timeline, shown: slice) -> Iterator[tuple[Rgb, Rgb]]:
    """Yield crops of some frames of a result and of the source; empty ones where no face is."""
    picks = [*timeline.picks(clip.take.times)][shown]
    regions = Regions.of(smooth(clip.track.landmarks))
    results = read_video(probe(out), start=shown.start, stop=shown.start + len(picks))
    for (index, _), before, after in zip(picks, Reader(clip.info).at(picks), results, strict=True):
        if np.isfinite(regions.landmarks[index, 0, 0]):
            yield regions.crop(after.picture, index), regions.crop(before, index)
        else:
            yield regions.blank(), regions.blank()


def looks(clip: Clip, out: Path, timeline: Timeline) -> dict[str, float]:
    """Compare the pictures of a dub, encoded as they are, with those of the source."""
    regions, picks = Regions.of(smooth(clip.track.landmarks)), [*timeline.picks(clip.take.times)]
    fine, below, cells = list[Any](), list[Any](), list[Any]()
    for (index, _), before, after in zip(
        picks, Reader(clip.info).at(picks), read_video(probe(out)), strict=True
    ):
        if not np.isfinite(regions.landmarks[index, 0, 0]):
            cells.append(np.full((2, len(regions.cells)), np.nan))
            continue
        looked = compared(regions, index, before, after.picture)
        for found, value in zip((fine, below, cells), looked, strict=True):
            found.append(value)
    made, true = np.mean(fine, 0)
    light, seen = np.array(cells), np.ones(len(cells), bool)
    return {
        "sharpness": ratio(float(made), float(true)),
        "flicker": float(np.sqrt(ratio(*(acceleration(light[:, i], seen) for i in (0, 1))))),
        "below": float(np.nanmean(below)),
    }


def still(landmarks: Floats) -> Floats:
    """Return mouth shapes (T, 61, 3) without what follows the pose of the head in this very take.

    Landmarks slide over the skin as a head turns. The turns belong to the old voice, so they count
    against any dub, though nobody sees them as motion of the mouth.
    """
    shapes, angles = mouth_shapes(landmarks), align(landmarks).angles()
    return shapes - fit_drift(shapes, angles).at(angles)


def place(timeline: Timeline) -> int:
    """Return the output frame around which most may go wrong: seam, turn, hold, end of speech."""
    seams = {
        SyncMode.LOOP: timeline.source_frames,
        SyncMode.BOUNCE: timeline.source_frames - 1,
        SyncMode.SILENCE: int(
            min(timeline.video_duration, timeline.audio_duration) * timeline.rate
        ),
    }
    seam = seams.get(timeline.mode, timeline.frames)
    return seam if seam < timeline.frames else timeline.frames // 2


def runs(
    bench: Bench, clips: Mapping[int, Clip], speech: Path, modes: Sequence[SyncMode], most: int
) -> Iterator[Run]:
    """Yield all runs of the clips, which come with their numbers, with *most* voices each."""
    for number, clip in clips.items():
        for voice in voices(speech, number)[:most]:
            for mode in modes:
                yield bench.run(clip, voice, mode)


def frames_table(done: Sequence[Run]) -> str:
    """Return which run gave how many frames; what is not as planned is said below."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for run in done:
        text = str(run.planned) if not run.faults else f"**{run.planned} ✗**"
        rows.setdefault((run.clip, run.speech), {})[run.mode] = text
    modes = [m.value for m in SyncMode]
    lines = [["clip", "speech", *modes], ["---", "---", *("---:" for _ in modes)]]
    lines += [
        [clip, speech, *(row.get(m, "") for m in modes)] for (clip, speech), row in rows.items()
    ]
    wrong = [f"- {run.key}: {'; '.join(run.faults)}" for run in done if run.faults]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", *wrong, ""])


def scores_table(done: Sequence[Run], columns: Sequence[Column]) -> str:
    """Return scores of the ``cut_off`` dubs, a row per clip: means over its voices."""
    dubs = [r for r in done if r.mode == SyncMode.CUT_OFF and not np.isnan(r.zero)]
    rows = {}
    for name in dict.fromkeys(r.clip for r in dubs):
        of = [asdict(r) for r in dubs if r.clip == name]
        keys = {k for r in of for k, v in r.items() if isinstance(v, float)}
        row = {k: float(np.mean([r[k] for r in of])) for k in keys}
        row |= {f"{s}ratio": ratio(row[f"{s}zero"], row[f"{s}own"]) for s in ("", "still_")}
        rows[name] = {c.key: row[c.key] for c in columns}
    return table(columns, rows)


def report(done: Sequence[Run]) -> str:
    """Return the page that is stored."""
    good = sum(not run.faults for run in done)
    versions = ", ".join(sorted({run.version for run in done}))
    spent = sum(r.seconds for r in done) / max(1e-9, sum(r.output_seconds for r in done))
    return (
        "# Dubs of real footage\n\n"
        f"**{good} of {len(done)} runs as planned**: frame count, frame times, length and "
        "decoded samples, all exact. The numbers are frames. "
        "[What the columns mean](../../docs/reference/measures.md).\n\n"
        f"`python -m bench.dubs`, code and weights {versions}. Hearing, painting and encoding took "
        f"{spent:.2f} s of processor time per second of output.\n\n"
        f"{frames_table(done)}\n## Synchrony of the cut_off dubs\n\n"
        f"{scores_table(done, CONFIDENCE)}\n\n"
        f"## Picture of the cut_off dubs\n\n{scores_table(done, PICTURE)}\n"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dubs", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips/ and speech/")
    parser.add_argument("--clips", nargs="*", default=(), help="beginnings of names; default: all")
    parser.add_argument("--modes", nargs="*", default=(), choices=[*SyncMode], metavar="MODE")
    parser.add_argument("--voices", type=int, default=VOICES, help="how many languages, 1 to 6")
    parser.add_argument("--sheets", type=Path, default=Path("/tmp/lipwright-sheets"))
    parser.add_argument("--every", action="store_true", help="sheets of every mouth, too")
    parser.add_argument("--cache", type=Path, default=CACHE, help="tracks, sounds, finished runs")
    parser.add_argument("--any-version", action="store_true", help="keep runs of other code too")
    parser.add_argument("--out", type=Path, help="default: bench/results/dubs.md")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    cv2.setNumThreads(1)
    folder = sheets.outside(asked.sheets)
    studio = Studio(Cupboard(asked.cache))
    kept = asked.cache / "dubs"
    bench = Bench(studio, kept, folder, any_version=asked.any_version, every=asked.every)
    every = find(asked.data / "clips")
    chosen = {
        i: info
        for i, info in enumerate(every)
        if info.path.name.startswith(tuple(asked.clips) or "")
    }
    if not chosen:
        raise SystemExit(f"no clip with sound in {asked.data / 'clips'}: say where with --data")
    clips = {i: studio.clip(info) for i, info in chosen.items()}
    modes = [SyncMode(m) for m in asked.modes] or [*SyncMode]
    done = list(runs(bench, clips, asked.data / "speech", modes, asked.voices))
    page = report(done)
    print(page)
    whole = not (asked.clips or asked.modes or asked.voices < VOICES)
    if asked.out or whole:  # a part is not kept unless asked for
        (asked.out or RESULTS / "dubs.md").write_text(page, encoding="utf-8")
    sys.exit(any(run.faults for run in done))


if __name__ == "__main__":
    main()
