"""Inputs and outputs that are no plain files: pipes, the standard input, URLs, links."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from lipwright.errors import (
    Cancelled,
    InvalidOptions,
    LimitExceeded,
    MediaUnreadable,
    OutputUnwritable,
    SourceUnreachable,
)
from lipwright.media.encode.mux import check_writable
from lipwright.media.probe import probe
from lipwright.pipeline import inputs
from lipwright.pipeline.inputs import local_inputs, with_local_inputs
from lipwright.progress import CancelToken
from lipwright.runtime.atomic_file import atomic_file


def feed(path: Path, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=path.write_bytes, args=(data,))
    thread.start()
    return thread


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_pipes_are_saved_and_removed(tmp_path):
    pipe = make_pipe(tmp_path / "pipe")
    writer = feed(pipe, b"data" * 100_000)
    with local_inputs(pipe, tmp_path / "file.wav") as (saved, other):
        assert saved.read_bytes() == b"data" * 100_000
        assert other == tmp_path / "file.wav"
    writer.join()
    assert not saved.exists()


def test_standard_input_is_read_once(tmp_path, monkeypatch):
    read_end, write_end = os.pipe()
    os.write(write_end, b"speech")
    os.close(write_end)
    stdin = os.dup(0)
    os.dup2(read_end, 0)
    try:
        with local_inputs("file.mp4", "-") as (_, saved):
            assert saved.read_bytes() == b"speech"
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
        os.close(read_end)
    with pytest.raises(InvalidOptions, match="only one input"), local_inputs("-", "-"):
        pass


def test_empty_and_endless_pipes_are_refused(tmp_path, monkeypatch):
    pipe = make_pipe(tmp_path / "pipe")
    writer = feed(pipe, b"")
    with pytest.raises(MediaUnreadable, match="sends nothing"), local_inputs(pipe):
        pass
    writer.join()
    monkeypatch.setattr(inputs, "MAX_PIPE_BYTES", 1000)
    writer = feed(pipe, b"x" * 2000)
    with pytest.raises(LimitExceeded, match="save it to a file"), local_inputs(pipe):
        pass
    writer.join()


def test_waiting_for_a_pipe_ends_when_the_job_is_cancelled(tmp_path):
    cancel = CancelToken()
    threading.Timer(0.1, cancel.cancel).start()
    with pytest.raises(Cancelled), local_inputs(make_pipe(tmp_path / "p"), cancel=cancel):
        pass


def test_errors_name_what_the_caller_gave(tmp_path):
    pipe = make_pipe(tmp_path / "pipe")
    writer = feed(pipe, b"<html></html>")
    with (
        pytest.raises(MediaUnreadable, match=f"^{pipe} is a web page"),
        local_inputs(pipe) as (saved,),
    ):
        probe(saved)
    writer.join()


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("https://127.0.0.1/a.mp4", SourceUnreachable, "add it to LIPWRIGHT_FETCH_ALLOW"),
        ("https://10.0.0.1/a.mp4", SourceUnreachable, "not a public address"),
        ("http://example.com/a.mp4", InvalidOptions, "https://"),
        ("ftp://example.com/a.mp4", InvalidOptions, "https://"),
    ],
)
def test_urls_pass_the_guard_of_the_service(url, error, words, kind):
    with pytest.raises(error, match=words), local_inputs(kind(url)):
        pass


def test_jobs_get_local_files(tmp_path):
    pipe = make_pipe(tmp_path / "pipe")

    @with_local_inputs
    def job(video: str | Path, audio: str | Path, *, cancel: CancelToken | None = None) -> bytes:
        return Path(video).read_bytes() + str(audio).encode()

    writer = feed(pipe, b"video")
    assert job(pipe, audio="a.wav") == b"videoa.wav"
    writer.join()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (make_pipe, "a pipe"),
        (make_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_is_no_file_is_named(tmp_path, make, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path("x"))
    with pytest.raises(SourceUnreachable, match=f"is {kind}, not a file"):
        probe("x")


@pytest.mark.parametrize("name", ["clip.part", "clip.mp4.crdownload"])
def test_unfinished_downloads_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypisom" + bytes(5000))
    with pytest.raises(MediaUnreadable, match="an unfinished download"):
        probe(tmp_path / name)


@pytest.mark.parametrize("format_", [b"encv", b"drms", b"enca"])
def test_protected_files_are_named(tmp_path, format_):
    def box(kind: bytes, *parts: bytes) -> bytes:
        data = b"".join(parts)
        return struct.pack(">I4s", 8 + len(data), kind) + data

    entry = struct.pack(">II", 0, 1) + box(format_, bytes(70))
    table = box(b"stbl", box(b"stsd", entry))
    movie = box(b"moov", box(b"trak", box(b"mdia", box(b"minf", table))))
    (tmp_path / "a.mp4").write_bytes(box(b"ftyp", b"M4V \0\0\0\0") + movie)
    with pytest.raises(MediaUnreadable, match="protected against copying"):
        probe(tmp_path / "a.mp4")


def write_through(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"new")


def test_links_stay_and_their_target_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "result.mp4"
    (tmp_path / "second").symlink_to("disk/result.mp4")
    (tmp_path / "first.mp4").symlink_to("second")
    for _ in range(2):  # the link dangles at first
        write_through(tmp_path / "first.mp4")
        assert target.read_bytes() == b"new"
        assert (tmp_path / "first.mp4").is_symlink()
        assert (tmp_path / "second").is_symlink()
        assert sorted(p.name for p in target.parent.iterdir()) == ["result.mp4"]
    assert check_writable(tmp_path / "first.mp4") == tmp_path / "first.mp4"


def test_outputs_that_are_no_files_are_refused(tmp_path):
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "dangling.mp4").symlink_to("missing/x.mp4")
    make_pipe(tmp_path / "pipe.mp4")
    for name, words in (
        ("loop.mp4", "leads back to itself"),
        ("dangling.mp4", "missing is not a folder"),
        ("pipe.mp4", "a pipe or a device"),
    ):
        with pytest.raises(OutputUnwritable, match=words):
            check_writable(tmp_path / name)
    with pytest.raises(OutputUnwritable, match="standard output"):
        check_writable("-")
