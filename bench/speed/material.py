"""Clips and speech of any size and length, made from real footage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from bench.common.clips import DATA
from bench.common.playback import count_frames
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.picture import Picture
from lipwright.media.probe import VideoInfo, probe
from lipwright.media.timeline import plan_timeline

SOURCE_CLIP = DATA / "clips/president_64s_720p_2997.mp4"
SOURCE_SPEECH = DATA / "speech/es_1.wav"
RATE = Fraction(25)  # frames per second
SAMPLE_RATE = 16000
SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4k": (3840, 2160)}


def make_clip(out: Path, size: tuple[int, int], seconds: float) -> Path:
    """Write the source clip in another size, forward and backward until it is long enough.

    Args:
        out: file to write, without sound.
        size: width and height, pixels.
        seconds: length.
    """
    info = probe(SOURCE_CLIP)
    count = round(seconds * RATE)
    decoded = count_frames(SOURCE_CLIP)  # fewer than the container claims
    length = Fraction(decoded) / RATE
    timeline = plan_timeline("bounce", video=length, audio=Fraction(count) / RATE, rate=RATE)
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
        for picture in RandomAccessReader(info).read(timeline.source_indices(times)):
            writer.write(resize_and_crop(picture, size))
    return out


def resize_and_crop(picture: Picture, size: tuple[int, int]) -> Picture:
    """Return a picture of another size (width, height), cropped to its proportions."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    large = max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))
    rgb = cv2.resize(picture.rgb(), large, interpolation=cv2.INTER_CUBIC)
    x, y = (large[0] - size[0]) // 2, (large[1] - size[1]) // 2
    return Picture.from_rgb(np.ascontiguousarray(rgb[y : y + size[1], x : x + size[0]]))


def make_speech(out: Path, seconds: float) -> Path:
    """Write the source recording, repeated until it is long enough."""
    samples = read_audio(probe(SOURCE_SPEECH), rate=SAMPLE_RATE)
    repeated = np.resize(samples, round(seconds * SAMPLE_RATE))
    with av.open(str(out), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        codes = (np.clip(repeated, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(codes[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out
