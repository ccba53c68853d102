from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from fake_service import (
    ADAPTERS,
    ID,
    KEY,
    URL,
    ClientAdapter,
    Make,
    Reply,
    Script,
    answer,
    refusal,
    reply,
    stream,
)
from lipwright import JobResult, JobState, SpeakerPick, SyncMode, SyncOptions
from lipwright.client import flows
from lipwright.errors import (
    AccessDenied,
    Cancelled,
    InvalidOptions,
    JobError,
    JobNotFinished,
    JobNotFound,
    LimitExceeded,
    NoFaceFound,
    OutputUnwritable,
    ServiceUnavailable,
    SourceUnreachable,
    TooManyRequests,
)

MODEL = "POST /v1/models/sync/sync/lipsync/v2/pro"
STATUS, RESULT = f"GET /v1/requests/{ID}/status", f"GET /v1/requests/{ID}/result"
EVENTS, CANCEL = f"GET /v1/requests/{ID}/events", f"POST /v1/requests/{ID}/cancel"
FILES = "POST /v1/files"
VIDEO, AUDIO = "https://media.example.org/talk.mp4", "https://media.example.org/speech.mp3"
TAKEN = answer(201, request_id=ID, status_url="s", result_url="r", cancel_url="c")
WAITING = answer(request_id=ID, status="in_queue", queue_position=3)
DONE = answer(
    request_id=ID,
    status="succeeded",
    output={"video": f"{URL}/v1/outputs/{ID}/video.mp4?sig=1", "videos": []},
    created_at="2026-01-31T12:00:00+00:00",
    finished_at="2026-01-31T12:01:00+00:00",
    error=None,
    model_id="lipwright/passthrough",
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take no time."""
    monkeypatch.setattr(flows, "RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(flows, "PERSISTENT_RETRY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(flows, "FIRST_POLL", 0.0)
    monkeypatch.setattr(flows, "MAX_POLL", 0.0)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(params=list(ADAPTERS))
def client(request: pytest.FixtureRequest, script: Script) -> Iterator[ClientAdapter]:
    adapter = ADAPTERS[request.param](script)
    yield adapter
    adapter.close()


# ---------------------------------------------------------------------------------------- submit
def test_a_plain_job_is_sent_as_the_plain_contract(client: ClientAdapter, script: Script):
    script.on(MODEL, TAKEN)
    assert client.submit(VIDEO, AUDIO) == ID
    assert json.loads(script.bodies[0]) == {
        "video_url": VIDEO,
        "audio_url": AUDIO,
        "sync_mode": "cut_off",
    }
    headers = script.seen[0].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"


def test_our_own_options_are_in_their_own_object(client: ClientAdapter, script: Script):
    script.on("POST /v1/models/lipwright/passthrough", TAKEN)
    options = SyncOptions(
        mode=SyncMode.LOOP,
        speaker=SpeakerPick(x=1, y=2, seconds=3),
        allow_no_face=True,
        intensity=0.5,
        crf=20,
    )
    client.submit(
        VIDEO,
        AUDIO,
        options=options,
        model_id="lipwright/passthrough",
        seed=0,
        webhook_url="https://me.example.org/hook",
    )
    body = json.loads(script.bodies[0])
    assert body["sync_mode"] == "loop"
    assert body["lipwright"] == {
        "speaker": [1, 2, 3],
        "allow_no_face": True,
        "intensity": 0.5,
        "crf": 20,
        "seed": 0,
        "webhook_url": "https://me.example.org/hook",
    }


def test_a_submit_is_retried_with_one_idempotency_key(client: ClientAdapter, script: Script):
    script.on(MODEL, httpx.ReadError("broke"), answer(502), TAKEN)
    client.submit(VIDEO, AUDIO)
    keys = [request.headers["Idempotency-Key"] for request in script.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    client.submit(VIDEO, AUDIO)
    assert script.seen[-1].headers["Idempotency-Key"] not in keys
    client.submit(VIDEO, AUDIO, idempotency_key="mine")
    assert script.seen[-1].headers["Idempotency-Key"] == "mine"


def test_files_are_uploaded_once_each_and_named_by_their_url(
    client: ClientAdapter, script: Script, tmp_path: Path
):
    talk = tmp_path / 'a "talk"\r\n.mp4'
    talk.write_bytes(b"film" * 200_000)
    script.on(FILES, answer(201, file_id="f1", url=f"{URL}/v1/files/f1", size=800_000))
    script.on(MODEL, TAKEN)
    progress: list[tuple[int, int]] = []
    client.submit(talk, talk, on_bytes=lambda done, total: progress.append((done, total)))
    assert script.calls() == [FILES, MODEL]
    assert json.loads(script.bodies[1])["video_url"] == f"{URL}/v1/files/f1"
    request, sent = script.seen[0], script.bodies[0]
    assert int(request.headers["Content-Length"]) == len(sent)
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\w+)", request.headers["Content-Type"])
    assert boundary is not None
    head, contents = sent.split(b"\r\n\r\n", 1)
    assert b'name="file"; filename="a %22talk%22%0D%0A.mp4"' in head
    assert contents == talk.read_bytes() + f"\r\n--{boundary[1]}--\r\n".encode()
    assert progress[-1] == (800_000, 800_000)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_a_broken_upload_is_not_retried(client: ClientAdapter, script: Script, tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"film")
    script.on(FILES, httpx.ReadError("broke"))
    with pytest.raises(ServiceUnavailable):
        client.upload(tmp_path / "a.mp4")
    assert len(script.seen) == 1


def test_an_upload_that_did_not_connect_is_retried(
    client: ClientAdapter, script: Script, tmp_path: Path
):
    (tmp_path / "a.mp4").write_bytes(b"film")
    stored = answer(201, file_id="f1", url="u", size=4, expires_at="2026-01-31T12:00:00.5+00:00")
    script.on(FILES, httpx.ConnectError("refused"), stored)
    file = client.upload(tmp_path / "a.mp4")
    assert (file.id, file.url, file.size) == ("f1", "u", 4)
    assert file.expires_at == datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC)
    assert b"film" in script.bodies[-1]


@pytest.mark.parametrize("name", ["gone.mp4", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_named_before_anything_is_sent(
    name: str, client: ClientAdapter, script: Script, tmp_path: Path
):
    with pytest.raises(SourceUnreachable):
        client.submit(VIDEO, tmp_path / name)
    assert script.seen == []


def test_a_file_that_shrinks_during_the_upload_is_named(
    client: ClientAdapter, script: Script, tmp_path: Path
):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x" * 1_000_000)

    def shrink(_done: int, _total: int) -> None:
        path.write_bytes(b"")

    script.on(FILES, answer(201, file_id="f", url="u", size=0))
    with pytest.raises(SourceUnreachable, match="shorter"):
        client.upload(path, on_bytes=shrink)


@pytest.mark.parametrize("source", ["file:///etc/passwd", "ftp://a/b.mp4", "s3://bucket/a.mp4"])
def test_a_url_with_an_unsupported_scheme_is_refused(
    source: str, client: ClientAdapter, script: Script
):
    with pytest.raises(InvalidOptions, match="https"):
        client.submit(source, AUDIO)
    assert script.seen == []


def test_a_data_uri_is_passed_on(client: ClientAdapter, script: Script):
    script.on(MODEL, TAKEN)
    client.submit("data:video/mp4;base64,AAAA", AUDIO)
    assert json.loads(script.bodies[0])["video_url"] == "data:video/mp4;base64,AAAA"


@pytest.mark.parametrize("model", ["../files", "lipwright/..", "", "a b", "a//b", "a?b", "/a"])
def test_a_model_that_would_change_the_path_is_refused(
    model: str, client: ClientAdapter, script: Script
):
    with pytest.raises(InvalidOptions, match="model"):
        client.submit(VIDEO, AUDIO, model_id=model)
    assert script.seen == []


# ---------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("made", "error", "says"),
    [
        (refusal(401, "access_denied", "the key is wrong"), AccessDenied, "the key is wrong"),
        (refusal(404, "job_not_found", "gone"), JobNotFound, "gone"),
        (refusal(413, "limit_exceeded", "too large"), LimitExceeded, "too large"),
        (refusal(422, "invalid_options", "crf: too high"), InvalidOptions, "crf: too high"),
        (refusal(418, "teapot", "short and stout"), JobError, "teapot: short and stout"),
        (reply(404, text="<html>"), JobNotFound, "404 (Not Found)"),
        (reply(403, json=[]), AccessDenied, "403"),
        (reply(500), JobError, "500"),
        (reply(799), JobError, "799 (unknown status)"),
        (reply(302, headers={"Location": "/login"}), InvalidOptions, "redirect"),
        (reply(200, text="<html>"), ServiceUnavailable, "LIPWRIGHT_URL"),
        (reply(200, json=[1]), ServiceUnavailable, "LIPWRIGHT_URL"),
        (answer(request_id=ID), ServiceUnavailable, "'status' is missing"),
        (answer(request_id=ID, status="melted"), ServiceUnavailable, "not a state"),
        (answer(request_id=ID, status="in_queue", done="x"), ServiceUnavailable, "not a number"),
    ],
)
def test_a_response_becomes_the_matching_error(
    made: Make, error: type[Exception], says: str, client: ClientAdapter, script: Script
):
    script.on(STATUS, made)
    with pytest.raises(error, match=re.escape(says)):
        client.status()
    assert len(script.seen) == 1


def test_messages_of_the_service_are_sanitized(client: ClientAdapter, script: Script):
    script.on(STATUS, refusal(422, "invalid_options", "\x1b[31mred\r\n" + "x" * 5000))
    with pytest.raises(InvalidOptions) as refused:
        client.status()
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_code_gives_only_errors_of_the_tree(client: ClientAdapter, script: Script):
    class Derived(InvalidOptions):  # as others do, with a constructor of its own
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} {two}")

    script.on(STATUS, refusal(422, Derived.code, "crf: too high"))
    with pytest.raises(InvalidOptions) as refused:
        client.status()
    assert type(refused.value) is InvalidOptions


@pytest.mark.parametrize(
    "first",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("closed"),
        reply(502),
        reply(504),
        refusal(503, "queue_unavailable"),
        refusal(429, "too_many_requests", Retry_After="0"),
    ],
)
def test_a_transient_failure_is_retried(first: Reply, client: ClientAdapter, script: Script):
    script.on(STATUS, first, first, WAITING)
    assert client.status().position == 3


def test_a_permanent_failure_is_raised_after_a_few_retries(client: ClientAdapter, script: Script):
    script.on(STATUS, httpx.ConnectError("refused"))
    with pytest.raises(ServiceUnavailable, match=r"cannot reach https://dub\.example\.org"):
        client.status()
    assert len(script.seen) == 3


def test_a_long_retry_after_is_left_to_the_caller(client: ClientAdapter, script: Script):
    script.on(MODEL, refusal(429, "too_many_requests", Retry_After="3600"))
    with pytest.raises(TooManyRequests) as refused:
        client.submit(VIDEO, AUDIO)
    assert refused.value.retry_after == 3600
    assert len(script.seen) == 1


def test_an_endless_response_is_refused(client: ClientAdapter, script: Script):
    script.on(STATUS, reply(200, content=b"[" * (16 * 1024 * 1024 + 1)))
    with pytest.raises(ServiceUnavailable, match="more than 16777216 bytes"):
        client.status()


# ---------------------------------------------------------------------------------- following
def test_events_are_followed_to_the_end(client: ClientAdapter, script: Script):
    moments = (
        {"status": "in_queue", "queue_position": 1},
        {"status": "in_progress", "stage": "paint", "done": 5, "total": 20, "fraction": 0.5},
        {"status": "in_progress", "stage": "paint", "done": 5, "total": 20, "fraction": 0.5},
        {"status": "succeeded", "fraction": 1.0},
    )
    script.on(EVENTS, stream(*moments))
    seen = client.events()
    assert [moment.state.value for moment in seen] == ["in_queue", "in_progress", "succeeded"]
    assert (seen[0].position, seen[1].stage, seen[1].done, seen[1].total) == (1, "paint", 5, 20)
    assert script.calls() == [EVENTS]
    assert script.seen[0].headers["Accept"] == "text/event-stream"


@pytest.mark.parametrize("broke", [httpx.ReadError("broke"), httpx.ReadTimeout("slow"), None])
def test_a_broken_stream_is_resumed(broke: Exception | None, client: ClientAdapter, script: Script):
    script.on(
        EVENTS,
        stream({"status": "in_queue", "queue_position": 3}, then=broke),
        stream({"status": "in_queue", "queue_position": 3}, {"status": "failed"}),
    )
    script.on(STATUS, WAITING)
    assert [moment.state.value for moment in client.events()] == ["in_queue", "failed"]


@pytest.mark.parametrize(
    "stream_reply", [reply(404), reply(200, text="<html>"), answer(status="x")]
)
def test_without_a_stream_the_status_is_polled(
    stream_reply: Make, client: ClientAdapter, script: Script
):
    ended = answer(request_id=ID, status="completed")
    running = answer(request_id=ID, status="in_progress")
    script.on(EVENTS, stream_reply).on(STATUS, WAITING, WAITING, running, ended)
    states = [moment.state.value for moment in client.events()]
    assert states == ["in_queue", "in_progress", "completed"]
    assert script.calls().count(EVENTS) == 1


def test_events_continue_after_a_restart_of_the_service(client: ClientAdapter, script: Script):
    ended = answer(request_id=ID, status="completed")
    script.on(EVENTS, stream({"status": "in_progress"}), httpx.ConnectError("refused"))
    script.on(STATUS, httpx.ConnectError("refused"), reply(502), ended)
    states = [moment.state.value for moment in client.events()]
    assert states == ["in_progress", "completed"]


def test_following_an_erased_job_is_an_error(client: ClientAdapter, script: Script):
    script.on(EVENTS, refusal(404, "job_not_found")).on(STATUS, refusal(404, "job_not_found"))
    with pytest.raises(JobNotFound):
        client.events()


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: [1]\n\n", b"data: \xff\n\n"])
def test_after_malformed_events_the_status_is_polled(
    data: bytes, client: ClientAdapter, script: Script
):
    headers = {"Content-Type": "text/event-stream"}
    script.on(EVENTS, reply(200, headers=headers, content=data))
    script.on(STATUS, answer(request_id=ID, status="cancelled"))
    assert [moment.state for moment in client.events()] == [JobState.CANCELLED]


# -------------------------------------------------------------------------------------- result
def test_result_waits_for_the_end(client: ClientAdapter, script: Script):
    script.on(RESULT, answer(request_id=ID, status="in_progress", output=None), DONE)
    result = client.result()
    assert result.state is JobState.SUCCEEDED
    assert result.video is not None
    assert result.video.startswith(URL)
    assert result.created_at == datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    assert result.model_id == "lipwright/passthrough"


def test_a_timeout_is_an_error(client: ClientAdapter, script: Script):
    script.on(RESULT, answer(request_id=ID, status="in_queue"))
    with pytest.raises(JobNotFinished, match="in_queue after 0 s"):
        client.result(timeout_s=0)
    assert len(script.seen) == 1


def test_a_failed_job_raises_the_error_of_a_local_one(client: ClientAdapter, script: Script):
    failure = {"code": "no_face_found", "message": "no adapter in 20 frames"}
    script.on(RESULT, answer(request_id=ID, status="failed", error=failure))
    with pytest.raises(NoFaceFound, match="no adapter in 20 frames"):
        client.result()


def test_a_cancelled_job_raises_cancelled(client: ClientAdapter, script: Script):
    script.on(RESULT, answer(request_id=ID, status="cancelled"))
    with pytest.raises(Cancelled, match=ID):
        client.result()


@pytest.mark.parametrize(("state", "cancelled"), [("cancelled", True), ("in_progress", False)])
def test_only_a_queued_job_can_be_cancelled(
    state: str, cancelled: bool, client: ClientAdapter, script: Script
):
    outcome = "not_cancellable"  # also what a repeated call hears after the first one did it
    script.on(CANCEL, answer(request_id=ID, status=state, outcome=outcome))
    assert client.cancel() is cancelled


def test_a_job_can_be_erased(client: ClientAdapter, script: Script):
    erase = f"DELETE /v1/requests/{ID}"
    script.on(erase, answer(request_id=ID, erased=True))
    client.erase()
    script.on(erase, refusal(409, "job_not_finished"))
    with pytest.raises(JobNotFinished):
        client.erase()


def test_jobs_are_listed_page_by_page(client: ClientAdapter, script: Script):
    row = {"request_id": ID, "status": "completed", "model_id": "m", "finished_at": None}
    script.on("GET /v1/requests", answer(requests=[row], next_cursor="AAAB"))
    page = client.jobs(limit=1, cursor="a&b", state=JobState.COMPLETED)
    assert [job.id for job in page.jobs] == [ID]
    assert page.cursor == "AAAB"
    assert script.calls() == ["GET /v1/requests?limit=1&cursor=a%26b&status=completed"]


# ------------------------------------------------------------------------------------ download
def done(video: str | None = f"{URL}/v1/outputs/x/video.mp4?sig=1") -> JobResult:
    return JobResult(id=ID, state=JobState.SUCCEEDED, video=video)


def test_a_result_is_saved_and_requested_without_the_key(
    client: ClientAdapter, script: Script, tmp_path: Path
):
    script.on("GET /v1/outputs/x/video.mp4", reply(200, content=b"film" * 100))
    progress: list[tuple[int, int]] = []
    path = client.download(
        done(), tmp_path / "out.mp4", on_bytes=lambda *bytes_: progress.append(bytes_)
    )
    assert path.read_bytes() == b"film" * 100
    assert progress[-1] == (400, 400)
    assert "Authorization" not in script.seen[0].headers
    assert list(tmp_path.iterdir()) == [path]


def test_a_broken_download_keeps_the_existing_file(
    client: ClientAdapter, script: Script, tmp_path: Path
):
    (tmp_path / "out.mp4").write_bytes(b"older")
    script.on("GET /v1/outputs/x/video.mp4", stream({}, then=httpx.ReadError("broke")))
    with pytest.raises(ServiceUnavailable):
        client.download(done(), tmp_path / "out.mp4")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_an_expired_url_is_reported(client: ClientAdapter, script: Script, tmp_path: Path):
    script.on("GET /v1/outputs/x/video.mp4", reply(403))
    with pytest.raises(ServiceUnavailable, match="expired"):
        client.download(done(), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "video",
    ["http://169.254.169.254/latest", "http://dub.example.org/v.mp4", "file:///etc/passwd", "x"],
)
def test_a_result_is_fetched_by_https_only(
    video: str, client: ClientAdapter, script: Script, tmp_path: Path
):
    with pytest.raises(ServiceUnavailable, match="neither https"):
        client.download(done(video), tmp_path / "out.mp4")
    assert script.seen == []


def test_a_result_without_a_video_is_an_error(client: ClientAdapter, tmp_path: Path):
    with pytest.raises(ServiceUnavailable, match="no video"):
        client.download(done(None), tmp_path / "out.mp4")


def test_an_unwritable_path_is_named(client: ClientAdapter, script: Script, tmp_path: Path):
    script.on("GET /v1/outputs/x/video.mp4", reply(200, content=b"film"))
    with pytest.raises(OutputUnwritable, match=r"out\.mp4"):
        client.download(done(), tmp_path / "gone" / "out.mp4")
