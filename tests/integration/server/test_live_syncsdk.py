"""The official Python SDK of sync.so, unchanged, against this service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from sync import AsyncSync, Sync
from sync.common import Audio, GenerationOptions, Video
from sync.common.errors import BadRequestError, NotFoundError, UnauthorizedError
from sync.core.api_error import ApiError
from sync.core.unchecked_base_model import construct_type
from sync.webhooks import GenerationNotification

from lipwright.server.webhooks import payload_builder
from live_api import Live, open_live
from small_media import write_clip, write_voice

INPUT = [
    Video(url="https://assets.sync.so/docs/example-video.mp4"),
    Audio(url="https://assets.sync.so/docs/example-audio.wav"),
]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with open_live("sqlite", tmp_path) as live:
        yield live


@pytest.fixture
def sdk(live: Live) -> Iterator[Sync]:
    with httpx.Client() as client:
        yield Sync(base_url=live.url, api_key=live.api.secret, httpx_client=client)


def test_a_generation_from_create_to_completed(live: Live, sdk: Sync):
    generation = sdk.generations.create(
        input=INPUT, model="lipsync-2", options=GenerationOptions(sync_mode="loop")
    )
    assert (generation.status, generation.model) == ("PENDING", "lipsync-2")
    assert isinstance(generation.created_at, datetime)
    assert [item.url for item in generation.input] == [item.url for item in INPUT]
    assert generation.options is not None
    assert generation.options.sync_mode == "loop"
    live.api.run(generation.id)
    assert sdk.generations.get(generation.id).status == "PROCESSING"
    job = live.api.services.ledger.get(generation.id)
    assert job.spec.payload["mode"] == "loop"


def test_a_generation_may_attach_its_files(live: Live, sdk: Sync, tmp_path: Path):
    clip = write_clip(tmp_path / "clip.mp4", frames=5)
    voice = write_voice(tmp_path / "voice.wav", seconds=0.2)
    with clip.open("rb") as video, voice.open("rb") as audio:
        generation = sdk.generations.create_with_files(model="lipsync-2", video=video, audio=audio)
    assert (generation.status, generation.model) == ("PENDING", "lipsync-2")
    headers = {"x-api-key": live.api.secret}
    sent = [httpx.get(item.url, headers=headers).content for item in generation.input]
    assert sent == [clip.read_bytes(), voice.read_bytes()]


def test_a_completed_generation_has_its_url_and_length(live: Live, sdk: Sync):
    generation = sdk.generations.create(input=INPUT, model="lipsync-2-pro", output_file_name="dub")
    live.api.succeed(generation.id, video=b"dub", seconds=4.5)
    done = sdk.generations.get(generation.id)
    assert (done.status, done.output_duration, done.error) == ("COMPLETED", 4.5, None)
    assert done.output_url is not None
    answer = httpx.get(done.output_url)
    assert answer.content == b"dub"
    assert 'filename="dub.mp4"' in answer.headers["content-disposition"]


def test_a_failed_generation_says_why(live: Live, sdk: Sync):
    generation = sdk.generations.create(input=INPUT, model="lipsync-2")
    live.api.fail(generation.id, "no_face_found", "no face was found")
    failed = sdk.generations.get(generation.id)
    assert (failed.status, failed.error, failed.error_code) == (
        "FAILED", "no face was found", "no_face_found"
    )  # fmt: skip


def test_generations_are_listed_by_status_and_ids(live: Live, sdk: Sync):
    first, second = (sdk.generations.create(input=INPUT, model="lipsync-2").id for _ in range(2))
    live.api.succeed(first)
    assert [g.id for g in sdk.generations.list()] == [second, first]
    assert [g.id for g in sdk.generations.list(status=["COMPLETED", "FAILED"])] == [first]
    assert [g.id for g in sdk.generations.list(ids=[second])] == [second]


def test_the_cost_is_zero_and_the_frames_are_exact(live: Live, sdk: Sync, tmp_path: Path):
    clip, voice = (
        write_clip(tmp_path / "clip.mp4", frames=10),
        write_voice(tmp_path / "v.wav", seconds=1),
    )
    urls = [
        live.api("POST", "/v1/files", content=p.read_bytes()).json()["url"] for p in (clip, voice)
    ]
    (cost,) = sdk.generations.estimate_cost(
        input=[Video(url=urls[0]), Audio(url=urls[1])],
        model="lipsync-2",
        options=GenerationOptions(sync_mode="cut_off"),
    )
    assert (cost.estimated_frame_count, cost.estimated_generation_cost) == (10, 0.0)


def test_the_models_are_listed(sdk: Sync):
    models = {model.id: model for model in sdk.models.list()}
    assert {"lipsync-2", "lipsync-2-pro", "lipwright/passthrough"} <= set(models)
    assert models["lipsync-2"].type == "lipsync"


def test_a_bad_request_is_the_error_that_the_sdk_knows(sdk: Sync):
    with pytest.raises(BadRequestError) as caught:
        sdk.generations.create(
            input=INPUT, model="lipsync-2", options=GenerationOptions(temperature=0.9)
        )
    assert "temperature is not supported" in str(caught.value.body.message)
    assert caught.value.body.status_code == 400


def test_an_unknown_generation_is_the_error_that_the_sdk_knows(sdk: Sync):
    with pytest.raises(NotFoundError) as caught:
        sdk.generations.get("6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42")
    assert caught.value.body.status_code == 404
    assert "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42" in str(caught.value.body.message)


def test_a_wrong_key_is_the_error_that_the_sdk_knows(live: Live):
    with httpx.Client() as client, pytest.raises(UnauthorizedError):
        Sync(base_url=live.url, api_key="wrong", httpx_client=client).generations.list()


def test_an_unsupported_call_is_an_api_error_with_a_body(sdk: Sync):
    with pytest.raises(ApiError) as caught:
        sdk.assets.list()
    assert caught.value.status_code == 404
    assert caught.value.body["errorCode"] == "not_found"


def test_the_asynchronous_client_works_too(live: Live):
    async def create() -> str:
        async with httpx.AsyncClient() as client:
            sdk = AsyncSync(base_url=live.url, api_key=live.api.secret, httpx_client=client)
            generation = await sdk.generations.create(input=INPUT, model="lipsync-2")
            return (await sdk.generations.get(generation.id)).status

    assert asyncio.run(create()) == "PENDING"


def test_a_webhook_has_the_fields_that_the_sdk_reads(live: Live, sdk: Sync):
    hook = "https://hooks.example.org/x"
    generation = sdk.generations.create(input=INPUT, model="lipsync-2", webhook_url=hook)
    job = live.api.succeed(generation.id, seconds=2.0)
    payload = payload_builder(live.api.services.settings, live.api.services.signer)(job)
    data = construct_type(type_=GenerationNotification, object_=dict(payload))
    assert (data.id, data.status, data.output_duration) == (generation.id, "COMPLETED", 2.0)
    assert data.webhook_url == hook
    assert data.output_url.startswith("http://127.0.0.1:8800/v1/outputs/")
