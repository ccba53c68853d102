"""Write results: kept properties, exact durations, and no partial files."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from lipwright.errors import (
    EncodeFailed,
    InvalidOptions,
    MediaUnreadable,
    OutputUnwritable,
    StorageFull,
)
from lipwright.media.decode.audio import read_audio
from lipwright.media.decode.video import read_video
from lipwright.media.encode.encoder_settings import choose_video_encoder
from lipwright.media.encode.mux import VideoWriter, check_encoder, check_writable
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, probe, require_audio, require_video
from lipwright.media.timeline import Timeline, plan_timeline
from lipwright.options import HARDWARE
from media_clips import lag, noise, write_sound

NTSC = Fraction(30000, 1001)
LIKE = VideoInfo(
    width=96,
    height=64,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(1),
    frames=None,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)


def pictures(like: VideoInfo, count: int) -> list[Picture]:
    """Smooth moving colours with the size and depth of *like*."""
    y, x = np.mgrid[: like.height, : like.width]
    top = 1023 if like.bit_depth > 8 else 255
    result = []
    for k in range(count):
        rgb = np.dstack([x / like.width, y / like.height, np.sin((x + 5 * k) / 9) / 4 + 0.5])
        codes = np.rint(rgb * top * 0.9).astype(np.uint16 if top > 255 else np.uint8)
        result.append(Picture.from_rgb(codes))
    return result


def timeline(count: int, rate: Fraction = Fraction(25)) -> Timeline:
    return plan_timeline("cut_off", video=count / rate, audio=count / rate, rate=rate)


def write_result(
    path: Path,
    like: VideoInfo = LIKE,
    *,
    count: int = 10,
    audio: MediaInfo | None = None,
    plan: Timeline | None = None,
    **settings: object,
) -> MediaInfo:
    """Write smooth pictures and probe the result."""
    plan = plan or timeline(count, like.rate)
    with VideoWriter(path, like=like, timeline=plan, audio=audio, **settings) as writer:
        for picture in pictures(like, plan.frames):
            writer.write(picture)
    return probe(path)


@pytest.fixture
def speech(tmp_path) -> MediaInfo:
    return probe(write_sound(tmp_path / "speech.wav", noise(0.7, 16000), 16000, "pcm_s16le"))


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm", "OUT.MP4"])
@pytest.mark.parametrize("rate", [Fraction(25), NTSC, Fraction(50), Fraction(22)])
def test_frames_and_rate_are_exact(name, rate, tmp_path):
    info = write_result(tmp_path / name, replace(LIKE, rate=rate), count=31)
    video = require_video(info)
    assert (video.rate, video.duration, video.variable_rate) == (rate, 31 / rate, False)
    assert video.start == 0
    assert [frame.time for frame in read_video(info)] == [k / rate for k in range(31)]
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"bit_depth": 10},
        {"codec": "hevc"},
        {"codec": "hevc", "bit_depth": 10},
        {"width": 97},
        {"height": 63},
        {"width": 97, "height": 63},
        {"width": 97, "height": 63, "bit_depth": 10},
        {"width": 95, "height": 63, "rotation": 90},
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_round_trip(change, suffix, tmp_path):
    like = replace(LIKE, **change)
    info = write_result(tmp_path / f"out{suffix}", like)
    video = require_video(info)
    assert (video.width, video.height) == (like.width, like.height)
    assert video.bit_depth == like.bit_depth
    assert video.rotation == like.rotation
    for before, after in zip(pictures(like, 10), read_video(info), strict=True):
        for a, b in zip(before.planes, after.picture.planes, strict=True):
            size = a.shape[::-1]  # HEVC keeps an odd side at 4:4:4 only
            b = b if a.shape == b.shape else cv2.resize(b, size, interpolation=cv2.INTER_AREA)
            error = np.abs(a.astype(float) - b).mean() / (1 << (like.bit_depth - 8))
            assert error < 2.5


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_and_mirroring_are_kept(rotation, mirrored, suffix, tmp_path):
    like = replace(LIKE, rotation=rotation, mirrored=mirrored, sample_aspect=Fraction(4, 3))
    info = write_result(tmp_path / f"out{suffix}", like, count=2)
    video = require_video(info)
    assert (video.rotation, video.mirrored) == (rotation, mirrored)
    assert (video.width, video.height, video.sample_aspect) == (96, 64, Fraction(4, 3))
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        coded = (container.streams.video[0].width, container.streams.video[0].height)
    assert coded == ((64, 96) if rotation % 180 else (96, 64))
    before, after = pictures(like, 1)[0], next(read_video(info)).picture
    assert np.abs(before.planes[0].astype(float) - after.planes[0]).mean() < 2


@pytest.mark.parametrize(
    ("space", "primaries", "curve", "levels"), [(1, 1, 1, 1), (5, 5, 6, 2), (9, 9, 18, 1)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_colour_tags_are_kept(space, primaries, curve, levels, suffix, tmp_path):
    like = replace(
        LIKE,
        colorspace=space,
        color_primaries=primaries,
        color_trc=curve,
        color_range=levels,
        bit_depth=10 if space == 9 else 8,
    )
    video = require_video(write_result(tmp_path / f"out{suffix}", like, count=2))
    kept = (video.colorspace, video.color_primaries, video.color_trc, video.color_range)
    assert kept == (space, primaries, curve, levels)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_hdr_metadata_is_kept(suffix, tmp_path):
    like = replace(
        LIKE,
        bit_depth=10,
        colorspace=9,
        color_primaries=9,
        color_trc=16,
        color_range=1,
        mastering_display="G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
        content_light="1000,400",
    )
    video = require_video(write_result(tmp_path / f"out{suffix}", like, count=2))
    assert video.mastering_display == like.mastering_display
    assert video.content_light == like.content_light


def test_rgb_sources_are_tagged_bt709(tmp_path):
    like = replace(LIKE, colorspace=0, color_range=2, pix_fmt="bgra", codec="gif")
    video = require_video(write_result(tmp_path / "out.mp4", like, count=2))
    assert (video.colorspace, video.color_range) == (1, 1)


def test_interlacing_is_kept(tmp_path):
    like = replace(LIKE, interlaced=True, width=128, height=128)
    assert require_video(write_result(tmp_path / "out.mp4", like, count=4)).interlaced


@pytest.mark.parametrize(
    ("encoder", "codec", "bits"),
    [
        ("libx264", "h264", 8),
        ("libx264", "h264", 10),
        ("libx265", "hevc", 8),
        ("libx265", "hevc", 10),
        ("libvpx-vp9", "vp9", 8),
    ],
)
def test_the_requested_encoder_is_used(encoder, codec, bits, tmp_path):
    like = replace(LIKE, codec="hevc" if codec == "h264" else "h264", bit_depth=bits)
    check_encoder(encoder, like, tmp_path / "out.mkv")
    output = require_video(write_result(tmp_path / "out.mkv", like, count=3, encoder=encoder))
    assert (output.codec, output.bit_depth) == (codec, bits)


@pytest.mark.parametrize(
    ("encoder", "change", "name", "message"),
    [
        ("libvpx-vp9", {"bit_depth": 10}, "out.mp4", "libx265"),
        ("h264_nvenc", {"bit_depth": 10}, "out.mp4", "hevc_nvenc"),
        ("hevc_qsv", {"width": 97}, "out.mp4", "libvpx-vp9"),
        ("libx264", {}, "out.webm", r"\.mkv"),
        ("libvpx-vp9", {}, "out.mov", r"\.mkv"),
    ],
)
def test_an_encoder_that_does_not_support_the_video_is_refused(
    encoder, change, name, message, tmp_path
):
    with pytest.raises(InvalidOptions, match=message):
        check_encoder(encoder, replace(LIKE, **change), tmp_path / name)


def test_an_encoder_without_its_device_is_refused(tmp_path, monkeypatch):
    def absent(*_: object) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("lipwright.media.encode.mux.av.CodecContext.create", absent)
    with pytest.raises(InvalidOptions, match=r"h264_nvenc.*device.*on the CPU"):
        check_encoder("h264_nvenc", LIKE, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("encoder", "bits"),
    [(e, b) for e in HARDWARE for b in (8, 10) if b == 8 or e.startswith("hevc")],
)
def test_hardware_encoders_get_quality_profile_and_key_frames(encoder, bits):
    like = replace(LIKE, bit_depth=bits)
    default = choose_video_encoder(like, Fraction(25), 100, "mp4", None, encoder)
    finer = choose_video_encoder(like, Fraction(25), 100, "mp4", 12, encoder)
    assert default.codec == encoder
    assert default.options["g"] == "50"
    profile = "high" if "h264" in encoder else "main10" if bits > 8 else "main"
    assert default.options["profile"] == profile
    assert "12" in finer.options.values()
    assert "12" not in default.options.values()
    assert (default.pix_fmt == "p010le") == (bits > 8)
    assert default.tag == ("hvc1" if "hevc" in encoder else None)


def test_hevc_in_mp4_has_the_hvc1_tag(tmp_path):
    write_result(tmp_path / "out.mp4", replace(LIKE, codec="hevc"), count=2)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_hevc_has_decode_times(count, tmp_path):
    """libx265 reads uninitialised decode times for a stream shorter than its delay."""
    script = f"""
        from dataclasses import replace
        from pathlib import Path
        import test_encode as t
        hevc = replace(t.LIKE, codec="hevc")
        t.write_result(Path({str(tmp_path / "out.mkv")!r}), hevc, count={count})
    """
    dirty = {**os.environ, "MALLOC_PERTURB_": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=dirty, check=True)
    assert require_video(probe(tmp_path / "out.mkv")).duration == Fraction(count, 25)


def test_the_index_comes_first_and_groups_are_closed(tmp_path, speech):
    path = tmp_path / "out.mp4"
    write_result(path, count=120, audio=speech, plan=timeline(120))
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    keys = [p.pts * p.time_base for p in packets if p.is_keyframe]
    assert max(b - a for a, b in pairwise(keys)) <= 2
    last_key = 0
    for packet in packets:
        last_key = packet.pts if packet.is_keyframe else last_key
        assert packet.pts >= last_key  # closed GOP


def test_a_lower_crf_gives_a_larger_file(tmp_path):
    fine = write_result(tmp_path / "fine.mp4", crf=1).path.stat().st_size
    coarse = write_result(tmp_path / "coarse.mp4", crf=40).path.stat().st_size
    assert fine > 2 * coarse


# --- audio -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_new_speech_is_exact_to_the_sample(rate, suffix, tmp_path):
    samples = noise(1.5 + 37 / rate, rate)
    source = probe(write_sound(tmp_path / "speech.wav", samples, rate, "pcm_s16le"))
    audio = require_audio(source)
    output_timeline = plan_timeline(
        "loop", video=Fraction(1), audio=audio.duration, rate=Fraction(25)
    )
    info = write_result(tmp_path / f"out{suffix}", plan=output_timeline, audio=source)
    decoded = read_audio(info, rate=rate)
    assert abs(lag(decoded, samples)) < 0.1
    shared = min(len(decoded), len(samples))
    assert np.corrcoef(decoded[:shared], samples[:shared])[0, 1] > 0.97
    tolerance = 0 if suffix in (".mp4", ".mov") else Fraction(2, 1000)  # timestamps in milliseconds
    assert abs(require_audio(info).duration - audio.duration) <= tolerance


@pytest.mark.parametrize("extra", [1, 27, 63, 512, 1000, 1023])
def test_the_last_samples_are_kept(extra, tmp_path):
    samples = noise((40 * 1024 + extra) / 48000, 48000)
    source = probe(write_sound(tmp_path / "speech.wav", samples, 48000, "pcm_s16le"))
    output_timeline = plan_timeline(
        "loop", video=Fraction(1), audio=require_audio(source).duration, rate=Fraction(25)
    )
    info = write_result(tmp_path / "out.mp4", plan=output_timeline, audio=source)
    assert require_audio(info).duration == Fraction(len(samples), 48000)


@pytest.mark.parametrize(("name", "codec"), [("s.mp3", "libmp3lame"), ("s.m4a", "aac")])
def test_encoder_delays_do_not_add_up(name, codec, tmp_path):
    samples = noise(1.1, 44100)
    source = probe(write_sound(tmp_path / name, samples, 44100, codec))
    output_timeline = plan_timeline(
        "loop", video=Fraction(1), audio=require_audio(source).duration, rate=Fraction(25)
    )
    info = write_result(tmp_path / "out.mp4", plan=output_timeline, audio=source)
    assert abs(lag(read_audio(info, rate=44100), samples)) < 0.1
    assert require_audio(info).duration == Fraction(len(samples), 44100)


def test_longer_audio_is_cut_and_shorter_audio_padded(tmp_path, speech):
    rate = Fraction(25)
    for mode, video in (("cut_off", Fraction(1, 2)), ("silence", Fraction(2))):
        output_timeline = plan_timeline(mode, video=video, audio=Fraction(7, 10), rate=rate)
        info = write_result(tmp_path / f"{mode}.mp4", plan=output_timeline, audio=speech)
        decoded = read_audio(info)
        assert len(decoded) == output_timeline.audio_samples(16000) == video * 16000
        assert np.abs(decoded[:8000]).max() > 0.1
        assert np.abs(decoded[12500:]).max(initial=0) < 0.01


@pytest.mark.parametrize(
    ("rate", "channels", "kept"), [(44100, 2, (44100, 2)), (11127, 1, (12000, 1))]
)
def test_sample_rate_and_channels_are_kept_if_supported(rate, channels, kept, tmp_path):
    path = write_sound(tmp_path / "s.wav", noise(0.5, rate), rate, "pcm_s16le", channels)
    info = write_result(tmp_path / "out.mp4", audio=probe(path))
    assert (require_audio(info).sample_rate, require_audio(info).channels) == kept


def test_surround_is_kept(tmp_path):
    path = tmp_path / "s.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="5.1")
        silence = np.zeros((6, 48000), np.float32)
        frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="5.1")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for name, channels in (("a.mp4", 6), ("a.mkv", 6), ("a.webm", 2)):
        assert require_audio(write_result(tmp_path / name, audio=probe(path))).channels == channels


def test_the_audio_of_a_video_can_be_the_speech(tmp_path, speech):
    talk = write_result(tmp_path / "talk.mp4", plan=timeline(15), audio=speech)
    info = write_result(tmp_path / "out.mp4", plan=timeline(15), audio=talk)
    assert abs(lag(read_audio(info), read_audio(speech))) < 0.1


def test_a_result_may_have_no_audio(tmp_path):
    assert write_result(tmp_path / "out.mp4").audio is None


# --- metadata ----------------------------------------------------------------------------------


def test_tags_are_kept_except_reserved_ones(tmp_path):
    tags = {"title": "Rede", "comment": "made with lipwright", "encoder": "x", "major_brand": "qt"}
    for name in ("out.mp4", "out.mkv", "out.mov"):
        kept = {
            k.lower(): v for k, v in write_result(tmp_path / name, metadata=tags).metadata.items()
        }
        assert (kept["title"], kept["comment"]) == ("Rede", "made with lipwright")
        assert kept["encoder"] != "x"


def test_dotted_tags_are_kept(tmp_path):
    tags = {"com.apple.quicktime.make": "Apple", "title": "Rede"}
    kept = write_result(tmp_path / "out.mp4", metadata=tags).metadata
    assert {**kept, **tags} == kept


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("after", [0, 3])
def test_an_error_leaves_no_file_and_keeps_the_old_one(error, after, tmp_path, speech):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"previous content")
    with pytest.raises(error):
        write_pictures(path, pictures(LIKE, after), audio=speech, error=error)
    assert path.read_bytes() == b"previous content"
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "speech.wav"]


def write_pictures(
    path: Path,
    frames: list[Picture],
    *,
    like: VideoInfo = LIKE,
    count: int = 3,
    audio: MediaInfo | None = None,
    error: type[BaseException] | None = None,
) -> None:
    """Write *frames* into a result of *count* frames, then raise *error*."""
    with VideoWriter(path, like=like, timeline=timeline(count), audio=audio) as writer:
        for picture in frames:
            writer.write(picture)
        if error is not None:
            raise error


def test_a_result_replaces_an_existing_file(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"previous content")
    assert require_video(write_result(tmp_path / "out.mp4")).duration == Fraction(10, 25)


def test_the_file_appears_only_at_the_end(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", like=LIKE, timeline=timeline(3), audio=None) as writer:
        for picture in pictures(LIKE, 3):
            writer.write(picture)
        assert not (tmp_path / "out.mp4").exists()
        assert all(name.startswith(".out.mp4.partial-") for name in os.listdir(tmp_path))
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_the_number_of_frames_must_match_the_timeline(tmp_path):
    path = tmp_path / "out.mp4"
    frames = pictures(LIKE, 4)
    with pytest.raises(EncodeFailed, match="2 of its 3"):
        write_pictures(path, frames[:2])
    with pytest.raises(EncodeFailed, match="all its 3"):
        write_pictures(path, frames)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("limit", [0, 20_000, 90_000])
def test_a_full_disk_is_reported_and_leaves_no_file(limit, tmp_path, speech):
    like = replace(LIKE, width=320, height=240)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(5)]
    noisy = [Picture.from_rgb(frame) for frame in frames] * 4
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # a write beyond the limit fails
    try:
        with pytest.raises(StorageFull, match=r"out\.mp4 could not be written"):
            write_pictures(tmp_path / "out.mp4", noisy, like=like, count=20, audio=speech)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["speech.wav"]


def test_a_disk_error_at_the_end_leaves_no_file(tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No space left"):
        write_result(tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


def test_unwritable_paths_are_refused(tmp_path, monkeypatch):
    with pytest.raises(OutputUnwritable, match="create it first"):
        check_writable(tmp_path / "missing" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputUnwritable, match="is a folder"):
        check_writable(tmp_path / "folder.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(OutputUnwritable, match="not a folder"):
        check_writable(tmp_path / "file" / "out.mp4")

    def closed(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", closed)
    with pytest.raises(OutputUnwritable, match="Permission denied"):
        check_writable(tmp_path / "out.mp4")


def test_check_writable_leaves_no_file(tmp_path):
    assert check_writable(str(tmp_path / "out.mp4")) == tmp_path / "out.mp4"
    assert check_writable(tmp_path / f"{'x' * 240}.mp4")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["out", "out.txt", "out.mp3"])
def test_an_unknown_suffix_is_refused(name, tmp_path):
    with pytest.raises(InvalidOptions, match=r"\.mp4"):
        check_writable(tmp_path / name)


def test_video_that_the_container_does_not_support_is_refused(tmp_path):
    with pytest.raises(InvalidOptions, match="odd side"):
        write_result(tmp_path / "out.mov", replace(LIKE, width=97))
    with pytest.raises(InvalidOptions, match="8 bits"):
        write_result(tmp_path / "out.webm", replace(LIKE, bit_depth=10))
    assert os.listdir(tmp_path) == []


def test_pictures_of_another_size_or_depth_are_refused(tmp_path):
    for wrong in (replace(LIKE, width=64), replace(LIKE, bit_depth=10)):
        with pytest.raises(EncodeFailed, match="does not fit"):
            write_pictures(tmp_path / "out.mp4", pictures(wrong, 1))


def test_missing_speech_is_reported(tmp_path, speech):
    speech.path.unlink()
    with pytest.raises(OSError, match=r"speech\.wav"):
        write_result(tmp_path / "out.mp4", audio=speech)
    silent = write_result(tmp_path / "mute.mp4")
    with pytest.raises(MediaUnreadable, match="no sound"):
        write_result(tmp_path / "out.mp4", audio=silent)
    assert os.listdir(tmp_path) == ["mute.mp4"]
