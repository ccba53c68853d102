"""What a player finds in a result: decoded anew, frame by frame and sample by sample."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from lipwright.media.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class Played:
    """A file, decoded to its end by FFmpeg alone."""

    frames: int
    misplaced: int  #: frames that are not shown at k / rate
    length: Fraction  #: seconds from the first frame to the end of the last
    samples: int  #: of the sound, per channel: what the track says, if so many can be decoded
    sample_rate: int
    sound_start: Fraction  #: seconds, of the first sample


def play(path: Path, rate: Fraction) -> Played:
    """Decode a file whose frames should be shown at k / *rate*."""
    shown: list[Fraction] = []
    heard: list[Fraction] = []
    samples, last = 0, 1 / rate
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_type = "AUTO"
        for packet in container.demux(video, audio):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    shown.append(_seconds(frame.pts, frame))
                    last = _seconds(frame.duration, frame)
                elif isinstance(frame, av.AudioFrame):
                    heard.append(_seconds(frame.pts, frame))
                    samples += frame.samples
        sample_rate = audio.rate
        if audio.duration is not None and audio.time_base is not None:
            # FFmpeg hands out the last packet whole; players cut it where the track ends.
            samples = min(samples, round(audio.duration * audio.time_base * sample_rate))
    shown.sort()
    return Played(
        frames=len(shown),
        misplaced=sum(t != k / rate for k, t in enumerate(shown)),
        length=shown[-1] - shown[0] + last if shown else Fraction(0),
        samples=samples,
        sample_rate=sample_rate,
        sound_start=min(heard, default=Fraction(0)),
    )


def _seconds(ticks: int | None, frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    return Fraction(ticks or 0) * (frame.time_base or 0)


def count_frames(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def faults(played: Played, planned: Timeline) -> list[str]:
    """Return in words what is not as planned; nothing is rounded."""
    frames, samples = planned.frames, planned.audio_samples(played.sample_rate)
    length = frames / planned.rate
    checks = {
        f"{played.frames} frames, not {frames}": played.frames == frames,
        f"{played.misplaced} frames not at their time": not played.misplaced,
        f"video of {float(played.length):.6f} s, not {float(length):.6f}": played.length == length,
        f"{played.samples} samples, not {samples}": played.samples == samples,
        f"sound starts at {float(played.sound_start):.6f} s": played.sound_start == 0,
    }
    return [text for text, right in checks.items() if not right]
