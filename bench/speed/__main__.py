"""Measure speed and memory of the main job against a plain decode and encode of the same file.

    python -m bench.speed [--sizes 360p 720p 1080p 4k] [--seconds 10 60 600] [--runs 3]

Clips are made from real footage: scaled to each size, and repeated forward and backward to each
length. Each measurement is a process of its own. The job and the plain decode and encode run in
turn; the ratio is the median over these pairs. Writes bench/results/speed.md and
docs/images/speed.svg.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.common.clips import RESULTS
from bench.common.process_cost import ProcessCost, run_python, run_sync
from bench.speed.chart import Line, Panel, draw_chart
from bench.speed.material import SIZES, make_clip, make_speech
from bench.speed.stage_times import measure_stages
from lipwright.version import __version__

LENGTH_SIZE = "720p"  # of the clips of different lengths
SIZE_SECONDS = 10  # of the clips of different sizes
LONG_SECONDS = 100  # from which on a clip is run once
CHART = Path(__file__).parents[2] / "docs/images/speed.svg"
Y_TICKS = (0.5, 2, 8, 32, 128, 512)  # seconds


@dataclass(frozen=True, kw_only=True)
class CostPair:
    """Costs of the product and of the plain decode and encode, run in turn."""

    seconds: float  #: length of the clip
    product: tuple[ProcessCost, ...]
    plain: tuple[ProcessCost, ...]

    @property
    def ratio(self) -> float:
        """Wall time of the product over that of the plain job, median of the pairs."""
        pairs = zip(self.product, self.plain, strict=True)
        return statistics.median(a.wall / b.wall for a, b in pairs)

    @property
    def wall(self) -> float:
        """Median wall time of the product, seconds."""
        return statistics.median(c.wall for c in self.product)

    @property
    def plain_wall(self) -> float:
        """Median wall time of the plain decode and encode, seconds."""
        return statistics.median(c.wall for c in self.plain)

    @property
    def cpu(self) -> float:
        """Median processor time of the product, seconds."""
        return statistics.median(c.cpu for c in self.product)

    @property
    def peak(self) -> float:
        """Largest memory of the product, bytes."""
        return max(c.peak for c in self.product)


def measure_pair(clip: Path, speech: Path, seconds: float, runs: int) -> CostPair:
    """Run the product and the plain decode and encode in turn.

    Args:
        clip: to dub.
        speech: new voice.
        seconds: length of the clip.
        runs: of each.
    """
    transcoded = clip.with_name("transcoded.mp4")
    costs = [
        (run_sync(clip, speech), run_python("-m", "bench.speed.transcode", clip, transcoded))
        for _ in range(runs)
    ]
    return CostPair(
        seconds=seconds,
        product=tuple(a for a, _ in costs),
        plain=tuple(b for _, b in costs),
    )


def report(
    arguments: argparse.Namespace,
    sizes: Mapping[str, CostPair],
    lengths: Mapping[int, CostPair],
    stages: Mapping[str, Mapping[str, float]],
) -> str:
    """Return the result page as Markdown."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    lines = [
        "# Speed and memory",
        "",
        f"`python -m bench.speed --sizes {' '.join(arguments.sizes)} --seconds "
        f"{' '.join(map(str, arguments.seconds))} --runs {arguments.runs}` on {cores} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, Lipwright {__version__}, load "
        f"average {load:.1f} at the end.",
        "",
        "*Ratio*: wall time over that of a plain decode and encode of the same file, run in turn, "
        f"median of the pairs (one pair from {LONG_SECONDS} s on). *Real time*: wall time over the "
        "length of the clip. Both include the start of Python and loading the models.",
        "",
        *_pair_table("size", sizes),
        "",
        *_pair_table(f"length at {LENGTH_SIZE}", {f"{s} s": p for s, p in lengths.items()}),
        "",
        "Processor milliseconds per frame of each stage:",
        "",
        f"| stage | {' | '.join(stages)} |",
        f"| --- |{' ---: |' * len(stages)}",
    ]
    for stage in dict.fromkeys(name for times in stages.values() for name in times):
        cells = " | ".join(f"{times.get(stage, 0.0):.1f}" for times in stages.values())
        lines.append(f"| {stage} | {cells} |")
    return "\n".join([*lines, ""])


def _pair_table(first: str, pairs: Mapping[str, CostPair]) -> Iterator[str]:
    yield f"| {first} | ratio | real time | wall s | processor s | peak MB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, pair in pairs.items():
        yield (
            f"| {name} | {pair.ratio:.2f} | {pair.wall / pair.seconds:.2f} | {pair.wall:.1f} | "
            f"{pair.cpu:.1f} | {pair.peak / 1e6:.0f} |"
        )


def chart_panels(
    sizes: Mapping[str, CostPair], lengths: Mapping[int, CostPair]
) -> tuple[Panel, Panel]:
    """Return the panels of wall time over length and over size."""

    def lines(pairs: Sequence[tuple[float, CostPair]]) -> tuple[Line, ...]:
        return (
            Line(name="Lipwright", points=tuple((x, p.wall) for x, p in pairs)),
            Line(name="plain decode and encode", points=tuple((x, p.plain_wall) for x, p in pairs)),
        )

    y_ticks = {float(s): f"{s:g}" for s in Y_TICKS}
    pixels = {name: float(np.prod(SIZES[name])) for name in sizes}
    return (
        Panel(
            title=f"wall seconds by length, {LENGTH_SIZE}",
            x_ticks={float(s): f"{s} s" for s in lengths},
            y_ticks=y_ticks,
            lines=lines([(float(s), p) for s, p in lengths.items()]),
        ),
        Panel(
            title=f"wall seconds by size, {SIZE_SECONDS} s",
            x_ticks={pixels[name]: name for name in sizes},
            y_ticks=y_ticks,
            lines=lines([(pixels[name], p) for name, p in sizes.items()]),
        ),
    )


def measure_all(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure all sizes and lengths, and write the result page and the chart."""
    speech = {
        s: make_speech(folder / f"speech{s}.wav", s) for s in {*arguments.seconds, SIZE_SECONDS}
    }
    sizes, stages = {}, {}
    for name in arguments.sizes:
        clip = make_clip(folder / f"{name}.mp4", SIZES[name], SIZE_SECONDS)
        sizes[name] = measure_pair(clip, speech[SIZE_SECONDS], SIZE_SECONDS, arguments.runs)
        stages[name] = measure_stages(clip, speech[SIZE_SECONDS])
        print(f"{name}: ratio {sizes[name].ratio:.2f}", flush=True)
    lengths = {}
    for seconds in arguments.seconds:
        clip = make_clip(folder / f"{seconds}s.mp4", SIZES[LENGTH_SIZE], seconds)
        runs = arguments.runs if seconds < LONG_SECONDS else 1
        lengths[seconds] = measure_pair(clip, speech[seconds], seconds, runs)
        print(f"{seconds} s: ratio {lengths[seconds].ratio:.2f}", flush=True)
    arguments.out.write_text(report(arguments, sizes, lengths, stages), encoding="utf-8")
    if len(lengths) > 1 and len(sizes) > 1:
        draw_chart(chart_panels(sizes, lengths), arguments.chart)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument(
        "--seconds", nargs="+", type=int, default=[10, 60, 600], help="lengths of the clips"
    )
    parser.add_argument("--runs", type=int, default=3, help="of each measurement")
    parser.add_argument("--out", type=Path, default=RESULTS / "speed.md")
    parser.add_argument(
        "--chart", type=Path, default=CHART, help="written if there are several sizes and lengths"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        measure_all(arguments, Path(folder))


if __name__ == "__main__":
    main()
