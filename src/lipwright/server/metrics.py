"""Prometheus metrics of one API, in a registry of their own."""

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
RENDER_STAGES = (
    "track",
    "hear",
    "study",
    "paint",
)  # stages whose time counts for frames per second


class CountsSource(Protocol):
    """The part of the ledger that metrics read."""

    def counts(self) -> Mapping[str, Any]:
        """Return the counts described at `lipwright.jobs.ledger.base.Ledger.counts`."""


class Metrics:
    """Metrics of HTTP requests, counted here, and of jobs, read from the ledger on every scrape."""

    def __init__(self, ledger: CountsSource) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "lipwright_http_requests",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "lipwright_http_request_seconds",
            "Seconds until the response started.",
            ("method", "route"),
            buckets=HTTP_SECONDS,
            registry=self.registry,
        )
        self._open = Gauge("lipwright_http_open", "Open HTTP requests.", registry=self.registry)
        info = Gauge("lipwright_info", "Version.", ("version",), registry=self.registry)
        info.labels(__version__).set(1)
        self.registry.register(JobMetricsCollector(ledger))

    def request_started(self) -> None:
        """Count a request that starts."""
        self._open.inc()

    def request_finished(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that ended.

        Args:
            method: HTTP method.
            route: pattern of the path, never the path itself.
            status: HTTP status.
            seconds: time until the response started.
        """
        self._open.dec()
        self._calls.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class JobMetricsCollector(Collector):
    """The ledger's counts; only ``lipwright_database_up 0`` while the database is unavailable."""

    def __init__(self, ledger: CountsSource) -> None:
        self._ledger = ledger

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the registry must not read the ledger at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the present metrics."""
        try:
            counts = self._ledger.counts()
        except QueueUnavailable:
            yield _gauge("lipwright_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("lipwright_database_up", "Whether the database answers.", 1)
        yield from job_metrics(counts)


def job_metrics(counts: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of the ledger's counts."""
    jobs, seconds = counts["jobs"], counts["seconds"]
    yield _gauge("lipwright_jobs_waiting", "Jobs in the queue.", jobs.get(State.IN_QUEUE, 0))
    yield _gauge("lipwright_jobs_running", "Jobs running.", jobs.get(State.IN_PROGRESS, 0))
    yield _gauge(
        "lipwright_jobs_oldest_waiting_seconds",
        "Age of the oldest queued job.",
        counts["oldest_seconds"],
    )
    yield _counters("lipwright_jobs_ended", "Jobs ended.", "state", counts["ended"])
    yield _counters("lipwright_jobs_failed", "Jobs failed.", "code", counts["failures"])
    yield _counters("lipwright_stage_seconds", "Seconds of worker time.", "stage", seconds)
    frames = CounterMetricFamily("lipwright_frames", "Frames rendered.", value=counts["frames"])
    yield frames
    rendering = sum(seconds.get(stage, 0.0) for stage in RENDER_STAGES)
    yield _gauge(
        "lipwright_frames_per_second",
        "Frames rendered per second of worker time, over all jobs.",
        counts["frames"] / rendering if rendering else 0.0,
    )
    deliveries = GaugeMetricFamily(
        "lipwright_webhooks", "Webhook deliveries by state.", labels=("state",)
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
