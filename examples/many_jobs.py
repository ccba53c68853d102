"""Dub one clip with several recordings: python examples/many_jobs.py VIDEO AUDIO [AUDIO ...]."""

from __future__ import annotations

import sys
from pathlib import Path

import lipwright


def main(video: str, *recordings: str) -> list[Path]:
    """Write one dub per recording next to it, and return their paths.

    A Pipeline loads the models once. It runs one job at a time.
    """
    dubs = []
    with lipwright.Pipeline() as pipeline:
        for audio in map(Path, recordings):
            out = audio.with_name(f"{audio.stem}-dub.mp4")
            try:
                result = pipeline.sync(video, audio, out)
            except lipwright.LipwrightError as error:
                print(f"{audio}: {error}", file=sys.stderr)  # the next job can still run
                continue
            print(f"{result.path}: {result.timings}")
            dubs.append(result.path)
    return dubs


if __name__ == "__main__":
    main(*sys.argv[1:])
