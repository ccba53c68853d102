"""Generations with attached files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api_parts import V2_BODY, Api, open_api
from lipwright.errors import PublishFailed
from lipwright.server.http.body import SMALL_BODY_BYTES

VIDEO, VOICE = b"\0\0\0\x18ftypmp42" + bytes(5000), b"RIFF" + bytes(3000)
FILES = {"video": ("my clip.mp4", VIDEO), "audio": ("a.wav", VOICE)}
URL = V2_BODY["input"][1]["url"]


def send(api: Api, files: Any = FILES, headers: Any = None, **fields: str):
    data = {"model": "lipsync-2", **fields}
    return api("POST", "/v2/generate", data=data, files=files, headers=headers or {})


def stored(api: Api) -> list[Path]:
    folder = api.services.settings.data_dir
    return [p for name in ("incoming", "files") for p in (folder / name).rglob("*") if p.is_file()]


def test_attached_files_become_uploads_that_the_job_reads(api: Api):
    answer = send(api)
    generation = answer.json()
    assert answer.status_code == 201
    assert [item["type"] for item in generation["input"]] == ["video", "audio"]
    assert [api("GET", item["url"]).content for item in generation["input"]] == [VIDEO, VOICE]
    named = api("GET", generation["input"][0]["url"]).headers["content-disposition"]
    assert 'filename="my clip.mp4"' in named
    job = api.services.ledger.get(generation["id"])
    names = [job.spec.payload[kind].removeprefix("file:") for kind in ("video", "audio")]
    assert [item["url"].rpartition("/")[2] for item in generation["input"]] == names
    assert len(stored(api)) == 2


def test_a_file_a_url_and_options_can_be_combined(api: Api):
    answer = send(
        api,
        {"video": ("v.mp4", VIDEO)},
        input=json.dumps([{"type": "audio", "url": URL}]),
        options='{"sync_mode": "loop"}',
        webhookUrl="https://hooks.example.org/x",
        outputFileName="dub",
    )
    generation = answer.json()
    assert answer.status_code == 201
    assert (generation["options"], generation["webhookUrl"]) == (
        {"sync_mode": "loop"},
        "https://hooks.example.org/x",
    )
    assert [item["type"] for item in generation["input"]] == ["audio", "video"]
    assert api.services.ledger.get(generation["id"]).spec.payload["audio"] == URL


def test_the_same_file_twice_is_stored_once(api: Api):
    assert send(api, {kind: ("x", VIDEO) for kind in FILES}).status_code == 201
    assert len(stored(api)) == 1


def test_the_same_key_and_files_replay_the_first_answer_and_store_nothing(api: Api):
    headers = {"Idempotency-Key": "once"}
    first, again = send(api, headers=headers), send(api, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert len(stored(api)) == 2
    other = send(api, {**FILES, "video": ("my clip.mp4", VIDEO + b"x")}, headers=headers)
    assert (other.status_code, other.json()["errorCode"]) == (400, "idempotency_conflict")
    assert len(stored(api)) == 2


@pytest.mark.parametrize(
    ("files", "fields", "loc"),
    [
        ({"video": ("v", VIDEO)}, {}, ["body", "input"]),
        ({**FILES, "picture": ("p", VIDEO)}, {}, ["body"]),
        ({**FILES, "video": ("v", b"")}, {}, ["body", "file"]),
        (FILES, {"input": "{}"}, ["body", "input"]),
        (FILES, {"input": "[,"}, ["body", "input"]),
        (FILES, {"options": '{"sync_mode": "x"}'}, ["body", "options", "sync_mode"]),
        (FILES, {"options": '{"a": 1, "a": 1}'}, ["body", "options"]),
        (FILES, {"options": "[" * 1000}, ["body", "options"]),
        (FILES, {"unknown": "x"}, ["body", "unknown"]),
        (FILES, {"model": ""}, ["body", "model"]),
        (FILES, {"webhookUrl": "https://127.0.0.1/"}, ["body", "webhookUrl"]),
        ([("video", ("v", VIDEO)), ("video", ("v", VOICE))], {}, ["body"]),
    ],
)
def test_an_invalid_form_is_refused_and_leaves_nothing(api: Api, files, fields, loc):
    answer = send(api, files, **fields)
    assert answer.status_code == 400, answer.text
    assert answer.json()["detail"][0]["loc"] == loc
    assert stored(api) == []
    assert list((api.services.settings.data_dir / "incoming").iterdir()) == []


@pytest.mark.parametrize("kind", ["long", "many"])
def test_the_total_length_of_the_fields_is_limited(api: Api, kind):
    many = {f"f{n}": "" for n in range(2000)}
    answer = send(api, **({"options": " " * SMALL_BODY_BYTES} if kind == "long" else many))
    assert (answer.status_code, answer.json()["errorCode"]) == (413, "limit_exceeded")
    assert stored(api) == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Api]:
    with open_api("sqlite", tmp_path, max_upload_bytes=6000, max_uploads_bytes_per_key=9000) as api:
        yield api


def test_a_file_over_the_limit_or_the_quota_is_refused(small: Api):
    answer = send(small, {"audio": ("a", bytes(6001))})
    assert (answer.status_code, answer.json()["errorCode"]) == (413, "limit_exceeded")
    answer = send(small, {**FILES, "audio": ("a", bytes(5000))})
    assert (answer.status_code, answer.json()["errorCode"]) == (413, "quota_exceeded")
    assert stored(small) == []
    assert not small.app.state.deployment.incoming_bytes.total()
    assert send(small).status_code == 201


def test_a_full_disk_is_503(api: Api, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise PublishFailed("no space left")

    monkeypatch.setattr(type(api.services.storage), "put", full)
    assert send(api).status_code == 503
    assert stored(api) == []


def test_the_urls_of_attached_files_are_valid_in_their_own_call_only(api: Api):
    generation = send(api).json()
    sha = api.services.uploads.get(
        generation["input"][0]["url"].rpartition("/")[2], api.key.id
    ).sha256
    items = [{"type": kind, "url": f"sha256:{sha}"} for kind in FILES]
    assert api("POST", "/v2/generate", json={**V2_BODY, "input": items}).status_code == 400
