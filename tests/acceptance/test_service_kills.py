"""Processes of a service are killed at random times; a seed fixes the order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import faulty_engines
import live_service
import tiny_media
from lipwright.jobs.model import State
from lipwright.sample import SampleTruth
from processes import DEADLINE, linux_only, wait_for
from service_harness import ServiceHarness, open_service_harness

pytestmark = linux_only

SEED = 20260102
JOBS = 50
KILLS = {"child": 6, "worker": 6, "api": 3}
RESTART_DELAYS = (0.05, 0.6)  # seconds between kills: some hit a start, some a running job


@pytest.fixture
def bench(tmp_path: Path, original: SampleTruth) -> Iterator[ServiceHarness]:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    speech = tiny_media.write_wav(tmp_path / "speech.wav", 0.3)
    with open_service_harness(
        tmp_path, original.path, speech, faulty_engines.install(plugins)
    ) as opened:
        yield opened


@dataclass
class Client:
    """Submits over HTTP and retries while the service is down."""

    bench: ServiceHarness
    secret: str
    url: str = ""  #: of the current service
    accepted: list[str] = field(default_factory=list)  #: ids of accepted jobs

    def upload(self, path: Path) -> str:
        with path.open("rb") as file:
            response = httpx.post(
                f"{self.url}/v1/files", files={"file": file}, headers=self._headers
            )
        return str(response.raise_for_status().json()["url"])

    def submit_all(self, sources: dict[str, str]) -> None:
        for number in range(JOBS):
            model = "lipwright/exemplar" if number == 0 else "lipwright/brisk"
            self.accepted.append(self._submit(number, model, sources))
            time.sleep(0.05)

    def _submit(self, number: int, model: str, sources: dict[str, str]) -> str:
        headers = {**self._headers, "Idempotency-Key": f"job-{number}"}
        end, failure = time.monotonic() + DEADLINE, ""
        while time.monotonic() < end:
            try:
                response = httpx.post(
                    f"{self.url}/v1/models/{model}", json=sources, headers=headers, timeout=5.0
                )
                if response.is_success:
                    return str(response.json()["request_id"])
                # Another program may use the port of the killed service until the next one starts.
                failure = f"{response.status_code} {response.text}"
            except httpx.TransportError as error:
                failure = repr(error)
            time.sleep(0.05)
        raise AssertionError(f"job {number} was not accepted in {DEADLINE:g} s: {failure}")

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


def test_each_job_ends_exactly_once_whatever_process_is_killed(bench, original, tmp_path):
    settings = {"slots": 2, "max_attempts": 30, "fetch_allow": "127.0.0.1"}
    rng = random.Random(SEED)
    roles = [role for role, times in KILLS.items() for _ in range(times)]
    rng.shuffle(roles)
    client = Client(bench, bench.services.keys.create("acceptance")[1])
    with ExitStack() as stack:

        def start() -> live_service.LiveService:
            live = stack.enter_context(bench.serving(**settings))
            client.url = live.url
            return live

        live = start()
        sources = {
            "video_url": client.upload(original.path),
            "audio_url": client.upload(tmp_path / "speech.wav"),
        }
        submitting = threading.Thread(target=client.submit_all, args=(sources,))
        submitting.start()
        killed = []
        for role in roles:
            time.sleep(rng.uniform(*RESTART_DELAYS))
            if role != "api":
                wait_for(lambda: bench.busy() or not submitting.is_alive())
            wait_for(lambda role=role: bool(bench.processes(role)))
            victim = rng.choice(bench.processes(role))
            if not victim.kill():
                continue  # it ended by itself
            killed.append(role)
            if role == "api":
                live.process.wait()
                live = start()
        submitting.join(2 * DEADLINE)
        assert len(client.accepted) == JOBS
        for job_id in client.accepted:
            bench.wait(job_id)
        wait_for(lambda: not bench.busy())
        assert live.stop() == 0
    assert {role: killed.count(role) for role in KILLS} == KILLS
    _check(bench, client)


def _check(bench: ServiceHarness, client: Client) -> None:
    """Check that every accepted job succeeded once, with complete files and no others."""
    assert len(set(client.accepted)) == JOBS
    (key,) = bench.services.keys.list()
    jobs = bench.services.ledger.list_jobs(key.id, limit=2 * JOBS)
    assert {job.id for job in jobs} == set(client.accepted), "a job is lost, or was never reported"
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    ended = bench.services.ledger.counts()["ended"]
    assert {state: number for state, number in ended.items() if number} == {State.SUCCEEDED: JOBS}
    assert any(job.epoch > 1 for job in jobs), "no kill hit a running job"
    for job_id in client.accepted:
        bench.check_output(job_id)
    assert len(bench.files()) == 2 * JOBS
    bench.check_tidy()
    wait_for(lambda: not bench.processes())
