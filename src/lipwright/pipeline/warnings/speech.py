"""Say what is odd about the speech of a job: none, cut, damaged, or more than the video bears."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lipwright.face.track import Take
from lipwright.media.decode.audio import iter_audio
from lipwright.media.probe import MediaInfo, require_audio
from lipwright.media.timeline import Timeline
from lipwright.motion.silence import speech_weight
from lipwright.options import SyncMode
from lipwright.speech.activity import speech_activity
from lipwright.speech.encoder import HOP
from lipwright.speech.features import SpeechFeatures
from lipwright.speech.mel import SAMPLE_RATE
from lipwright.types import Floats
from lipwright.weights.store import WeightStore

# Probability of speech: silence, noise, tones, hum and simple music stay below 0.5; speech in seven
# languages, quiet, noisy or whispered, exceeds 0.98 (measured).
SPEECH = 0.5
MIN_CUT_SECONDS = 0.1  # of speech beyond the end that are worth a warning
SHORT_SECONDS = 0.5  # a video up to this length is a picture rather than a video
LONG_FACTOR = 2  # times its length for which such a video may be repeated or held


def speech_warnings(
    speech: MediaInfo, features: SpeechFeatures, take: Take, timeline: Timeline, store: WeightStore
) -> Iterator[str]:
    """Yield what is odd about the speech.

    Args:
        speech: the new speech.
        features: of the audio of the output.
        take: the tracked source.
        timeline: of the output.
        store: where the voice activity network is.
    """
    if features.damaged:
        yield (
            f"{features.damaged} packets of the sound in {speech.path.name} are damaged: they are "
            "silent in the result"
        )
    heard = bool(speech_weight(features.activity).any())  # whether the mouth moves
    end = last_speech(speech, timeline, store)
    if not heard and end is None:
        yield f"no speech was heard in {speech.path.name}: the mouth stays at rest"
    elif not heard:
        yield f"no speech is heard before the end of the result: {speech.path.name} begins later"
    cut = 0.0 if end is None else end - float(timeline.duration)
    if cut > MIN_CUT_SECONDS:
        yield (
            f"{cut:.1f} of {end:.1f} s of speech are cut: use mode loop (--mode loop), bounce, "
            "silence or remap to keep all"
        )
    yield from _short_video_warnings(take, timeline)


def last_speech(speech: MediaInfo, timeline: Timeline, store: WeightStore) -> float | None:
    """Return the second at which speech beyond the end of the output ends; None: there is none."""
    end, length = float(timeline.duration), float(require_audio(speech).duration)
    if timeline.mode is not SyncMode.CUT_OFF or length - end <= MIN_CUT_SECONDS:
        return None
    activity = speech_activity(_beyond(speech, round(end * SAMPLE_RATE)), store)
    active = np.flatnonzero(activity >= SPEECH)
    return end + float(active[-1] + 1) * HOP / SAMPLE_RATE if len(active) else None


def track_warnings(speech: MediaInfo, audio_track: int | None) -> Iterator[str]:
    """Yield that one of several audio tracks was used, unless *audio_track* states which."""
    tracks = [track for track in speech.tracks if track.kind == "audio" and track.codec]
    if audio_track is not None or len(tracks) < 2:
        return
    languages = ", ".join(track.language or "unknown" for track in tracks)
    known = f" ({languages})" if any(track.language for track in tracks) else ""
    used = 1 + [track.index for track in tracks].index(require_audio(speech).stream)
    yield (
        f"{speech.path.name} has {len(tracks)} audio tracks{known}: track {used} was used; choose "
        "with audio_track"
    )


def damage_warnings(take: Take) -> Iterator[str]:
    """Yield how much of the video is damaged."""
    if take.damaged:
        yield (
            f"{take.damaged} of {len(take.times)} frames of the video are damaged: they are shown "
            "as far as they can be decoded"
        )


def _short_video_warnings(take: Take, timeline: Timeline) -> Iterator[str]:
    length = len(take.times) / float(take.info.rate)
    result = float(timeline.duration)
    if take.info.still or length > SHORT_SECONDS or result < LONG_FACTOR * length:
        return
    how = "held" if timeline.mode is SyncMode.SILENCE else "repeated"
    if timeline.mode is SyncMode.REMAP:
        how = "slowed down"
    count = len(take.times)
    yield (
        f"the video has only {count} frame{'s' if count > 1 else ''} ({length:.2f} s): "
        f"{'they are' if count > 1 else 'it is'} {how} for {result:.1f} s of speech"
    )


def _beyond(speech: MediaInfo, start: int) -> Iterator[Floats]:
    """Yield the audio from a sample on."""
    for block in iter_audio(speech, rate=SAMPLE_RATE):
        if start < len(block):
            yield block[start:]
        start = max(0, start - len(block))
