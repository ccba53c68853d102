"""What a user would run instead, beside ours: the same clip, the same speech, the same machine.

    python3 -m venv rivals && rivals/bin/pip install lipsync==0.1.0 imageio-ffmpeg
    python -m bench.rivals --python rivals/bin/python

(Where its pinned PyAV has no wheel: ``pip install --no-deps lipsync==0.1.0``, then torch, av,
face-alignment, "librosa<0.11", "opencv-python<5" and tqdm.)

Of the programs of this field, one was found in the package registry that runs: `lipsync`, Wav2Lip
(Prajwal et al. 2020, arXiv:2008.10010). Neither its weights nor those of its face detector are in
a registry, so it is given random weights, which take as long as trained ones and show noise, and
the place of the face, which spares it the detection: what is measured is less than its user waits.
Writes bench/results/rivals.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.speed import LAUNCHER, RATE, SIZES, Cost, make_clip, make_speech, product
from lipwright.face.landmarker import FaceLandmarker
from lipwright.face.track import track_faces
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.version import __version__

RESULTS = Path(__file__).parent / "results/rivals.md"

# Runs in the other program's environment: clip, speech, result, box.
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
    """Return where the face is in all of a clip: top, bottom, left, right, in pixels."""
    faces = track_faces(read_video(probe(clip)), FaceLandmarker())
    points = faces[0].landmarks[faces[0].seen, :468, :2]
    (left, top), (right, bottom) = points.min((0, 1)), points.max((0, 1))
    return f"{int(top)},{int(bottom)},{int(left)},{int(right)}"


def wav2lip(python: Path, clip: Path, speech: Path, box: str) -> Cost:
    """Run the other program as its page says."""
    command = [str(python), "-c", LAUNCHER, "-c", WAV2LIP]
    words = [str(clip), str(speech), str(clip.with_name("wav2lip.mp4")), box]
    done = subprocess.run([*command, *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"lipsync ended with {done.returncode}")
    return Cost(**json.loads(done.stdout))


def row(name: str, costs: Sequence[Cost], seconds: float, paints: str) -> str:
    wall = statistics.median(c.wall for c in costs)
    peak = max(c.peak for c in costs)
    return (
        f"| {name} | {wall:.1f} | {wall / seconds:.2f} | "
        f"{statistics.median(c.cpu for c in costs):.1f} | {peak / 1e6:.0f} | {paints} |"
    )


def page(asked: argparse.Namespace, tables: dict[str, list[str]]) -> str:
    lines = [
        "# Beside other programs",
        "",
        f"`python -m bench.rivals`, clips of {asked.seconds} s at {RATE} frames per second, "
        f"{asked.runs} runs in turn, medians; {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, Lipwright {__version__}, lipsync 0.1.0 (Wav2Lip). Start of "
        "Python and loading of the models are in it.",
        "",
        "`lipsync` is the only other program found in the package registry that runs. "
        "Its weights and those of its face detector are elsewhere: it has random ones here, and is "
        "told where the face is. Its users wait longer, for it looks for a face in every frame.",
    ]
    for size, rows in tables.items():
        lines += [
            "",
            f"| {size} | wall s | real time | processor s | peak MB | mouth painted at |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
            *rows,
        ]
    return "\n".join([*lines, ""])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rivals", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="of the other's environment")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["720p", "1080p"])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    tables = {}
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as folder:
        speech = make_speech(Path(folder) / "speech.wav", asked.seconds)
        for size in asked.sizes:
            clip = make_clip(Path(folder) / f"{size}.mp4", SIZES[size], asked.seconds)
            box = face_box(clip)
            ours, theirs = [], []
            for _ in range(asked.runs):
                ours.append(product(clip, speech))
                theirs.append(wav2lip(asked.python, clip, speech, box))
            tables[size] = [
                row("Lipwright", ours, asked.seconds, "the video's own resolution"),
                row("Wav2Lip", theirs, asked.seconds, "96 x 96 pixels of the whole face"),
            ]
            print("\n".join(tables[size]), flush=True)
    asked.out.write_text(page(asked, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
