"""Every call of RunComfy's Model API, on each kind of ledger."""

from __future__ import annotations

from datetime import datetime

import pytest

from api_parts import BASE, BODY, CONTRACT, Api, open_api
from lipwright.jobs.model import State
from lipwright.jobs.payload import JobPayload
from lipwright.options import SyncOptions

MISSING = "6f1c0d5e-8a53-4d0c-9a3e-0d2f6a1b7c42"


def test_a_submitted_request_is_queued_and_has_absolute_urls(api: Api):
    answer = api("POST", CONTRACT, json=BODY)
    data = answer.json()
    job = data["request_id"]
    assert answer.status_code == 200
    assert data == {
        "request_id": job,
        "status_url": f"{BASE}/v1/requests/{job}/status",
        "result_url": f"{BASE}/v1/requests/{job}/result",
        "cancel_url": f"{BASE}/v1/requests/{job}/cancel",
    }
    stored = api.services.ledger.get(job)
    assert stored.state is State.IN_QUEUE
    assert (stored.spec.key_id, stored.spec.engine) == (api.key.id, "exemplar")
    payload = JobPayload.from_json(stored.spec.payload)
    assert (payload.video, payload.audio) == (BODY["video_url"], BODY["audio_url"])
    assert payload.options == SyncOptions()


def test_a_request_goes_through_its_states(api: Api):
    job = api.submit()
    urls = {"status_url": f"{BASE}/v1/requests/{job}/status",
            "result_url": f"{BASE}/v1/requests/{job}/result"}  # fmt: skip
    status = f"/v1/requests/{job}/status"
    assert api("GET", status).json() == {
        "request_id": job, "status": "in_queue", "queue_position": 0, **urls
    }  # fmt: skip
    running = api.run(job)
    assert api("GET", status).json() == {"request_id": job, "status": "in_progress", **urls}
    assert api.services.ledger.finish(
        job, running.epoch, output={"video": f"jobs/{job}/video.mp4"}, failure=None
    )
    assert api("GET", status).json() == {"request_id": job, "status": "completed", **urls}


def test_the_position_counts_the_requests_ahead(api: Api):
    jobs = [api.submit() for _ in range(3)]
    places = [api("GET", f"/v1/requests/{job}/status").json()["queue_position"] for job in jobs]
    assert places == [0, 1, 2]
    api.run(jobs[0])
    assert api("GET", f"/v1/requests/{jobs[2]}/status").json()["queue_position"] == 1


def test_an_early_result_is_only_a_status(api: Api):
    job = api.submit()
    answer = api("GET", f"/v1/requests/{job}/result")
    data = answer.json()
    assert answer.status_code == 200
    assert datetime.fromisoformat(data.pop("created_at")).utcoffset() is not None
    assert data == {
        "request_id": job, "status": "in_queue", "output": None, "finished_at": None,
        "error": None, "warnings": [], "model_id": "sync/sync/lipsync/v2/pro",
    }  # fmt: skip


def test_a_good_result_can_be_downloaded_without_a_key(api: Api):
    job = api.submit()
    api.succeed(job, video=b"the dub")
    data = api("GET", f"/v1/requests/{job}/result").json()
    output = data["output"]
    assert data["status"] == "succeeded"
    assert data["finished_at"].endswith("+00:00")
    assert output["videos"] == [output["video"]]
    assert output["images"] == [output["image"]]
    answer = api.plain("GET", output["video"])
    assert (answer.status_code, answer.content) == (200, b"the dub")
    assert answer.headers["content-type"] == "video/mp4"


def test_a_failed_request_is_completed_and_its_result_says_why(api: Api):
    job = api.submit()
    api.fail(job, "no_face_found", "no face in the video")
    assert api("GET", f"/v1/requests/{job}/status").json()["status"] == "completed"
    answer = api("GET", f"/v1/requests/{job}/result")
    data = answer.json()
    assert (answer.status_code, data["status"], data["output"]) == (200, "failed", None)
    assert data["error"] == {"code": "no_face_found", "message": "no face in the video"}


def test_a_queued_request_can_be_cancelled_once(api: Api):
    job = api.submit()
    cancel = f"/v1/requests/{job}/cancel"
    assert api("POST", cancel).json() == {
        "request_id": job, "status": "cancelled", "outcome": "cancelled"
    }  # fmt: skip
    again = api("POST", cancel)
    assert again.status_code == 200
    assert again.json()["outcome"] == "not_cancellable"
    assert api("GET", f"/v1/requests/{job}/status").json()["status"] == "cancelled"
    assert api("GET", f"/v1/requests/{job}/result").json()["status"] == "cancelled"
    assert api.services.ledger.claim(job, "tester") is None


def test_a_running_or_ended_request_is_not_cancellable(api: Api):
    running, ended = api.submit(), api.submit()
    api.run(running)
    api.succeed(ended)
    outcomes = [api("POST", f"/v1/requests/{job}/cancel").json() for job in (running, ended)]
    assert outcomes == [
        {"request_id": running, "status": "in_progress", "outcome": "not_cancellable"},
        {"request_id": ended, "status": "completed", "outcome": "not_cancellable"},
    ]


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("GET", "/status"),
        ("GET", "/result"),
        ("POST", "/cancel"),
        ("GET", "/events"),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("job", [MISSING, "x", "%00", "..%2f..", "%ff", "a" * 5000])
def test_an_unknown_request_is_404_in_every_call(api: Api, method, call, job):
    answer = api(method, f"/v1/requests/{job}{call}")
    assert answer.status_code == 404
    assert answer.json()["error_code"] == 404001


@pytest.mark.parametrize(
    "model", ["sync/sync/lipsync/v2", "nope", "sync%2Fother", "%00", "a/" * 500]
)
def test_an_unknown_model_is_400001(api: Api, model):
    for method in ("POST", "GET"):
        answer = api(method, f"/v1/models/{model}", **({"json": BODY} if method == "POST" else {}))
        assert answer.status_code == 404
        assert answer.json()["error_code"] == 400001


def test_a_model_id_may_come_with_its_slashes_encoded(api: Api):
    answer = api("POST", "/v1/models/sync%2Fsync%2Flipsync%2Fv2%2Fpro", json=BODY)
    assert answer.status_code == 200


def test_every_engine_is_a_model(api: Api):
    answer = api("POST", "/v1/models/lipwright/passthrough", json=BODY)
    job = api.services.ledger.get(answer.json()["request_id"])
    assert (job.spec.engine, job.spec.model_id) == ("passthrough", "lipwright/passthrough")


def test_the_models_can_be_listed_and_searched(api: Api):
    data = api("GET", "/v1/models").json()
    assert data["total"] == len(data["models"]) >= 3
    assert data["models"][0]["model_id"] == "sync/sync/lipsync/v2/pro"
    assert "input_schema" not in data["models"][0]
    found = api("GET", "/v1/models", params={"search": "passthrough", "include_schema": "true"})
    (model,) = found.json()["models"]
    assert model["input_schema"]["required"] == ["video_url", "audio_url"]
    page = api("GET", "/v1/models", params={"limit": 1, "offset": 1}).json()
    assert len(page["models"]) == 1
    assert page["total"] == data["total"]
    assert api("GET", "/v1/models", params={"category": "text-to-image"}).json()["models"] == []
    assert api("GET", "/v1/models/categories").json() == {
        "categories": ["lip-sync", "video-to-video"]
    }


def test_a_model_is_described_with_its_schemas(api: Api):
    data = api("GET", CONTRACT).json()
    assert data["model_id"] == "sync/sync/lipsync/v2/pro"
    assert data["input_schema"]["properties"]["sync_mode"]["default"] == "cut_off"
    assert set(data["output_schema"]["properties"]) == {"video", "videos", "image", "images"}


def test_requests_are_listed_newest_first_by_pages(api: Api):
    jobs = [api.submit() for _ in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = api("GET", "/v1/requests", params=params).json()
        seen += [row["request_id"] for row in page["requests"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == jobs[::-1]


def test_a_list_can_be_limited_to_a_status(api: Api):
    good, bad, waiting = api.submit(), api.submit(), api.submit()
    api.succeed(good)
    api.fail(bad, "media_unreadable", "damaged")

    def ids(status: str) -> list[str]:
        rows = api("GET", "/v1/requests", params={"status": status}).json()["requests"]
        return [row["request_id"] for row in rows]

    assert ids("in_queue") == [waiting]
    assert ids("completed") == [bad, good]
    assert ids("failed") == [bad]
    assert ids("cancelled") == []


def test_erasing_removes_request_result_and_inputs(api: Api):
    audio = api("POST", "/v1/files", content=b"voice").json()
    job = api.submit(audio_url=audio["url"], video_url="data:video/mp4;base64,AAAAGGZ0eXBtcDQy")
    api.succeed(job)
    assert api("DELETE", f"/v1/requests/{job}").json() == {"request_id": job, "erased": True}
    assert api("GET", f"/v1/requests/{job}/status").status_code == 404
    assert api("GET", audio["url"]).status_code == 404
    assert api("GET", "/v1/requests").json()["requests"] == []
    kept = [path for path in api.services.settings.data_dir.rglob("*") if path.is_file()]
    assert [path for path in kept if "files" in path.parts] == []


def test_an_upload_that_another_request_reads_survives_erasing(api: Api):
    url = api("POST", "/v1/files", content=b"voice").json()["url"]
    first, second = api.submit(audio_url=url), api.submit(audio_url=url)
    assert api("DELETE", f"/v1/requests/{first}").status_code == 200
    assert api("GET", url).content == b"voice"
    assert api("DELETE", f"/v1/requests/{second}").status_code == 200
    assert api("GET", url).status_code == 404


def test_a_running_request_cannot_be_erased(api: Api):
    job = api.submit()
    api.run(job)
    answer = api("DELETE", f"/v1/requests/{job}")
    assert (answer.status_code, answer.json()["error_code"]) == (409, 409001)
    assert api("GET", f"/v1/requests/{job}/status").status_code == 200


def test_an_ended_request_has_one_event(api: Api):
    job = api.submit()
    api.succeed(job)
    answer = api("GET", f"/v1/requests/{job}/events", headers={"Last-Event-ID": "7"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: ") == 1
    assert "id: 8\nevent: state\n" in answer.text


def test_links_begin_with_the_public_url_when_there_is_one(tmp_path):
    with open_api("memory", tmp_path, public_url="https://dub.example.org/api/") as api:
        data = api("POST", CONTRACT, json=BODY).json()
        job = data["request_id"]
        assert data["status_url"] == f"https://dub.example.org/api/v1/requests/{job}/status"


@pytest.mark.parametrize("host", ["evil.example\r\n", "a b", "x/y", "http://x", "", "a@b"])
def test_a_malformed_host_is_not_used_in_links(tmp_path, host):
    with open_api("memory", tmp_path) as api:
        data = api("POST", CONTRACT, json=BODY, headers={"Host": host}).json()
        assert data["status_url"].startswith("http://127.0.0.1:8800/v1/requests/")
