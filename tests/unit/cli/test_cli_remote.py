from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from fake_service import ID, KEY, URL, Script, answer, refusal, reply, stream
from lipwright.cli import main
from lipwright.cli import remote_commands as commands
from lipwright.client import Client, flows

MODEL = "POST /v1/models/sync/sync/lipsync/v2/pro"
STATUS, RESULT = f"GET /v1/requests/{ID}/status", f"GET /v1/requests/{ID}/result"
EVENTS, CANCEL = f"GET /v1/requests/{ID}/events", f"POST /v1/requests/{ID}/cancel"
VIDEO, AUDIO = "https://media.example.org/talk.mp4", "https://media.example.org/speech.mp3"
DONE = answer(
    request_id=ID,
    status="succeeded",
    output={"video": f"{URL}/v1/outputs/x/video.mp4"},
    model_id="m",
)
FAILED = answer(
    request_id=ID, status="failed", error={"code": "no_face_found", "message": "no face"}
)


@dataclass(frozen=True)
class Told:
    status: int
    out: str
    err: str


Run = Callable[..., Told]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def run(
    script: Script,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Run:
    monkeypatch.setattr(flows, "RETRY_SECONDS", ())
    monkeypatch.setattr(flows, "PERSISTENT_RETRY_SECONDS", ())
    monkeypatch.setattr(flows, "MAX_POLL", 0.0)
    monkeypatch.chdir(tmp_path)

    def client(url: str | None) -> Client:
        return Client(url or URL, KEY, transport=script.blocking())

    monkeypatch.setattr(commands, "_client", client)

    def run(*words: object) -> Told:
        capsys.readouterr()
        return Told(main([str(word) for word in words]), *capsys.readouterr())

    return run


def test_submit_prints_the_id_alone_and_how_to_go_on(run: Run, script: Script):
    script.on(MODEL, answer(201, request_id=ID))
    told = run(
        "submit",
        VIDEO,
        AUDIO,
        "--mode",
        "loop",
        "--speaker",
        "1,2@3",
        "--crf",
        "20",
        "--restore",
        "4x",
        "--size",
        "4k",
        "--intensity",
        "0.8",
    )
    assert (told.status, told.out) == (0, f"{ID}\n")
    assert f"lipwright watch {ID}" in told.err
    body = json.loads(script.bodies[0])
    assert body["sync_mode"] == "loop"
    assert body["lipwright"] == {
        "speaker": [1, 2, 3],
        "intensity": 0.8,
        "restore": "4x",
        "size": "4k",
        "crf": 20,
    }
    told = run("submit", VIDEO, AUDIO, "-q")
    assert (told.out, told.err) == (f"{ID}\n", "")
    told = run("submit", VIDEO, AUDIO, "--json")
    assert (json.loads(told.out), told.err) == ({"id": ID}, "")


def test_submit_uploads_files_and_names_the_engine(run: Run, script: Script, tmp_path: Path):
    (tmp_path / "talk.mp4").write_bytes(b"film")
    script.on("POST /v1/files", answer(201, file_id="f", url="https://x/f", size=4))
    script.on("POST /v1/models/lipwright/passthrough", answer(201, request_id=ID))
    told = run("submit", "talk.mp4", "talk.mp4", "--engine", "passthrough")
    assert told.status == 0
    assert "upload: 0.0/0.0 MB" in told.err


def test_submit_of_a_missing_file_is_one_line(run: Run):
    told = run("submit", "gone.mp4", AUDIO)
    assert (told.status, told.out, told.err.count("\n")) == (3, "", 1)
    assert "gone.mp4" in told.err


def test_status_is_one_line_or_one_object(run: Run, script: Script):
    script.on(STATUS, answer(request_id=ID, status="in_queue", queue_position=2))
    assert run("status", ID).out == f"{ID}: in_queue, 2 ahead of it\n"
    told = json.loads(run("status", ID, "--json").out)
    assert (told["id"], told["state"], told["position"]) == (ID, "in_queue", 2)


def test_result_prints_the_url_or_saves_the_video(run: Run, script: Script, tmp_path: Path):
    script.on(RESULT, DONE).on("GET /v1/outputs/x/video.mp4", reply(200, content=b"film"))
    assert run("result", ID).out == f"{URL}/v1/outputs/x/video.mp4\n"
    told = run("result", ID, "-o", "out.mp4", "--json")
    assert json.loads(told.out)["path"] == "out.mp4"
    assert told.err == ""
    assert (tmp_path / "out.mp4").read_bytes() == b"film"


def test_a_result_that_is_not_there_yet_is_an_error(run: Run, script: Script):
    script.on(RESULT, answer(request_id=ID, status="in_progress"))
    told = run("result", ID, "--json")
    assert told.status == 7
    assert json.loads(told.out)["error"]["code"] == "job_not_finished"


@pytest.mark.parametrize("command", ["result", "watch"])
def test_a_failed_job_ends_as_a_local_one_would(command: str, run: Run, script: Script):
    script.on(RESULT, FAILED).on(EVENTS, stream({"status": "failed"}))
    told = run(command, ID, "-q")
    assert (told.status, told.err) == (4, "error: no face\n")


def test_watch_follows_and_saves(run: Run, script: Script, tmp_path: Path):
    paint = {"stage": "paint", "done": 5, "total": 10, "fraction": 0.7, "fps": 12.5}
    script.on(
        EVENTS,
        stream(
            {"status": "in_queue", "queue_position": 1},
            {"status": "in_progress", **paint},
            {"status": "succeeded"},
        ),
    )
    script.on(RESULT, DONE).on("GET /v1/outputs/x/video.mp4", reply(200, content=b"film"))
    told = run("watch", ID)
    assert (told.status, told.out) == (0, f"{ID}.mp4\n")
    assert (tmp_path / f"{ID}.mp4").read_bytes() == b"film"
    lines = told.err.splitlines()
    assert lines[0] == "in_queue: 1 ahead of it"
    assert lines[1] == "paint: 5/10 frames, 12 fps, 70% of the job"
    assert lines[2] == "succeeded"


def test_ctrl_c_ends_the_watching_and_says_how_to_go_on(run: Run, script: Script, tmp_path: Path):
    def interrupt() -> httpx.Response:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    script.on(EVENTS, interrupt)
    before = signal.getsignal(signal.SIGINT)
    told = run("watch", ID)
    assert told.status == 130
    assert f"the job continues: 'lipwright watch {ID}'" in told.err
    assert script.calls() == [EVENTS]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_cancel_says_whether_it_could(run: Run, script: Script):
    script.on(CANCEL, answer(request_id=ID, status="cancelled", outcome="cancelled"))
    assert run("cancel", ID).out == f"{ID}: cancelled\n"
    script.on(CANCEL, answer(request_id=ID, status="in_progress", outcome="not_cancellable"))
    script.on(STATUS, answer(request_id=ID, status="in_progress"))
    told = run("cancel", ID)
    assert told.status == 7
    assert "in_progress" in told.err


def test_list_shows_jobs_and_where_the_next_ones_are(run: Run, script: Script):
    row = {
        "request_id": ID,
        "status": "failed",
        "model_id": "m",
        "created_at": "2026-01-31T12:00:00.123456+00:00",
    }
    script.on("GET /v1/requests", answer(requests=[row], next_cursor="AAAB"))
    told = run("list", "--limit", 1, "--state", "failed")
    assert told.out == f"{ID}  failed       2026-01-31T12:00:00+00:00  m\n"
    assert told.err == "more: --cursor AAAB\n"
    assert script.calls() == ["GET /v1/requests?limit=1&status=failed"]
    assert json.loads(run("list", "--json").out)["cursor"] == "AAAB"


@pytest.mark.parametrize(
    ("made", "status"),
    [
        (refusal(401, "access_denied"), 8),
        (refusal(404, "job_not_found"), 7),
        (refusal(429, "too_many_requests", Retry_After="99"), 7),
        (reply(502), 7),
        (httpx.ConnectError("refused"), 7),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    made: object, status: int, run: Run, script: Script
):
    script.on(STATUS, made)  # type: ignore[arg-type]
    told = run("status", ID)
    assert (told.status, told.out, told.err.count("\n")) == (status, "", 1)
    assert told.err.startswith("error: ")


def test_a_service_that_would_hear_the_key_in_clear_is_refused(run: Run, script: Script):
    told = run("status", ID, "--url", "http://dub.example.org")
    assert told.status == 2
    assert "https" in told.err
    assert script.seen == []
