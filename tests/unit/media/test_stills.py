from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipwright.errors import LimitExceeded, MediaUnreadable
from lipwright.media import stills
from lipwright.media.decode.random_access import RandomAccessReader
from lipwright.media.decode.video import read_video
from lipwright.media.probe import probe
from lipwright.media.stills import (
    count_scans,
    detect_image_format,
    downscale_to_4k,
    image_format,
    inflates_beyond_size,
    parse_image_size,
    read_still,
)

FORMATS = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp", ".tif": "tiff"}
HEIGHT, WIDTH = 48, 80


def scene(height=HEIGHT, width=WIDTH):
    """A colour gradient without symmetry, (h, w, 3) RGB."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], -1).astype(np.uint8)


def encode(rgb, suffix=".png"):
    bgr = rgb[..., [2, 1, 0, 3]] if rgb.shape[2] == 4 else rgb[..., ::-1]
    done, data = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    return data.tobytes()


def write_image(path: Path, rgb) -> Path:
    path.write_bytes(encode(rgb, path.suffix))
    return path


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with the orientation at the start of a JPEG."""
    tiff = b"MM\0\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def mean_error(path: Path, rgb) -> float:
    shown = read_still(path).picture.rgb()
    assert shown.shape == rgb.shape
    return float(np.abs(shown.astype(int) - rgb).mean())


# ------------------------------------------------------------------------------------- detection
@pytest.mark.parametrize("suffix", FORMATS)
def test_an_image_is_detected_by_its_bytes_whatever_its_name(tmp_path: Path, suffix):
    path = write_image(tmp_path / f"face{suffix}", scene()).rename(tmp_path / "clip.mp4")
    assert detect_image_format(path) == FORMATS[suffix]
    assert parse_image_size(path.read_bytes()) == (WIDTH, HEIGHT)
    info = probe(path)
    assert info.audio is None
    assert info.video is not None
    assert info.video.still
    assert (info.video.width, info.video.height, info.video.frames) == (WIDTH, HEIGHT, 1)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0\0\0\x20ftypisom",
        b"RIFF\0\0\0\0AVI LIST",
        b"GIF89a",
        b"BMW is a car\n\n\n\n\n",
        b"\x89PNG\r\n\x1a\n" + bytes(25) + b"\0\0\0\x08acTL",
    ],
)
def test_animations_and_other_files_are_not_still_images(head):
    assert image_format(head) is None


@pytest.mark.parametrize(
    ("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIF"), (b"avif", "AVIF")]
)
def test_unsupported_image_formats_are_named(tmp_path: Path, brand, name):
    path = tmp_path / "phone.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(MediaUnreadable, match=rf"{name} picture: convert it to JPEG or PNG"):
        probe(path)


# ---------------------------------------------------------------------------------- decoding
@pytest.mark.parametrize("suffix", FORMATS)
def test_colours_are_kept(tmp_path: Path, suffix):
    assert mean_error(write_image(tmp_path / f"face{suffix}", scene()), scene()) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation):
    rotations = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: lambda a: np.rot90(a, -1),
    }
    jpeg = encode(np.ascontiguousarray(rotations[orientation](scene())), ".jpg")
    path = tmp_path / "face.jpg"
    path.write_bytes(with_exif_orientation(jpeg, orientation))
    assert mean_error(path, scene()) < 3
    assert read_still(path).size == (WIDTH, HEIGHT)


def test_odd_sides_lose_their_last_row_and_column(tmp_path: Path):
    rgb = scene(HEIGHT + 1, WIDTH + 1)
    path = write_image(tmp_path / "face.png", rgb)
    assert mean_error(path, rgb[:HEIGHT, :WIDTH]) < 3
    video = probe(path).video
    assert video is not None
    assert video.scaled_from is None


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparent_parts_become_white(tmp_path: Path, suffix):
    clear = np.full((HEIGHT, WIDTH), 255, np.uint8)
    clear[:, : WIDTH // 2] = 0
    path = write_image(tmp_path / f"face{suffix}", np.dstack([scene(), clear]))
    shown = read_still(path).picture.rgb()
    assert shown[:, : WIDTH // 2 - 8].min() > 240
    right = np.abs(shown[:, WIDTH // 2 + 8 :].astype(int) - scene()[:, WIDTH // 2 + 8 :])
    assert right.mean() < 6


def test_16_bit_and_grey_images_are_read(tmp_path: Path):
    grey = scene()[..., 1]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert mean_error(tmp_path / "grey.png", np.dstack([grey] * 3)) < 2
    cv2.imwrite(str(tmp_path / "deep.png"), scene()[..., ::-1].astype(np.uint16) * 257)
    assert mean_error(tmp_path / "deep.png", scene()) < 3


@pytest.mark.model
@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((3840, 2160), (3840, 2160)),
        ((2160, 3840), (2160, 3840)),
        ((4000, 3000), (2880, 2160)),
        ((3000, 4000), (2160, 2880)),
        ((6000, 1000), (3840, 640)),
    ],
)
def test_images_larger_than_4k_are_scaled_down(size, shown):
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    small = downscale_to_4k(rgb)
    assert small.shape == (shown[1], shown[0], 3)
    assert (small is rgb) == (size == shown)


def test_the_original_size_of_a_scaled_image_is_reported(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(stills, "LONG_SIDE", WIDTH // 2)
    video = probe(write_image(tmp_path / "face.png", scene())).video
    assert video is not None
    assert (video.width, video.height) == (WIDTH // 2, HEIGHT // 2)
    assert video.scaled_from == (WIDTH, HEIGHT)


def test_every_requested_frame_is_the_image(tmp_path: Path):
    info = probe(write_image(tmp_path / "face.png", scene()))
    (frame,) = read_video(info)
    assert (frame.index, frame.time) == (0, 0)
    for picture in RandomAccessReader(info).read([(0, 0.0), (0, 0.5), (3, 0.0)]):
        assert all(
            np.array_equal(a, b) for a, b in zip(picture.planes, frame.picture.planes, strict=True)
        )
    assert not list(read_video(info, start=1))


# ---------------------------------------------------------------------------------- errors
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.02, 0.5])
def test_a_damaged_image_is_refused(tmp_path: Path, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    data = encode(noise, suffix)
    path = tmp_path / f"face{suffix}"
    path.write_bytes(data[: max(12, int(len(data) * kept))])
    with pytest.raises(MediaUnreadable, match="face"):
        probe(path)


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path):
    data = bytearray(encode(scene(), ".png"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    with pytest.raises(LimitExceeded, match=r"60000 x 60000.*scale it down"):
        probe(path)


def test_an_animated_webp_is_refused(tmp_path: Path):
    head = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<IBBBB", 10, 2, 0, 0, 0) + bytes(6)
    (tmp_path / "dance.webp").write_bytes(head + bytes(100))
    with pytest.raises(MediaUnreadable, match="animated WebP: convert it to MP4"):
        probe(tmp_path / "dance.webp")


def test_an_image_of_one_row_is_refused(tmp_path: Path):
    with pytest.raises(MediaUnreadable, match="80 x 1 is too small"):
        probe(write_image(tmp_path / "line.png", scene(1)))


def png_of(size: tuple[int, int], data: bytes, *, interlaced: bool = False) -> bytes:
    """Return an RGB PNG with *data* as its picture, before compression."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, int(interlaced))
    coded = zlib.compress(data, 1)
    half = len(coded) // 2
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", coded[:half]),
            chunk(b"IDAT", coded[half:]),
            chunk(b"IEND", b""),
        )
    )


@pytest.mark.parametrize(("extra", "beyond"), [(0, False), (2, True), (50_000_000, True)])
def test_png_with_more_data_than_its_size_is_refused(tmp_path, extra, beyond):
    path = tmp_path / "a.png"
    path.write_bytes(png_of((20, 10), bytes(10 * (20 * 3 + 1) + extra)))
    assert inflates_beyond_size(path.read_bytes()) is beyond
    if beyond:
        with pytest.raises(LimitExceeded, match="more data than its size"):
            read_still(path)
    else:
        assert read_still(path).size == (20, 10)


def test_jpeg_of_very_many_scans_is_refused(tmp_path):
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    jpeg = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8), flags)[1].tobytes()
    scans = count_scans(jpeg)
    assert 5 < scans < 20
    last = jpeg.rindex(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:last] + jpeg[last:-2] * 200 + jpeg[-2:])
    with pytest.raises(LimitExceeded, match=f"{scans + 199} scans"):
        read_still(path)


@pytest.mark.parametrize("codestream_only", [False, True])
def test_jpeg2000_is_read(tmp_path, codestream_only):
    rgb = np.full((41, 60, 3), (200, 100, 50), np.uint8)
    data = cv2.imencode(".jp2", rgb[..., ::-1])[1].tobytes()
    path = tmp_path / "a.jp2"
    path.write_bytes(data[data.index(b"\xff\x4f\xff\x51") :] if codestream_only else data)
    assert image_format(path.read_bytes()[:256]) == "jpeg2000"
    assert parse_image_size(path.read_bytes()) == (60, 41)
    assert read_still(path).size == (60, 41)


def test_a_raw_photograph_is_named(tmp_path):
    entries = struct.pack("<HHHIIHHIIHHII", 3, 256, 4, 1, 60, 257, 4, 1, 40, 0xC612, 1, 4, 1)
    (tmp_path / "a.dng").write_bytes(b"II*\0\x08\0\0\0" + entries + bytes(100))
    with pytest.raises(MediaUnreadable, match=r"a raw photograph \(DNG\)"):
        probe(tmp_path / "a.dng")
