from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from lipwright.errors import LimitExceeded, MediaUnreadable
from lipwright.media import stills as still
from lipwright.media.decode.video import Reader, read_video
from lipwright.media.probe import probe
from lipwright.media.stills import fitted, header_size, kind_of, kind_of_file, read_still

KINDS = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp"}
HEIGHT, WIDTH = 48, 80


def scene(height=HEIGHT, width=WIDTH):
    """Smooth colours that tell up from down and left from right, (h, w, 3) RGB."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], -1).astype(np.uint8)


def coded(rgb, suffix=".png"):
    bgr = rgb[..., [2, 1, 0, 3]] if rgb.shape[2] == 4 else rgb[..., ::-1]
    done, data = cv2.imencode(suffix, bgr, [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    return data.tobytes()


def write(path: Path, rgb) -> Path:
    path.write_bytes(coded(rgb, path.suffix))
    return path


def turned_by_exif(jpeg: bytes, orientation: int) -> bytes:
    """Put an EXIF segment with one entry, the orientation, at the front of a JPEG."""
    tiff = b"MM\0\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def apart(path: Path, rgb) -> float:
    shown = read_still(path).picture.rgb()
    assert shown.shape == rgb.shape
    return float(np.abs(shown.astype(int) - rgb).mean())


# ------------------------------------------------------------------------------------- what it is
@pytest.mark.parametrize("suffix", KINDS)
def test_a_picture_is_known_by_its_bytes_whatever_its_name(tmp_path: Path, suffix):
    path = write(tmp_path / f"face{suffix}", scene()).rename(tmp_path / "clip.mp4")
    assert kind_of_file(path) == KINDS[suffix]
    assert header_size(path.read_bytes()) == (WIDTH, HEIGHT)
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
def test_what_moves_or_is_no_picture_is_none(head):
    assert kind_of(head) is None


@pytest.mark.parametrize(
    ("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIF"), (b"avif", "AVIF")]
)
def test_pictures_of_other_kinds_are_named(tmp_path: Path, brand, name):
    path = tmp_path / "phone.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(40))
    with pytest.raises(MediaUnreadable, match=rf"{name} picture: convert it to JPEG or PNG"):
        probe(path)


# ---------------------------------------------------------------------------------- how it is read
@pytest.mark.parametrize("suffix", KINDS)
def test_its_colours_are_kept(tmp_path: Path, suffix):
    assert apart(write(tmp_path / f"face{suffix}", scene()), scene()) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright(tmp_path: Path, orientation):
    lay_down = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: lambda a: np.rot90(a, -1),
    }
    jpeg = coded(np.ascontiguousarray(lay_down[orientation](scene())), ".jpg")
    path = tmp_path / "face.jpg"
    path.write_bytes(turned_by_exif(jpeg, orientation))
    assert apart(path, scene()) < 3
    assert read_still(path).size == (WIDTH, HEIGHT)


def test_odd_sides_lose_their_last_row_and_column(tmp_path: Path):
    rgb = scene(HEIGHT + 1, WIDTH + 1)
    path = write(tmp_path / "face.png", rgb)
    assert apart(path, rgb[:HEIGHT, :WIDTH]) < 3
    video = probe(path).video
    assert video is not None
    assert video.scaled_from is None


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_is_transparent_shows_white(tmp_path: Path, suffix):
    clear = np.full((HEIGHT, WIDTH), 255, np.uint8)
    clear[:, : WIDTH // 2] = 0
    path = write(tmp_path / f"face{suffix}", np.dstack([scene(), clear]))
    shown = read_still(path).picture.rgb()
    assert shown[:, : WIDTH // 2 - 8].min() > 240
    right = np.abs(shown[:, WIDTH // 2 + 8 :].astype(int) - scene()[:, WIDTH // 2 + 8 :])
    assert right.mean() < 6


def test_sixteen_bits_and_grey_are_read(tmp_path: Path):
    grey = scene()[..., 1]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert apart(tmp_path / "grey.png", np.dstack([grey] * 3)) < 2
    cv2.imwrite(str(tmp_path / "deep.png"), scene()[..., ::-1].astype(np.uint16) * 257)
    assert apart(tmp_path / "deep.png", scene()) < 3


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
def test_what_is_larger_than_4k_is_scaled_down(size, shown):
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    small = fitted(rgb)
    assert small.shape == (shown[1], shown[0], 3)
    assert (small is rgb) == (size == shown)


def test_a_picture_scaled_down_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(still, "LONG_SIDE", WIDTH // 2)
    video = probe(write(tmp_path / "face.png", scene())).video
    assert video is not None
    assert (video.width, video.height) == (WIDTH // 2, HEIGHT // 2)
    assert video.scaled_from == (WIDTH, HEIGHT)


def test_any_frame_asked_for_is_the_picture(tmp_path: Path):
    info = probe(write(tmp_path / "face.png", scene()))
    (frame,) = read_video(info)
    assert (frame.index, frame.time) == (0, 0)
    for picture in Reader(info).at([(0, 0.0), (0, 0.5), (3, 0.0)]):
        assert all(
            np.array_equal(a, b) for a, b in zip(picture.planes, frame.picture.planes, strict=True)
        )
    assert not list(read_video(info, start=1))


# ---------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.02, 0.5])
def test_a_damaged_picture_is_one_clear_error(tmp_path: Path, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    data = coded(noise, suffix)
    path = tmp_path / f"face{suffix}"
    path.write_bytes(data[: max(12, int(len(data) * kept))])
    with pytest.raises(MediaUnreadable, match="face"):
        probe(path)


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path):
    data = bytearray(coded(scene(), ".png"))
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


def test_a_picture_of_a_row_shows_nothing(tmp_path: Path):
    with pytest.raises(MediaUnreadable, match="80 x 1 shows nothing"):
        probe(write(tmp_path / "line.png", scene(1)))
