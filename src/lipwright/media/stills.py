"""Still pictures as sources: told by their first bytes, measured before they are decoded.

JPEG, PNG, WebP and BMP are decoded by OpenCV, which turns them upright as their EXIF says.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.errors import LimitExceeded, MediaUnreadable
from lipwright.media.picture import Picture
from lipwright.types import Rgb

HEAD_BYTES = 256  # tell the kind, and of all but JPEG the size
MAX_BYTES = 256 << 20  # of a file
MAX_PIXELS = 1 << 27  # of a picture that is decoded at all: three bytes each
LONG_SIDE, SHORT_SIDE = 3840, 2160  # what is larger is scaled down: players take no more
PAPER = 255  # what shows through where a picture is transparent
BMP_CORE = 12  # bytes of the oldest header, with sizes of 16 bit
JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers SOF0 to SOF15
JPEG_END = b"\xff\xd9"
JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
OTHERS = {
    b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF",
    b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Still:
    """A still picture, decoded."""

    picture: Picture  #: upright, with even sides, scaled down to fit if need be
    size: tuple[int, int]  #: width and height in the file, upright


def kind_of(head: bytes) -> str | None:
    """Return ``jpeg``, ``png``, ``webp`` or ``bmp`` for a still picture, None for anything else.

    Args:
        head: the first :data:`HEAD_BYTES` bytes of a file.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" not in head:  # that one moves
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and head[10:14] != b"\0\0\0\0":
        return "bmp"
    return None


def kind_of_file(path: Path) -> str | None:
    """Return the kind of a file as :func:`kind_of` does; None also where it cannot be opened.

    Raises:
        MediaUnreadable: it is a still picture of a kind that is not read here.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None  # whoever opens it next says why
    if head[4:8] == b"ftyp" and (other := OTHERS.get(head[8:12])):
        raise MediaUnreadable(f"{path} is a {other} picture: convert it to JPEG or PNG first")
    return kind_of(head)


def read_still(path: Path) -> Still:
    """Decode a still picture.

    Transparent parts become white. A side that is odd loses its last row or column, since video
    that every player takes has even sides; what does not fit in 3840 x 2160, either way up, is
    scaled down to fit. More than 8 bits become 8; colour profiles are not looked at.

    Raises:
        MediaUnreadable: it is damaged, moves, or is too small to be a picture.
        LimitExceeded: it is too large to decode.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise LimitExceeded(
            f"{path}: {size >> 20} MB is too much for a picture: give one under {MAX_BYTES >> 20}"
        )
    data = path.read_bytes()
    width, height = _measured(path, data)
    if width * height > MAX_PIXELS:
        raise LimitExceeded(
            f"{path}: a picture of {width} x {height} is too large to decode: scale it down to "
            f"{LONG_SIDE} x {SHORT_SIDE} or less"
        )
    rgb = _decoded(path, data)
    height, width = rgb.shape[:2]
    if min(height, width) < 2:
        raise MediaUnreadable(f"{path}: a picture of {width} x {height} shows nothing")
    return Still(picture=Picture.from_rgb(even(fitted(rgb))), size=(width, height))


def fitted(rgb: Rgb) -> Rgb:
    """Return a picture scaled down to fit in 3840 x 2160, either way up, or itself."""
    long, short = max(rgb.shape[:2]), min(rgb.shape[:2])
    scale = min(1.0, LONG_SIDE / long, SHORT_SIDE / short)
    if scale == 1:
        return rgb
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def even(rgb: Rgb) -> Rgb:
    """Return a picture without its last row or column where their number is odd."""
    height, width = rgb.shape[:2]
    return np.ascontiguousarray(rgb[: height - height % 2, : width - width % 2])


def header_size(data: bytes) -> tuple[int, int]:
    """Return width and height as the header of a JPEG, PNG, WebP or BMP says, before turning.

    Raises:
        ValueError: the header is damaged.
    """
    kind = kind_of(data[:HEAD_BYTES])
    try:
        if kind == "png":
            return struct.unpack_from(">II", data, 16)
        if kind == "bmp":
            core = struct.unpack_from("<I", data, 14)[0] == BMP_CORE
            width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
            return abs(width), abs(height)
        if kind == "webp":
            return _webp_size(data)
        if kind == "jpeg":
            return _jpeg_size(data)
    except (struct.error, IndexError) as cause:
        raise ValueError("it ends within its header") from cause
    raise ValueError("its header is none of a JPEG, PNG, WebP or BMP")


def _measured(path: Path, data: bytes) -> tuple[int, int]:
    try:
        return header_size(data)
    except ValueError as cause:
        raise MediaUnreadable(
            f"{path} cannot be read as a picture ({cause}): get a fresh copy or convert it to PNG"
        ) from cause


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        if data[20] & 2:
            raise ValueError("an animated WebP: convert it to MP4")
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("a WebP of an unknown kind")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        while data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):  # fill bytes
            at += 1
        marker = data[at + 1]
        if marker in JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            if data.find(JPEG_END, at) < 0:
                raise ValueError("it is cut short")
            return width, height
        if marker == 0xDA:  # pixels follow
            raise ValueError("it names no size")
        at += 2 if marker in JPEG_ALONE else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _decoded(path: Path, data: bytes) -> Rgb:
    """Return the upright picture."""
    coded = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        if bgr is not None and kind_of(data[:HEAD_BYTES]) in ("png", "webp"):
            bgr = _on_paper(bgr, cv2.imdecode(coded, cv2.IMREAD_UNCHANGED))
    except cv2.error:
        bgr = None
    if bgr is None:
        raise MediaUnreadable(
            f"{path} cannot be decoded as a picture: it is damaged or incomplete; get a fresh copy"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _on_paper(upright: Rgb, coded: NDArray[np.integer] | None) -> Rgb:
    """Return a picture (h, w, 3) on white where the same as coded, (h, w, 4), is transparent."""
    if coded is None or coded.ndim != 3 or coded.shape[2] != 4:
        return upright
    shift = 8 if coded.dtype == np.uint16 else 0
    four = (coded >> shift).astype(np.uint8)
    if (four[..., 3] == 255).all():
        return upright
    four = _turned_like(upright, four)
    share = four[..., 3:].astype(np.float32) / 255
    mixed = upright * share + PAPER * (1 - share)
    return np.rint(mixed).astype(np.uint8)


def _turned_like(upright: Rgb, four: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return *four* turned or mirrored as the decoder turned *upright*: it does not say how."""
    for mirrored in (four, four[:, ::-1]):
        for quarter in range(4):
            turned = np.rot90(mirrored, quarter)
            if turned.shape[:2] == upright.shape[:2] and _alike(turned[..., :3], upright):
                return turned
    return np.dstack([upright, np.full(upright.shape[:2], 255, np.uint8)])


def _alike(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Say whether two pictures agree in most pixels: decoders round 16 bits in their own ways."""
    return bool((cv2.absdiff(np.ascontiguousarray(a), b) <= 1).mean() > 0.99)
