"""Plan the output before and after decoding: its length, and the source frame of each frame."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from lipwright.face.track import Take
from lipwright.media.probe import AudioInfo, VideoInfo
from lipwright.media.timeline import Timeline, plan_timeline
from lipwright.options import SyncMode

#: For each output frame: the source frame that it shows, and the share of the next one (0 to 1).
SourceIndices = list[tuple[int, float]]


def plan_output(
    take: Take, audio: AudioInfo, mode: SyncMode, offset: Fraction = Fraction(0)
) -> Timeline:
    """Plan the output from the decoded frames.

    A still picture has no length of its own: it lasts as long as the audio, in any mode.
    """
    info = take.info
    if info.still:
        return plan_timeline(mode, video=audio.duration, audio=audio.duration, rate=info.rate)
    length = take.info.duration if info.variable_rate else Fraction(len(take.times)) / info.rate
    return plan_timeline(mode, video=length, audio=audio.duration, rate=info.rate, offset=offset)


def plan_from_headers(
    video: VideoInfo, audio: AudioInfo, mode: SyncMode, offset: Fraction = Fraction(0)
) -> Timeline:
    """Plan the output from what the container states, before anything is decoded."""
    length = video.duration
    if video.frames and not video.variable_rate:
        length = Fraction(video.frames) / video.rate
    if video.still or length <= 0:
        length = audio.duration
    return plan_timeline(mode, video=length, audio=audio.duration, rate=video.rate, offset=offset)


def snap_to_cuts(indices: Iterable[tuple[int, float]], cuts: tuple[int, ...]) -> SourceIndices:
    """Return source indices that blend no two shots: there the nearer frame is shown.

    Args:
        indices: see :data:`SourceIndices`.
        cuts: the first frame of each shot but the first.
    """
    firsts = set(cuts)
    return [
        (i + round(share), 0.0) if share and i + 1 in firsts else (i, share) for i, share in indices
    ]
