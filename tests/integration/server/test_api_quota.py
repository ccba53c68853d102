"""The upload quota of an API key."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api_parts import BODY, CONTRACT, OPENERS, V2_BODY, Api, open_api

QUOTA = 10_000
FILE = b"x" * 4_000
MEDIA = b"\0\0\0\x18ftypmp42" + bytes(6_000)


@pytest.fixture(params=sorted(OPENERS))
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Api]:
    """A service whose keys may store three files of 10,000 bytes together."""
    numbers = {"max_uploads_bytes_per_key": QUOTA, "max_uploads_per_key": 3}
    with open_api(request.param, tmp_path / "data", **numbers) as api:
        yield api


def files_of(api: Api) -> list[Path]:
    folder = api.services.settings.data_dir
    return [p for name in ("incoming", "files") for p in (folder / name).rglob("*") if p.is_file()]


def upload(api: Api, content: object = FILE, **more: object):
    return api("POST", "/v1/files", content=content, **more)


def refused(answer, status: int = 413) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"][0]["type"] == "quota_exceeded"
    assert "erase some" in answer.json()["error_message"]


async def slowly() -> AsyncIterator[bytes]:
    for _ in range(4):
        yield FILE[:1000]


@pytest.mark.parametrize("way", ["bare", "unstated", "form"])
def test_a_full_quota_refuses_uploads_until_one_is_erased(small: Api, way):
    def send():
        match way:
            case "bare":
                return upload(small)
            case "unstated":
                return upload(small, slowly())
        return small("POST", "/v1/files", files={"file": ("a", FILE)})

    first, second = send(), send()
    assert (first.status_code, second.status_code) == (201, 201)
    refused(send())
    assert len(files_of(small)) == 2
    other = small.plain("POST", "/v1/files", content=FILE, headers=small.another_key())
    assert other.status_code == 201
    small("DELETE", f"/v1/files/{first.json()['file_id']}")
    assert send().status_code == 201


def test_the_quota_can_be_filled_to_the_last_byte(small: Api):
    assert upload(small, b"x" * (QUOTA - 1)).status_code == 201
    assert upload(small, b"x").status_code == 201
    refused(upload(small, b"x"))


def test_the_number_of_files_is_limited(small: Api):
    assert [upload(small, b"x").status_code for _ in range(3)] == [201] * 3
    refused(upload(small, b"x"))


def test_an_endless_upload_is_refused_at_the_quota(small: Api):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * QUOTA:
            sent += 1000
            yield b"x" * 1000

    refused(upload(small, endless()))
    assert files_of(small) == []
    assert not small.app.state.deployment.incoming_bytes.total()
    assert upload(small).status_code == 201


def test_uploads_in_progress_count(small: Api):
    small.app.state.deployment.incoming_bytes[small.key.id] = 7_000
    refused(upload(small))
    refused(upload(small, slowly()))
    small.app.state.deployment.incoming_bytes[small.key.id] = 0
    assert upload(small).status_code == 201


def test_data_uris_count_and_the_error_names_the_field(small: Api):
    uri = f"data:video/mp4;base64,{base64.b64encode(MEDIA).decode()}"
    assert small("POST", CONTRACT, json={**BODY, "video_url": uri}).status_code == 200
    answer = small("POST", CONTRACT, json={**BODY, "video_url": uri})
    refused(answer)
    assert answer.json()["detail"][0]["loc"] == ["body", "video_url"]
    items = [V2_BODY["input"][0], {"type": "audio", "url": uri}]
    refused(small("POST", "/v2/generate", json={**V2_BODY, "input": items}))
    assert len(files_of(small)) == 1
    assert len(small("GET", "/v1/requests").json()["requests"]) == 1
