"""The service and its clients as real processes on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

import tiny_media
from lipwright import AsyncClient, Client, JobState
from lipwright.errors import AccessDenied, JobNotFound
from lipwright.media.probe import probe
from lipwright.runtime.device import has_cuda
from lipwright.sample import make_sample
from live_service import LiveService, environment, live_service, read_all, read_line
from outcome import Run

PASSTHROUGH = ("--engine", "passthrough", "--allow-no-face")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("service")
    with live_service(folder / "data") as started:
        yield started
        assert started.stop() == 0


@pytest.fixture
def running(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> LiveService:
    """The running service; the environment holds its URL and key."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return service


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Arguments of a job that takes several seconds."""
    folder = tmp_path_factory.mktemp("long")
    video = make_sample(folder / "v.mp4", seconds=2.0, size=(640, 360), rate=Fraction(25)).path
    audio = tiny_media.write_wav(folder / "a.wav", 24)
    return (str(video), str(audio), "--mode", "loop", *PASSTHROUGH)


def wait_until(state: str, job_id: str, run: Run) -> None:
    deadline = time.monotonic() + 60
    while run("status", job_id, "--json").json["state"] != state:
        assert time.monotonic() < deadline, f"{job_id} is not {state}"
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------- jobs
def test_a_job_is_submitted_watched_and_saved(
    run: Run, running: LiveService, talk: Path, speech: Path, tmp_path: Path
):
    outcome = run("submit", talk, speech, *PASSTHROUGH)
    assert outcome.status == 0, outcome.err
    job_id = outcome.out.strip()
    outcome = run("watch", job_id, "-o", tmp_path / "out.mp4")
    assert outcome.status == 0, outcome.err
    assert outcome.out == f"{tmp_path / 'out.mp4'}\n"
    assert "succeeded\n" in outcome.err
    video = probe(tmp_path / "out.mp4").video
    assert video is not None
    assert video.duration == Fraction(3, 5)
    assert run("status", job_id, "--json").json["state"] == "completed"
    result = run("result", job_id, "-o", tmp_path / "copy.mp4", "--json").json
    assert (result["state"], result["model_id"]) == ("succeeded", "lipwright/passthrough")
    assert (tmp_path / "copy.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()
    assert job_id in run("list").out
    assert run("cancel", job_id).status == 7


def test_a_failed_job_exits_like_a_failed_local_job(
    run: Run, running: LiveService, speech: Path, tmp_path: Path
):
    (tmp_path / "text.mp4").write_text("this is not a video")
    job_id = run("submit", tmp_path / "text.mp4", speech, "-q").out.strip()
    outcome = run("watch", job_id, "--json")
    assert outcome.status == 3
    assert outcome.json["error"]["code"] == "media_unreadable"


def test_invalid_requests_are_refused_at_submission(run: Run, running: LiveService, talk: Path):
    outcome = run("submit", talk, "https://127.0.0.1/speech.wav", "--json")
    assert outcome.json["error"]["code"] in ("invalid_options", "source_unreachable")
    outcome = run("submit", talk, talk, "--engine", "magic", "--json")
    assert outcome.json["error"]["code"] == "engine_not_found"


def test_a_queued_job_can_be_cancelled_and_a_running_one_cannot(
    run: Run, running: LiveService, long_job: tuple[str, ...], tmp_path: Path
):
    first = run("submit", *long_job, "-q").out.strip()
    wait_until("in_progress", first, run)
    second = run("submit", *long_job, "-q").out.strip()
    assert run("status", second).out == f"{second}: in_queue, next\n"
    outcome = run("cancel", first)
    assert outcome.status == 7
    assert "in_progress" in outcome.err
    assert run("cancel", second, "--json").json == {"id": second, "cancelled": True}
    assert run("watch", second).status == 130
    assert run("watch", first, "-q", "-o", tmp_path / "out.mp4").status == 0


def test_ctrl_c_stops_watching_and_the_job_continues(
    run: Run, running: LiveService, long_job: tuple[str, ...], tmp_path: Path
):
    job_id = run("submit", *long_job, "-q").out.strip()
    with subprocess.Popen(
        [sys.executable, "-m", "lipwright", "watch", job_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment(**running.environment),
    ) as watching:
        assert read_line(watching, 60)
        watching.send_signal(signal.SIGINT)
        rest, _ = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert f"lipwright watch {job_id}" in rest.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
    outcome = run("watch", job_id, "-q", "-o", tmp_path / "out.mp4")
    warning = "warning: no speech was heard in the audio: the mouth stays at rest\n"
    assert (outcome.status, outcome.err) == (0, warning)


def test_a_terminal_shows_a_bar_with_the_progress_of_a_job(
    run: Run, running: LiveService, long_job: tuple[str, ...], tmp_path: Path
):
    pty = pytest.importorskip("pty")
    job_id = run("submit", *long_job, "-q").out.strip()
    reader, writer = pty.openpty()
    terminal = environment(**running.environment, TERM="xterm", COLUMNS="100")
    with subprocess.Popen(
        [sys.executable, "-m", "lipwright", "watch", job_id, "-o", tmp_path / "out.mp4"],
        stdout=subprocess.PIPE,
        stderr=writer,
        env=terminal,
    ) as watching:
        os.close(writer)
        shown = read_all(reader)
        assert watching.wait(60) == 0
    assert " frames, " in shown
    assert "% of the job" in shown
    assert "download" in shown


# -------------------------------------------------------------------------------------- Python
def test_both_clients_run_a_job(running: LiveService, talk: Path, speech: Path, tmp_path: Path):
    async def run_async() -> tuple[list[JobState], Path]:
        async with AsyncClient() as client:
            job = await client.submit(talk, speech, model_id="lipwright/passthrough")
            states = [status.state async for status in job.events()]
            saved = await client.download(await job.result(), tmp_path / "async.mp4")
            return states, saved

    states, saved = asyncio.run(run_async())
    assert states[-1].final
    assert probe(saved).video is not None
    with Client() as client:
        file = client.upload(talk)
        job = client.submit(file.url, speech, model_id="lipwright/passthrough")
        result = job.result(timeout_s=60)
        assert client.download(result, tmp_path / "blocking.mp4").stat().st_size > 0
        assert job.id in [row.id for row in client.jobs(limit=5).jobs]
        job.erase()
        with pytest.raises(JobNotFound):
            job.status()


def test_the_same_idempotency_key_gives_the_same_job(running: LiveService, talk: Path):
    with Client() as client:
        url = client.upload(talk).url
        model = "lipwright/passthrough"
        first = client.submit(url, url, model_id=model, idempotency_key="one")
        second = client.submit(url, url, model_id=model, idempotency_key="one")
        assert first.id == second.id
        first.result(timeout_s=60)


# ---------------------------------------------------------------------------------------- keys
def test_keys_can_be_created_and_revoked_while_the_service_runs(
    run: Run, running: LiveService, talk: Path
):
    data_dir = ("--data-dir", running.data_dir)
    outcome = run("keys", "create", "other", "--priority", 50, "--concurrency", 1, *data_dir)
    assert outcome.status == 0
    secret = outcome.out.strip()
    assert outcome.out == f"{secret}\n"
    assert secret.startswith("lw_")
    with Client(running.url, secret) as client:
        assert client.jobs().jobs == ()  # jobs of other keys are hidden
        rows = {row["name"]: row for row in run("keys", "list", *data_dir, "--json").json["keys"]}
        assert rows["other"]["priority"] == 50
        assert secret not in run("keys", "list", *data_dir).out
        assert run("keys", "revoke", "other", *data_dir).status == 0
        with pytest.raises(AccessDenied):
            client.jobs()
    outcome = run("keys", "revoke", "other", *data_dir, "--json")
    assert outcome.json["error"]["code"] == "key_not_found"
    stored = b"".join(p.read_bytes() for p in running.data_dir.glob("lipwright.sqlite3*"))
    assert secret.encode() not in stored


def test_urls_behind_a_proxy_are_those_of_the_proxy(running: LiveService, talk: Path):
    with Client() as client:
        url = client.upload(talk).url
    forwarded = {"Host": "dub.example.org", "X-Forwarded-Proto": "https"}
    response = httpx.post(
        f"{running.url}/v1/models/lipwright/passthrough",
        json={"video_url": url, "audio_url": url.replace(running.url, "https://dub.example.org")},
        headers={"Authorization": f"Bearer {running.api_key}", **forwarded},
    )
    body = response.json()
    assert body["status_url"].startswith("https://dub.example.org/v1/requests/"), body


def test_the_log_contains_no_key(run: Run, running: LiveService):
    assert run("list").status == 0
    log = running.data_dir.with_name("data.log").read_text()
    assert "GET /v1/requests" in log
    assert running.api_key is not None
    assert running.api_key not in log


# --------------------------------------------------------------------------------------- serve
def test_the_first_start_prints_one_key_on_stdout(tmp_path: Path):
    command = [sys.executable, "-m", "lipwright", "serve", "--port", "0", "--data-dir", "data"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        key = read_line(process, 60)
        assert process.stderr is not None
        while "lipwright serves http://127.0.0.1:" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert key.startswith("lw_")
    assert rest == ""
    assert process.returncode == 0
    with live_service(tmp_path / "data") as restarted:
        assert restarted.api_key is None


def test_a_public_address_without_a_key_is_refused(run: Run, tmp_path: Path):
    address = ("--host", "0.0.0.0", "--port", 0)
    outcome = run("serve", *address, "--data-dir", tmp_path / "data")
    assert outcome.status == 2
    assert "lipwright keys create" in outcome.err
    assert outcome.out == ""


def test_an_address_in_use_is_named_in_the_error(run: Run, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = run("serve", "--port", port, "--data-dir", tmp_path / "data", "--json")
    assert outcome.status == 2
    assert str(port) in outcome.json["error"]["message"]
    keys = run("keys", "list", "--data-dir", tmp_path / "data", "--json").json["keys"]
    assert keys == []  # a failed start creates no key, because it would not be printed


def test_a_second_signal_returns_the_job_to_the_queue(
    run: Run, long_job: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with live_service(tmp_path / "data") as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        job_id = run("submit", *long_job, "-q").out.strip()
        wait_until("in_progress", job_id, run)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):  # the job continues
            service.process.wait(0.5)
        assert service.stop() == 0
    with live_service(tmp_path / "data") as service:
        outcome = run("watch", job_id, "--url", service.url, "-q", "-o", tmp_path / "out.mp4")
        assert outcome.status == 0, outcome.err
    assert probe(tmp_path / "out.mp4").video is not None


def test_one_signal_lets_the_running_job_finish(
    run: Run, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    speech = tiny_media.write_wav(tmp_path / "speech.wav", 4)
    with live_service(tmp_path / "data") as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        job_id = run("submit", talk, speech, "--mode", "loop", *PASSTHROUGH, "-q").out.strip()
        wait_until("in_progress", job_id, run)
        assert service.stop() == 0
    with live_service(tmp_path / "data") as service:
        assert run("status", job_id, "--url", service.url, "--json").json["state"] == "completed"


# -------------------------------------------------------------------------------------- config
def test_config_prints_each_value_and_its_origin(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lipwright.toml").write_text('slots = 2\ndatabase_url = "postgresql://a:b@c/d"\n')
    monkeypatch.setenv("LIPWRIGHT_PORT", "9000")
    monkeypatch.setenv("LIPWRIGHT_SLOT", "9")
    outcome = run("config", "--data-dir", "data")
    assert outcome.status == 0
    assert "slots = 2  (lipwright.toml)\n" in outcome.out
    assert "port = 9000  (LIPWRIGHT_PORT)\n" in outcome.out
    assert f"data_dir = {tmp_path / 'data'}  (argument)\n" in outcome.out
    assert "database_url = (hidden)  (lipwright.toml)\n" in outcome.out
    assert "LIPWRIGHT_SLOT is not a setting" in outcome.err
    rows = {row["name"]: row for row in run("config", "--json").json["settings"]}
    assert rows["slots"]["value"] == 2
    assert rows["host"] == {
        "name": "host",
        "value": "127.0.0.1",
        "origin": "default",
        "meaning": rows["host"]["meaning"],
    }


@pytest.mark.parametrize("command", [("serve",), ("keys", "list"), ("config",)])
def test_commands_without_the_server_extra_say_how_to_install_it(
    command: tuple[str, ...], tmp_path: Path
):
    program = (
        "import sys\n"
        "for name in ('uvicorn', 'fastapi', 'sqlalchemy', 'pydantic', 'pydantic_settings'):\n"
        "    sys.modules[name] = None\n"
        "from lipwright.cli import main\n"
        f"sys.exit(main([*{command!r}, '--data-dir', {str(tmp_path)!r}]))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.returncode == 5
    assert 'pip install "lipwright[server]"' in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime here can use CUDA")
def test_a_service_does_not_start_without_the_requested_device(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIPWRIGHT_DEVICE", "cuda")
    outcome = run("serve", "--data-dir", tmp_path / "data", "--port", 0)
    assert outcome.status == 5
    assert "install onnxruntime-gpu" in outcome.err
    assert not outcome.out
    assert not (tmp_path / "data").exists()
