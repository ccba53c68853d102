"""Open media files with FFmpeg, safely: local files only, errors in our own words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from lipwright.errors import MediaUnreadable, SourceUnreachable

# Real media only. Playlists and scripts (hls, dash, concat, ffmetadata, lavfi, image2 patterns)
# stay out: an uploaded text file could make FFmpeg read other files or reach the network.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,flv,live_flv,mpeg,mpegts,mpegvideo,asf,ogg,mxf,"
    "ivf,dv,y4m,yuv4mpegpipe,h264,hevc,m4v,nut,rm,wav,w64,mp3,flac,aac,ac3,eac3,dts,dtshd,truehd,"
    "amr,amrnb,amrwb,aiff,au,caf,ape,wv,tta,tak,voc,adts,opus,oga,ogv,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,apng"
)
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors about *path* into ours.

    Raises:
        SourceUnreachable: the file cannot be opened.
        MediaUnreadable: FFmpeg cannot make sense of it.
    """
    try:
        yield
    except (av.error.FileNotFoundError, av.error.PermissionError) as error:
        raise SourceUnreachable(f"{path} cannot be opened: {error.strerror}") from error
    except av.error.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise MediaUnreadable(
            f"{path} cannot be read as media ({reason}): it is damaged, incomplete or not a media "
            "file; get a fresh copy or re-encode it"
        ) from error


def open_input(path: Path, hwaccel: HWAccel | None = None) -> InputContainer:
    """Open *path* for reading, to be decoded by a device if one is given.

    Raises:
        SourceUnreachable: there is no such file, or it may not be read.
        MediaUnreadable: it is not media, or too damaged to open.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise SourceUnreachable(f"{path} {what}: check the path")
    if not path.stat().st_size:
        raise MediaUnreadable(f"{path} is empty (0 bytes): get a fresh copy")
    with translated(path):
        return av.open(
            f"file:{path.absolute()}",
            options=dict(OPTIONS),
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
