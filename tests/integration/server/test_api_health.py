"""Health, metrics, HTTP request ids and logs."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from starlette.responses import StreamingResponse

from api_parts import BODY, CONTRACT, Api, open_api
from lipwright.errors import PublishFailed, QueueUnavailable
from lipwright.jobs.ledger import database as database_module


def break_database(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise QueueUnavailable("the database is locked")

    for part in (api.services.ledger, api.services.keys):
        for name in ("counts", "submit", "get", "list_jobs", "cancel", "erase", "verify"):
            if hasattr(part, name):
                monkeypatch.setattr(type(part), name, away)


def test_a_live_process_is_healthy(api: Api):
    assert api.plain("GET", "/healthz").json() == {"status": "ok"}


def test_a_working_service_is_ready(api: Api):
    answer = api.plain("GET", "/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "checks": {"database": "ok", "storage": "ok", "workers": "ok"}
    }  # fmt: skip


def test_without_its_database_the_service_is_alive_but_not_ready(api: Api, monkeypatch):
    break_database(api, monkeypatch)
    answer = api.plain("GET", "/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
    assert answer.json()["checks"]["database"] == "the database is locked"
    assert api.plain("GET", "/healthz").status_code == 200


@pytest.mark.parametrize(
    "method_path", [("GET", "/v1/models"), ("POST", CONTRACT), ("GET", "/v2/generations")]
)
def test_without_its_database_calls_return_503_with_retry_after(api: Api, monkeypatch, method_path):
    break_database(api, monkeypatch)
    answer = api(*method_path)
    assert answer.status_code == 503
    assert answer.json()["error_code"] in (503001, "queue_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_without_its_storage_the_service_is_not_ready(api: Api, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise PublishFailed("no space left")

    monkeypatch.setattr(type(api.services.storage), "put", full)
    answer = api.plain("GET", "/readyz")
    assert (answer.status_code, answer.json()["checks"]["storage"]) == (503, "no space left")


def test_with_a_dead_worker_the_service_is_not_ready(api: Api):
    alive = {"slot-0": True, "slot-1": False}
    object.__setattr__(api.app.state.deployment, "workers", lambda: alive)
    answer = api.plain("GET", "/readyz")
    assert answer.status_code == 503
    assert "slot-1" in answer.json()["checks"]["workers"]
    assert "slot-0" not in answer.json()["checks"]["workers"]
    alive["slot-1"] = True
    assert api.plain("GET", "/readyz").status_code == 200


def test_a_closing_service_is_not_ready(api: Api):
    api.app.state.deployment.closing.set()
    assert api.plain("GET", "/readyz").status_code == 503


def test_metrics_follow_the_jobs(api: Api):
    def value(line: str) -> float:
        shown = api.plain("GET", "/metrics").text
        found = re.search(rf"^{re.escape(line)} (\S+)$", shown, re.MULTILINE)
        return float(found[1]) if found else 0.0

    jobs = [api.submit() for _ in range(3)]
    assert value("lipwright_jobs_waiting") == 3
    api.run(jobs[0])
    assert value("lipwright_jobs_running") == 1
    api.succeed(jobs[1], timings={"paint": 5.0})
    api.fail(jobs[2], "no_face_found", "none")
    assert value('lipwright_jobs_ended_total{state="succeeded"}') == 1
    assert value('lipwright_jobs_failed_total{code="no_face_found"}') == 1
    assert value('lipwright_stage_seconds_total{stage="paint"}') == 5
    assert value("lipwright_frames_total") == 50
    assert value("lipwright_frames_per_second") == 10
    assert value(
        'lipwright_http_requests_total{method="POST",route="/v1/models/{model_id:path}",status="200"}'
    ) == 3  # fmt: skip


def test_metrics_are_labelled_by_route_pattern_only(api: Api):
    for path in ("/wp-admin", "/v1/requests/secret-id/status", "/v2/zzz"):
        api("GET", path)
    api.plain("BREW", "/v1/models")
    shown = api.plain("GET", "/metrics").text
    assert "wp-admin" not in shown
    assert "secret-id" not in shown
    assert "BREW" not in shown
    assert 'route="(none)"' in shown


def test_metrics_have_the_content_type_of_prometheus(api: Api):
    answer = api.plain("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


# -- around every call ----------------------------------------------------------------------------


def test_the_http_request_id_is_returned_or_created(api: Api):
    given = api.plain("GET", "/healthz", headers={"X-Request-Id": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = api.plain("GET", "/healthz", headers={"X-Request-Id": "a b"}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert api.plain("GET", "/nothing").headers["x-request-id"]


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the service logged; the client of the test logs too."""
    return [record for record in caplog.records if record.name == "lipwright.server"]


def test_every_call_is_logged_with_its_status_and_without_its_query(api: Api, caplog):
    caplog.set_level("INFO")
    job = api.submit()
    api.succeed(job)
    url = api("GET", f"/v1/requests/{job}/result").json()["output"]["video"]
    caplog.clear()
    api.plain("GET", url)
    (record,) = ours(caplog)
    assert record.getMessage() == f"GET /v1/outputs/{job}/video.mp4"
    assert record.status == 200
    assert not any("signature" in str(value) for value in vars(record).values())


def test_health_calls_are_logged_only_when_they_fail(api: Api, caplog):
    caplog.set_level("INFO")
    api.plain("GET", "/healthz")
    api.plain("GET", "/readyz")
    assert ours(caplog) == []
    api.app.state.deployment.closing.set()
    api.plain("GET", "/readyz")
    assert len(ours(caplog)) == 1


def test_an_unhandled_error_is_500_without_details_and_logged_with_them(
    api: Api, monkeypatch, caplog
):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(api.services.ledger), "list_jobs", broken)
    for path in ("/v1/requests", "/v2/generations"):
        answer = api("GET", path, headers={"X-Request-Id": "abc"})
        assert answer.status_code == 500
        assert "secret detail" not in answer.text
        assert answer.headers["x-request-id"] == "abc"
        assert answer.json()["detail"][0]["type"] == "error"
    assert "RuntimeError: secret detail" in caplog.text
    caplog.clear()  # an error that this test asked for


def test_a_broken_response_is_not_followed_by_another(api: Api, caplog):
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise RuntimeError("disk gone")

    api.app.add_api_route("/broken", lambda: StreamingResponse(pieces()))
    with pytest.raises(ConnectionError):
        api.plain("GET", "/broken")
    caplog.clear()


@pytest.mark.parametrize("path", ["/v1/models", CONTRACT, "/v2/models", "/healthz", "/nothing"])
def test_no_response_may_be_cached_or_sniffed(api: Api, path):
    headers = api("GET", path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_a_wrong_method_lists_the_allowed_ones(api: Api):
    answer = api("PUT", "/v1/requests")
    assert (answer.status_code, answer.json()["error_code"]) == (405, 405001)
    assert answer.headers["allow"] == "GET"
    assert "PUT is not allowed here: use GET" in answer.json()["error_message"]


def test_an_unknown_path_links_to_the_documentation(api: Api):
    answer = api("GET", "/v3/x")
    assert (answer.status_code, answer.json()["error_code"]) == (404, 404001)
    assert "/docs" in answer.json()["error_message"]


def test_a_path_with_a_trailing_slash_is_not_redirected(api: Api):
    answer = api("POST", f"{CONTRACT}/", json=BODY)
    assert answer.status_code == 404
    assert json.loads(answer.text)["error_code"] == 400001


def test_no_response_contains_the_path_of_the_database(tmp_path: Path, monkeypatch):
    with open_api("sqlite", tmp_path) as api:
        monkeypatch.setattr(database_module, "_fsync", lambda path: path.with_name("no").stat())
        answer = api("POST", CONTRACT, json=BODY)
        assert answer.status_code == 503
        assert "No such file" in answer.json()["error_message"]
        assert str(tmp_path) not in answer.text


def test_no_response_contains_the_address_of_the_database_server(api: Api, monkeypatch):
    def away(*_: object) -> None:
        with database_module._database_errors():
            cause = Exception('connection to "10.0.0.5" failed: wrong password of user "dub"')
            raise sa.exc.OperationalError("SELECT", {}, cause)

    monkeypatch.setattr(type(api.services.ledger), "counts", away)
    data = api.plain("GET", "/readyz").text
    assert "the database is unavailable; try again" in data
    assert "10.0.0.5" not in data


def test_a_failure_of_the_database_logs_no_values(tmp_path: Path, caplog):
    with open_api("sqlite", tmp_path) as api:
        database = database_module.open_database(api.services.settings.database)
        with database.write() as tx:
            tx.exec_driver_sql("DROP TABLE lw_holds")
            tx.exec_driver_sql("DROP TABLE lw_backlog")
        database.close()
        body = {**BODY, "lipwright": {"webhook_url": "https://hooks.example.org/secret-path"}}
        assert api("POST", CONTRACT, json=body).status_code == 500
    assert "no such table" in caplog.text
    assert "secret-path" not in caplog.text
