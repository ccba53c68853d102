"""The calls of sync.so's v2, on each kind of ledger."""

from __future__ import annotations

import base64
from datetime import datetime
from fractions import Fraction

import pytest

from api_parts import CONTRACT, V2_BODY, Api
from lipwright.media.timeline import plan_timeline
from small_media import write_clip, write_voice

FRAMES, RATE, SECONDS = 12, Fraction(25), 0.8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video of 12 frames at 25 per second."""
    folder = tmp_path_factory.mktemp("clip")
    return write_clip(folder / "clip.mp4", frames=FRAMES, rate=RATE).read_bytes()


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of 0.8 s."""
    folder = tmp_path_factory.mktemp("voice")
    return write_voice(folder / "voice.wav", seconds=SECONDS).read_bytes()


def body_of(api: Api, video: bytes, audio: bytes, **changes: object) -> dict[str, object]:
    urls = [api("POST", "/v1/files", content=content).json()["url"] for content in (video, audio)]
    items = [{"type": kind, "url": url} for kind, url in zip(("video", "audio"), urls, strict=True)]
    return {"model": "lipsync-2", "input": items, **changes}


def test_a_generation_is_created_pending(api: Api):
    answer = api("POST", "/v2/generate", json=V2_BODY)
    data = answer.json()
    assert answer.status_code == 201
    assert datetime.fromisoformat(data.pop("createdAt")).utcoffset() is not None
    assert data == {
        "id": data["id"], "status": "PENDING", "model": "lipsync-2", "input": V2_BODY["input"],
        "options": {}, "outputUrl": None, "outputDuration": None, "webhookUrl": None,
        "outputFileName": None, "warnings": [], "error": None, "error_code": None,
        "errorCode": None,
    }  # fmt: skip
    job = api.services.ledger.get(data["id"])
    assert (job.spec.dialect, job.spec.payload["mode"]) == ("sync_v2", "bounce")


def test_a_generation_goes_through_its_statuses(api: Api):
    job = api("POST", "/v2/generate", json=V2_BODY).json()["id"]
    api.succeed(job, video=b"dub", seconds=3.5)
    data = api("GET", f"/v2/generate/{job}").json()
    assert (data["status"], data["outputDuration"]) == ("COMPLETED", 3.5)
    assert api.plain("GET", data["outputUrl"]).content == b"dub"


def test_a_failed_generation_says_why(api: Api):
    job = api("POST", "/v2/generate", json=V2_BODY).json()["id"]
    api.fail(job, "no_face_found", "no face")
    data = api("GET", f"/v2/generate/{job}").json()
    assert (data["status"], data["error"], data["error_code"]) == (
        "FAILED",
        "no face",
        "no_face_found",
    )


def test_generations_are_listed_bare_by_status_and_ids(api: Api):
    jobs = [api("POST", "/v2/generate", json=V2_BODY).json()["id"] for _ in range(3)]
    api.succeed(jobs[0])

    def ids(**params: object) -> list[str]:
        return [g["id"] for g in api("GET", "/v2/generations", params=params).json()]

    assert ids() == jobs[::-1]
    assert ids(status="COMPLETED") == [jobs[0]]
    assert ids(status=["COMPLETED", "PENDING"]) == jobs[::-1]
    assert ids(status="PROCESSING,FAILED") == []
    assert ids(ids=f"{jobs[2]},{jobs[0]}") == [jobs[2], jobs[0]]
    answer = api("GET", "/v2/generations", params={"status": "DONE"})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "invalid_options")


def test_an_unknown_generation_is_404_in_its_dialect(api: Api):
    data = api("GET", "/v2/generate/nope")
    assert data.status_code == 404
    assert data.json()["errorCode"] == data.json()["error_code"] == "job_not_found"


def test_the_models_are_a_bare_list(api: Api):
    data = api("GET", "/v2/models").json()
    assert [model["id"] for model in data][:2] == ["lipsync-2", "lipsync-2-pro"]
    assert {model["type"] for model in data} == {"lipsync"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "react-1"}, 400, "engine_not_found"),
        ({"model": ""}, 400, "invalid_options"),
        ({"input": []}, 400, "invalid_options"),
        ({"segments": [{"startTime": 0}]}, 400, "invalid_options"),
        ({"webhookUrl": "https://127.0.0.1/"}, 400, "source_unreachable"),
        ({"unknown": 1}, 400, "invalid_options"),
    ],
)
def test_a_bad_body_is_400_with_both_spellings_of_its_code(api: Api, change, status, code):
    answer = api("POST", "/v2/generate", json={**V2_BODY, **change})
    data = answer.json()
    assert answer.status_code == data["statusCode"] == status
    assert data["error_code"] == data["errorCode"] == code
    assert data["message"] == data["error_message"] != ""
    assert isinstance(data["detail"], list)


def test_requests_of_the_other_dialect_are_generations_too(api: Api):
    job = api.submit(sync_mode="loop")
    data = api("GET", f"/v2/generate/{job}").json()
    assert (data["status"], data["options"]) == ("PENDING", {"sync_mode": "loop"})
    generation = api("POST", "/v2/generate", json=V2_BODY).json()["id"]
    assert api("GET", f"/v1/requests/{generation}/result").json()["model_id"] == "lipsync-2"


@pytest.mark.parametrize("mode", ["bounce", "cut_off", "loop", "silence", "remap"])
def test_an_estimate_costs_nothing_and_counts_frames_exactly(api: Api, clip, voice, mode):
    body = body_of(api, clip, voice, options={"sync_mode": mode})
    answer = api("POST", "/v2/analyze/cost", json=body)
    length = Fraction(FRAMES) / RATE
    frames = plan_timeline(mode, video=length, audio=Fraction("0.8"), rate=RATE).frames
    assert answer.status_code == 200
    assert answer.json() == [{"estimatedFrameCount": frames, "estimatedGenerationCost": 0.0}]
    assert api("GET", "/v2/generations").json() == []


def test_an_estimate_reads_data_uris_and_keeps_nothing(api: Api, clip, voice):
    uris = [f"data:x/y;base64,{base64.b64encode(content).decode()}" for content in (clip, voice)]
    items = [{"type": "video", "url": uris[0]}, {"type": "audio", "url": uris[1]}]
    body = {"model": "lipsync-2", "input": items}
    assert api("POST", "/v2/analyze/cost", json=body).json()[0]["estimatedFrameCount"] == 20
    folder = api.services.settings.data_dir
    assert list((folder / "incoming").iterdir()) == []
    assert [p for p in (folder / "files").rglob("*") if p.is_file()] == []


def test_an_estimate_names_the_field_that_cannot_be_read_and_no_path(api: Api, clip, voice):
    answer = api("POST", "/v2/analyze/cost", json=body_of(api, voice, voice))
    data = answer.json()
    assert (answer.status_code, data["errorCode"]) == (400, "media_unreadable")
    assert data["detail"][0]["loc"] == ["body", "input", 0, "url"]
    assert str(api.services.settings.data_dir) not in answer.text
    answer = api("POST", "/v2/analyze/cost", json=body_of(api, clip, b"nonsense"))
    assert answer.json()["detail"][0]["loc"] == ["body", "input", 1, "url"]
    assert str(api.services.settings.data_dir) not in answer.text


def test_too_many_estimates_at_once_get_429_with_retry_after(api: Api, clip, voice):
    parts = api.app.state.deployment
    for _ in range(2):
        assert parts.estimate_slots.acquire(blocking=False)
    answer = api("POST", "/v2/analyze/cost", json=body_of(api, clip, voice))
    assert (answer.status_code, answer.json()["errorCode"]) == (429, "too_many_requests")
    assert int(answer.headers["retry-after"]) >= 1
    parts.estimate_slots.release()
    assert api("POST", "/v2/analyze/cost", json=body_of(api, clip, voice)).status_code == 200


def test_contract_errors_keep_their_own_dialect(api: Api):
    assert "errorCode" not in api("POST", CONTRACT, json={}).json()
    assert api("POST", "/v2/nothing", json={}).json()["errorCode"] == "not_found"
