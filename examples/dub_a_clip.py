"""Dub one clip: python examples/dub_a_clip.py VIDEO AUDIO OUT."""

from __future__ import annotations

import sys

import lipwright


def main(video: str, audio: str, out: str) -> None:
    """Write *video* with the voice of *audio* to *out*, and print what was done."""
    options = lipwright.SyncOptions(mode=lipwright.SyncMode.CUT_OFF, intensity=1.0)
    try:
        result = lipwright.sync(video, audio, out, options=options)
    except lipwright.LipwrightError as error:
        sys.exit(f"{error.code}: {error}")
    print(f"{result.path}: {result.frames} frames, {float(result.duration):.2f} s")
    print(f"style: {result.style}")
    for warning in result.warnings:
        print(f"warning: {warning}")


if __name__ == "__main__":
    main(*sys.argv[1:])
