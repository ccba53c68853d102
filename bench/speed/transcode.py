"""Decode and encode a file with the product's codec settings and nothing in between.

    python -m bench.speed.transcode SOURCE OUT

It is the reference that the product's time is compared with.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import av

from lipwright.media.decode.decoder import Decoder
from lipwright.media.encode.encoder_settings import choose_video_encoder
from lipwright.media.probe import probe, require_video

UNKNOWN_FRAMES = 1000  # assumed where the container does not tell


def transcode(source: Path, out: Path) -> None:
    """Decode the pictures of a file and encode them as MP4."""
    info = probe(source)
    video = require_video(info)
    frames = video.frames or UNKNOWN_FRAMES
    settings = choose_video_encoder(video, video.rate, frames, "mp4", None)
    with av.open(str(out), "w") as container:
        stream = cast(
            av.VideoStream,
            container.add_stream(
                settings.codec,
                rate=video.rate,
                options=settings.options,
                width=video.width,
                height=video.height,
            ),
        )
        stream.pix_fmt = settings.pix_fmt
        stream.codec_context.time_base = 1 / video.rate
        for k, frame in enumerate(Decoder(info.path, video).frames()):
            frame.pict_type = 0
            frame.pts, frame.time_base = k, 1 / video.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode(source: Path) -> None:
    """Decode the pictures of a file and discard them."""
    info = probe(source)
    for _ in Decoder(info.path, require_video(info)).frames():
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.speed.transcode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    transcode(arguments.source, arguments.out)


if __name__ == "__main__":
    main()
