"""What ``/metrics`` shows, in the words of Prometheus; a registry of our own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lipwright.errors import QueueUnavailable
from lipwright.jobs.model import State
from lipwright.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HTTP_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
RENDERING = ("track", "hear", "study", "paint")  # the stages that frames per second count


class Counts(Protocol):
    """What is asked of the ledger."""

    def counts(self) -> Mapping[str, Any]:
        """Return what is described at `lipwright.jobs.model.Ledger.counts`."""


class Metrics:
    """The numbers of one API: its HTTP calls, and the ledger's counts when they are asked for."""

    def __init__(self, ledger: Counts) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "lipwright_http_requests",
            "HTTP calls answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "lipwright_http_request_seconds",
            "Time until the answer began.",
            ("method", "route"),
            buckets=HTTP_SECONDS,
            registry=self.registry,
        )
        self._open = Gauge("lipwright_http_open", "HTTP calls now.", registry=self.registry)
        info = Gauge("lipwright_info", "Version.", ("version",), registry=self.registry)
        info.labels(__version__).set(1)
        self.registry.register(JobCounts(ledger))

    def began(self) -> None:
        """Note that a call came."""
        self._open.inc()

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note how a call ended; *route* is the pattern of its path, never the path itself."""
        self._open.dec()
        self._calls.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """Return all numbers as text."""
        return generate_latest(self.registry)


class JobCounts(Collector):
    """The ledger's counts as metrics; none, but ``lipwright_database_up 0``, while it is away."""

    def __init__(self, ledger: Counts) -> None:
        self._ledger = ledger

    def describe(self) -> Iterator[Metric]:
        """Say nothing in advance: asking the ledger at registration would be too early."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of now."""
        try:
            counts = self._ledger.counts()
        except QueueUnavailable:
            yield _gauge("lipwright_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("lipwright_database_up", "Whether the database answers.", 1)
        yield from job_metrics(counts)


def job_metrics(counts: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield what the counts of the ledger mean."""
    jobs, seconds = counts["jobs"], counts["seconds"]
    yield _gauge("lipwright_jobs_waiting", "Jobs in the queue.", jobs.get(State.IN_QUEUE, 0))
    yield _gauge("lipwright_jobs_running", "Jobs running.", jobs.get(State.IN_PROGRESS, 0))
    yield _gauge(
        "lipwright_jobs_oldest_waiting_seconds",
        "How long the first queued job has waited.",
        counts["oldest_seconds"],
    )
    yield _counters("lipwright_jobs_ended", "Jobs ended.", "state", counts["ended"])
    yield _counters("lipwright_jobs_failed", "Jobs failed.", "code", counts["failures"])
    yield _counters("lipwright_stage_seconds", "Worker time.", "stage", seconds)
    frames = CounterMetricFamily("lipwright_frames", "Frames rendered.", value=counts["frames"])
    yield frames
    rendering = sum(seconds.get(stage, 0.0) for stage in RENDERING)
    yield _gauge(
        "lipwright_frames_per_second",
        "Frames rendered per second of worker time, over all jobs.",
        counts["frames"] / rendering if rendering else 0.0,
    )
    deliveries = GaugeMetricFamily(
        "lipwright_webhooks", "Webhook calls, by state.", labels=("state",)
    )
    for state, number in counts["deliveries"].items():
        deliveries.add_metric((str(state),), number)
    yield deliveries


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counters(name: str, text: str, label: str, numbers: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for word, number in numbers.items():
        family.add_metric((str(word),), number)
    return family
