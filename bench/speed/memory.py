"""Measure the peak memory of the main job by mode, for a short and a long output.

    python -m bench.speed.memory [--size 360p] [--seconds 10 600] [--modes MODE ...]

The clip is as long as the output in modes that cut or hold it. It is half as long in modes that
repeat, reverse or slow it down, so that each mode does so. Each measurement is a process of its
own. Writes bench/results/memory.md after each mode.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.common.clips import RESULTS
from bench.common.process_cost import ProcessCost, run_sync
from bench.speed.material import SIZES, make_clip, make_speech
from lipwright.options import SyncMode
from lipwright.version import __version__

#: Mode → lengths of the clip and of the speech, as shares of the output.
SHARES = {
    SyncMode.CUT_OFF: (1.0, 1.0),
    SyncMode.LOOP: (0.5, 1.0),
    SyncMode.BOUNCE: (0.5, 1.0),
    SyncMode.SILENCE: (1.0, 0.5),
    SyncMode.REMAP: (0.5, 1.0),
}
MAX_GROWTH = 0.1  # aim


def measure_mode(mode: SyncMode, size: str, seconds: int, folder: Path) -> ProcessCost:
    """Run one job whose output lasts *seconds*.

    Args:
        mode: of the job.
        size: of the clip, a key of `SIZES`.
        seconds: length of the output.
        folder: where clips and recordings are made, and found again.
    """
    clip_seconds, speech_seconds = (share * seconds for share in SHARES[mode])
    clip = folder / f"{size}-{clip_seconds:g}.mp4"
    if not clip.exists():
        make_clip(clip, SIZES[size], clip_seconds)
    speech = folder / f"{speech_seconds:g}.wav"
    if not speech.exists():
        make_speech(speech, speech_seconds)
    return run_sync(clip, speech, mode.value)


def report(
    size: str, seconds: Sequence[int], costs: Mapping[SyncMode, Sequence[ProcessCost]]
) -> str:
    """Return the result page as Markdown.

    Args:
        size: of the clips.
        seconds: lengths of the outputs.
        costs: of each mode, by length.
    """
    heads = " | ".join(f"{s} s" for s in seconds)
    lines = [
        "# Memory by length",
        "",
        f"`python -m bench.speed.memory --size {size} --seconds {' '.join(map(str, seconds))}`, "
        f"{platform.machine()}, Python {platform.python_version()}, Lipwright {__version__}. Peak "
        f"of the process, MB; growth from {seconds[0]} s to {seconds[-1]} s of output (aim: within "
        f"{100 * MAX_GROWTH:.0f} %).",
        "",
        f"| mode | {heads} | growth |",
        f"| --- |{' ---: |' * (len(seconds) + 1)}",
    ]
    for mode, by_length in costs.items():
        peaks = " | ".join(f"{cost.peak / 1e6:.0f}" for cost in by_length)
        growth = 100 * (by_length[-1].peak / by_length[0].peak - 1)
        lines.append(f"| {mode.value} | {peaks} | {growth:+.0f} % |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=SIZES, default="360p")
    parser.add_argument(
        "--seconds", nargs="+", type=int, default=[10, 600], help="lengths of the output"
    )
    parser.add_argument("--modes", nargs="+", type=SyncMode, default=[*SyncMode])
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.md")
    arguments = parser.parse_args()
    costs: dict[SyncMode, list[ProcessCost]] = {}
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as name:
        folder = Path(name)
        for mode in arguments.modes:
            costs[mode] = [measure_mode(mode, arguments.size, s, folder) for s in arguments.seconds]
            print(f"{mode}: {[round(cost.peak / 1e6) for cost in costs[mode]]} MB", flush=True)
            page = report(arguments.size, arguments.seconds, costs)
            arguments.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
