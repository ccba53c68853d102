"""Probe and decode clips, each with one special property."""

from __future__ import annotations

import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lipwright.errors import LimitExceeded, MediaUnreadable, SourceUnreachable
from lipwright.media.decode.audio import iter_audio, iter_channels, read_audio
from lipwright.media.decode.decoder import DecodeOptions
from lipwright.media.decode.video import TimestampNormalizer, read_video
from lipwright.media.frame_conversion import FrameToPicture
from lipwright.media.probe import VideoInfo, probe, require_audio, require_video
from lipwright.runtime.device import Device
from media_clips import ClipSpec, lag, noise, number_of, numbered_frame, write_clip, write_sound

NTSC = Fraction(30000, 1001)
DEEP = "yuv420p10le", "p010le"


def video_of(path: Path) -> VideoInfo:
    return require_video(probe(path))


def numbers(path: Path) -> list[int]:
    return [number_of(frame.picture.rgb()) for frame in read_video(probe(path))]


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("h264.mp4", ClipSpec()),
        ("b_frames.mp4", ClipSpec(options={"bf": "3", "x264-params": "b-adapt=0:keyint=6"})),
        ("ntsc.mp4", ClipSpec(rate=NTSC)),
        ("film.mkv", ClipSpec(rate=Fraction(24000, 1001), frames=40)),
        ("ntsc.mkv", ClipSpec(rate=NTSC, frames=60)),
        ("sixty.webm", ClipSpec(codec="libvpx-vp9", rate=Fraction(60), options={"cpu-used": "8"})),
        ("film.mov", ClipSpec(codec="prores_ks", pix_fmt="yuv422p10le")),
        ("old.avi", ClipSpec(codec="mpeg4", options={"bf": "2"})),
        ("motion.avi", ClipSpec(codec="mjpeg", pix_fmt="yuvj422p")),
        ("broadcast.ts", ClipSpec(codec="mpeg2video")),
        ("hevc.mp4", ClipSpec(codec="libx265", options={"x265-params": "log-level=none"})),
        ("ten_bit.mp4", ClipSpec(options={"profile": "high10"}, pix_fmt="yuv420p10le")),
        ("full_colour.mkv", ClipSpec(codec="ffv1", pix_fmt="yuv444p")),
        ("rgb.mkv", ClipSpec(codec="ffv1", pix_fmt="bgr0")),
        ("grey.mkv", ClipSpec(codec="ffv1", pix_fmt="gray")),
        ("sixteen.mkv", ClipSpec(codec="ffv1", pix_fmt="yuv422p16le")),
        ("raw.avi", ClipSpec(codec="rawvideo", pix_fmt="bgr24")),
        ("odd.mkv", ClipSpec(codec="ffv1", size=(97, 63))),
        ("moving.gif", ClipSpec(codec="gif", pix_fmt="rgb8", rate=Fraction(20))),
    ],
)
def test_frames_of_every_format_have_the_right_order_and_times(name, clip, tmp_path):
    path = write_clip(tmp_path / name, clip)
    video = video_of(path)
    assert (video.width, video.height) == clip.size
    assert video.rate == clip.rate
    assert not video.variable_rate
    frames = list(read_video(probe(path)))
    count = len(clip.times or range(clip.frames))
    assert video.duration == count / clip.rate
    assert [frame.index for frame in frames] == list(range(count))
    assert [frame.time for frame in frames] == [k / clip.rate for k in range(count)]
    assert [number_of(frame.picture.rgb()) for frame in frames] == list(range(count))
    assert frames[0].picture.depth == (10 if video.bit_depth > 8 else 8)


def test_colours_survive_every_pixel_format(tmp_path):
    for codec, pix_fmt in (
        ("ffv1", "yuv420p"),
        ("ffv1", "yuv444p"),
        ("ffv1", "bgr0"),
        ("ffv1", "yuv422p10le"),
        ("mjpeg", "yuvj420p"),
        ("png", "rgb24"),
    ):
        clip = ClipSpec(codec=codec, pix_fmt=pix_fmt, frames=1)
        path = write_clip(tmp_path / f"{codec}{pix_fmt}.{'mov' if codec == 'png' else 'mkv'}", clip)
        picture = next(read_video(probe(path))).picture
        rgb = picture.rgb().astype(float) * (1 if picture.depth == 8 else 255 / 1023)
        assert np.abs(rgb[40:, 60:].mean((0, 1)) - (150, 110, 90)).max() < 3, pix_fmt


def test_full_range_is_kept(tmp_path):
    path = write_clip(tmp_path / "full.avi", ClipSpec(codec="mjpeg", pix_fmt="yuvj420p"))
    assert video_of(path).color_range == 2
    assert next(read_video(probe(path))).picture.full_range


def test_colour_tags_are_read(tmp_path):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": 16, "color_range": 1}
    clip = ClipSpec(pix_fmt="yuv420p10le", context=tags)
    video = video_of(write_clip(tmp_path / "hdr.mp4", clip))
    assert {name: getattr(video, name) for name in tags} == tags
    assert video.bit_depth == 10


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied(rotation, tmp_path):
    upright = write_clip(tmp_path / "upright.mp4", ClipSpec(frames=2))
    turned = write_clip(tmp_path / "turned.mp4", ClipSpec(frames=2, rotation=rotation))
    video = video_of(turned)
    assert video.rotation == rotation
    assert (video.width, video.height) == ((64, 96) if rotation % 180 else (96, 64))
    before = next(read_video(probe(upright))).picture.rgb()
    after = next(read_video(probe(turned))).picture.rgb()
    assert np.array_equal(after, np.rot90(before, -rotation // 90))


def test_sample_aspect_is_rotated_with_the_video(tmp_path):
    wide = {"sample_aspect_ratio": Fraction(4, 3)}
    flat = write_clip(tmp_path / "flat.mp4", ClipSpec(context=wide))
    assert video_of(flat).sample_aspect == Fraction(4, 3)
    tall = write_clip(tmp_path / "tall.mp4", ClipSpec(context=wide, rotation=90))
    assert video_of(tall).sample_aspect == Fraction(3, 4)


def test_interlaced_video_is_detected(tmp_path):
    clip = ClipSpec(options={"x264-params": "tff=1"}, size=(128, 128))
    path = write_clip(tmp_path / "fields.mp4", clip)
    assert video_of(path).interlaced
    assert numbers(path) == list(range(12))


def test_dropped_frames_do_not_change_the_rate(tmp_path):
    kept = [0, 1, 2, 4, 5, 8, 9, 10]
    clip = ClipSpec(times=[Fraction(k, 30) for k in kept], rate=Fraction(30), clock=15360)
    path = write_clip(tmp_path / "gaps.mp4", clip)
    video = video_of(path)
    assert video.variable_rate
    assert video.rate == 30
    assert [frame.time * 30 for frame in read_video(probe(path))] == kept


def test_jittering_times_are_kept_and_the_rate_estimated(tmp_path):
    rng = np.random.default_rng(3)
    steps = np.cumsum([0, *rng.integers(28, 40, 60)])
    times = [Fraction(int(ms), 1000) for ms in steps]
    clip = ClipSpec(times=times, rate=Fraction(30), clock=90000, options={"bf": "0"})
    path = write_clip(tmp_path / "phone.mp4", clip)
    video = video_of(path)
    assert video.variable_rate
    assert video.rate == 30
    assert [frame.time for frame in read_video(probe(path))] == times
    assert times[-1] < video.duration < times[-1] + Fraction(1, 10)


def test_a_video_of_one_frame(tmp_path):
    video = video_of(write_clip(tmp_path / "one.mp4", ClipSpec(frames=1)))
    assert (video.duration, video.rate) == (Fraction(1, 25), 25)
    assert numbers(tmp_path / "one.mp4") == [0]


@pytest.mark.parametrize(("name", "codec"), [("still.png", "png"), ("still.jpg", "mjpeg")])
def test_a_still_is_a_video_of_one_frame(name, codec, tmp_path):
    pix_fmt = "rgb24" if codec == "png" else "yuvj420p"
    packet = _encoded(ClipSpec(frames=1, codec=codec, pix_fmt=pix_fmt))
    (tmp_path / name).write_bytes(packet)
    video = video_of(tmp_path / name)
    assert (video.width, video.height, video.rate) == (96, 64, 25)
    assert video.duration == Fraction(1, 25)
    assert numbers(tmp_path / name) == [0]


def _encoded(clip: ClipSpec) -> bytes:
    context = av.CodecContext.create(clip.codec, "w")
    context.width, context.height = clip.size
    context.pix_fmt, context.time_base = clip.pix_fmt, Fraction(1, 25)
    packets = context.encode(numbered_frame(0, clip)) + context.encode(None)
    return b"".join(bytes(packet) for packet in packets)


@pytest.mark.parametrize("start", [1000, 2500])
def test_times_start_at_zero_whatever_the_start_time(start, tmp_path):
    times = [Fraction(start, 1000) + Fraction(k, 25) for k in range(12)]
    clip = ClipSpec(times=times, options={"bf": "0"}, clock=1000)
    path = write_clip(tmp_path / "late.mkv", clip)
    video = video_of(path)
    assert video.start == times[0]
    assert video.duration == Fraction(12, 25)
    assert [frame.time * 25 for frame in read_video(probe(path))] == list(range(12))


def test_an_edit_list_that_cuts_the_start_is_applied(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", ClipSpec(frames=20, options={"bf": "0", "g": "5"}))
    path = tmp_path / "cut.mp4"
    data = bytearray(whole.read_bytes())
    at = data.find(b"elst")
    if at < 0:
        pytest.skip("this FFmpeg writes no edit list here")
    media_time = at + 4 + 4 + 4 + 4  # version and flags, count, duration
    ticks = int.from_bytes(data[media_time : media_time + 4], "big")
    data[media_time : media_time + 4] = (ticks + 3 * 512).to_bytes(4, "big")
    path.write_bytes(data)
    assert numbers(path) == list(range(3, 20))
    assert video_of(path).duration == Fraction(17, 25)


def test_a_range_of_frames_is_read(tmp_path):
    info = probe(write_clip(tmp_path / "a.mp4", ClipSpec()))
    frames = list(read_video(info, start=3, stop=7))
    assert [frame.index for frame in frames] == [3, 4, 5, 6]
    assert [number_of(frame.picture.rgb()) for frame in frames] == [3, 4, 5, 6]


def test_a_reader_can_be_closed_early(tmp_path):
    with read_video(probe(write_clip(tmp_path / "a.mp4", ClipSpec()))) as frames:
        next(frames)
    assert list(frames) == []
    frames.close()


def test_pictures_are_read_only(tmp_path):
    frame = next(read_video(probe(write_clip(tmp_path / "a.mp4", ClipSpec()))))
    with pytest.raises(ValueError, match="read-only"):
        frame.picture.planes[0][0, 0] = 1


def test_damaged_packets_are_skipped(tmp_path):
    path = write_clip(tmp_path / "a.mkv", ClipSpec(codec="ffv1", frames=30, options={"g": "1"}))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    frames = read_video(probe(path))
    shown = [number_of(frame.picture.rgb()) for frame in frames]
    assert len(shown) >= 25
    assert shown[:10] == list(range(10))
    assert shown[-5:] == list(range(25, 30))


# --- errors -----------------------------------------------------------------------


def assert_refused(path: Path) -> str:
    with pytest.raises(MediaUnreadable) as caught:
        probe(path)
    assert path.name in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SourceUnreachable, match="does not exist"):
        probe(tmp_path / "gone.mp4")
    with pytest.raises(SourceUnreachable, match="folder"):
        probe(tmp_path)


def test_empty_and_non_media_files_are_refused(tmp_path):
    for name, data in (
        ("empty.mp4", b""),
        ("text.mp4", b"hello " * 1000),
        ("noise.mp4", np.random.default_rng(0).bytes(50000)),
        ("page.mp4", b"<html><body>404 not found</body></html>" * 50),
    ):
        (tmp_path / name).write_bytes(data)
        assert_refused(tmp_path / name)


def test_an_mp4_without_its_index_is_refused(tmp_path):
    path = write_clip(tmp_path / "a.mp4", ClipSpec(frames=50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert_refused(path)


def test_an_mp4_cut_after_its_index_is_refused(tmp_path):
    path = write_clip(tmp_path / "a.mp4", ClipSpec(frames=50, muxer={"movflags": "faststart"}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert "cut short" in assert_refused(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.avi"])
def test_other_truncated_files_are_refused(name, tmp_path):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, ClipSpec(frames=100, codec=codec))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short" in assert_refused(path)


def test_playlists_are_refused(tmp_path):
    secret = write_clip(tmp_path / "secret.mp4", ClipSpec())
    for name, text in (
        ("list.mp4", f"ffconcat version 1.0\nfile {secret.name}\n"),
        ("list.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\n{secret.name}\n"),
    ):
        (tmp_path / name).write_text(text)
        assert_refused(tmp_path / name)


def test_file_names_are_not_patterns_or_urls(tmp_path):
    path = tmp_path / "100%d:odd name?.mp4"
    write_clip(tmp_path / "a.mp4", ClipSpec()).rename(path)
    assert numbers(path) == list(range(12))


def test_an_audio_file_has_no_video(tmp_path):
    path = write_sound(tmp_path / "a.wav", noise(0.2, 16000), 16000, "pcm_s16le")
    with pytest.raises(MediaUnreadable, match="only sound"):
        require_video(probe(path))
    with pytest.raises(MediaUnreadable, match="only sound"):
        read_video(probe(path))


def test_cover_art_is_not_video(tmp_path):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=16000)
        sound.codec_context.layout = "mono"
        art = container.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 64, 64, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic
        container.mux(art.encode(av.VideoFrame(64, 64, "yuvj420p")))
        frame = av.AudioFrame.from_ndarray(noise(0.5, 16000)[None], format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    info = probe(path)
    assert info.video is None
    assert require_audio(info).duration == Fraction(1, 2)


def test_a_silent_video_has_no_audio(tmp_path):
    info = probe(write_clip(tmp_path / "a.mp4", ClipSpec()))
    assert info.audio is None
    with pytest.raises(MediaUnreadable, match="no sound"):
        read_audio(info)


def test_an_empty_audio_stream_is_refused(tmp_path):
    path = tmp_path / "nil.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    with pytest.raises(MediaUnreadable, match="empty audio stream"):
        require_audio(probe(path))


def test_undecodable_audio_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.mka", noise(0.5, 16000), 16000, "flac")
    info = probe(path)
    data = bytearray(path.read_bytes())
    start = data.find(b"\x1f\x43\xb6\x75")  # the first cluster
    for position in range(start, len(data) - 1):
        if data[position : position + 2] == b"\xff\xf8":  # the sync code of a FLAC frame
            data[position : position + 2] = b"\0\0"
    path.write_bytes(data)
    with pytest.raises(MediaUnreadable, match="nothing in it can be decoded"):
        read_audio(info)


# --- audio -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_s16le"),
        ("a.flac", "flac"),
        ("a.mp3", "libmp3lame"),
        ("a.m4a", "aac"),
        ("a.mp4", "aac"),
        ("a.ogg", "libopus"),
        ("a.mka", "flac"),
        ("a.webm", "libopus"),
    ],
)
def test_encoder_delay_is_dropped(name, codec, rate, tmp_path):
    if codec == "libopus" and rate == 44100:
        pytest.skip("Opus has no 44.1 kHz")
    samples = noise(2.003, rate)
    info = probe(write_sound(tmp_path / name, samples, rate, codec))
    audio = require_audio(info)
    decoded = np.concatenate(
        list(iter_channels(info, rate=audio.sample_rate, layout="mono")), axis=1
    )[0]
    step = audio.sample_rate // rate
    assert abs(lag(decoded[::step], samples)) < 0.1
    exact = not name.endswith(("mka", "webm"))  # their timestamps are in milliseconds
    tolerance = 0 if exact else Fraction(2, 1000)
    assert abs(audio.duration - Fraction(len(samples), rate)) <= tolerance
    assert abs(len(decoded) - len(samples) * step) <= tolerance * audio.sample_rate


def test_audio_is_mixed_to_mono_and_resampled(tmp_path):
    samples = noise(1.0, 44100)
    path = write_sound(tmp_path / "a.wav", samples, 44100, "pcm_s16le", channels=2)
    decoded = read_audio(path, rate=16000)
    assert decoded.dtype == np.float32
    assert decoded.shape == (16000,)
    back = np.interp(np.arange(44100) / 44100, np.arange(16000) / 16000, decoded)
    assert np.corrcoef(back[100:-100], samples[100:-100])[0, 1] > 0.95
    chunks = list(iter_audio(path, rate=16000))
    assert len(chunks) > 1
    assert np.array_equal(np.concatenate(chunks), decoded)


def test_audio_aligns_with_the_first_video_frame(tmp_path):
    samples = noise(0.6, 16000)
    for start in (0, 3200):
        clip = ClipSpec(sound=samples, sound_start=start, frames=25, sound_codec="pcm_s16le")
        path = write_clip(tmp_path / f"{start}.mkv", clip)
        plain, aligned = read_audio(path), read_audio(path, align_to_video=True)
        assert abs(lag(plain, samples)) < 1
        assert abs(lag(aligned, samples) - start) < 20


def test_a_gap_in_the_audio_is_silence(tmp_path):
    samples = noise(0.5, 16000)
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000)
        stream.codec_context.layout = "mono"
        for begin in (0, 16000):
            frame = av.AudioFrame.from_ndarray(
                (samples[None] * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 16000, begin, Fraction(1, 16000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = read_audio(path)
    assert abs(len(decoded) - 24000) <= 16
    assert abs(lag(decoded[15000:], samples) - 1000) < 20
    assert not decoded[8100:15900].any()


def test_the_first_of_several_audio_streams_is_used(tmp_path):
    first, second = noise(0.5, 16000, 1), noise(0.5, 16000, 2)
    path = tmp_path / "two.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=16000, layout="mono") for _ in "ab"]
        for stream, samples in zip(streams, (first, second), strict=True):
            frame = av.AudioFrame.from_ndarray(
                (samples[None] * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    decoded = read_audio(path)[:7000]
    assert np.corrcoef(decoded, first[:7000])[0, 1] > 0.99


def test_missing_and_repeated_timestamps_are_replaced():
    video = replace(VIDEO, rate=Fraction(25), tick=Fraction(1, 1000))
    timestamps, frame = TimestampNormalizer(video), av.VideoFrame(16, 16, "yuv420p")
    pts_values = [None, None, None]
    times = []
    for pts in pts_values:
        frame.pts = pts
        times.append(timestamps.time(frame))
    assert times == [0, Fraction(1, 25), Fraction(2, 25)]
    timestamps = TimestampNormalizer(video)
    times = []
    for pts in (100, 140, 140, 120, 260):
        frame.pts = pts
        times.append(timestamps.time(frame) * 25)
    assert times == [0, 1, 2, 3, 4]


VIDEO = VideoInfo(
    width=16,
    height=16,
    rate=Fraction(25),
    variable_rate=False,
    duration=Fraction(1),
    frames=None,
    rotation=0,
    codec="h264",
    pix_fmt="yuv420p",
)


@pytest.mark.parametrize("device", [Device.AUTO, Device.CUDA])
@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("b_frames.mp4", ClipSpec(options={"bf": "3", "x264-params": "b-adapt=0:keyint=6"})),
        ("film.mov", ClipSpec(codec="prores_ks", pix_fmt="yuv422p10le")),  # no GPU decodes it
    ],
)
def test_hardware_decoding_does_not_change_the_samples(name, clip, device, tmp_path):
    info = probe(write_clip(tmp_path / name, clip))
    plain = [frame.picture for frame in read_video(info)]
    on_device = [
        frame.picture for frame in read_video(info, decode_options=DecodeOptions(device=device))
    ]
    assert len(on_device) == len(plain) == clip.frames
    for one, other in zip(plain, on_device, strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize(("depth", "planar", "device"), [(8, "yuv420p", "nv12"), (10, *DEEP)])
def test_semi_planar_frames_of_a_device_keep_every_sample(depth, planar, device, tmp_path):
    clip = ClipSpec(codec="ffv1", pix_fmt=planar)
    video = video_of(write_clip(tmp_path / "a.mkv", clip))
    assert video.bit_depth == depth
    kind = np.uint8 if depth == 8 else np.uint16
    codes = np.random.default_rng(0).integers(0, 1 << depth, (3 * clip.size[1] // 2, clip.size[0]))
    frame = av.VideoFrame.from_ndarray(codes.astype(kind), format=planar)
    from_planar, from_device = (
        FrameToPicture(video).convert(f) for f in (frame, frame.reformat(format=device))
    )
    for a, b in zip(from_planar.planes, from_device.planes, strict=True):
        assert np.array_equal(a, b)


def _write_part(path: Path, side: int, frames: int) -> bytes:
    with av.open(str(path), "w", format="mpegts") as container:
        options = {"preset": "ultrafast", "g": "1"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = side
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((side, side, 3), 9 * i, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_frames_that_grow_over_the_limit_are_refused(tmp_path):
    small = _write_part(tmp_path / "small.ts", 64, 5)
    path = tmp_path / "grow.ts"
    path.write_bytes(small + _write_part(tmp_path / "medium.ts", 128, 2))
    assert len(list(read_video(probe(path)))) == 7  # another size is scaled
    path.write_bytes(small + _write_part(tmp_path / "large.ts", 3200, 2))
    with pytest.raises(LimitExceeded, match=r"grow\.ts: its frames grow to 3200 x 3200"):
        list(read_video(probe(path)))
