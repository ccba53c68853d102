"""Show progress and give up: python examples/progress_and_cancel.py VIDEO AUDIO OUT SECONDS."""

from __future__ import annotations

import sys
import threading

import lipwright
from lipwright.errors import Cancelled


def show(progress: lipwright.Progress) -> None:
    """Print one line that replaces itself; called every few frames."""
    frames = f"{progress.done} of {progress.total or '?'} frames"
    print(f"\r{progress.fraction:4.0%} {progress.stage}: {frames}   ", end="", file=sys.stderr)


def main(video: str, audio: str, out: str, seconds: str) -> bool:
    """Dub a clip, and return whether it was done in time."""
    cancel = lipwright.CancelToken()
    timer = threading.Timer(float(seconds), cancel.cancel)
    timer.start()
    try:
        lipwright.sync(video, audio, out, on_progress=show, cancel=cancel)
    except Cancelled:
        print(f"\ncancelled after {seconds} s; no partial output remains", file=sys.stderr)
        return False
    finally:
        timer.cancel()
    print(f"\n{out} is complete", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
