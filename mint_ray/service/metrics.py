"""What a replica counts, for Prometheus. Labels are routes, codes and stages: nothing of a case."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
STAGES = ("read", "queue", "prepare", "forward")


class HttpMetrics:
    """What any service counts. One registry a replica; its name is a label, as a scrape through a balancer meets any."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, replica: str = "local"):
        self._registry = CollectorRegistry()
        self._replica = replica
        self._requests = self._new(Counter, "requests", "Requests answered", "route", "status")
        self._refusals = self._new(Counter, "refusals", "Requests and cases refused, by problem code", "code")
        self._stages = self._new(Histogram, "stage_seconds", "Time by stage", "stage", buckets=SECONDS)
        self._request_seconds = self._child(self._stages, stage="request")
        self._in_flight = self._child(self._new(Gauge, "requests_in_flight", "Requests being worked on"))
        memory = self._new(Gauge, "resident_bytes", "Memory of the replica's processes")
        self._child(memory).set_function(_resident_bytes)

    def _new(self, kind: type, name: str, description: str, *labels: str, **more):
        return kind(f"mint_ray_{name}", description, ("replica", *labels), registry=self._registry, **more)

    def _child(self, family, **labels: str):
        return family.labels(replica=self._replica, **labels)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._child(self._requests, route=route, status=str(status)).inc()
        self._request_seconds.observe(seconds)

    def refusal(self, code: str) -> None:
        self._child(self._refusals, code=code).inc()

    def watch(self, in_flight: Callable[[], float]) -> None:
        """Read the gauge when scraped."""
        self._in_flight.set_function(in_flight)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


class Metrics(HttpMetrics):
    """What the scorer's service counts beside."""

    def __init__(self, replica: str = "local"):
        super().__init__(replica)
        self._cases = self._new(Counter, "cases", "Cases answered", "outcome")
        self._batch = self._child(self._new(Histogram, "batch_size", "Cases in one forward", buckets=BATCH))
        self._queued = self._child(self._new(Gauge, "queued_cases", "Cases accepted and not answered"))
        self._stage = {name: self._child(self._stages, stage=name) for name in STAGES}

    def case(self, outcome: str) -> None:
        self._child(self._cases, outcome=outcome).inc()

    def stage(self, name: str, seconds: float) -> None:
        self._stage[name].observe(seconds)

    def batch(self, size: int, prepare: float, forward: float) -> None:
        self._batch.observe(size)
        self._stage["prepare"].observe(prepare)
        self._stage["forward"].observe(forward)

    def watch_queue(self, queued: Callable[[], float]) -> None:
        """Read the gauge when scraped."""
        self._queued.set_function(queued)


def _resident_bytes() -> float:
    replica, total = psutil.Process(), 0
    for process in (replica, *replica.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += process.memory_info().rss
    return float(total)
