"""Write results: what must be kept, what must be exact, and what must not be left behind."""

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
import numpy as np
import pytest

from lipwright.errors import EncodeFailed, InvalidOptions, MediaUnreadable, OutputUnwritable
from lipwright.media.decode.video import read_audio, read_video
from lipwright.media.encode.mux import VideoWriter, check_encoder, check_writable
from lipwright.media.encode.spec import video_encoding
from lipwright.media.picture import Picture
from lipwright.media.probe import MediaInfo, VideoInfo, probe, require_audio, require_video
from lipwright.media.timeline import Timeline, plan
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
    """Soft moving colours of the size and depth of *like*."""
    y, x = np.mgrid[: like.height, : like.width]
    top = 1023 if like.bit_depth > 8 else 255
    made = []
    for k in range(count):
        rgb = np.dstack([x / like.width, y / like.height, np.sin((x + 5 * k) / 9) / 4 + 0.5])
        codes = np.rint(rgb * top * 0.9).astype(np.uint16 if top > 255 else np.uint8)
        made.append(Picture.from_rgb(codes))
    return made


def timeline(count: int, rate: Fraction = Fraction(25)) -> Timeline:
    return plan("cut_off", video=count / rate, audio=count / rate, rate=rate)


def written(
    path: Path,
    like: VideoInfo = LIKE,
    *,
    count: int = 10,
    audio: MediaInfo | None = None,
    plan: Timeline | None = None,
    **settings: object,
) -> MediaInfo:
    """Write soft pictures and probe what came out."""
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
    info = written(tmp_path / name, replace(LIKE, rate=rate), count=31)
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
def test_pictures_come_back_as_they_went_in(change, suffix, tmp_path):
    like = replace(LIKE, **change)
    info = written(tmp_path / f"out{suffix}", like)
    video = require_video(info)
    assert (video.width, video.height) == (like.width, like.height)
    assert video.bit_depth == like.bit_depth
    assert video.rotation == like.rotation
    for before, after in zip(pictures(like, 10), read_video(info), strict=True):
        for a, b in zip(before.planes, after.picture.planes, strict=True):
            assert a.shape == b.shape
            error = np.abs(a.astype(float) - b).mean() / (1 << (like.bit_depth - 8))
            assert error < 2.5


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_and_mirroring_are_kept(rotation, mirrored, suffix, tmp_path):
    like = replace(LIKE, rotation=rotation, mirrored=mirrored, sample_aspect=Fraction(4, 3))
    info = written(tmp_path / f"out{suffix}", like, count=2)
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
    video = require_video(written(tmp_path / f"out{suffix}", like, count=2))
    kept = (video.colorspace, video.color_primaries, video.color_trc, video.color_range)
    assert kept == (space, primaries, curve, levels)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_hdr_stays_hdr(suffix, tmp_path):
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
    video = require_video(written(tmp_path / f"out{suffix}", like, count=2))
    assert video.mastering_display == like.mastering_display
    assert video.content_light == like.content_light


def test_pictures_made_of_rgb_are_tagged(tmp_path):
    like = replace(LIKE, colorspace=0, color_range=2, pix_fmt="bgra", codec="gif")
    video = require_video(written(tmp_path / "out.mp4", like, count=2))
    assert (video.colorspace, video.color_range) == (1, 1)


def test_fields_stay_fields(tmp_path):
    like = replace(LIKE, interlaced=True, width=128, height=128)
    assert require_video(written(tmp_path / "out.mp4", like, count=4)).interlaced


@pytest.mark.parametrize(
    ("encoder", "codec", "bits"),
    [
        ("libx264", "h264", 8),
        ("libx265", "hevc", 8),
        ("libx265", "hevc", 10),
        ("libvpx-vp9", "vp9", 8),
    ],
)
def test_the_encoder_asked_for_is_used(encoder, codec, bits, tmp_path):
    like = replace(LIKE, codec="hevc" if codec == "h264" else "h264", bit_depth=bits)
    check_encoder(encoder, like, tmp_path / "out.mkv")
    made = require_video(written(tmp_path / "out.mkv", like, count=3, encoder=encoder))
    assert (made.codec, made.bit_depth) == (codec, bits)


@pytest.mark.parametrize(
    ("encoder", "change", "name", "why"),
    [
        ("libx264", {"bit_depth": 10}, "out.mp4", "libx265"),
        ("h264_nvenc", {"bit_depth": 10}, "out.mp4", "hevc_nvenc"),
        ("hevc_qsv", {"width": 97}, "out.mp4", "libvpx-vp9"),
        ("libx264", {}, "out.webm", r"\.mkv"),
        ("libvpx-vp9", {}, "out.mov", r"\.mkv"),
    ],
)
def test_an_encoder_that_cannot_keep_the_pictures_is_refused(encoder, change, name, why, tmp_path):
    with pytest.raises(InvalidOptions, match=why):
        check_encoder(encoder, replace(LIKE, **change), tmp_path / name)


def test_an_encoder_without_its_device_is_refused_before_any_work(tmp_path, monkeypatch):
    def absent(*_: object) -> None:
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("lipwright.media.encode.mux.av.CodecContext.create", absent)
    with pytest.raises(InvalidOptions, match=r"h264_nvenc.*device.*on the CPU"):
        check_encoder("h264_nvenc", LIKE, tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("encoder", "bits"),
    [(e, b) for e in HARDWARE for b in (8, 10) if b == 8 or e.startswith("hevc")],
)
def test_hardware_is_told_quality_profile_and_key_frames(encoder, bits):
    like = replace(LIKE, bit_depth=bits)
    usual = video_encoding(like, Fraction(25), 100, "mp4", None, encoder)
    finer = video_encoding(like, Fraction(25), 100, "mp4", 12, encoder)
    assert usual.codec == encoder
    assert usual.options["g"] == "50"
    profile = "high" if "h264" in encoder else "main10" if bits > 8 else "main"
    assert usual.options["profile"] == profile
    assert "12" in finer.options.values()
    assert "12" not in usual.options.values()
    assert (usual.pix_fmt == "p010le") == (bits > 8)
    assert usual.tag == ("hvc1" if "hevc" in encoder else None)


def test_hevc_is_labelled_for_players(tmp_path):
    written(tmp_path / "out.mp4", replace(LIKE, codec="hevc"), count=2)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_short_hevc_has_decode_times(count, tmp_path):
    """libx265 takes those of a stream shorter than its delay from memory it never wrote."""
    script = f"""
        from dataclasses import replace
        from pathlib import Path
        import test_media_write as t
        t.written(Path({str(tmp_path / "out.mkv")!r}), replace(t.LIKE, codec="hevc"), count={count})
    """
    dirty = {**os.environ, "MALLOC_PERTURB_": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=dirty, check=True)
    assert require_video(probe(tmp_path / "out.mkv")).duration == Fraction(count, 25)


def test_the_index_comes_first_and_keyframes_close_their_groups(tmp_path, speech):
    path = tmp_path / "out.mp4"
    written(path, count=120, audio=speech, plan=timeline(120))
    data = path.read_bytes()
    assert data.find(b"moov") < data.find(b"mdat")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
    keys = [p.pts * p.time_base for p in packets if p.is_keyframe]
    assert max(b - a for a, b in pairwise(keys)) <= 2
    last_key = 0
    for packet in packets:
        last_key = packet.pts if packet.is_keyframe else last_key
        assert packet.pts >= last_key  # nothing after a key frame is shown before it


def test_a_finer_setting_is_a_finer_picture(tmp_path):
    fine = written(tmp_path / "fine.mp4", crf=1).path.stat().st_size
    coarse = written(tmp_path / "coarse.mp4", crf=40).path.stat().st_size
    assert fine > 2 * coarse


# --- sound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_new_speech_is_exact_to_the_sample(rate, suffix, tmp_path):
    said = noise(1.5 + 37 / rate, rate)
    source = probe(write_sound(tmp_path / "speech.wav", said, rate, "pcm_s16le"))
    audio = require_audio(source)
    shape = plan("loop", video=Fraction(1), audio=audio.duration, rate=Fraction(25))
    info = written(tmp_path / f"out{suffix}", plan=shape, audio=source)
    heard = read_audio(info, rate=rate)
    assert abs(lag(heard, said)) < 0.1
    shared = min(len(heard), len(said))
    assert np.corrcoef(heard[:shared], said[:shared])[0, 1] > 0.97
    tolerance = 0 if suffix in (".mp4", ".mov") else Fraction(2, 1000)  # of a millisecond clock
    assert abs(require_audio(info).duration - audio.duration) <= tolerance


@pytest.mark.parametrize("extra", [1, 27, 63, 512, 1000, 1023])
def test_no_last_samples_get_lost(extra, tmp_path):
    said = noise((40 * 1024 + extra) / 48000, 48000)
    source = probe(write_sound(tmp_path / "speech.wav", said, 48000, "pcm_s16le"))
    shape = plan("loop", video=Fraction(1), audio=require_audio(source).duration, rate=Fraction(25))
    info = written(tmp_path / "out.mp4", plan=shape, audio=source)
    assert require_audio(info).duration == Fraction(len(said), 48000)


@pytest.mark.parametrize(("name", "codec"), [("s.mp3", "libmp3lame"), ("s.m4a", "aac")])
def test_delays_of_the_source_do_not_add_up(name, codec, tmp_path):
    said = noise(1.1, 44100)
    source = probe(write_sound(tmp_path / name, said, 44100, codec))
    shape = plan("loop", video=Fraction(1), audio=require_audio(source).duration, rate=Fraction(25))
    info = written(tmp_path / "out.mp4", plan=shape, audio=source)
    assert abs(lag(read_audio(info, rate=44100), said)) < 0.1
    assert require_audio(info).duration == Fraction(len(said), 44100)


def test_longer_sound_is_cut_and_shorter_sound_padded(tmp_path, speech):
    rate = Fraction(25)
    for mode, video in (("cut_off", Fraction(1, 2)), ("silence", Fraction(2))):
        shape = plan(mode, video=video, audio=Fraction(7, 10), rate=rate)
        info = written(tmp_path / f"{mode}.mp4", plan=shape, audio=speech)
        heard = read_audio(info)
        assert len(heard) == shape.audio_samples(16000) == video * 16000
        assert np.abs(heard[:8000]).max() > 0.1
        assert np.abs(heard[12500:]).max(initial=0) < 0.01


@pytest.mark.parametrize(
    ("rate", "channels", "kept"), [(44100, 2, (44100, 2)), (11127, 1, (12000, 1))]
)
def test_rate_and_channels_are_kept_where_they_can_be(rate, channels, kept, tmp_path):
    path = write_sound(tmp_path / "s.wav", noise(0.5, rate), rate, "pcm_s16le", channels)
    info = written(tmp_path / "out.mp4", audio=probe(path))
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
        assert require_audio(written(tmp_path / name, audio=probe(path))).channels == channels


def test_the_sound_of_a_video_can_be_the_speech(tmp_path, speech):
    talk = written(tmp_path / "talk.mp4", plan=timeline(15), audio=speech)
    info = written(tmp_path / "out.mp4", plan=timeline(15), audio=talk)
    assert abs(lag(read_audio(info), read_audio(speech))) < 0.1


def test_a_result_may_have_no_sound(tmp_path):
    assert written(tmp_path / "out.mp4").audio is None


# --- tags --------------------------------------------------------------------------------------


def test_tags_are_kept_but_not_those_of_another_file(tmp_path):
    tags = {"title": "Rede", "comment": "made with lipwright", "encoder": "x", "major_brand": "qt"}
    for name in ("out.mp4", "out.mkv", "out.mov"):
        kept = {k.lower(): v for k, v in written(tmp_path / name, metadata=tags).metadata.items()}
        assert (kept["title"], kept["comment"]) == ("Rede", "made with lipwright")
        assert kept["encoder"] != "x"


def test_dotted_tags_are_kept(tmp_path):
    tags = {"com.apple.quicktime.make": "Apple", "title": "Rede"}
    kept = written(tmp_path / "out.mp4", metadata=tags).metadata
    assert {**kept, **tags} == kept


# --- nothing half-written ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("after", [0, 3])
def test_an_error_leaves_nothing_behind_and_the_old_file_alone(error, after, tmp_path, speech):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"what was there")
    with pytest.raises(error):
        _write(path, pictures(LIKE, after), audio=speech, error=error)
    assert path.read_bytes() == b"what was there"
    assert sorted(os.listdir(tmp_path)) == ["out.mp4", "speech.wav"]


def _write(
    path: Path,
    shots: list[Picture],
    *,
    like: VideoInfo = LIKE,
    count: int = 3,
    audio: MediaInfo | None = None,
    error: type[BaseException] | None = None,
) -> None:
    """Write *shots* into a result of *count* frames, then raise *error*."""
    with VideoWriter(path, like=like, timeline=timeline(count), audio=audio) as writer:
        for picture in shots:
            writer.write(picture)
        if error is not None:
            raise error


def test_a_result_replaces_what_was_there(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"what was there")
    assert require_video(written(tmp_path / "out.mp4")).duration == Fraction(10, 25)


def test_nothing_appears_before_the_end(tmp_path):
    with VideoWriter(tmp_path / "out.mp4", like=LIKE, timeline=timeline(3), audio=None) as writer:
        for picture in pictures(LIKE, 3):
            writer.write(picture)
        assert not (tmp_path / "out.mp4").exists()
        assert all(name.startswith(".out.mp4.partial-") for name in os.listdir(tmp_path))
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_exactly_the_frames_of_the_timeline(tmp_path):
    path = tmp_path / "out.mp4"
    shots = pictures(LIKE, 4)
    with pytest.raises(EncodeFailed, match="2 of its 3"):
        _write(path, shots[:2])
    with pytest.raises(EncodeFailed, match="all its 3"):
        _write(path, shots)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("limit", [0, 20_000, 90_000])
def test_a_full_disk_is_one_clear_error(limit, tmp_path, speech):
    like = replace(LIKE, width=320, height=240)
    rng = np.random.default_rng(0)
    shots = [rng.integers(0, 255, (240, 320, 3), dtype=np.uint8) for _ in range(5)]
    noisy = [Picture.from_rgb(shot) for shot in shots] * 4
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # a write beyond fails
    try:
        with pytest.raises(EncodeFailed, match=r"out\.mp4 could not be written.*disk full"):
            _write(tmp_path / "out.mp4", noisy, like=like, count=20, audio=speech)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["speech.wav"]


def test_a_disk_that_fails_at_the_very_end(tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EncodeFailed, match="No space left"):
        written(tmp_path / "out.mp4")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(OutputUnwritable, match="create it first"):
        check_writable(tmp_path / "missing" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputUnwritable, match="is a folder"):
        check_writable(tmp_path / "folder.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(OutputUnwritable, match="no folder"):
        check_writable(tmp_path / "file" / "out.mp4")

    def closed(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", closed)
    with pytest.raises(OutputUnwritable, match="Permission denied"):
        check_writable(tmp_path / "out.mp4")


def test_looking_whether_one_can_write_leaves_nothing(tmp_path):
    assert check_writable(str(tmp_path / "out.mp4")) == tmp_path / "out.mp4"
    assert check_writable(tmp_path / f"{'x' * 240}.mp4")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["out", "out.txt", "out.mp3"])
def test_a_suffix_names_the_container(name, tmp_path):
    with pytest.raises(InvalidOptions, match=r"\.mp4"):
        check_writable(tmp_path / name)


def test_what_a_container_cannot_keep_is_refused(tmp_path):
    with pytest.raises(InvalidOptions, match="odd side"):
        written(tmp_path / "out.mov", replace(LIKE, width=97))
    with pytest.raises(InvalidOptions, match="8 bits"):
        written(tmp_path / "out.webm", replace(LIKE, bit_depth=10))
    assert os.listdir(tmp_path) == []


def test_pictures_must_fit(tmp_path):
    for wrong in (replace(LIKE, width=64), replace(LIKE, bit_depth=10)):
        with pytest.raises(EncodeFailed, match="does not fit"):
            _write(tmp_path / "out.mp4", pictures(wrong, 1))


def test_speech_that_vanishes_is_told_as_such(tmp_path, speech):
    speech.path.unlink()
    with pytest.raises(OSError, match=r"speech\.wav"):
        written(tmp_path / "out.mp4", audio=speech)
    silent = written(tmp_path / "mute.mp4")
    with pytest.raises(MediaUnreadable, match="no sound"):
        written(tmp_path / "out.mp4", audio=silent)
    assert os.listdir(tmp_path) == ["mute.mp4"]
