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
class CommandResult:
    status: int
    out: str
    err: str


Run = Callable[..., CommandResult]


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

    def run(*words: object) -> CommandResult:
        capsys.readouterr()
        return CommandResult(main([str(word) for word in words]), *capsys.readouterr())

    return run


def test_submit_prints_the_id_and_the_next_command(run: Run, script: Script):
    script.on(MODEL, answer(201, request_id=ID))
    result = run(
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
    assert (result.status, result.out) == (0, f"{ID}\n")
    assert f"lipwright watch {ID}" in result.err
    body = json.loads(script.bodies[0])
    assert body["sync_mode"] == "loop"
    assert body["lipwright"] == {
        "speaker": [1, 2, 3],
        "intensity": 0.8,
        "restore": "4x",
        "size": "4k",
        "crf": 20,
    }
    result = run("submit", VIDEO, AUDIO, "-q")
    assert (result.out, result.err) == (f"{ID}\n", "")
    result = run("submit", VIDEO, AUDIO, "--json")
    assert (json.loads(result.out), result.err) == ({"id": ID}, "")


def test_submit_uploads_files_and_names_the_engine(run: Run, script: Script, tmp_path: Path):
    (tmp_path / "talk.mp4").write_bytes(b"video")
    script.on("POST /v1/files", answer(201, file_id="f", url="https://x/f", size=4))
    script.on("POST /v1/models/lipwright/passthrough", answer(201, request_id=ID))
    result = run("submit", "talk.mp4", "talk.mp4", "--engine", "passthrough")
    assert result.status == 0
    assert "upload: 0.0/0.0 MB" in result.err


def test_submit_of_a_missing_file_prints_one_line(run: Run):
    result = run("submit", "gone.mp4", AUDIO)
    assert (result.status, result.out, result.err.count("\n")) == (3, "", 1)
    assert "gone.mp4" in result.err


def test_status_prints_one_line_or_one_object(run: Run, script: Script):
    script.on(STATUS, answer(request_id=ID, status="in_queue", queue_position=2))
    assert run("status", ID).out == f"{ID}: in_queue, 2 ahead of it\n"
    status = json.loads(run("status", ID, "--json").out)
    assert (status["id"], status["state"], status["position"]) == (ID, "in_queue", 2)


def test_result_prints_the_url_or_saves_the_video(run: Run, script: Script, tmp_path: Path):
    script.on(RESULT, DONE).on("GET /v1/outputs/x/video.mp4", reply(200, content=b"video"))
    assert run("result", ID).out == f"{URL}/v1/outputs/x/video.mp4\n"
    result = run("result", ID, "-o", "out.mp4", "--json")
    assert json.loads(result.out)["path"] == "out.mp4"
    assert result.err == ""
    assert (tmp_path / "out.mp4").read_bytes() == b"video"


def test_a_result_that_is_not_there_yet_is_an_error(run: Run, script: Script):
    script.on(RESULT, answer(request_id=ID, status="in_progress"))
    result = run("result", ID, "--json")
    assert result.status == 7
    assert json.loads(result.out)["error"]["code"] == "job_not_finished"


@pytest.mark.parametrize("command", ["result", "watch"])
def test_a_failed_job_exits_with_the_code_of_its_error(command: str, run: Run, script: Script):
    script.on(RESULT, FAILED).on(EVENTS, stream({"status": "failed"}))
    result = run(command, ID, "-q")
    assert (result.status, result.err) == (4, "error: no face\n")


def test_watch_prints_progress_and_saves_the_video(run: Run, script: Script, tmp_path: Path):
    paint = {"stage": "paint", "done": 5, "total": 10, "fraction": 0.7, "fps": 12.5}
    script.on(
        EVENTS,
        stream(
            {"status": "in_queue", "queue_position": 1},
            {"status": "in_progress", **paint},
            {"status": "succeeded"},
        ),
    )
    script.on(RESULT, DONE).on("GET /v1/outputs/x/video.mp4", reply(200, content=b"video"))
    result = run("watch", ID)
    assert (result.status, result.out) == (0, f"{ID}.mp4\n")
    assert (tmp_path / f"{ID}.mp4").read_bytes() == b"video"
    lines = result.err.splitlines()
    assert lines[0] == "in_queue: 1 ahead of it"
    assert lines[1] == "paint: 5/10 frames, 12 fps, 70% of the job"
    assert lines[2] == "succeeded"


def test_ctrl_c_stops_watching_and_prints_how_to_resume(run: Run, script: Script, tmp_path: Path):
    def interrupt() -> httpx.Response:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    script.on(EVENTS, interrupt)
    before = signal.getsignal(signal.SIGINT)
    result = run("watch", ID)
    assert result.status == 130
    assert f"the job continues: 'lipwright watch {ID}'" in result.err
    assert script.calls() == [EVENTS]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_cancel_reports_whether_the_job_was_cancelled(run: Run, script: Script):
    script.on(CANCEL, answer(request_id=ID, status="cancelled", outcome="cancelled"))
    assert run("cancel", ID).out == f"{ID}: cancelled\n"
    script.on(CANCEL, answer(request_id=ID, status="in_progress", outcome="not_cancellable"))
    script.on(STATUS, answer(request_id=ID, status="in_progress"))
    result = run("cancel", ID)
    assert result.status == 7
    assert "in_progress" in result.err


def test_list_prints_jobs_and_the_cursor_of_the_next_page(run: Run, script: Script):
    row = {
        "request_id": ID,
        "status": "failed",
        "model_id": "m",
        "created_at": "2026-01-31T12:00:00.123456+00:00",
    }
    script.on("GET /v1/requests", answer(requests=[row], next_cursor="AAAB"))
    result = run("list", "--limit", 1, "--state", "failed")
    assert result.out == f"{ID}  failed       2026-01-31T12:00:00+00:00  m\n"
    assert result.err == "more: --cursor AAAB\n"
    assert script.calls() == ["GET /v1/requests?limit=1&status=failed"]
    assert json.loads(run("list", "--json").out)["cursor"] == "AAAB"


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (refusal(401, "access_denied"), 8),
        (refusal(404, "job_not_found"), 7),
        (refusal(429, "too_many_requests", Retry_After="99"), 7),
        (reply(502), 7),
        (httpx.ConnectError("refused"), 7),
    ],
)
def test_an_error_prints_one_line_and_sets_the_exit_code(
    response: object, status: int, run: Run, script: Script
):
    script.on(STATUS, response)  # type: ignore[arg-type]
    result = run("status", ID)
    assert (result.status, result.out, result.err.count("\n")) == (status, "", 1)
    assert result.err.startswith("error: ")


def test_an_unencrypted_url_is_refused(run: Run, script: Script):
    result = run("status", ID, "--url", "http://dub.example.org")
    assert result.status == 2
    assert "https" in result.err
    assert script.seen == []
