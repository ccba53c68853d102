"""Open local media files with FFmpeg, restricted to safe formats; translate its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from lipwright.errors import MediaUnreadable, SourceUnreachable

# Media formats only. Playlists and scripts (hls, dash, concat, ffmetadata, lavfi, image2 patterns)
# are excluded: an uploaded text file could make FFmpeg read other files or access the network.
ALLOWED_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,flv,live_flv,mpeg,mpegts,mpegvideo,asf,ogg,mxf,"
    "ivf,dv,y4m,yuv4mpegpipe,h264,hevc,m4v,nut,rm,wav,w64,mp3,flac,aac,ac3,eac3,dts,dtshd,truehd,"
    "amr,amrnb,amrwb,aiff,au,caf,ape,wv,tta,tak,voc,adts,opus,oga,ogv,"
    "png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,apng"
)
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ALLOWED_FORMATS}


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
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise SourceUnreachable(f"{path} {problem}: check the path")
    if not path.stat().st_size:
        raise MediaUnreadable(f"{path} is empty (0 bytes): get a fresh copy")
    with translate_errors(path):
        return av.open(
            f"file:{path.absolute()}",
            options=dict(OPEN_OPTIONS),
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
