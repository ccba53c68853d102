"""Load on the service: single calls, concurrent submits, pick-up of jobs, and idling."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from bench.service.client import TimedClient, cpu_seconds, run_service, serve_endless_file
from lipwright.jobs.model import ApiKey, JobSpec, SubmitLimits
from lipwright.jobs.services import Services, open_services
from lipwright.settings import Settings

QUEUED_JOBS = 1000  # in the queue while calls are timed
CLIENTS = 8  # connections that submit at once
UNLIMITED = 10_000_000  # so that limits of the key are not what is measured
UPLOAD_BYTES = 65_536
PAGE_ROWS = 500  # of the ledger, read at once
SLOW_CALL_SHARE = 5  # events and uploads are timed once per so many other calls
JOB_TIMEOUT = 120  # seconds
SOURCE = "https://media.example.org/talk.mp4"  # of jobs that never run
#: Each timed call, and its name in the table.
CALLS = {
    "submit": "submit",
    "status_queued": f"status, {QUEUED_JOBS} queued",
    "status_ended": "status, ended",
    "result": "result",
    "list": "list of 20",
    "events": "events, the first",
    "cancel": "cancel",
    "upload": "upload of 64 KiB",
    "download": "download of a dub",
}


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """What to measure."""

    rows: tuple[int, ...]  #: ended jobs in the ledger, measured one after the other
    seconds: float  #: of concurrent submits, and of idling
    calls: int  #: of each kind
    jobs: int  #: executed, to measure the pick-up


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Percentiles of times, milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles:
        """Return median and 99th percentile; each is one of the times, the higher at a tie."""
        p50, p99 = np.percentile(seconds, [50, 99], method="higher")
        return cls(p50=float(p50) * 1000, p99=float(p99) * 1000)

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p99:.1f}"


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """Measurements with one number of rows."""

    rows: int
    submits_per_second: float
    concurrent_submits: Percentiles  #: times of submits from all connections
    lost: int  #: acknowledged submits that are not in the ledger
    calls: dict[str, Percentiles]
    pick_up: Percentiles
    idle_cpu: float  #: share of one core


def fill_ledger(services: Services, key: ApiKey, rows: int) -> list[str]:
    """Add ended jobs to ledger and queue, each by a submit and a cancel; return their ids."""
    limits = SubmitLimits(max_queued=UNLIMITED, submits_per_minute=UNLIMITED)

    def add(_number: int) -> str:
        spec = JobSpec(
            id=str(uuid.uuid4()),
            key_id=key.id,
            model_id="lipwright/passthrough",
            dialect="runcomfy",
            engine="passthrough",
            input={"video_url": SOURCE, "audio_url": SOURCE, "sync_mode": "cut_off"},
            payload={"video": SOURCE, "audio": SOURCE, "mode": "cut_off"},
        )
        services.ledger.submit(spec, limits)
        services.ledger.cancel(spec.id)
        return spec.id

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(add, range(rows)))


def execute_jobs(client: TimedClient, video: str, jobs: int) -> list[str]:
    """Submit jobs one after the other to an idle slot and wait for each; return their ids."""
    job_ids = []
    for _ in range(jobs):
        job_id, _ = client.submit(video, video)
        deadline = time.monotonic() + JOB_TIMEOUT
        while (state := client.call("GET", f"/v1/requests/{job_id}/result")[0]["status"]) in (
            "in_queue",
            "in_progress",
        ):
            if time.monotonic() > deadline:
                raise SystemExit(f"job {job_id} is still {state} after {JOB_TIMEOUT} s")
            time.sleep(0.05)
        if state != "succeeded":
            raise SystemExit(f"job {job_id} ended as {state}")
        job_ids.append(job_id)
        time.sleep(random.uniform(0.2, 0.4))  # so that submits fall anywhere between two polls
    return job_ids


def measure_idle(pid: int, seconds: float) -> float:
    """Return the share of one core that an idle service uses."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def time_calls(
    client: TimedClient, ended: Sequence[str], dub: str, calls: int
) -> dict[str, list[float]]:
    """Time each kind of call on one connection, while the slot is busy and jobs are queued.

    Args:
        client: to call with.
        ended: ids of ended jobs.
        dub: id of a job with an output.
        calls: of each kind.

    Returns:
        Seconds by call, a key of `CALLS`.
    """
    submits = [client.submit(SOURCE, SOURCE) for _ in range(QUEUED_JOBS)]
    queued = [job_id for job_id, _ in submits]
    result, _ = client.call("GET", f"/v1/requests/{dub}/result")
    video = urlsplit(result["output"]["video"])
    rng, slow_calls = random.Random(0), calls // SLOW_CALL_SHARE or 1

    def time_requests(job_ids: Sequence[str], what: str) -> list[float]:
        return [client.get(f"/v1/requests/{rng.choice(job_ids)}/{what}") for _ in range(calls)]

    times = {
        "submit": [seconds for _, seconds in submits],
        "status_queued": time_requests(queued, "status"),
        "status_ended": time_requests(ended, "status"),
        "result": time_requests(ended, "result"),
        "list": [client.get("/v1/requests") for _ in range(calls)],
        "events": [client.first_event(rng.choice(queued)) for _ in range(slow_calls)],
        "upload": [client.upload(b"\0" * UPLOAD_BYTES)[1] for _ in range(slow_calls)],
        "download": [client.get(f"{video.path}?{video.query}") for _ in range(calls)],
    }
    cancelled = queued[: min(calls, QUEUED_JOBS)]
    times["cancel"] = [client.call("POST", f"/v1/requests/{i}/cancel")[1] for i in cancelled]
    return times


def submit_concurrently(
    connect: Callable[[], TimedClient], seconds: float
) -> tuple[list[str], list[float], float]:
    """Submit from all connections; return acknowledged ids, their times, and submits per second."""
    end = time.perf_counter() + seconds

    def submit_until_end(_number: int) -> list[tuple[str, float]]:
        client, submits = connect(), []
        while time.perf_counter() < end:
            submits.append(client.submit(SOURCE, SOURCE))
        return submits

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        submits = list(itertools.chain(*pool.map(submit_until_end, range(CLIENTS))))
    elapsed = time.perf_counter() - began
    return [job_id for job_id, _ in submits], [s for _, s in submits], len(submits) / elapsed


def measure_load(rows: int, clip: bytes, options: LoadOptions, folder: Path) -> LoadResult:
    """Measure everything with one number of rows.

    Args:
        rows: ended jobs in the ledger.
        clip: content of a small video with sound.
        options: of the measurement.
        folder: empty, for the service's data.
    """
    settings = Settings(data_dir=folder / "data")
    with closing(open_services(settings)) as services:
        key, secret = services.keys.create(
            "bench", submits_per_minute=UNLIMITED, max_queued=UNLIMITED
        )
        ended = fill_ledger(services, key, rows)
    with run_service(folder) as (url, pid), serve_endless_file() as endless:
        client = TimedClient(url, secret)
        video, _ = client.upload(clip)
        execute_jobs(client, video, 1)  # loads the models of the slot
        executed = execute_jobs(client, video, options.jobs)
        idle = measure_idle(pid, options.seconds)
        client = TimedClient(url, secret)  # the first connection may have timed out
        client.submit(endless, endless)
        times = time_calls(client, ended or executed, executed[-1], options.calls)
        submitted, submit_times, rate = submit_concurrently(
            lambda: TimedClient(url, secret), options.seconds
        )
    with closing(open_services(settings)) as services:
        jobs = [services.ledger.get(job_id) for job_id in executed]
        lost = len(set(submitted) - ids_in_ledger(services, submitted))
    return LoadResult(
        rows=rows,
        submits_per_second=rate,
        concurrent_submits=Percentiles.of(submit_times),
        lost=lost,
        calls={name: Percentiles.of(times[name]) for name in CALLS},
        pick_up=Percentiles.of(
            [(j.started_at - j.created_at).total_seconds() for j in jobs if j.started_at]
        ),
        idle_cpu=idle,
    )


def ids_in_ledger(services: Services, ids: Sequence[str]) -> set[str]:
    """Return those of the ids that are in the ledger."""
    key_id = services.ledger.get(ids[0]).spec.key_id
    parts = (ids[i : i + PAGE_ROWS] for i in range(0, len(ids), PAGE_ROWS))
    pages = (services.ledger.list_jobs(key_id, limit=PAGE_ROWS, ids=part) for part in parts)
    return {job.id for page in pages for job in page}
