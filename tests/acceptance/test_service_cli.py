"""The service and its clients as their users meet them: real processes on loopback."""

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
    with live_service(folder / "data") as running:
        yield running
        assert running.stop() == 0


@pytest.fixture
def known(service: LiveService, monkeypatch: pytest.MonkeyPatch) -> LiveService:
    """The service, named by the environment."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return service


@pytest.fixture(scope="module")
def long_words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A job that takes some seconds."""
    folder = tmp_path_factory.mktemp("long")
    video = make_sample(folder / "v.mp4", seconds=2.0, size=(640, 360), rate=Fraction(25)).path
    audio = tiny_media.write_wav(folder / "a.wav", 24)
    return (str(video), str(audio), "--mode", "loop", *PASSTHROUGH)


def wait_until(state: str, job_id: str, run: Run) -> None:
    deadline = time.monotonic() + 60
    while run("status", job_id, "--json").json["state"] != state:
        assert time.monotonic() < deadline, f"{job_id} is not {state}"
        time.sleep(0.05)


# ------------------------------------------------------------------------------------- one job
def test_a_job_goes_all_the_way(
    run: Run, known: LiveService, talk: Path, speech: Path, tmp_path: Path
):
    told = run("submit", talk, speech, *PASSTHROUGH)
    assert told.status == 0, told.err
    job_id = told.out.strip()
    told = run("watch", job_id, "-o", tmp_path / "out.mp4")
    assert told.status == 0, told.err
    assert told.out == f"{tmp_path / 'out.mp4'}\n"
    assert "succeeded\n" in told.err
    video = probe(tmp_path / "out.mp4").video
    assert video is not None
    assert video.duration == Fraction(3, 5)
    assert run("status", job_id, "--json").json["state"] == "completed"
    result = run("result", job_id, "-o", tmp_path / "again.mp4", "--json").json
    assert (result["state"], result["model_id"]) == ("succeeded", "lipwright/passthrough")
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()
    assert job_id in run("list").out
    assert run("cancel", job_id).status == 7


def test_a_job_that_cannot_be_done_ends_as_it_would_here(
    run: Run, known: LiveService, speech: Path, tmp_path: Path
):
    (tmp_path / "text.mp4").write_text("this is no film")
    job_id = run("submit", tmp_path / "text.mp4", speech, "-q").out.strip()
    told = run("watch", job_id, "--json")
    assert told.status == 3
    assert told.json["error"]["code"] == "media_unreadable"


def test_what_is_wrong_is_refused_when_it_is_handed_in(run: Run, known: LiveService, talk: Path):
    told = run("submit", talk, "https://127.0.0.1/speech.wav", "--json")
    assert told.json["error"]["code"] in ("invalid_options", "source_unreachable")
    told = run("submit", talk, talk, "--engine", "magic", "--json")
    assert told.json["error"]["code"] == "engine_not_found"


def test_a_waiting_job_can_be_cancelled_and_the_running_one_goes_on(
    run: Run, known: LiveService, long_words: tuple[str, ...], tmp_path: Path
):
    first = run("submit", *long_words, "-q").out.strip()
    wait_until("in_progress", first, run)
    second = run("submit", *long_words, "-q").out.strip()
    assert run("status", second).out == f"{second}: in_queue, next\n"
    told = run("cancel", first)
    assert told.status == 7
    assert "in_progress" in told.err
    assert run("cancel", second, "--json").json == {"id": second, "cancelled": True}
    assert run("watch", second).status == 130
    assert run("watch", first, "-q", "-o", tmp_path / "out.mp4").status == 0


def test_ctrl_c_ends_the_watching_only(
    run: Run, known: LiveService, long_words: tuple[str, ...], tmp_path: Path
):
    job_id = run("submit", *long_words, "-q").out.strip()
    with subprocess.Popen(
        [sys.executable, "-m", "lipwright", "watch", job_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment(**known.environment),
    ) as watching:
        assert read_line(watching, 60)
        watching.send_signal(signal.SIGINT)
        rest, _ = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert f"lipwright watch {job_id}" in rest.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
    told = run("watch", job_id, "-q", "-o", tmp_path / "out.mp4")
    assert (told.status, told.err) == (0, "")


def test_a_bar_shows_how_far_a_job_is_on_a_terminal(
    run: Run, known: LiveService, long_words: tuple[str, ...], tmp_path: Path
):
    pty = pytest.importorskip("pty")
    job_id = run("submit", *long_words, "-q").out.strip()
    reader, writer = pty.openpty()
    terminal = environment(**known.environment, TERM="xterm", COLUMNS="100")
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
    assert "% of all" in shown
    assert "download" in shown


# -------------------------------------------------------------------------------------- Python
def test_both_clients_do_a_job(known: LiveService, talk: Path, speech: Path, tmp_path: Path):
    async def meanwhile() -> tuple[list[JobState], Path]:
        async with AsyncClient() as client:
            job = await client.submit(talk, speech, model_id="lipwright/passthrough")
            states = [status.state async for status in job.events()]
            saved = await client.download(await job.result(), tmp_path / "async.mp4")
            return states, saved

    states, saved = asyncio.run(meanwhile())
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


def test_the_same_idempotency_key_gives_the_same_job(known: LiveService, talk: Path):
    with Client() as client:
        url = client.upload(talk).url
        model = "lipwright/passthrough"
        first = client.submit(url, url, model_id=model, idempotency_key="one")
        second = client.submit(url, url, model_id=model, idempotency_key="one")
        assert first.id == second.id
        first.result(timeout_s=60)


# ---------------------------------------------------------------------------------------- keys
def test_keys_come_and_go_while_it_runs(run: Run, known: LiveService, talk: Path):
    where = ("--data-dir", known.data_dir)
    told = run("keys", "create", "other", "--priority", 50, "--concurrency", 1, *where)
    assert told.status == 0
    secret = told.out.strip()
    assert told.out == f"{secret}\n"
    assert secret.startswith("lw_")
    with Client(known.url, secret) as client:
        assert client.jobs().jobs == ()  # those of other keys are not seen
        rows = {row["name"]: row for row in run("keys", "list", *where, "--json").json["keys"]}
        assert rows["other"]["priority"] == 50
        assert secret not in run("keys", "list", *where).out
        assert run("keys", "revoke", "other", *where).status == 0
        with pytest.raises(AccessDenied):
            client.jobs()
    told = run("keys", "revoke", "other", *where, "--json")
    assert told.json["error"]["code"] == "key_not_found"
    stored = b"".join(p.read_bytes() for p in known.data_dir.glob("lipwright.sqlite3*"))
    assert secret.encode() not in stored


def test_behind_a_proxy_urls_are_those_that_clients_see(known: LiveService, talk: Path):
    with Client() as client:
        url = client.upload(talk).url
    seen = {"Host": "dub.example.org", "X-Forwarded-Proto": "https"}
    answer = httpx.post(
        f"{known.url}/v1/models/lipwright/passthrough",
        json={"video_url": url, "audio_url": url.replace(known.url, "https://dub.example.org")},
        headers={"Authorization": f"Bearer {known.api_key}", **seen},
    )
    told = answer.json()
    assert told["status_url"].startswith("https://dub.example.org/v1/requests/"), told


def test_no_key_is_in_the_log(run: Run, known: LiveService):
    assert run("list").status == 0
    log = known.data_dir.with_name("data.log").read_text()
    assert "GET /v1/requests" in log
    assert known.api_key is not None
    assert known.api_key not in log


# --------------------------------------------------------------------------------------- serve
def test_the_first_start_prints_a_key_alone_on_a_line(tmp_path: Path):
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
    with live_service(tmp_path / "data") as again:
        assert again.api_key is None


def test_others_are_let_in_only_with_a_key(run: Run, tmp_path: Path):
    words = ("--host", "0.0.0.0", "--port", 0, "--data-dir", tmp_path / "data")
    told = run("serve", *words)
    assert told.status == 2
    assert "lipwright keys create" in told.err
    assert told.out == ""


def test_an_address_in_use_is_named(run: Run, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = run("serve", "--port", port, "--data-dir", tmp_path / "data", "--json")
    assert told.status == 2
    assert str(port) in told.json["error"]["message"]
    keys = run("keys", "list", "--data-dir", tmp_path / "data", "--json").json["keys"]
    assert keys == []  # a start that failed has made no key that nobody has seen


def test_a_second_signal_leaves_the_job_to_the_next_start(
    run: Run, long_words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with live_service(tmp_path / "data") as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        job_id = run("submit", *long_words, "-q").out.strip()
        wait_until("in_progress", job_id, run)
        service.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):  # it lets the job finish
            service.process.wait(0.5)
        assert service.stop() == 0
    with live_service(tmp_path / "data") as service:
        told = run("watch", job_id, "--url", service.url, "-q", "-o", tmp_path / "out.mp4")
        assert told.status == 0, told.err
    assert probe(tmp_path / "out.mp4").video is not None


def test_one_signal_lets_the_running_job_finish(
    run: Run, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    speech = tiny_media.write_wav(tmp_path / "speech.wav", 4)
    with live_service(tmp_path / "data") as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        words = (talk, speech, "--mode", "loop", *PASSTHROUGH)
        job_id = run("submit", *words, "-q").out.strip()
        wait_until("in_progress", job_id, run)
        assert service.stop() == 0
    with live_service(tmp_path / "data") as service:
        assert run("status", job_id, "--url", service.url, "--json").json["state"] == "completed"


# -------------------------------------------------------------------------------------- config
def test_config_shows_what_holds_and_why(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lipwright.toml").write_text('slots = 2\ndatabase_url = "postgresql://a:b@c/d"\n')
    monkeypatch.setenv("LIPWRIGHT_PORT", "9000")
    monkeypatch.setenv("LIPWRIGHT_SLOT", "9")
    told = run("config", "--data-dir", "here")
    assert told.status == 0
    assert "slots = 2  (lipwright.toml)\n" in told.out
    assert "port = 9000  (LIPWRIGHT_PORT)\n" in told.out
    assert f"data_dir = {tmp_path / 'here'}  (argument)\n" in told.out
    assert "database_url = (hidden)  (lipwright.toml)\n" in told.out
    assert "LIPWRIGHT_SLOT is no setting" in told.err
    rows = {row["name"]: row for row in run("config", "--json").json["settings"]}
    assert rows["slots"]["value"] == 2
    assert rows["host"] == {
        "name": "host",
        "value": "127.0.0.1",
        "origin": "default",
        "meaning": rows["host"]["meaning"],
    }


@pytest.mark.parametrize("command", [("serve",), ("keys", "list"), ("config",)])
def test_without_the_server_extra_it_says_how_to_get_it(command: tuple[str, ...], tmp_path: Path):
    program = (
        "import sys\n"
        "for name in ('uvicorn', 'fastapi', 'sqlalchemy', 'pydantic', 'pydantic_settings'):\n"
        "    sys.modules[name] = None\n"
        "from lipwright.cli import main\n"
        f"sys.exit(main([*{command!r}, '--data-dir', {str(tmp_path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 5
    assert 'pip install "lipwright[server]"' in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime here can use CUDA")
def test_a_service_does_not_start_without_the_device_it_is_told_to_use(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LIPWRIGHT_DEVICE", "cuda")
    told = run("serve", "--data-dir", tmp_path / "data", "--port", 0)
    assert told.status == 5
    assert "install onnxruntime-gpu" in told.err
    assert not told.out
    assert not (tmp_path / "data").exists()
