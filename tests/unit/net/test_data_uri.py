from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions, LimitExceeded, MediaUnreadable, PublishFailed
from lipwright.net import fetch
from lipwright.net.fetch import FetchRules, save_data_uri

MEDIA = b"\x00\x00\x00\x18ftypisom" + bytes(range(256)) * 4
RULES = FetchRules(max_data_uri_bytes=len(MEDIA))


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


FORMS = [
    "data:video/mp4;base64," + encoded(MEDIA),
    "DATA:Video/MP4;Base64," + encoded(MEDIA),
    "data:;base64," + encoded(MEDIA),
    "data:video/webm;codecs=vp8;base64," + encoded(MEDIA),
    "data:video/mp4;base64," + encoded(MEDIA).rstrip("="),
    "data:video/mp4;base64," + base64.urlsafe_b64encode(MEDIA).decode(),
    "data:video/mp4;base64," + base64.encodebytes(MEDIA).decode(),
    "data:video/mp4," + "".join(f"%{byte:02x}" for byte in MEDIA),
]


@pytest.mark.parametrize("uri", FORMS, ids=lambda uri: uri[:30])
def test_a_data_uri_is_saved_to_a_private_file(tmp_path: Path, uri: str):
    path = save_data_uri(uri, tmp_path, RULES)
    assert path.read_bytes() == MEDIA
    assert path.stat().st_mode & 0o077 == 0


@given(data=st.binary(min_size=1, max_size=300), step=st.sampled_from([4, 8, 64]))
def test_base64_round_trips_at_any_chunk_size(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, step: int
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "BASE64_CHUNK", step)
        uri = "data:;base64," + encoded(b"\x00" + data)
        path = save_data_uri(uri, tmp_path_factory.mktemp("uri"), RULES)
    assert path.read_bytes() == b"\x00" + data


INVALID = [
    ("", InvalidOptions),
    ("data:", InvalidOptions),
    ("data:video/mp4;base64", InvalidOptions),
    ("data:video/mp4;base64;" + encoded(MEDIA), InvalidOptions),
    ("https://example.org/", InvalidOptions),
    ("data:video/mp4;base64,AAAA*", InvalidOptions),
    ("data:video/mp4;base64,A", InvalidOptions),
    ("data:video/mp4;base64,AA=A", InvalidOptions),
    ("data:video/mp4;base64,AAA\u00e4", InvalidOptions),
    ("data:video/mp4;base64,%00%00", InvalidOptions),
    ("data:video/mp4,\u00e4", InvalidOptions),
    ("data:video/mp4;base64," + encoded(MEDIA + b"x"), LimitExceeded),
    ("data:video/mp4;base64," + "A" * 10_000_000, LimitExceeded),
    ("data:video/mp4," + "x" * 10_000_000, LimitExceeded),
    ("data:video/mp4," + "%00" * (len(MEDIA) + 1), LimitExceeded),
    ("data:video/mp4;base64,", MediaUnreadable),
    ("data:video/mp4;base64," + encoded(b"<html>"), MediaUnreadable),
    ("data:application/vnd.apple.mpegurl;base64," + encoded(b"#EXTM3U\n"), MediaUnreadable),
]


@pytest.mark.parametrize(("uri", "kind"), INVALID, ids=lambda value: str(value)[:40])
def test_a_bad_data_uri_is_refused_and_leaves_no_file(tmp_path: Path, uri, kind):
    with pytest.raises(kind) as caught:
        save_data_uri(uri, tmp_path, RULES)
    assert len(str(caught.value)) < 300  # the data is not repeated
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_a_storage_error(tmp_path: Path):
    with pytest.raises(PublishFailed):
        save_data_uri(FORMS[0], tmp_path / "gone", RULES)


FULL_DISK = """
import resource, sys
from pathlib import Path
from lipwright.errors import StorageFull
from lipwright.net.fetch import FetchRules, save_data_uri
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # like a disk with 4 KiB left
try:
    save_data_uri("data:;base64," + "A" * int(sys.argv[2]), Path(sys.argv[1]), FetchRules())
except StorageFull as error:
    print(error)
"""


@pytest.mark.model
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limit")
@pytest.mark.parametrize("length", ["6000", "8000", "40000"])
def test_a_full_disk_leaves_no_file(tmp_path: Path, length: str):
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), length],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "free space" in process.stdout
    assert list(tmp_path.iterdir()) == []
