"""Decode a result to its end, independently of the product, and check it against its timeline."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from lipwright.media.timeline import Timeline


@dataclass(frozen=True, kw_only=True)
class DecodedFile:
    """Timing of a file, as FFmpeg alone decodes it."""

    frames: int
    misplaced_frames: int  #: not shown at k / rate
    duration: Fraction  #: seconds from the first frame to the end of the last
    samples: int  #: of the sound, per channel: the track's own count, if so many can be decoded
    sample_rate: int
    audio_start: Fraction  #: seconds, of the first sample


def decode_file(path: Path, rate: Fraction) -> DecodedFile:
    """Decode a file whose frames should be shown at k / *rate*."""
    video_times: list[Fraction] = []
    audio_times: list[Fraction] = []
    samples, last_duration = 0, 1 / rate
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.thread_type = "AUTO"
        for packet in container.demux(video, audio):
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    video_times.append(_seconds(frame.pts, frame))
                    last_duration = _seconds(frame.duration, frame)
                elif isinstance(frame, av.AudioFrame):
                    audio_times.append(_seconds(frame.pts, frame))
                    samples += frame.samples
        sample_rate = audio.rate
        if audio.duration is not None and audio.time_base is not None:
            # FFmpeg returns the last packet whole; players cut it where the track ends.
            samples = min(samples, round(audio.duration * audio.time_base * sample_rate))
    video_times.sort()
    return DecodedFile(
        frames=len(video_times),
        misplaced_frames=sum(t != k / rate for k, t in enumerate(video_times)),
        duration=video_times[-1] - video_times[0] + last_duration if video_times else Fraction(0),
        samples=samples,
        sample_rate=sample_rate,
        audio_start=min(audio_times, default=Fraction(0)),
    )


def _seconds(ticks: int | None, frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    return Fraction(ticks or 0) * (frame.time_base or 0)


def count_frames(path: Path) -> int:
    """Return how many frames of a video can be decoded."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def find_deviations(decoded: DecodedFile, timeline: Timeline) -> list[str]:
    """Return a sentence for each difference between a file and its timeline, without rounding."""
    frames, samples = timeline.frames, timeline.audio_samples(decoded.sample_rate)
    duration = frames / timeline.rate
    checks = {
        f"{decoded.frames} frames, not {frames}": decoded.frames == frames,
        f"{decoded.misplaced_frames} frames not at their time": not decoded.misplaced_frames,
        f"video of {float(decoded.duration):.6f} s, not {float(duration):.6f}": (
            decoded.duration == duration
        ),
        f"{decoded.samples} samples, not {samples}": decoded.samples == samples,
        f"sound starts at {float(decoded.audio_start):.6f} s": decoded.audio_start == 0,
    }
    return [text for text, correct in checks.items() if not correct]
