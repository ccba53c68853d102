"""Bad input gives one clear error and its exit code, and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import tiny_media
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe, require_video
from lipwright.sample import make_sample
from outcome import Run


@dataclass(frozen=True)
class Case:
    """A command that must be refused."""

    name: str
    arguments: Callable[[Path], list[object]]  #: given a folder with talk.mp4 and speech.wav
    code: str
    exit_code: int
    message: tuple[str, ...]  #: parts of the message: the file, and a remedy


def _with_video(make: Callable[[Path], Path]) -> Callable[[Path], list[object]]:
    return lambda folder: [make(folder), folder / "speech.wav", "-o", folder / "out.mp4"]


def _with_audio(make: Callable[[Path], Path]) -> Callable[[Path], list[object]]:
    return lambda folder: [folder / "talk.mp4", make(folder), "-o", folder / "out.mp4"]


def _with_output(out: str, *more: str) -> Callable[[Path], list[object]]:
    return lambda folder: [folder / "talk.mp4", folder / "speech.wav", "-o", folder / out, *more]


def _text(folder: Path) -> Path:
    (folder / "notes.mp4").write_text("no video at all\n" * 100)
    return folder / "notes.mp4"


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def _truncated(folder: Path) -> Path:
    return tiny_media.truncate(tiny_media.write_video(folder / "cut.mp4"), 0.6)


def _cut_download(folder: Path) -> Path:
    whole = tiny_media.write_video(folder / "cut.mp4", frames=50, moov_first=True)
    return tiny_media.truncate(whole, 0.6)


def _huge(folder: Path) -> Path:
    return tiny_media.write_video(folder / "huge.mp4", size=(7680, 4320), frames=1)


UNREADABLE = ("media_unreadable", 3)
UNWRITABLE = ("output_unwritable", 6)
LIMIT = ("limit_exceeded", 3)
OPTIONS = ("invalid_options", 2)
CASES = [
    Case(
        "no such video",
        _with_video(lambda f: f / "gone.mp4"),
        "source_unreachable",
        3,
        ("gone.mp4",),
    ),
    Case(
        "no such audio",
        _with_audio(lambda f: f / "gone.wav"),
        "source_unreachable",
        3,
        ("gone.wav",),
    ),
    Case("a folder", _with_video(lambda f: f), "source_unreachable", 3, ("file",)),
    Case("text as video", _with_video(_text), *UNREADABLE, ("notes.mp4", "plain text")),
    Case("text as audio", _with_audio(_text), *UNREADABLE, ("notes.mp4", "plain text")),
    Case("an empty file", _with_video(_empty), *UNREADABLE, ("empty.mp4",)),
    Case("truncated mp4", _with_video(_truncated), *UNREADABLE, ("cut.mp4",)),
    Case("half a download", _with_video(_cut_download), *UNREADABLE, ("cut.mp4", "again")),
    Case(
        "no picture stream", _with_video(lambda f: f / "speech.wav"), *UNREADABLE, ("speech.wav",)
    ),
    Case(
        "zero-length audio",
        _with_audio(lambda f: tiny_media.write_wav(f / "nil.wav", 0)),
        *UNREADABLE,
        ("nil.wav", "recording"),
    ),
    Case(
        "only cover art",
        _with_audio(lambda f: tiny_media.write_cover_art(f / "art.m4a")),
        *UNREADABLE,
        ("art.m4a",),
    ),
    Case(
        "video without sound as audio",
        _with_audio(lambda f: tiny_media.write_video(f / "mute.mp4")),
        *UNREADABLE,
        ("mute.mp4", "sound"),
    ),
    Case(
        "no face",
        _with_video(lambda f: tiny_media.write_video(f / "wall.mp4")),
        "no_face_found",
        4,
        ("wall.mp4", "--allow-no-face"),
    ),
    Case("missing folder", _with_output("gone/out.mp4"), *UNWRITABLE, ("gone", "create")),
    Case("a file as folder", _with_output("speech.wav/out.mp4"), *UNWRITABLE, ("speech.wav",)),
    Case("a folder as output", _with_output("."), *OPTIONS, (".mp4",)),
    Case("unknown container", _with_output("out.xyz"), *OPTIONS, (".xyz", ".mp4")),
    Case("8K frame", _with_video(_huge), *LIMIT, ("7680", "max_pixels")),
    Case(
        "3-hour audio",
        _with_audio(lambda f: tiny_media.write_silent_hours(f / "long.flac", 3)),
        *LIMIT,
        ("long.flac", "10800", "max_seconds"),
    ),
    Case(
        "unknown mode",
        _with_output("out.mp4", "--mode", "stretch"),
        *OPTIONS,
        ("stretch", "cut_off"),
    ),
    Case(
        "unknown engine", _with_output("out.mp4", "--engine", "x"), "engine_not_found", 5, ("'x'",)
    ),
    Case("speaker as words", _with_output("out.mp4", "--speaker", "left"), *OPTIONS, ("x,y",)),
    Case("crf out of range", _with_output("out.mp4", "--crf", "99"), *OPTIONS, ("51",)),
]


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gives_one_error_and_writes_nothing(
    case: Case, run: Run, tmp_path: Path, talk: Path, speech: Path
):
    arguments = case.arguments(tmp_path)
    before = _contents(tmp_path)
    outcome = run("sync", *arguments)
    lines = outcome.err.splitlines()
    assert (outcome.status, outcome.out) == (case.exit_code, "")
    assert lines[-1].startswith("error: ")
    assert sum(not line.startswith(("track:", "hear:")) for line in lines) == 1
    assert all(part in outcome.err for part in case.message)
    as_json = run("sync", *arguments, "--json")
    assert (as_json.status, as_json.err) == (case.exit_code, "")
    assert set(as_json.json) == {"error"}
    assert as_json.json["error"]["code"] == case.code
    assert " ".join(as_json.json["error"]["message"].split()) in outcome.err
    assert _contents(tmp_path) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_an_unwritable_file_system_is_refused(run: Run, talk: Path, speech: Path):
    outcome = run("sync", talk, speech, "-o", "/proc/out.mp4", "--json")
    assert outcome.status == 6
    assert outcome.json["error"]["code"] == "output_unwritable"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root can write to any folder")
def test_a_read_only_folder_is_refused(run: Run, talk: Path, speech: Path, tmp_path: Path):
    read_only = tmp_path / "read_only"
    read_only.mkdir(mode=0o500)
    assert run("sync", talk, speech, "-o", read_only / "out.mp4").status == 6


# Limits files to 4 KiB, like a full disk: from the start, which affects temporary files, or from
# the first picture on, which affects only the output.
FULL_DISK = """
import resource, sys
from lipwright.cli import main
from lipwright.media.encode.mux import VideoWriter

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

def write(self, picture, plain=VideoWriter.write):
    fill()
    return plain(self, picture)

VideoWriter.write = write
if sys.argv.pop(1) == "TMPDIR":
    fill()
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limit")
@pytest.mark.parametrize("place", ["TMPDIR", "out.mp4"])
def test_a_full_disk_ends_the_job_and_keeps_the_older_file(
    place: str, tmp_path: Path, talk: Path, speech: Path
):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    before = _contents(tmp_path)
    arguments = ["sync", talk, speech, "-o", out, "--json", "--crf", "1"]
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, place, *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 6, process.stderr
    assert '"storage_full"' in process.stdout
    assert place in process.stdout
    assert process.stderr == ""
    assert _contents(tmp_path) == before


def test_a_clip_without_a_face_is_unchanged_if_allowed(
    run: Run, faceless: Path, speech: Path, tmp_path: Path
):
    output = ("-o", tmp_path / "out.mp4", "--mode", "silence", "--allow-no-face")
    outcome = run("sync", faceless, speech, *output, "--json")
    assert outcome.status == 0
    assert outcome.json["frames"] == 15  # 0.6 s at 25 fps, the last frame held
    assert outcome.json["face_frames"] == 0
    assert any("no face" in text for text in outcome.json["warnings"])
    assert sum(1 for _ in read_video(probe(tmp_path / "out.mp4"))) == 15


def test_a_video_of_one_frame_can_be_dubbed(run: Run, speech: Path, tmp_path: Path):
    still = make_sample(tmp_path / "still.mp4", seconds=0.04, size=(192, 192)).path
    assert require_video(probe(still)).duration * 25 == 1
    outcome = run("sync", still, speech, "-o", tmp_path / "out.mp4", "--mode", "loop", "--json")
    assert outcome.status == 0, outcome
    assert (outcome.json["frames"], outcome.json["face_frames"]) == (15, 15)


@pytest.mark.parametrize("size", [(191, 192), (192, 191), (191, 191)])
def test_odd_sizes_are_kept(size: tuple[int, int], run: Run, speech: Path, tmp_path: Path):
    source = make_sample(tmp_path / "odd.mkv", seconds=0.2, size=size).path
    outcome = run("sync", source, speech, "-o", tmp_path / "out.mp4", "--json")
    assert outcome.status == 0, outcome
    video = require_video(probe(tmp_path / "out.mp4"))
    assert (video.width, video.height) == size
    assert next(read_video(probe(tmp_path / "out.mp4"))).picture.rgb().shape[:2] == size[::-1]
