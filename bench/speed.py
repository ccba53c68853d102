"""Speed and memory of the main job against a plain decode and encode of the same file.

    python -m bench.speed [--sizes 360p 720p 1080p 4k] [--seconds 10 60 600] [--runs 3]

Clips are made from real footage: scaled to each size, repeated forward and backward to each
length. Each measurement is a process of its own; product and plain job take turns, and the ratio is
the median of those of the pairs. Writes bench/results/speed.md and docs/images/speed.svg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np

from bench.chart import Line, Panel, chart
from bench.footage import DATA
from bench.played import count_frames
from lipwright.media.decode.decoder import Decoder
from lipwright.media.decode.video import Reader, read_audio
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.encode.spec import video_encoding
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe, require_video
from lipwright.media.timeline import plan
from lipwright.version import __version__

SOURCE = DATA / "clips/president_64s_720p_2997.mp4"
SPEECH = DATA / "speech/es_1.wav"
RATE = Fraction(25)
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}
GROWTH_SIZE = "720p"
GROWTH_SECONDS = 10
RESULTS = Path(__file__).parent / "results/speed.md"
CHART = Path(__file__).parents[1] / "docs/images/speed.svg"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a process took."""

    wall: float  #: seconds
    cpu: float  #: seconds of all its threads and children
    peak: float  #: bytes of memory held at most at once


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The product beside the plain job, runs in turn."""

    seconds: float  #: of the clip
    product: tuple[Cost, ...]
    plain: tuple[Cost, ...]

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
    def cpu(self) -> float:
        """Median processor time of the product, seconds."""
        return statistics.median(c.cpu for c in self.product)

    @property
    def peak(self) -> float:
        """Largest memory of the product, bytes."""
        return max(c.peak for c in self.product)


# ------------------------------------------------------------------------------------ the clips
def make_clip(out: Path, size: tuple[int, int], seconds: float) -> Path:
    """Write the source at another size, forward and backward until it is long enough."""
    info = probe(SOURCE)
    count = round(seconds * RATE)
    decoded = count_frames(SOURCE)  # fewer than the container claims
    length = Fraction(decoded) / RATE
    timeline = plan("bounce", video=length, audio=Fraction(count) / RATE, rate=RATE)
    times = tuple(Fraction(k) / RATE for k in range(decoded))
    like = VideoInfo(
        width=size[0],
        height=size[1],
        rate=RATE,
        variable_rate=False,
        duration=timeline.duration,
        frames=count,
        rotation=0,
        codec="h264",
        pix_fmt="yuv420p",
    )
    with VideoWriter(out, like=like, timeline=timeline, audio=None) as writer:
        for picture in Reader(info).at(timeline.picks(times)):
            writer.write(resized(picture, size))
    return out


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return a picture of another size (width, height), cut to its proportions."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    large = max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))
    rgb = cv2.resize(picture.rgb(), large, interpolation=cv2.INTER_CUBIC)
    x, y = (large[0] - size[0]) // 2, (large[1] - size[1]) // 2
    return Picture.from_rgb(np.ascontiguousarray(rgb[y : y + size[1], x : x + size[0]]))


def make_speech(out: Path, seconds: float) -> Path:
    """Write the recording over and over until it is long enough."""
    samples = read_audio(probe(SPEECH), rate=16000)
    repeated = np.resize(samples, round(seconds * 16000))
    with av.open(str(out), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        codes = (np.clip(repeated, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(codes[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out


# --------------------------------------------------------------------------------- what is timed
def plain(source: Path, out: Path) -> None:
    """Decode and encode a file with the product's codec settings and nothing between."""
    info = probe(source)
    video = require_video(info)
    encoding = video_encoding(video, video.rate, video.frames or 1000, "mp4", None)
    with av.open(str(out), "w") as container:
        stream = cast(
            av.VideoStream,
            container.add_stream(
                encoding.codec,
                rate=video.rate,
                options=encoding.options,
                width=video.width,
                height=video.height,
            ),
        )
        stream.pix_fmt = encoding.pix_fmt
        stream.codec_context.time_base = 1 / video.rate
        for k, frame in enumerate(Decoder(info.path, video).frames()):
            frame.pict_type = 0
            frame.pts, frame.time_base = k, 1 / video.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# A process begins with the peak memory of the one that started it: a small one does.
LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, used = os.wait4(process, 0)
print(json.dumps({"wall": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime,
                  "peak": used.ru_maxrss * 1024.0}))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(*words: str | Path) -> Cost:
    """Run Python with these words; return what it took."""
    command = [sys.executable, "-c", LAUNCHER, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}")
    return Cost(**json.loads(done.stdout))


def product(clip: Path, speech: Path, mode: str = "cut_off") -> Cost:
    """Run the main job as a user would."""
    out = clip.with_name("dubbed.mp4")
    return run("-m", "lipwright", "sync", clip, speech, "-o", out, "--mode", mode, "--quiet")


def compare(clip: Path, speech: Path, seconds: float, runs: int) -> Pair:
    """Run product and plain job in turn."""
    costs = [
        (product(clip, speech), run("-m", "bench.speed", "--plain", clip, clip.with_name("p.mp4")))
        for _ in range(runs)
    ]
    return Pair(
        seconds=seconds,
        product=tuple(a for a, _ in costs),
        plain=tuple(b for _, b in costs),
    )


def stages(clip: Path, speech: Path) -> dict[str, float]:
    """Return processor milliseconds per frame of each stage, all threads, in this process."""
    from lipwright.engines import exemplar
    from lipwright.face.track import Tracker
    from lipwright.media.frame_conversion import FrameMaker
    from lipwright.pipeline.pipeline import Pipeline

    spent: dict[str, float] = {}

    def timed(owner: Any, name: str, stage: str) -> None:
        bare = getattr(owner, name)

        def watched(*args: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return bare(*args, **named)
            finally:
                spent[stage] = spent.get(stage, 0.0) + time.thread_time() - began

        patches.append((owner, name, bare))
        setattr(owner, name, watched)

    patches: list[tuple[Any, str, Any]] = []
    timed(Tracker, "feed", "track")
    timed(Pipeline, "_listen", "hear")
    timed(Pipeline, "_perform", "move")
    timed(exemplar, "find_path", "select")
    timed(exemplar, "paint_mouth", "warp and composite")
    timed(Picture, "rgb", "convert to RGB (within track too)")
    timed(Picture, "paste", "paste")
    timed(FrameMaker, "frame", "copy to the encoder")
    try:
        began = time.process_time()
        with Pipeline() as pipeline:
            frames = pipeline.sync(clip, speech, clip.with_name("dubbed.mp4")).frames
        spent["all"] = time.process_time() - began
    finally:
        for owner, name, bare in patches:
            setattr(owner, name, bare)
    for name, work in (("decode, one pass", decode), ("plain decode and encode", plain)):
        began = time.process_time()
        work(clip, clip.with_name("p.mp4"))
        spent[name] = time.process_time() - began
    return {name: 1000 * seconds / frames for name, seconds in spent.items()}


def decode(source: Path, _out: Path) -> None:
    """Decode a file and throw the frames away."""
    info = probe(source)
    for _ in Decoder(info.path, require_video(info)).frames():
        pass


# ---------------------------------------------------------------------------------------- report
def page(
    words: argparse.Namespace,
    sizes: dict[str, Pair],
    lengths: dict[int, Pair],
    parts: dict[str, dict[str, float]],
) -> str:
    """Return the result as Markdown."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    lines = [
        "# Speed and memory",
        "",
        f"`python -m bench.speed --sizes {' '.join(words.sizes)} --seconds "
        f"{' '.join(map(str, words.seconds))} --runs {words.runs}` on {cores} cores, "
        f"{platform.machine()}, Python {platform.python_version()}, Lipwright {__version__}, load "
        f"average {load:.1f} at the end.",
        "",
        "*Ratio*: wall time over that of a plain decode and encode of the same file, in turn, "
        "median of the pairs (from 100 s on one pair). *Real time*: wall time over the length of "
        "the clip. Start of Python and loading of the models are in it.",
        "",
        *_pairs("size", sizes),
        "",
        *_pairs(f"length at {GROWTH_SIZE}", {f"{s} s": p for s, p in lengths.items()}),
        "",
        "Processor milliseconds per frame of each stage:",
        "",
        f"| stage | {' | '.join(parts)} |",
        f"| --- |{' ---: |' * len(parts)}",
    ]
    for stage in dict.fromkeys(name for of in parts.values() for name in of):
        cells = " | ".join(f"{of.get(stage, 0.0):.1f}" for of in parts.values())
        lines.append(f"| {stage} | {cells} |")
    return "\n".join([*lines, ""])


def _pairs(first: str, pairs: dict[str, Pair]) -> Iterator[str]:
    yield f"| {first} | ratio | real time | wall s | processor s | peak MB |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, pair in pairs.items():
        yield (
            f"| {name} | {pair.ratio:.2f} | {pair.wall / pair.seconds:.2f} | {pair.wall:.1f} | "
            f"{pair.cpu:.1f} | {pair.peak / 1e6:.0f} |"
        )


def picture(sizes: dict[str, Pair], lengths: dict[int, Pair]) -> str:
    """Return wall time over length and over size as SVG."""

    def lines(pairs: Sequence[tuple[float, Pair]]) -> tuple[Line, ...]:
        plain_walls = [(x, statistics.median(c.wall for c in p.plain)) for x, p in pairs]
        return (
            Line(name="Lipwright", points=tuple((x, p.wall) for x, p in pairs)),
            Line(name="plain decode and encode", points=tuple(plain_walls)),
        )

    seconds = {0.5: "0.5", 2: "2", 8: "8", 32: "32", 128: "128", 512: "512"}
    return chart(
        [
            Panel(
                title=f"wall seconds, by length at {GROWTH_SIZE}",
                x={float(s): f"{s} s" for s in lengths},
                y={float(k): v for k, v in seconds.items()},
                lines=lines([(float(s), p) for s, p in lengths.items()]),
            ),
            Panel(
                title=f"wall seconds, by size of {GROWTH_SECONDS} s",
                x={float(np.prod(SIZES[name])): name for name in sizes},
                y={float(k): v for k, v in seconds.items()},
                lines=lines([(float(np.prod(SIZES[n])), p) for n, p in sizes.items()]),
            ),
        ]
    )


def measure(words: argparse.Namespace, folder: Path) -> None:
    """Measure all and write the page and the picture."""
    speech = {
        s: make_speech(folder / f"speech{s}.wav", s) for s in {*words.seconds, GROWTH_SECONDS}
    }
    sizes, parts = {}, {}
    for name in words.sizes:
        clip = make_clip(folder / f"{name}.mp4", SIZES[name], GROWTH_SECONDS)
        sizes[name] = compare(clip, speech[GROWTH_SECONDS], GROWTH_SECONDS, words.runs)
        parts[name] = stages(clip, speech[GROWTH_SECONDS])
        print(f"{name}: ratio {sizes[name].ratio:.2f}", flush=True)
    lengths, clips = {}, {}
    for seconds in words.seconds:
        clips[seconds] = make_clip(folder / f"{seconds}s.mp4", SIZES[GROWTH_SIZE], seconds)
        runs = words.runs if seconds < 100 else 1
        lengths[seconds] = compare(clips[seconds], speech[seconds], seconds, runs)
        print(f"{seconds} s: ratio {lengths[seconds].ratio:.2f}", flush=True)
    words.out.write_text(page(words, sizes, lengths, parts))
    if len(lengths) > 1 and len(sizes) > 1:
        words.chart.write_text(picture(sizes, lengths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--seconds", nargs="+", type=int, default=[10, 60, 600])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--chart", type=Path, default=CHART)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.plain:
        plain(*words.plain)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(words, Path(folder))


if __name__ == "__main__":
    main()
