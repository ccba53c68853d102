"""Hearing the voice: formats, channels, offsets, and sound without speech."""

from __future__ import annotations

from bench.inputs.case import Case, Recipe, Right, Warned
from bench.inputs.checks import first_sound_at
from bench.inputs.recipes.sound import (
    channels,
    encoded,
    late,
    long_voice,
    pcm,
    stereo,
    surround,
    two_tracks,
    voice,
    without_speech,
)
from bench.inputs.recipes.video import plain, talk

TOPIC = "Recordings"


def _sound(
    name: str, audio: Recipe, brings: str = "", happens: str = "heard", **more: object
) -> Case:
    facts = {"expect": Right(), "video": plain("v.mp4", count=25), **more}
    return Case(
        name=f"sound {name}",
        topic=TOPIC,
        brings=brings or name,
        happens=happens,
        audio=audio,
        **facts,
    )  # type: ignore[arg-type]


CASES = (
    *(
        _sound(
            name, encoded(f"v.{name}", codec, rate), f"{name}", quick=name in ("mp3", "m4a", "opus")
        )
        for name, codec, rate in (
            ("mp3", "libmp3lame", 44_100),
            ("m4a", "aac", 44_100),
            ("aac", "aac", 48_000),
            ("opus", "libopus", 48_000),
            ("ogg", "libopus", 48_000),
            ("flac", "flac", 44_100),
            ("ac3", "ac3", 48_000),
            ("wma", "wmav2", 44_100),
            ("mp2", "mp2", 48_000),
            ("mka", "libopus", 48_000),
            ("webm", "libopus", 48_000),
            ("caf", "pcm_s16be", 44_100),
            ("aiff", "pcm_s16be", 44_100),
            ("au", "pcm_s16be", 44_100),
            ("w64", "pcm_s16le", 44_100),
            ("tta", "tta", 44_100),
        )
    ),
    _sound("ALAC", encoded("v.m4a", "alac", 44_100)),
    *(
        _sound(f"WAV {codec}", pcm("v.wav", codec), quick=codec == "pcm_f32le")
        for codec in (
            *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"),
            *("pcm_alaw", "pcm_mulaw", "adpcm_ima_wav"),
        )
    ),
    *(
        _sound(f"{rate} Hz", pcm("v.wav", "pcm_s16le", rate), quick=rate == 8000)
        for rate in (8000, 11_025, 22_050, 32_000, 48_000, 96_000, 192_000)
    ),
    *(
        _sound(
            f"channel {index + 1} of {count} without order",
            channels(count, index),
            f"WAV with {count} channels of unknown order",
            "all are mixed",
            quick=(count, index) in ((3, 2), (6, 3)),
        )
        for count, index in ((3, 0), (3, 2), (4, 3), (6, 3), (8, 7), (16, 15))
    ),
    *(
        _sound(
            f"5.1 channel {index + 1}",
            channels(6, index, "5.1"),
            "5.1 with the voice in any channel",
            quick=index == 3,
        )
        for index in range(6)
    ),
    _sound("7.1 WAV", channels(8, 2, "7.1"), "7.1", quick=True),
    _sound("7.1.4 WAV", channels(12, 2, "7.1.4"), "7.1.4"),
    _sound("quad WAV", channels(4, 3, "quad"), "quadraphonic"),
    _sound("2.1 WAV", channels(3, 2, "2.1"), "2.1 with the voice in the low-frequency channel"),
    *(
        _sound(f"7.1 in {name}", surround(name, codec), "7.1", quick=name == "v.flac")
        for name, codec in (("v.flac", "flac"), ("v.m4a", "aac"), ("v.ogg", "libopus"))
    ),
    *(
        _sound(f"7.1 to {out}", channels(8, 2, "7.1"), "7.1", out=f"out.{out}")
        for out in ("mov", "mkv", "webm")
    ),
    _sound(
        "opposite phase",
        stereo(1, -1),
        "stereo in opposite phase",
        "the loudest channel is heard; both are kept",
        video=talk(),
        face=True,
        quick=True,
    ),
    _sound("half opposite", stereo(1, -0.8), "stereo in opposite phase"),
    _sound("left only", stereo(1, 0), "a voice on one side"),
    _sound(
        "late in a video",
        late("late.mp4", "aac", 0.6),
        "a video whose sound begins late, as recording",
        "its silence is kept",
        checks=(first_sound_at(0.75),),
        video=plain("v.mp4", count=50),
        quick=True,
    ),
    _sound(
        "late in mkv",
        late("late.mkv", "libopus", 0.6),
        "a video whose sound begins late",
        checks=(first_sound_at(0.75),),
        video=plain("v.mp4", count=50),
    ),
    _sound(
        "late without a picture",
        late("late.m4a", "aac", 0.6, picture=False),
        "m4a with a silent start",
        checks=(first_sound_at(0.75),),
        video=plain("v.mp4", count=50),
    ),
    _sound(
        "two tracks, the second default",
        two_tracks("two.mkv", "libopus", default=1),
        "two audio tracks, one flagged as default",
        "the default is used, with a warning",
        expect=Warned("audio tracks"),
        quick=True,
    ),
    _sound(
        "two tracks, one picked",
        two_tracks("two.m4a", "aac"),
        "two audio tracks, with `--audio-track 2`",
        "that one is used",
        options=("--audio-track", "2"),
        quick=True,
    ),
    *(
        _sound(
            kind,
            without_speech(kind),
            f"{kind}, no speech",
            "the mouth rests, with a warning",
            expect=Warned("no speech was heard"),
            silent=kind == "silence",
            quick=kind in ("silence", "tone"),
        )
        for kind in ("silence", "tone", "noise", "chord")
    ),
    _sound(
        "too long",
        long_voice,
        "more speech than video",
        "cut, with a warning that says how much",
        expect=Warned("s of speech are cut: use mode loop"),
        quick=True,
    ),
    *(
        _sound(
            f"too long, {mode}",
            long_voice,
            options=("--mode", mode),
            brings=f"more speech than video, `--mode {mode}`",
            happens="nothing is cut",
        )
        for mode in ("loop", "bounce", "silence", "remap")
    ),
    _sound(
        "one frame",
        voice(),
        "a video of one frame",
        "repeated, with a warning",
        video=plain("one.mp4", count=1, audio=None),
        options=("--mode", "loop"),
        expect=Warned("the video has only 1 frame"),
        quick=True,
    ),
)
