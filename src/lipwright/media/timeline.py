"""Map output frames to source frames in the five sync modes, in exact rational time.

Only the last frame and the last sample are rounded. V is the duration of the video, A that of the
audio, f the frame rate of the video; output frame k is shown at k/f. A video may begin after its
sound: its frames are then shown so much later, and the sync mode fits it to the rest of the audio.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from lipwright.errors import InvalidOptions
from lipwright.options import SyncMode

HALF = Fraction(1, 2)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The number of output frames, and the source frame that each of them shows."""

    mode: SyncMode
    rate: Fraction  #: output frames per second, the source's own
    frames: int  #: output frames; the last one covers the end of the audio
    duration: Fraction  #: seconds of output, the offset included
    video_duration: Fraction  #: V, seconds
    audio_duration: Fraction  #: A, seconds
    source_frames: int  #: N, frames of the source on its own grid
    offset: Fraction = Fraction(0)  #: seconds before the first frame, a whole number of frames

    def source_time(self, k: int) -> Fraction:
        """Return the source time in [0, V) that output frame *k* shows, in seconds.

        Raises:
            IndexError: *k* is not an output frame.
        """
        if not 0 <= k < self.frames:
            raise IndexError(f"output frame {k} is outside 0 to {self.frames - 1}")
        if self.mode is SyncMode.REMAP:
            return (
                Fraction(k) / self.rate * self.video_duration / (self.audio_duration - self.offset)
            )
        return Fraction(self._grid_index(k)) / self.rate

    def source_index(self, times: Sequence[Fraction], k: int) -> tuple[int, float]:
        """Return the source frame of output frame *k*, and the fraction to blend into the next.

        A source frame belongs to the output grid point nearest to its time, so jittering timestamps
        neither repeat nor skip frames. Only ``remap`` blends.

        Args:
            times: Ascending times of the source frames from 0, seconds.
            k: Output frame.
        """
        if self.mode is SyncMode.REMAP:
            index, fraction = locate_frame(times, self.source_time(k))
            return index, float(fraction)
        return locate_frame(times, self.source_time(k) + HALF / self.rate)[0], 0.0

    def source_indices(self, times: Sequence[Fraction]) -> Iterator[tuple[int, float]]:
        """Yield `source_index` for every output frame, as `RandomAccessReader.read` takes them."""
        return (self.source_index(times, k) for k in range(self.frames))

    def audio_samples(self, sample_rate: int) -> int:
        """Return the samples per channel of the output audio, rounded to the nearest sample."""
        return floor(self.duration * sample_rate + HALF)

    def _grid_index(self, k: int) -> int:
        n = self.source_frames
        if self.mode is SyncMode.LOOP:
            return k % n
        if self.mode is SyncMode.BOUNCE and n > 1:
            step = k % (2 * n - 2)  # the end frames are not repeated
            return min(step, 2 * n - 2 - step)
        return min(k, n - 1)


def plan_timeline(
    mode: SyncMode | str,
    *,
    video: Fraction,
    audio: Fraction,
    rate: Fraction,
    offset: Fraction = Fraction(0),
) -> Timeline:
    """Plan the output for a video of *video* seconds at *rate* and audio of *audio* seconds.

    The video begins *offset* seconds (rounded to whole frames) after the audio, if that is longer.

    Raises:
        InvalidOptions: The mode is unknown, or a duration or the rate is not positive.
    """
    mode = SyncMode.parse(mode)
    if min(video, audio, rate) <= 0:
        raise InvalidOptions(
            f"a timeline needs positive durations and a positive rate, not video {video} s, audio "
            f"{audio} s at {rate}/s: check both files with 'lipwright probe'"
        )
    offset = floor(offset * rate + HALF) / rate
    if offset + 1 / rate > audio:
        offset = Fraction(0)
    shown = _duration(mode, video, audio - offset)
    return Timeline(
        mode=mode,
        rate=rate,
        frames=max(1, ceil(shown * rate)),
        duration=offset + shown,
        video_duration=video,
        audio_duration=audio,
        source_frames=max(1, ceil(video * rate)),
        offset=offset,
    )


def locate_frame(times: Sequence[Fraction], t: Fraction) -> tuple[int, Fraction]:
    """Return the last frame whose time is <= *t*, and the fraction of the way to the next.

    Before the first frame this is frame 0; from the last frame on the fraction is 0.

    Args:
        times: Ascending frame times, seconds, not empty.
        t: Time, seconds.
    """
    index = max(0, bisect_right(times, t) - 1)
    if index + 1 >= len(times) or t <= times[index]:
        return index, Fraction(0)
    return index, (t - times[index]) / (times[index + 1] - times[index])


def _duration(mode: SyncMode, video: Fraction, audio: Fraction) -> Fraction:
    if mode is SyncMode.CUT_OFF:
        return min(video, audio)
    if mode is SyncMode.SILENCE:
        return max(video, audio)
    return audio
