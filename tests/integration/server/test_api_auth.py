"""Authentication, and isolation between API keys."""

from __future__ import annotations

import pytest

from api_parts import BODY, CONTRACT, V2_BODY, Api

JOB = "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42"
CALLS = [
    ("POST", CONTRACT),
    ("GET", CONTRACT),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/categories"),
    ("GET", "/v1/requests"),
    ("GET", f"/v1/requests/{JOB}/status"),
    ("GET", f"/v1/requests/{JOB}/result"),
    ("GET", f"/v1/requests/{JOB}/events"),
    ("GET", f"/v1/requests/{JOB}/webhooks"),
    ("POST", f"/v1/requests/{JOB}/cancel"),
    ("DELETE", f"/v1/requests/{JOB}"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files/file_x"),
    ("DELETE", "/v1/files/file_x"),
    ("POST", "/v2/generate"),
    ("GET", f"/v2/generate/{JOB}"),
    ("GET", "/v2/generations"),
    ("GET", "/v2/models"),
    ("POST", "/v2/analyze/cost"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_without_a_key_is_refused_in_its_dialect(api: Api, method, path):
    answer = api.plain(method, path)
    data = answer.json()
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if path.startswith("/v2/"):
        assert (data["errorCode"], data["statusCode"]) == ("access_denied", 401)
    else:
        assert data["error_code"] == 400004


def test_every_call_of_the_document_is_in_the_list_above_or_public(api: Api):
    document = api.plain("GET", "/openapi.json").json()
    secured = {
        (method.upper(), path)
        for path, calls in document["paths"].items()
        for method, call in calls.items()
        if "security" in call
    }
    assert len(secured) == len(CALLS)
    assert {path for _, path in secured} == {
        "/v1/models/{model_id}", "/v1/models", "/v1/models/categories", "/v1/requests",
        "/v1/requests/{request_id}/status", "/v1/requests/{request_id}/result",
        "/v1/requests/{request_id}/events", "/v1/requests/{request_id}/webhooks",
        "/v1/requests/{request_id}/cancel",
        "/v1/requests/{request_id}", "/v1/files", "/v1/files/{file_id}", "/v2/generate",
        "/v2/generate/{id}", "/v2/generations", "/v2/models", "/v2/analyze/cost",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/healthz", "/openapi.json", "/docs", "/docs/docs.js", "/metrics"]
)
def test_health_metrics_and_documents_are_public(api: Api, path):
    assert api.plain("GET", path).status_code == 200


def test_a_key_is_accepted_in_either_header(api: Api):
    secret = api.secret
    for headers in (
        {"Authorization": f"Bearer {secret}"},
        {"authorization": f"bearer  {secret} "},
        {"x-api-key": secret},
        {"X-API-Key": f" {secret} "},
    ):
        assert api.plain("GET", "/v1/models", headers=headers).status_code == 200
        assert api.plain("GET", "/v2/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic {secret}"},
        {"Authorization": "{secret}"},
        {"Authorization": "Bearer {secret}x"},
        {"Authorization": "Bearer {short}"},
        {"Authorization": "Bearer " + "x" * 10_000},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": "Bearer wrong", "x-api-key": "{secret}"},
        {"x-api-key": ""},
        {"x-api-key": "{secret} {secret}"},
        {"x-api-key": "' OR 1=1 --"},
    ],
)
def test_all_invalid_keys_get_the_same_response(api: Api, headers):
    filled = {
        name: value
        if isinstance(value, bytes)
        else value.replace("{secret}", api.secret).replace("{short}", api.secret[:-1])
        for name, value in headers.items()
    }
    answer = api.plain("GET", "/v1/models", headers=filled)
    missing = api.plain("GET", "/v1/models")
    assert answer.status_code == 401
    assert answer.json() == missing.json()
    assert api.secret not in answer.text


def test_a_revoked_key_is_refused_at_once(api: Api):
    assert api("GET", "/v1/models").status_code == 200
    api.services.keys.revoke(api.key.id)
    assert api("GET", "/v1/models").status_code == 401


def test_a_wrong_key_is_refused_before_the_body_is_parsed(api: Api):
    answer = api.plain("POST", CONTRACT, content=b"{broken", headers={"x-api-key": "wrong"})
    assert answer.status_code == 401


def test_another_keys_request_is_not_found_by_any_call(api: Api):
    job = api.submit()
    other = api.another_key()
    answers = [
        api.plain(method, path, headers=other)
        for method, path in (
            ("GET", f"/v1/requests/{job}/status"),
            ("GET", f"/v1/requests/{job}/result"),
            ("GET", f"/v1/requests/{job}/events"),
            ("GET", f"/v1/requests/{job}/webhooks"),
            ("POST", f"/v1/requests/{job}/cancel"),
            ("DELETE", f"/v1/requests/{job}"),
            ("GET", f"/v2/generate/{job}"),
        )
    ]
    missing = api.plain("GET", f"/v1/requests/{JOB}/status", headers=other)
    assert [answer.status_code for answer in answers] == [404] * 7
    assert answers[0].json().keys() == missing.json().keys()
    assert answers[0].json()["error_message"].replace(job, JOB) == missing.json()["error_message"]
    assert api("GET", f"/v1/requests/{job}/status").json()["status"] == "in_queue"


def test_lists_show_only_the_callers_own(api: Api):
    mine = api.submit()
    other = api.another_key()
    theirs = api.plain("POST", CONTRACT, json=BODY, headers=other).json()["request_id"]
    assert [r["request_id"] for r in api("GET", "/v1/requests").json()["requests"]] == [mine]
    assert [g["id"] for g in api("GET", "/v2/generations").json()] == [mine]
    shown = api.plain("GET", "/v2/generations", headers=other, params={"ids": f"{mine},{theirs}"})
    assert [g["id"] for g in shown.json()] == [theirs]


def test_the_priority_of_a_key_decides_the_queue_position(api: Api):
    slow = api.submit()
    fast = api.plain("POST", CONTRACT, json=BODY, headers=api.another_key(priority=1)).json()
    assert api("GET", f"/v1/requests/{slow}/status").json()["queue_position"] == 1
    assert api.services.ledger.get(fast["request_id"]).spec.priority == 1


def test_a_key_and_its_secret_never_reach_the_log(api: Api, caplog):
    caplog.set_level("DEBUG")
    api("POST", "/v2/generate", json=V2_BODY)
    api.plain("GET", "/v1/models", headers={"x-api-key": "lw_wrong-secret"})
    assert "POST /v2/generate" in caplog.text
    assert api.secret not in caplog.text
    assert "lw_wrong-secret" not in caplog.text
