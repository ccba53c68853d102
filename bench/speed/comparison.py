"""Compare speed and memory with Wav2Lip: the same clip, the same speech, the same machine.

    python3 -m venv wav2lip && wav2lip/bin/pip install lipsync==0.1.0 imageio-ffmpeg
    python -m bench.speed.comparison --python wav2lip/bin/python

(Where its pinned PyAV has no wheel: ``pip install --no-deps lipsync==0.1.0``, then torch, av,
face-alignment, "librosa<0.11", "opencv-python<5" and tqdm.)

Only one other lip-sync program in the package registry could be run: `lipsync`, which contains
Wav2Lip (Prajwal et al. 2020, arXiv:2008.10010). Neither its weights nor those of its face detector
are in a registry. It therefore runs with random weights, which take as long as trained ones and
show noise, and receives the face's position, so it detects no faces. Its users wait longer than
measured here. Writes bench/results/comparison.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.common.clips import RESULTS
from bench.common.process_cost import ProcessCost, run_python, run_sync
from bench.speed.material import RATE, SIZES, make_clip, make_speech
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import track_faces
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.version import __version__

# Runs in the other program's environment. Arguments: clip, speech, result, face box.
WAV2LIP = """
import os, sys, tempfile
from pathlib import Path
import imageio_ffmpeg, torch
from lipsync import LipSync
from lipsync.models import Wav2Lip

clip, speech, out, box = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    weights = Path(folder) / "wav2lip.pth"
    torch.manual_seed(0)
    torch.save(Wav2Lip().state_dict(), weights)
    os.symlink(imageio_ffmpeg.get_ffmpeg_exe(), Path(folder) / "ffmpeg")
    os.environ["PATH"] = folder + os.pathsep + os.environ["PATH"]
    LipSync(model="wav2lip", checkpoint_path=str(weights), device="cpu", save_cache=False,
            box=[int(n) for n in box.split(",")], ffmpeg_loglevel="error").sync(clip, speech, out)
"""


def face_box(clip: Path) -> str:
    """Return the box that holds the face in all frames: top,bottom,left,right in pixels."""
    faces = track_faces(read_video(probe(clip)), FaceLandmarker())
    points = faces[0].landmarks[faces[0].seen, :468, :2]
    (left, top), (right, bottom) = points.min((0, 1)), points.max((0, 1))
    return f"{int(top)},{int(bottom)},{int(left)},{int(right)}"


def run_wav2lip(python: Path, clip: Path, speech: Path, box: str) -> ProcessCost:
    """Run Wav2Lip as its documentation says, with the Python of its environment."""
    out = clip.with_name("wav2lip.mp4")
    return run_python("-c", WAV2LIP, clip, speech, out, box, python=python)


def table_row(name: str, costs: Sequence[ProcessCost], seconds: float, resolution: str) -> str:
    wall = statistics.median(c.wall for c in costs)
    cpu = statistics.median(c.cpu for c in costs)
    peak = max(c.peak for c in costs)
    return (
        f"| {name} | {wall:.1f} | {wall / seconds:.2f} | {cpu:.1f} | {peak / 1e6:.0f} | "
        f"{resolution} |"
    )


def report(seconds: int, runs: int, tables: Mapping[str, Sequence[str]]) -> str:
    """Return the result page as Markdown.

    Args:
        seconds: length of the clips.
        runs: of each program.
        tables: rows of each size.
    """
    lines = [
        "# Comparison with Wav2Lip",
        "",
        f"`python -m bench.speed.comparison`, clips of {seconds} s at {RATE} frames per second, "
        f"{runs} runs in turn, medians; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, Lipwright {__version__}, lipsync 0.1.0 (Wav2Lip). The times "
        "include the start of Python and loading the models.",
        "",
        "`lipsync` is the only other lip-sync program in the package registry that could be run. "
        "Its weights and those of its face detector are not in the registry. It runs with random "
        "weights here and receives the face's position. Its users wait longer, because it detects "
        "the face in every frame.",
    ]
    for size, rows in tables.items():
        lines += [
            "",
            f"| {size} | wall s | real time | processor s | peak MB | mouth painted at |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *rows,
        ]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--python", type=Path, required=True, help="Python of Wav2Lip's environment"
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["720p", "1080p"])
    parser.add_argument("--seconds", type=int, default=10, help="length of the clips")
    parser.add_argument("--runs", type=int, default=2, help="of each program")
    parser.add_argument("--out", type=Path, default=RESULTS / "comparison.md")
    arguments = parser.parse_args()
    seconds, tables = arguments.seconds, {}
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        speech = make_speech(Path(folder) / "speech.wav", seconds)
        for size in arguments.sizes:
            clip = make_clip(Path(folder) / f"{size}.mp4", SIZES[size], seconds)
            box = face_box(clip)
            lipwright, wav2lip = [], []
            for _ in range(arguments.runs):
                lipwright.append(run_sync(clip, speech))
                wav2lip.append(run_wav2lip(arguments.python, clip, speech, box))
            tables[size] = [
                table_row("Lipwright", lipwright, seconds, "the video's own resolution"),
                table_row("Wav2Lip", wav2lip, seconds, "96 x 96 pixels of the whole face"),
            ]
            print("\n".join(tables[size]), flush=True)
    arguments.out.write_text(report(seconds, arguments.runs, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
