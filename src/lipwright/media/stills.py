"""Read still images (JPEG, PNG, WebP, BMP, TIFF, JPEG 2000) as sources.

The format is detected by the first bytes, and the size is checked before decoding. OpenCV decodes,
and rotates the image as its EXIF orientation says.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lipwright.errors import LimitExceeded, MediaUnreadable
from lipwright.media.inspect.file_kind import HEAD_BYTES, describe_file
from lipwright.media.picture import Picture
from lipwright.types import Rgb

HEADER_BYTES = 256  # contain the format and, except for JPEG, the size
MAX_BYTES = 256 << 20  # of an image file
MAX_PIXELS = 1 << 27  # of a decoded image, at three bytes each
LONG_SIDE, SHORT_SIDE = 3840, 2160  # pixels; larger images are scaled down for players
BACKGROUND = 255  # grey behind transparent parts
BMP_CORE_HEADER = 12  # bytes of the oldest header, which holds 16-bit sizes
# markers of the start of frame segment, which holds the size
JPEG_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_END = b"\xff\xd9"
JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
J2K_START = b"\xff\x4f\xff\x51"  # a codestream without the boxes of JP2: SOC, SIZ
TIFF_STARTS = (b"II*\0", b"MM\0*")
TIFF_SHORT = 3  # type of 16-bit values
TIFF_WIDTH, TIFF_HEIGHT, TIFF_DNG = 256, 257, 0xC612  # tags; the last is in DNG only
# A progressive JPEG refines all its pixels in each scan: encoders write about 10 scans.
MAX_SCAN_PIXELS = 32 * MAX_PIXELS
MAX_SCANS = 100
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PNG_BLOCK = 1 << 20  # bytes inflated at a time
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
UNSUPPORTED_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"hevc"), "a HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "a HEIF"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF"),
}


@dataclass(frozen=True, kw_only=True)
class StillImage:
    """A decoded still image."""

    picture: Picture  #: upright, with even sides, scaled down to at most 3840 x 2160
    size: tuple[int, int]  #: width and height in the file, upright


def image_format(head: bytes) -> str | None:
    """Return ``jpeg``, ``png``, ``webp``, ``bmp``, ``jpeg2000``, ``tiff``, or None.

    Args:
        head: The first `HEADER_BYTES` bytes of a file.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and b"acTL" not in head:  # acTL: an animated PNG
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and head[10:14] != b"\0\0\0\0":
        return "bmp"
    if head.startswith((JP2_START, J2K_START)):
        return "jpeg2000"
    if head.startswith(TIFF_STARTS):
        return "tiff"
    return None


def detect_image_format(path: Path) -> str | None:
    """Return the format of a file as `image_format` does; None also if it cannot be opened.

    Raises:
        MediaUnreadable: The file is a still image in an unsupported format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError:
        return None  # the next caller that opens it reports the error
    if head[4:8] == b"ftyp" and (other := UNSUPPORTED_BRANDS.get(head[8:12])):
        raise MediaUnreadable(f"{path} is {other} picture: convert it to JPEG or PNG first")
    return image_format(head)


def read_still(path: Path) -> StillImage:
    """Decode a still image.

    Transparent parts become white. An odd side loses its last row or column, since many players
    need even sides. An image that does not fit in 3840 x 2160 (portrait or landscape) is scaled
    down. More than 8 bits become 8. Colour profiles are ignored.

    Raises:
        MediaUnreadable: The image is damaged, animated, or smaller than 2 x 2.
        LimitExceeded: The image is too large to decode.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise LimitExceeded(
            f"{path}: a still image of {size >> 20} MB is too large: use one under "
            f"{MAX_BYTES >> 20} MB"
        )
    data = path.read_bytes()
    width, height = _read_size(path, data)
    if width * height > MAX_PIXELS:
        raise LimitExceeded(
            f"{path}: a picture of {width} x {height} is too large to decode: scale it down to "
            f"{LONG_SIDE} x {SHORT_SIDE} or less"
        )
    _check_work(path, data, width * height)
    rgb = _decode(path, data)
    height, width = rgb.shape[:2]
    if min(height, width) < 2:
        raise MediaUnreadable(f"{path}: a picture of {width} x {height} is too small")
    return StillImage(
        picture=Picture.from_rgb(crop_to_even(downscale_to_4k(rgb))), size=(width, height)
    )


def downscale_to_4k(rgb: Rgb) -> Rgb:
    """Return the image scaled down to fit in 3840 x 2160 (portrait or landscape), or itself."""
    long, short = max(rgb.shape[:2]), min(rgb.shape[:2])
    scale = min(1.0, LONG_SIDE / long, SHORT_SIDE / short)
    if scale == 1:
        return rgb
    size = round(rgb.shape[1] * scale), round(rgb.shape[0] * scale)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def crop_to_even(rgb: Rgb) -> Rgb:
    """Return the image without its last row or column where their number is odd."""
    height, width = rgb.shape[:2]
    return np.ascontiguousarray(rgb[: height - height % 2, : width - width % 2])


def parse_image_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the header of a still image, before EXIF rotation.

    Raises:
        ValueError: The header is damaged.
    """
    format_ = image_format(data[:HEADER_BYTES])
    try:
        if format_ == "png":
            return struct.unpack_from(">II", data, 16)
        if format_ == "bmp":
            core = struct.unpack_from("<I", data, 14)[0] == BMP_CORE_HEADER
            width, height = struct.unpack_from("<HH" if core else "<ii", data, 18)
            return abs(width), abs(height)
        if format_ == "jpeg2000":
            return _jpeg2000_size(data)
        if format_ == "tiff":
            return _tiff_size(data)
        if format_ == "webp":
            return _webp_size(data)
        if format_ == "jpeg":
            return _jpeg_size(data)
    except (struct.error, IndexError) as cause:
        raise ValueError("it ends within its header") from cause
    raise ValueError("it is not a JPEG, PNG, WebP, BMP, TIFF or JPEG 2000")


def _read_size(path: Path, data: bytes) -> tuple[int, int]:
    try:
        return parse_image_size(data)
    except ValueError as cause:
        raise MediaUnreadable(
            f"{path} cannot be read as a picture ({cause}): get a fresh copy or convert it to PNG"
        ) from cause


def _check_work(path: Path, data: bytes, pixels: int) -> None:
    """Refuse a picture that takes far more work to decode than its size suggests.

    Raises:
        LimitExceeded: It does.
    """
    format_ = image_format(data[:HEADER_BYTES])
    if format_ == "png" and inflates_beyond_size(data):
        raise LimitExceeded(
            f"{path}: the picture holds more data than its size needs: save it again in another "
            "program"
        )
    if format_ == "jpeg":
        scans = count_scans(data)
        if scans > MAX_SCANS or scans * pixels > MAX_SCAN_PIXELS:
            raise LimitExceeded(
                f"{path}: a progressive JPEG of {scans} scans takes too long to decode: save it "
                "again in another program"
            )


def inflates_beyond_size(png: bytes) -> bool:
    """Return whether the picture data of a PNG is longer than its header says; it ends there."""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", png, 16)
    row = (width * bits * PNG_CHANNELS.get(colour, 4) + 7) // 8 + 1  # with the filter's byte
    # the seven passes of an interlaced picture pad their rows
    left = row * height + (7 * (width + 2 * height) if interlaced else 0)
    inflate = zlib.decompressobj()
    try:
        for chunk in _png_data(png):
            pending = chunk
            while pending and not inflate.eof:
                left -= len(inflate.decompress(pending, PNG_BLOCK))
                if left < 0:
                    return True
                pending = inflate.unconsumed_tail
    except zlib.error:
        return False  # the decoder reports it
    return False


def _png_data(png: bytes) -> Iterator[bytes]:
    offset = 8
    while offset + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, offset)
        if kind == b"IDAT":
            yield png[offset + 8 : offset + 8 + length]
        offset += 12 + length


def count_scans(jpeg: bytes) -> int:
    """Return the number of scans of a JPEG."""
    scans, offset = 0, 2
    while (marker := _MARKER.search(jpeg, offset)) is not None:
        kind = marker[1][0]
        offset = marker.end()
        if kind == 0xD9:  # the end
            break
        scans += kind == 0xDA
        if kind not in JPEG_BARE_MARKERS and offset + 2 <= len(jpeg):
            offset += struct.unpack_from(">H", jpeg, offset)[0]
    return scans


def _tiff_size(data: bytes) -> tuple[int, int]:
    if raw := describe_file(data[:HEAD_BYTES]):
        raise ValueError(f"it is {raw[0]}")
    order = "<" if data.startswith(b"II") else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    values = {}
    for entry in range(struct.unpack_from(order + "H", data, start)[0]):
        tag, kind = struct.unpack_from(order + "HH", data, start + 2 + 12 * entry)
        number = "H" if kind == TIFF_SHORT else "I"
        values[tag] = struct.unpack_from(order + number, data, start + 10 + 12 * entry)[0]
    if TIFF_DNG in values:
        raise ValueError("it is a raw photograph (DNG)")
    return values.get(TIFF_WIDTH, 0), values.get(TIFF_HEIGHT, 0)


def _jpeg2000_size(data: bytes) -> tuple[int, int]:
    start = data.find(J2K_START)
    if start < 0:
        raise ValueError("it has no codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", data, start + 8)
    return right - left, bottom - top


def _webp_size(data: bytes) -> tuple[int, int]:
    chunk = data[12:16]
    if chunk == b"VP8X":
        if data[20] & 2:
            raise ValueError("it is an animated WebP: convert it to MP4")
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("it is a WebP of an unknown kind")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    offset = 2
    while True:
        while data[offset] != 0xFF or data[offset + 1] in (0x00, 0xFF):  # fill bytes
            offset += 1
        marker = data[offset + 1]
        if marker in JPEG_SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, offset + 5)
            if data.find(JPEG_END, offset) < 0:
                raise ValueError("it is cut short")
            return width, height
        if marker == 0xDA:  # start of scan: the header ends
            raise ValueError("it has no size")
        offset += 2
        if marker not in JPEG_BARE_MARKERS:
            offset += struct.unpack_from(">H", data, offset)[0]


def _decode(path: Path, data: bytes) -> Rgb:
    """Return the upright picture."""
    coded = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        if bgr is not None and image_format(data[:HEADER_BYTES]) in ("png", "webp", "tiff"):
            bgr = _on_background(bgr, cv2.imdecode(coded, cv2.IMREAD_UNCHANGED))
    except cv2.error:
        bgr = None
    if bgr is None:
        raise MediaUnreadable(
            f"{path} cannot be decoded as a picture: it is damaged or incomplete; get a fresh copy"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _on_background(upright: Rgb, coded: NDArray[np.integer] | None) -> Rgb:
    """Return *upright* (h, w, 3) on white where *coded* (h, w, 4), not rotated, is transparent."""
    if coded is None or coded.ndim != 3 or coded.shape[2] != 4:
        return upright
    shift = 8 if coded.dtype == np.uint16 else 0
    rgba = (coded >> shift).astype(np.uint8)
    if (rgba[..., 3] == 255).all():
        return upright
    rgba = _rotate_like(upright, rgba)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = upright * alpha + BACKGROUND * (1 - alpha)
    return np.rint(mixed).astype(np.uint8)


def _rotate_like(upright: Rgb, rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return *rgba* rotated and mirrored to match *upright*, since OpenCV does not report how."""
    for mirrored in (rgba, rgba[:, ::-1]):
        for quarter in range(4):
            rotated = np.rot90(mirrored, quarter)
            if rotated.shape[:2] == upright.shape[:2] and _similar(rotated[..., :3], upright):
                return rotated
    return np.dstack([upright, np.full(upright.shape[:2], 255, np.uint8)])


def _similar(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Return whether two images agree to one code in most pixels, since 16-bit rounding differs."""
    return bool((cv2.absdiff(np.ascontiguousarray(a), b) <= 1).mean() > 0.99)
