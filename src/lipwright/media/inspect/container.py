"""Open local media files with FFmpeg, restricted to safe formats; translate its errors."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from lipwright.errors import MediaUnreadable, SourceUnreachable
from lipwright.media.inspect.file_kind import HEAD_BYTES, describe_file

# Media formats only. Playlists and scripts (hls, dash, concat, ffmetadata, lavfi, image2 patterns)
# are excluded: an uploaded text file could make FFmpeg read other files or access the network.
ALLOWED_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,flv,live_flv,mpeg,mpegts,mpegvideo,asf,ogg,mxf,"
    "ivf,dv,y4m,yuv4mpegpipe,h264,hevc,m4v,nut,rm,wav,w64,mp3,flac,aac,ac3,eac3,dts,dtshd,truehd,"
    "amr,amrnb,amrwb,aiff,au,caf,ape,wv,tta,tak,voc,adts,opus,oga,ogv,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,apng"
)
UNFINISHED = {".part", ".partial", ".crdownload", ".download"}  # suffixes of browsers
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ALLOWED_FORMATS}


def require_file(path: Path) -> None:
    """Refuse what is no file with contents.

    Raises:
        SourceUnreachable: It does not exist, or is a folder, a pipe, a device or a socket.
        MediaUnreadable: It is empty.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = (
            "does not exist"
            if isinstance(error, FileNotFoundError | ValueError)
            else (f"cannot be opened ({error.strerror})")
        )
        raise SourceUnreachable(f"{path} {reason}: check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "device")
        raise SourceUnreachable(f"{path} is a {kind}, not a file: check the path")
    if not status.st_size:
        raise MediaUnreadable(f"{path} is empty (0 bytes): get a fresh copy")


def refuse_other_kinds(path: Path, cause: Exception | None = None) -> None:
    """Say what a file is that is not media.

    Raises:
        MediaUnreadable: It is something else, such as a web page.
    """
    try:
        with path.open("rb") as file:
            found = describe_file(file.read(HEAD_BYTES))
    except OSError:
        return  # the next caller that opens it reports the error
    if path.suffix.lower() in UNFINISHED:
        found = "an unfinished download", "wait until it is complete, or download it again"
    if found is not None:
        kind, advice = found
        raise MediaUnreadable(f"{path} is {kind}, not a video or a recording: {advice}") from cause


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise FFmpeg's errors about *path* as `LipwrightError`.

    Raises:
        SourceUnreachable: The file cannot be opened.
        MediaUnreadable: FFmpeg cannot read the file.
    """
    try:
        yield
    except (av.error.FileNotFoundError, av.error.PermissionError) as error:
        raise SourceUnreachable(f"{path} cannot be opened: {error.strerror}") from error
    except av.error.FFmpegError as error:
        refuse_other_kinds(path, error)
        reason = (error.strerror or str(error)).lower()
        raise MediaUnreadable(
            f"{path} cannot be read as media ({reason}): it is damaged, incomplete or not a media "
            "file; get a fresh copy or re-encode it"
        ) from error


def open_input(path: Path, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open *path* for reading, with hardware decoding if *hwaccel* is given.

    Raises:
        SourceUnreachable: The file does not exist or cannot be opened.
        MediaUnreadable: The file is not media, or too damaged to open.
    """
    require_file(path)
    with translate_errors(path):
        return av.open(
            f"file:{path.absolute()}",
            options=dict(OPEN_OPTIONS),
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
