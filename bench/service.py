"""The service under load: submits, every call, pick-up and idling, with few rows and with many.

    python -m bench.service [--rows 0 1000 100000] [--seconds 10] [--calls 500] [--jobs 30]

For each number of rows a real ``lipwright serve`` runs on loopback with a folder of its own, filled
through the ledger before. Writes bench/results/service.md; ``--out`` names another place.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import platform
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lipwright.jobs.model import Key, Limits, Ticket
from lipwright.jobs.services import Services, open_services
from lipwright.sample import make_sample
from lipwright.settings import Settings
from lipwright.version import __version__

RESULTS = Path(__file__).parent / "results/service.md"
MODEL = "/v1/models/lipwright/passthrough"
WAITING = 1000  # jobs in the queue while calls are timed
CLIENTS = 8  # connections that submit at once
MANY = 10_000_000  # of what a key may have: the limits are not what is measured
UPLOAD_BYTES = 65_536
SOURCE = "https://media.example.org/talk.mp4"  # of jobs that are never carried out
#: Fields of a call that is timed, and how the table calls it.
CALLS = {
    "submit": "submit",
    "status_waiting": f"status, {WAITING} waiting",
    "status_ended": "status, ended",
    "result": "result",
    "list": "list of 20",
    "events": "events, the first",
    "cancel": "cancel",
    "upload": "upload of 64 KiB",
    "download": "download of a dub",
}
AIMS = {"status_waiting": "p99 < 20", "status_ended": "p99 < 20"}


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Times of one kind of call, milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Return median and 99th percentile, by nearest rank."""
        ranked = sorted(seconds)
        return cls(p50=rank(ranked, 0.50) * 1000, p99=rank(ranked, 0.99) * 1000)

    def __str__(self) -> str:
        return f"{self.p50:.1f} / {self.p99:.1f}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured with one number of rows."""

    rows: int
    submits_per_second: float
    storm: Spread  #: of submits while they come from all connections
    lost: int  #: acknowledged submits that are not in the ledger
    calls: dict[str, Spread]
    pick_up: Spread
    idle_cpu: float  #: share of one core


def rank(ranked: Sequence[float], share: float) -> float:
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


# ---------------------------------------------------------------------------------- the service
class Caller:
    """One connection to the service that stays open."""

    def __init__(self, url: str, secret: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._headers = {"Authorization": f"Bearer {secret}"}

    def __call__(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"
    ) -> tuple[dict[str, Any], float]:
        """Make a call that must succeed; return its JSON object, if any, and its seconds."""
        headers = self._headers | ({"Content-Type": kind} if body is not None else {})
        began = time.perf_counter()
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        raw = response.read()
        seconds = time.perf_counter() - began
        if response.status >= 300:
            raise SystemExit(f"{method} {path} was answered {response.status}: {raw[:300]!r}")
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return (json.loads(raw) if is_json else {}), seconds

    def first_event(self, job_id: str) -> float:
        """Return how long it takes until the first event of a job has come."""
        began = time.perf_counter()
        path = f"/v1/requests/{job_id}/events"
        with closing(http.client.HTTPConnection(self._connection.host, self._connection.port)) as c:
            c.request("GET", path, headers=self._headers)
            response = c.getresponse()
            while not response.fp.readline().startswith(b"data:"):
                pass
            return time.perf_counter() - began

    def submit(self, video: str, audio: str) -> tuple[str, float]:
        """Hand in a job; return its id."""
        body = json.dumps({"video_url": video, "audio_url": audio}).encode()
        answer, seconds = self("POST", MODEL, body)
        return answer["request_id"], seconds


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """Run the service on a free port; yield its URL and process."""
    command = [sys.executable, "-m", "lipwright", "serve", "--port", "0", "--json"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LIPWRIGHT_")}
    settings = {
        "LIPWRIGHT_FETCH_ALLOW": "127.0.0.1",
        "LIPWRIGHT_FETCH_TOTAL_SECONDS": "3600",
        "LIPWRIGHT_LOG_LEVEL": "warning",
    }
    with (
        open(folder / "serve.log", "w") as log,
        subprocess.Popen(
            [*command, "--data-dir", str(folder / "data")],
            stdout=subprocess.PIPE,
            stderr=log,
            env=kept | settings,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            told = process.stdout.readline()
            if not told:
                raise SystemExit(
                    f"the service did not start:\n{(folder / 'serve.log').read_text()}"
                )
            yield json.loads(told)["url"], process.pid
        finally:
            while process.poll() is None:  # the second signal ends the job that holds the slot
                process.send_signal(signal.SIGTERM)
                time.sleep(0.5)


@contextmanager
def endless_source() -> Iterator[str]:
    """Serve a file that comes byte by byte and never ends: it holds a slot without any work."""
    over = threading.Event()

    class Trickle(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not over.wait(1.0):
                try:
                    self.wfile.write(b"\0")
                except OSError:
                    return

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/endless.mp4"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and all below it."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(own[11]) + int(own[12])
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = (int(child) for path in children for child in path.read_text().split())
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, below))


# --------------------------------------------------------------------------------- measurements
def fill(services: Services, key: Key, rows: int) -> list[str]:
    """Put ended jobs into ledger and queue, each by a submit and a cancel of the ledger."""
    limits = Limits(max_queued=MANY, submits_per_minute=MANY)

    def add(_number: int) -> str:
        ticket = Ticket(
            id=str(uuid.uuid4()),
            key_id=key.id,
            model_id="lipwright/passthrough",
            dialect="runcomfy",
            engine="passthrough",
            input={"video_url": SOURCE, "audio_url": SOURCE, "sync_mode": "cut_off"},
            work={"video": SOURCE, "audio": SOURCE, "mode": "cut_off"},
        )
        services.ledger.submit(ticket, limits)
        services.ledger.cancel(ticket.id)
        return ticket.id

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(add, range(rows)))


def upload(caller: Caller, contents: bytes) -> tuple[str, float]:
    answer, seconds = caller("POST", "/v1/files", contents, "application/octet-stream")
    return answer["url"], seconds


def carry_out(caller: Caller, video: str, jobs: int) -> list[str]:
    """Have jobs done one after the other by an idle slot; return their ids."""
    done = []
    for _ in range(jobs):
        job_id, _ = caller.submit(video, video)
        deadline = time.monotonic() + 120
        while (state := caller("GET", f"/v1/requests/{job_id}/result")[0]["status"]) in (
            "in_queue",
            "in_progress",
        ):
            if time.monotonic() > deadline:
                raise SystemExit(f"job {job_id} is still {state} after 120 s")
            time.sleep(0.05)
        if state != "succeeded":
            raise SystemExit(f"job {job_id} ended as {state}")
        done.append(job_id)
        time.sleep(random.uniform(0.2, 0.4))  # so that submits fall anywhere between two polls
    return done


def idle_share(pid: int, seconds: float) -> float:
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds


def time_calls(
    caller: Caller, ended: Sequence[str], dub: str, calls: int
) -> dict[str, list[float]]:
    """Time each kind of call on one connection, while the slot is taken and jobs wait."""
    waiting = [caller.submit(SOURCE, SOURCE) for _ in range(WAITING)]
    ids = [job_id for job_id, _ in waiting]
    link, _ = caller("GET", f"/v1/requests/{dub}/result")
    video = urlsplit(link["output"]["video"])
    chosen = random.Random(0)
    get: Callable[[str], float] = lambda path: caller("GET", path)[1]  # noqa: E731

    def about(known: Sequence[str], call: str) -> list[float]:
        return [get(f"/v1/requests/{chosen.choice(known)}/{call}") for _ in range(calls)]

    times = {
        "submit": [seconds for _, seconds in waiting],
        "status_waiting": about(ids, "status"),
        "status_ended": about(ended, "status"),
        "result": about(ended, "result"),
        "list": [get("/v1/requests") for _ in range(calls)],
        "events": [caller.first_event(chosen.choice(ids)) for _ in range(calls // 5 or 1)],
        "upload": [upload(caller, b"\0" * UPLOAD_BYTES)[1] for _ in range(calls // 5 or 1)],
        "download": [get(f"{video.path}?{video.query}") for _ in range(calls)],
    }
    cancels = ids[: min(calls, WAITING)]
    times["cancel"] = [caller("POST", f"/v1/requests/{i}/cancel")[1] for i in cancels]
    return times


def storm(make: Callable[[], Caller], seconds: float) -> tuple[list[str], list[float], float]:
    """Submit from all connections; return acknowledged ids, their times, and submits per second."""
    end = time.perf_counter() + seconds

    def submit_on(_number: int) -> list[tuple[str, float]]:
        caller, done = make(), []
        while time.perf_counter() < end:
            done.append(caller.submit(SOURCE, SOURCE))
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = list(itertools.chain(*pool.map(submit_on, range(CLIENTS))))
    took = time.perf_counter() - began
    return [job_id for job_id, _ in done], [s for _, s in done], len(done) / took


def measure(rows: int, clip: bytes, words: argparse.Namespace, folder: Path) -> Found:
    """Measure all with one number of rows, in a folder of its own."""
    settings = Settings(data_dir=folder / "data")
    with closing(open_services(settings)) as services:
        key, secret = services.keys.create("bench", submits_per_minute=MANY, max_queued=MANY)
        ended = fill(services, key, rows)
    with serving(folder) as (url, pid), endless_source() as endless:
        caller = Caller(url, secret)
        video, _ = upload(caller, clip)
        carry_out(caller, video, 1)  # warms the slot
        done = carry_out(caller, video, words.jobs)
        idle = idle_share(pid, words.seconds)
        caller = Caller(url, secret)  # the other connection may have idled too long
        caller.submit(endless, endless)
        times = time_calls(caller, ended or done, done[-1], words.calls)
        ids, storm_times, rate = storm(lambda: Caller(url, secret), words.seconds)
    with closing(open_services(settings)) as services:
        jobs = [services.ledger.get(job_id) for job_id in done]
        lost = len(set(ids) - known_of(services, ids))
    return Found(
        rows=rows,
        submits_per_second=rate,
        storm=Spread.of(storm_times),
        lost=lost,
        calls={name: Spread.of(times[name]) for name in CALLS},
        pick_up=Spread.of([(j.started_at - j.created_at).total_seconds() for j in jobs]),
        idle_cpu=idle,
    )


def known_of(services: Services, ids: Sequence[str]) -> set[str]:
    """Return those ids that the ledger knows."""
    key_id = services.ledger.get(ids[0]).ticket.key_id
    parts = (ids[i : i + 500] for i in range(0, len(ids), 500))
    pages = (services.ledger.page(key_id, limit=500, ids=part) for part in parts)
    return {job.id for page in pages for job in page}


# ---------------------------------------------------------------------------------------- report
def report(found: Sequence[Found], words: argparse.Namespace) -> str:
    """Return the page."""
    head = ["", *(f"{f.rows:,} rows".replace(",", " ") for f in found), "aim"]
    lines = [
        row("submits/s, all connections", [f"{f.submits_per_second:.0f}" for f in found], "≥ 500"),
        row("of them lost", [str(f.lost) for f in found], "0"),
        row("their ms, p50 / p99", [str(f.storm) for f in found]),
        row("pick-up ms, p50 / p99", [str(f.pick_up) for f in found], "p50 ≤ 100"),
        row("idle, % of one core", [f"{100 * f.idle_cpu:.1f}" for f in found]),
        *(
            row(f"{text}, ms p50 / p99", [str(f.calls[name]) for f in found], AIMS.get(name, ""))
            for name, text in CALLS.items()
        ),
    ]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return f"""# The service under load

`{command(words)}`: one `lipwright serve` with one slot on SQLite, on loopback,
both it and its callers on the same {cores} cores (load average {load:.1f} at the end; Lipwright
{__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}). Rows are ended
jobs, each put there by a submit and a cancel. Submits come over {CLIENTS} connections for
{words.seconds:g} s while the slot is taken and jobs wait. Every other call: {words.calls} in a row
(events and uploads a fifth of it, submits {WAITING}) on one connection, with {WAITING} jobs
waiting, from the first byte sent to the last one received. Pick-up: from the commit of a submit to
the claim by an idle slot, by the database's clock, {words.jobs} jobs one after the other. Idle:
processor time of all processes of the service.

| {" | ".join(head)} |
| {" | ".join(["---", *["---:"] * (len(head) - 1)])} |
{chr(10).join(lines)}
"""


def row(name: str, cells: Sequence[str], aim: str = "") -> str:
    return f"| {' | '.join([name, *cells, aim])} |"


def command(words: argparse.Namespace) -> str:
    """Return the command line that measures the same."""
    rows = " ".join(map(str, words.rows))
    return (
        f"python -m bench.service --rows {rows} --seconds {words.seconds:g} "
        f"--calls {words.calls} --jobs {words.jobs}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 1000, 100_000])
    parser.add_argument("--seconds", type=float, default=10.0, help="of the storm, and of idling")
    parser.add_argument("--calls", type=int, default=500, help="of each kind")
    parser.add_argument("--jobs", type=int, default=30, help="carried out, for the pick-up")
    parser.add_argument("--out", type=Path, default=RESULTS)
    words = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="lipwright-bench-") as name:
        folder = Path(name)
        clip = make_sample(folder / "c.mp4", seconds=0.2, size=(96, 96), rate=Fraction(25)).path
        for rows in words.rows:
            (folder / str(rows)).mkdir()
            print(f"{rows} rows: filling and measuring …", file=sys.stderr, flush=True)
            found.append(measure(rows, clip.read_bytes(), words, folder / str(rows)))
            print(found[-1], flush=True)
    words.out.write_text(report(found, words), encoding="utf-8")
    print(words.out)


if __name__ == "__main__":
    main()
