"""Submitting jobs: sources, options, limits, idempotency."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api_parts import BODY, CONTRACT, V2_BODY, Api, open_api

DATA = "data:video/mp4;base64,AAAAGGZ0eXBtcDQyAAAAAG1wNDI="
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def files_in(api: Api) -> list[Path]:
    folder = api.services.settings.data_dir
    return [p for p in folder.rglob("*") if p.is_file() and "lipwright.sqlite3" not in p.name]


def test_an_uploaded_file_can_be_a_source_by_its_url(api: Api):
    upload = api("POST", "/v1/files", files={"file": ("talk.mp4", b"video")}).json()
    job = api.services.ledger.get(api.submit(video_url=upload["url"]))
    assert job.spec.payload["video"] == f"file:{upload['file_id']}"
    assert job.spec.input["video_url"] == upload["url"]


def test_an_upload_is_recognised_by_any_host_name(api: Api):
    upload = api("POST", "/v1/files", content=b"video").json()
    url = f"https://dub.example.org/api/v1/files/{upload['file_id']}"
    job = api.services.ledger.get(api.submit(video_url=url))
    assert job.spec.payload["video"] == f"file:{upload['file_id']}"


def test_an_upload_of_another_key_is_not_found(api: Api):
    upload = api("POST", "/v1/files", content=b"video").json()
    body = {**BODY, "video_url": upload["url"]}
    answer = api.plain("POST", CONTRACT, json=body, headers=api.another_key())
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "video_url"]
    assert answer.json()["detail"][0]["type"] == "source_unreachable"


def test_an_erased_upload_is_refused_at_once(api: Api):
    upload = api("POST", "/v1/files", content=b"video").json()
    assert api("DELETE", upload["url"]).status_code == 200
    answer = api("POST", CONTRACT, json={**BODY, "audio_url": upload["url"]})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "audio_url"]


def test_a_data_uri_becomes_an_upload_and_stays_out_of_the_row(api: Api):
    job = api.services.ledger.get(api.submit(video_url=DATA))
    assert job.spec.payload["video"].startswith("file:file_")
    assert job.spec.input["video_url"].startswith("http://testserver/v1/files/file_")
    assert api("GET", job.spec.input["video_url"]).content.startswith(b"\0\0\0\x18ftypmp42")


def test_the_same_data_uri_twice_is_stored_once(api: Api):
    job = api.services.ledger.get(api.submit(video_url=DATA, audio_url=DATA))
    assert job.spec.payload["video"] == job.spec.payload["audio"]
    assert len(files_in(api)) == 1


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("data:video/mp4;base64,!!!!", 422, "invalid_options"),
        ("data:,", 422, None),
        ("DATA:text/html,<html><body>x</body></html>", 422, "media_unreadable"),
        ("file:///etc/passwd", 422, "invalid_options"),
        ("http://media.example.org/talk.mp4", 422, "invalid_options"),
        ("https://127.0.0.1/talk.mp4", 422, "source_unreachable"),
        ("https://169.254.169.254/latest/meta-data", 422, "source_unreachable"),
        ("https://user:pass@media.example.org/x", 422, "invalid_options"),
        ("talk.mp4", 422, "invalid_options"),
        ("https://", 422, "invalid_options"),
        ("https://[::1", 422, "invalid_options"),
        ("https://media.example.org/" + "a" * 10_000, 413, "limit_exceeded"),
        ("http://testserver/v1/files/file_" + "0" * 32, 422, "source_unreachable"),
    ],
)
@pytest.mark.parametrize("field", ["video_url", "audio_url"])
def test_an_unusable_source_is_refused_with_its_field(api: Api, field, url, status, code):
    answer = api("POST", CONTRACT, json={**BODY, field: url})
    detail = answer.json()["detail"][0]
    assert answer.status_code == status
    assert detail["loc"] == ["body", field]
    assert code is None or detail["type"] == code
    assert api("GET", "/v1/requests").json()["requests"] == []
    assert files_in(api) == []


def test_a_data_uri_over_its_limit_is_413(tmp_path: Path):
    with open_api("memory", tmp_path, max_data_uri_bytes=10) as api:
        answer = api("POST", CONTRACT, json={**BODY, "video_url": DATA})
        assert answer.status_code == 413
        assert answer.json()["detail"][0]["loc"] == ["body", "video_url"]
        assert files_in(api) == []


def test_the_first_source_is_removed_when_the_second_is_refused(api: Api):
    answer = api("POST", CONTRACT, json={"video_url": DATA, "audio_url": "file:///x"})
    assert answer.status_code == 422
    assert files_in(api) == []


@pytest.mark.parametrize("url", ["https://10.0.0.1/hook", "http://example.org", "x", "file:///x"])
def test_a_webhook_url_gets_the_checks_of_a_source(api: Api, url):
    answer = api("POST", CONTRACT, json={**BODY, "lipwright": {"webhook_url": url}})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "lipwright", "webhook_url"]


def test_a_webhook_url_is_kept_with_the_request(api: Api):
    hook = "https://hooks.example.org/x"
    job = api.services.ledger.get(api.submit(lipwright={"webhook_url": hook}))
    assert job.spec.webhook_url == hook
    api.succeed(job.id)
    data = api("GET", f"/v1/requests/{job.id}/webhooks").json()["webhooks"]
    assert [(call["url"], call["state"], call["attempts"]) for call in data] == [
        (hook, "pending", 0)
    ]


def test_a_dead_webhook_is_listed_with_its_error(api: Api):
    job = api.submit(lipwright={"webhook_url": "https://hooks.example.org/x"})
    assert api("GET", f"/v1/requests/{job}/webhooks").json() == {"webhooks": []}
    api.succeed(job)
    (call,) = api.services.deliveries.claim_due(1, 30.0)
    api.services.deliveries.mark_dead(call.id, "answers 410")
    (data,) = api("GET", f"/v1/requests/{job}/webhooks").json()["webhooks"]
    assert data == {
        "webhook_id": call.id, "url": "https://hooks.example.org/x", "state": "dead",
        "attempts": 1, "next_at": None, "last_error": "answers 410",
    }  # fmt: skip


def test_options_with_values_of_the_wrong_kind_are_refused_by_name(api: Api):
    answer = api("POST", CONTRACT, json={**BODY, "lipwright": {"restore": True, "size": "8k"}})
    assert answer.status_code == 422
    assert [d["loc"][-1] for d in answer.json()["detail"]] == ["restore", "size"]


def test_a_trace_context_is_kept_if_it_is_valid(api: Api):
    for given, kept in ((TRACE, TRACE), ("nonsense", None), (None, None)):
        headers = {"traceparent": given} if given else {}
        answer = api("POST", CONTRACT, json=BODY, headers=headers)
        assert api.services.ledger.get(answer.json()["request_id"]).spec.trace == kept


def test_the_log_of_a_submit_joins_the_http_request_id_and_the_job_id(api: Api, caplog):
    caplog.set_level("INFO", "lipwright.server")
    answer = api("POST", CONTRACT, json=BODY, headers={"X-Request-Id": "http-1"})
    records = [record for record in caplog.records if record.getMessage() == "job submitted"]
    ids = [(record.http_request_id, record.job_id) for record in records]
    assert ids == [("http-1", answer.json()["request_id"])]


# -- idempotency ----------------------------------------------------------------------------------


def submit(api: Api, body: object, key: str, url: str = CONTRACT, **headers: str):
    return api("POST", url, json=body, headers={"Idempotency-Key": key, **headers})


def test_the_same_key_and_body_replay_the_first_answer(api: Api):
    first, again = submit(api, BODY, "k1"), submit(api, dict(reversed(BODY.items())), "k1")
    assert again.status_code == first.status_code == 200
    assert again.json() == first.json()
    assert len(api("GET", "/v1/requests").json()["requests"]) == 1


def test_the_answer_is_replayed_after_the_request_has_ended(api: Api):
    first = submit(api, BODY, "k1").json()
    api.succeed(first["request_id"])
    assert submit(api, BODY, "k1").json() == first


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ({**BODY, "sync_mode": "loop"}, CONTRACT),
        (BODY, "/v1/models/lipwright/passthrough"),
    ],
)
def test_the_same_key_with_another_body_or_model_is_422(api: Api, body, url):
    submit(api, BODY, "k1")
    answer = submit(api, body, "k1", url)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "idempotency_conflict"


def test_idempotency_keys_of_different_callers_are_independent(api: Api):
    mine = submit(api, BODY, "k1").json()
    headers = {**api.another_key(), "Idempotency-Key": "k1"}
    other = api.plain("POST", CONTRACT, json=BODY, headers=headers).json()
    assert other["request_id"] != mine["request_id"]


def test_a_replay_with_a_data_uri_stores_nothing_twice(api: Api):
    body = {**BODY, "video_url": DATA}
    first = submit(api, body, "k1").json()
    assert submit(api, body, "k1").json() == first
    assert len(files_in(api)) == 1


@pytest.mark.parametrize("key", ["a b", "x" * 256, "\x01"])
def test_an_unusable_idempotency_key_is_refused(api: Api, key):
    answer = submit(api, BODY, key)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]


def test_sync_v2_has_idempotency_too(api: Api):
    first = submit(api, V2_BODY, "k1", "/v2/generate")
    assert submit(api, V2_BODY, "k1", "/v2/generate").json()["id"] == first.json()["id"]
    other = submit(api, {**V2_BODY, "options": {"sync_mode": "loop"}}, "k1", "/v2/generate")
    assert (other.status_code, other.json()["errorCode"]) == (400, "idempotency_conflict")


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_over_the_rate_limit_the_response_has_retry_after(tmp_path: Path, kind):
    with open_api(kind, tmp_path, submits_per_minute=2) as api:
        answers = [api("POST", CONTRACT, json=BODY) for _ in range(3)]
        assert [a.status_code for a in answers] == [200, 200, 429]
        assert answers[2].json()["error_code"] == 429001
        assert 1 <= int(answers[2].headers["retry-after"]) <= 60
        assert api("GET", "/v1/requests").status_code == 200


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_full_queue_is_429_and_files_are_removed(tmp_path: Path, kind):
    with open_api(kind, tmp_path, max_queued_per_key=1) as api:
        api.submit()
        answer = api("POST", CONTRACT, json={**BODY, "video_url": DATA})
        assert answer.status_code == 429
        assert "retry-after" in answer.headers
        assert files_in(api) == []


def test_a_key_may_have_its_own_limits(api: Api):
    headers = api.another_key(max_queued=1)
    codes = [api.plain("POST", CONTRACT, json=BODY, headers=headers).status_code for _ in range(2)]
    assert codes == [200, 429]


def test_a_body_over_its_limit_is_413(tmp_path: Path):
    with open_api("memory", tmp_path, max_json_bytes=200) as api:
        answer = api("POST", CONTRACT, content=json.dumps({**BODY, "x": "y" * 200}))
        assert (answer.status_code, answer.json()["error_code"]) == (413, 413001)
        assert api("POST", CONTRACT, json=BODY).status_code == 200


def test_a_long_url_with_the_path_of_an_upload_is_refused(api: Api):
    url = str(api("POST", "/v1/files", content=b"bytes").json()["url"])
    long = url.replace("/v1/", f"/{'x' * 10_000}/v1/")
    answer = api("POST", CONTRACT, json={**BODY, "video_url": long})
    assert answer.status_code == 413
    assert answer.json()["detail"][0]["loc"] == ["body", "video_url"]
