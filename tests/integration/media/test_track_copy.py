"""What a result keeps of its source besides picture and speech, in every container."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest

from lipwright.errors import InvalidOptions
from lipwright.media.decode.video import read_video
from lipwright.media.encode.mux import VideoWriter
from lipwright.media.encode.video import write_segment
from lipwright.media.probe import probe
from lipwright.media.timeline import plan_timeline
from lipwright.options import SyncMode, SyncOptions
from lipwright.pipeline.kept_tracks import container_warnings, plan_copies

RATE, FRAMES = Fraction(25), 25
DISPOSITION = av.stream.Disposition
HELLO = {"mov_text": b"\0\x05hello", "ass": b"0,0,Default,,0,0,0,,{\\i1}hello{\\i0}"}
LOCATION = {
    ".mov": "com.apple.quicktime.location.ISO6709",
    ".mp4": "location",
    ".mkv": "LOCATION",
}


def write_source(
    path: Path,
    *,
    videos=1,
    default_video=0,
    audio=("aac",),
    default_audio=0,
    subtitle="",
    timecode="",
    cover=False,
    attachment=False,
    chapters=False,
    tags=None,
) -> Path:
    """Write a second of grey video with tracks of each kind."""
    listed = path.suffix in (".mp4", ".mov") and not cover  # a list of keys excludes cover art
    options = {"movflags": "+use_metadata_tags"} if listed else {}
    with av.open(str(path), "w", container_options=options) as out:
        out.metadata.update(tags or {})
        video_streams = []
        for number in range(videos):
            stream = out.add_stream("libx264", rate=RATE, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = 64 + 16 * number, 64, "yuv420p"
            if videos > 1:
                stream.disposition = DISPOSITION.default * (number == default_video)
            if timecode:
                stream.metadata["timecode"] = timecode
            video_streams.append(stream)
        sounds = []
        for number, codec in enumerate(audio):
            stream = out.add_stream(codec, rate=48000, layout="mono")
            stream.metadata["language"] = ("eng", "fra", "deu")[number]
            stream.disposition = DISPOSITION.default * (number == default_audio)
            sounds.append(stream)
        text = None
        if subtitle:
            text = out.add_mux_stream(subtitle)
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
        art = _add_cover(out, path) if cover else None
        if attachment:
            out.add_attachment("a.ttf", "font/ttf", b"font" * 10)
        if chapters:
            base = Fraction(1, 1000)
            bounds = (("One", 0, 600), ("Two", 600, 1000))
            out.set_chapters(
                [
                    {"id": i, "start": a, "end": b, "time_base": base, "metadata": {"title": t}}
                    for i, (t, a, b) in enumerate(bounds)
                ]
            )
        if art is not None:
            out.mux(art)
        for k in range(FRAMES):
            for stream in video_streams:
                frame = av.VideoFrame.from_ndarray(np.full((64, stream.width, 3), 90 + k, np.uint8))
                frame.pts, frame.time_base = k, 1 / RATE
                out.mux(stream.encode(frame))
            if text is not None and k == 5:
                out.mux(_packet(text, HELLO.get(subtitle, b"hello"), 200))
        for stream in video_streams:
            out.mux(stream.encode(None))
        for number, stream in enumerate(sounds):
            for start in range(0, 48000, 960):
                block = np.full((1, 960), 0.1 * (number + 1), np.float32)
                sound = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                sound.sample_rate, sound.pts = 48000, start
                if stream.codec_context.name != "aac":
                    sound = av.AudioFrame.from_ndarray(
                        (block * 32767).astype(np.int16), format="s16", layout="mono"
                    )
                    sound.sample_rate, sound.pts = 48000, start
                out.mux(stream.encode(sound))
            out.mux(stream.encode(None))
    return path


def _packet(stream, data: bytes, start: int) -> av.Packet:
    packet = av.Packet(data)
    packet.stream, packet.time_base = stream, Fraction(1, 1000)
    packet.pts = packet.dts = start
    packet.duration = 300
    return packet


def _add_cover(out, path: Path) -> av.Packet | None:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width = encoder.height = 32
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)).reformat(format="yuvj420p")
    frame.pts = 0
    picture = bytes([*encoder.encode(frame), *encoder.encode(None)][0])
    if path.suffix == ".mkv":
        out.add_attachment("cover.jpg", "image/jpeg", picture)
        return None
    stream = out.add_mux_stream("mjpeg", width=32, height=32)
    stream.disposition = DISPOSITION.attached_pic
    return _packet(stream, picture, 0)


def write_speech(path: Path, seconds=0.8, language="") -> Path:
    """Write a quiet recording."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        if language:
            stream.metadata["language"] = language
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, round(48000 * seconds)), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def dub(source: Path, speech: Path, out: Path, **options):
    """Write the frames of *source* with *speech*; return the open result and the warnings."""
    chosen = SyncOptions(**options)
    video = probe(source, video_track=chosen.video_track)
    sound = probe(speech, audio_track=chosen.audio_track)
    timeline = plan_timeline(
        chosen.mode, video=video.video.duration, audio=sound.audio.duration, rate=RATE
    )
    pictures = [frame.picture for frame in read_video(video)]
    with VideoWriter(
        out,
        like=video.video,
        timeline=timeline,
        audio=sound,
        metadata={} if chosen.strip_metadata else video.metadata,
        copies=plan_copies(video, sound, timeline, chosen, out),
        threads=1,
    ) as writer:
        for k in range(timeline.frames):
            writer.write(pictures[min(k, len(pictures) - 1)])
    return av.open(str(out)), list(container_warnings(video, timeline, chosen, out))


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return write_speech(tmp_path_factory.mktemp("speech") / "speech.m4a", language="deu")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_further_audio_is_copied_packet_for_packet(tmp_path, speech, suffix):
    source = write_source(tmp_path / f"in{suffix}", audio=("aac", "aac"))
    result, warnings = dub(source, speech, tmp_path / f"out{suffix}")
    with result, av.open(str(source)) as original:
        assert len(result.streams.audio) == 2
        music = result.streams.audio[1]
        assert (music.language, music.disposition & DISPOSITION.default) == ("fra", 0)
        assert result.streams.audio[0].disposition & DISPOSITION.default
        kept = [bytes(p) for p in result.demux(music) if p.size]
        before = [bytes(p) for p in original.demux(original.streams.audio[1]) if p.size]
        assert len(kept) > 30
        assert "".join(map(repr, kept)) in "".join(map(repr, before))
    assert warnings == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_video_starts_at_zero_beside_copied_audio(tmp_path, speech, suffix):
    source = write_source(tmp_path / "in.mp4", audio=("aac", "aac"))
    dub(source, speech, tmp_path / f"out{suffix}")[0].close()
    info = probe(tmp_path / f"out{suffix}")
    assert info.video.start == 0
    assert abs(info.audio.start) <= Fraction(1, 1000)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_replaced_voice_is_kept_on_request_only(tmp_path, speech, suffix):
    source = write_source(tmp_path / "in.mp4")
    without, _ = dub(source, speech, tmp_path / f"a{suffix}")
    kept, _ = dub(source, speech, tmp_path / f"b{suffix}", keep_audio=True)
    with without, kept:
        assert [s.language for s in without.streams.audio] == ["deu"]
        assert [s.language for s in kept.streams.audio] == ["deu", "eng"]


def test_audio_that_the_container_cannot_hold_is_warned_of(tmp_path, speech):
    source = write_source(tmp_path / "in.mkv", audio=("aac", "flac"))
    result, warnings = dub(source, speech, tmp_path / "out.webm")
    with result:
        assert len(result.streams.audio) == 1
    assert warnings == [
        "1 further audio track (flac) is not kept: .webm cannot hold it; write .mkv"
    ]


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("mov_text", "in.mp4"),
        ("mov_text", "in.mov"),
        ("subrip", "in.mkv"),
        ("webvtt", "in.mkv"),
        ("ass", "in.mkv"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_text_subtitles_are_kept_in_every_container(tmp_path, speech, codec, name, suffix):
    source = write_source(tmp_path / name, subtitle=codec, audio=())
    result, warnings = dub(source, speech, tmp_path / f"out{suffix}")
    with result:
        text = result.streams.subtitles[0]
        shown = [p for p in result.demux(text) if b"hello" in bytes(p)]
        assert [float(p.pts * p.time_base) for p in shown] == [0.2]
        assert text.language in ("fra", "fre")
    assert warnings == []


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_chapters_are_cut_to_the_result(tmp_path, speech, suffix):
    source = write_source(tmp_path / "in.mkv", chapters=True)
    result, warnings = dub(source, speech, tmp_path / f"out{suffix}")
    with result:
        found = [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), c["end"] * c["time_base"])
            for c in result.chapters()
        ]
    end = round(probe(speech).audio.duration, 3)
    assert found == [("One", 0.0, Fraction(3, 5)), ("Two", 0.6, end)]
    assert end < 1
    assert warnings == []


@pytest.mark.parametrize("mode", [SyncMode.LOOP, SyncMode.BOUNCE, SyncMode.REMAP])
def test_what_follows_time_is_dropped_with_a_warning_when_time_changes(tmp_path, mode):
    long = write_speech(tmp_path / "speech.m4a", seconds=1.5)
    source = write_source(
        tmp_path / "in.mkv", chapters=True, subtitle="subrip", audio=("aac", "aac")
    )
    result, warnings = dub(source, long, tmp_path / "out.mkv", mode=mode)
    with result:
        assert [s.type for s in result.streams] == ["video", "audio"]
        assert not result.chapters()
    assert warnings == [
        "1 further audio track and 1 subtitle track and 2 chapters are not kept: with mode "
        f"{mode} the result does not follow the time of the video"
    ]


@pytest.mark.parametrize("source_suffix", [".mov", ".mp4", ".mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_timecode_and_place_are_kept(tmp_path, speech, source_suffix, suffix):
    tags = {LOCATION[source_suffix]: "+48.1000+011.5000/", "director": "D"}
    source = write_source(tmp_path / f"in{source_suffix}", timecode="01:02:03:04", tags=tags)
    dub(source, speech, tmp_path / f"out{suffix}")[0].close()
    kept = probe(tmp_path / f"out{suffix}")
    assert kept.timecode == "01:02:03:04"
    assert "+48.1000+011.5000/" in kept.metadata.values()
    assert "D" in kept.metadata.values()


def test_timecode_that_does_not_fit_the_rate_is_warned_of(tmp_path, speech):
    source = write_source(tmp_path / "in.mkv", timecode="01:00:00:29")
    _, warnings = dub(source, speech, tmp_path / "out.mp4")
    assert warnings == [
        "the timecode 01:00:00:29 is not kept: it does not fit 25 frames per second"
    ]
    assert probe(tmp_path / "out.mp4").timecode is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_cover_pictures_are_kept(tmp_path, speech, name, suffix):
    source = write_source(tmp_path / name, cover=True)
    _, warnings = dub(source, speech, tmp_path / f"out{suffix}")
    kept = probe(tmp_path / f"out{suffix}")
    assert [t.kind for t in kept.tracks if t.kind != "audio"] == ["video", "cover"]
    assert warnings == []


@pytest.mark.parametrize(("suffix", "tags"), [(".mov", {}), (".mp4", {"a.b": "listed"})])
def test_cover_pictures_that_cannot_be_held_are_warned_of(tmp_path, speech, suffix, tags):
    source = write_source(tmp_path / "in.mkv", cover=True, tags=tags)
    _, warnings = dub(source, speech, tmp_path / f"out{suffix}")
    assert warnings == [f"1 cover picture (mjpeg) is not kept: {suffix} cannot hold it; write .mkv"]
    assert "cover" not in [t.kind for t in probe(tmp_path / f"out{suffix}").tracks]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_joined_segments_keep_timecode_and_tracks(tmp_path, speech, suffix):
    source = probe(write_source(tmp_path / "in.mkv", timecode="01:02:03:04", audio=("aac", "aac")))
    pictures = [frame.picture for frame in read_video(source)][:20]
    timeline = plan_timeline(
        SyncMode.CUT_OFF, video=Fraction(4, 5), audio=Fraction(4, 5), rate=RATE
    )
    sound, out = probe(speech), tmp_path / f"out{suffix}"
    copies = plan_copies(source, sound, timeline, SyncOptions(), out)
    with VideoWriter(
        out, like=source.video, timeline=timeline, audio=sound, copies=copies
    ) as writer:
        segments = [BytesIO(), BytesIO()]
        for segment, part in zip(segments, (pictures[:10], pictures[10:]), strict=True):
            list(write_segment(segment, writer.spec, iter(part), 1))
        writer.concatenate(segments)
    kept = probe(out)
    assert kept.timecode == "01:02:03:04"
    assert [track.kind for track in kept.tracks] == ["video", "audio", "audio"]


def test_attachments_are_kept_in_matroska_and_warned_of_elsewhere(tmp_path, speech):
    source = write_source(tmp_path / "in.mkv", attachment=True)
    result, warnings = dub(source, speech, tmp_path / "out.mkv")
    with result:
        assert [s.data for s in result.streams if s.type == "attachment"] == [b"font" * 10]
    assert warnings == []
    _, warnings = dub(source, speech, tmp_path / "out.mp4")
    assert len(warnings) == 1
    assert "1 attachment" in warnings[0]
    assert warnings[0].endswith("is not kept: .mp4 cannot hold it; write .mkv")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_stripped_results_hold_nothing_of_the_sources_tags(tmp_path, speech, suffix):
    tags = {LOCATION[suffix]: "+48.1000+011.5000/", "title": "Secret", "artist": "Secret"}
    tags["creation_time"] = "2020-01-02T03:04:05.000000Z"
    source = write_source(
        tmp_path / f"in{suffix}",
        timecode="01:02:03:04",
        chapters=True,
        cover=True,
        audio=("aac", "aac"),
        tags=tags,
    )
    out = tmp_path / f"out{suffix}"
    dub(source, speech, out, strip_metadata=True)[0].close()
    data = out.read_bytes()
    assert not [
        word for word in (b"Secret", b"+48.1", b"01:02:03", b"One", b"2020") if word in data
    ]
    kept = probe(out)
    assert (kept.timecode, kept.chapters) == (None, ())
    assert [t.kind for t in kept.tracks] == ["video", "audio", "audio"]


def test_default_video_track_is_used_and_others_are_named(tmp_path, speech):
    source = write_source(tmp_path / "in.mkv", videos=2, default_video=1)
    assert probe(source).video.width == 80
    assert probe(source, video_track=1).video.width == 64
    with pytest.raises(InvalidOptions, match="has 2 video tracks, not 3: use video_track 1 to 2"):
        probe(source, video_track=3)
    _, warnings = dub(source, speech, tmp_path / "out.mp4")
    assert warnings == [
        "the video has 2 video tracks: track 2 was used and the others are not kept; choose with "
        "video_track"
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_default_audio_track_is_used(tmp_path, suffix):
    source = write_source(tmp_path / f"in{suffix}", audio=("aac", "aac"), default_audio=1)
    languages = {track.index: track.language for track in probe(source).tracks}
    assert languages[probe(source).audio.stream] == "fra"
    assert languages[probe(source, audio_track=1).audio.stream] == "eng"


def test_chapters_and_tracks_move_with_a_video_that_begins_late(tmp_path, speech):
    source = probe(write_source(tmp_path / "in.mkv", chapters=True))
    timeline = plan_timeline(
        SyncMode.CUT_OFF, video=source.video.duration, audio=Fraction(9, 10), rate=RATE
    )
    late = replace(timeline, offset=Fraction(1, 5))
    copies = plan_copies(source, probe(speech), late, SyncOptions(), tmp_path / "out.mkv")
    assert copies.start == source.video.start - Fraction(1, 5)
    assert copies.chapters[1].start == Fraction(4, 5)
