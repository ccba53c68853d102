"""Peak memory of the main job by mode and by length: a short output against a long one.

    python -m bench.memory [--size 360p] [--seconds 10 600] [--modes MODE ...]

The clip is as long as the output where the mode cuts or holds it, and half as long where it is
shown again, backward, or slowed down, so that every mode does what it is there for. Each
measurement is a process of its own. Writes bench/results/memory.md, after each mode.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path

from bench.speed import SIZES, Cost, make_clip, make_speech, product
from lipwright.options import SyncMode
from lipwright.version import __version__

RESULTS = Path(__file__).parent / "results/memory.md"
#: Length of the clip and of the speech, as shares of the output.
SHARES = {
    SyncMode.CUT_OFF: (1.0, 1.0),
    SyncMode.LOOP: (0.5, 1.0),
    SyncMode.BOUNCE: (0.5, 1.0),
    SyncMode.SILENCE: (1.0, 0.5),
    SyncMode.REMAP: (0.5, 1.0),
}
MOST_GROWTH = 0.1


def measure(mode: SyncMode, size: str, seconds: int, folder: Path) -> Cost:
    """Run one job whose output has so many seconds."""
    seen, heard = (share * seconds for share in SHARES[mode])
    clip = folder / f"{size}-{seen:g}.mp4"
    if not clip.exists():
        make_clip(clip, SIZES[size], seen)
    speech = folder / f"{heard:g}.wav"
    if not speech.exists():
        make_speech(speech, heard)
    return product(clip, speech, mode.value)


def page(asked: argparse.Namespace, found: dict[SyncMode, list[Cost]]) -> str:
    first, last = asked.seconds[0], asked.seconds[-1]
    heads = " | ".join(f"{s} s" for s in asked.seconds)
    lines = [
        "# Memory by length",
        "",
        f"`python -m bench.memory --size {asked.size} --seconds "
        f"{' '.join(map(str, asked.seconds))}`, {platform.machine()}, Python "
        f"{platform.python_version()}, Lipwright {__version__}. Peak of the process, MB; "
        f"growth from {first} s to {last} s of output (aim: within "
        f"{100 * MOST_GROWTH:.0f} %).",
        "",
        f"| mode | {heads} | growth |",
        f"| --- |{' ---: |' * (len(asked.seconds) + 1)}",
    ]
    for mode, costs in found.items():
        peaks = " | ".join(f"{cost.peak / 1e6:.0f}" for cost in costs)
        growth = 100 * (costs[-1].peak / costs[0].peak - 1)
        lines.append(f"| {mode.value} | {peaks} | {growth:+.0f} % |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="360p")
    parser.add_argument("--seconds", nargs="+", type=int, default=[10, 600])
    parser.add_argument("--modes", nargs="+", type=SyncMode, default=[*SyncMode])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    found: dict[SyncMode, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        for mode in asked.modes:
            found[mode] = [measure(mode, asked.size, s, Path(folder)) for s in asked.seconds]
            print(f"{mode}: {[round(cost.peak / 1e6) for cost in found[mode]]} MB", flush=True)
            asked.out.write_text(page(asked, found), encoding="utf-8")


if __name__ == "__main__":
    main()
