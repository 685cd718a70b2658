"""What the benchmarks of the service share: real cases, an honest plain server, and cheap clients.

The clients speak HTTP/1.1 by hand on kept-alive connections in one process, because on a small machine a
client library would cost more than the server that it measures.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pyarrow.dataset
import yaml

from mint_ray.client import QueryCase, rank_body
from mint_ray.service.ports import free_ports

REPOSITORY = Path(__file__).parent.parent
DROPPED = 0  # the connection ended without an answer


def run_cases(cases: Path, count: int) -> list[QueryCase]:
    """The first cases of a run's prepared ones that have a photograph."""
    table = pyarrow.dataset.dataset(cases, format="parquet", exclude_invalid_files=True).to_table()
    rows = [row for row in table.slice(0, 4 * count).to_pylist() if row["image"]][:count]
    return [_query(row) for row in rows]


def _query(row: dict) -> QueryCase:
    seen = [
        {name: p[name] for name in ("id", "name", "excluded")} for p in row["phenotypes"] if p["modality"] == "text"
    ]
    fields = {name: row[name] for name in ("text", "sex", "age_years", "ethnicity", "image")}
    return QueryCase(id=row["case_id"], phenotypes=seen, **fields)


def requests(cases: list[QueryCase], port: int) -> list[bytes]:
    """One whole HTTP request a case."""
    found = []
    for case in cases:
        body = json.dumps(rank_body([case], 10, 0)).encode()
        head = f"POST /v1/rank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        found.append(head.encode() + body)
    return found


@dataclass
class Measured:
    """What `clients` saw in `seconds`: latencies of answers 200 in order of completion, others by status
    (0: the connection ended without an answer)."""

    clients: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return 1e3 * float(np.percentile(self.latencies, share)) if self.latencies else float("nan")


def closed_loop(port: int, sent: list[bytes], clients: int, seconds: float, warm_up: float = 1.0) -> Measured:
    """`clients`, each with its next request as soon as it has its answer."""
    return asyncio.run(_run(port, sent, clients, seconds, warm_up, None))


def open_loop(port: int, sent: list[bytes], rate: float, seconds: float, connections: int = 64) -> Measured:
    """Requests that arrive at `rate` a second whatever the answers; latency counts from the planned arrival."""
    return asyncio.run(_run(port, sent, connections, seconds, 0.0, rate))


async def _run(
    port: int, sent: list[bytes], clients: int, seconds: float, warm_up: float, rate: float | None
) -> Measured:
    measured = Measured(clients, seconds)
    begin = time.perf_counter() + warm_up
    arrivals = _arrivals(rate, begin, seconds) if rate else None
    turns = [_client(port, sent, number, measured, begin, arrivals) for number in range(clients)]
    await asyncio.gather(*turns)
    return measured


def _arrivals(rate: float, begin: float, seconds: float) -> Iterator[float]:
    chance, at = np.random.default_rng(0), begin
    while (at := at + chance.exponential(1 / rate)) < begin + seconds:
        yield at


async def _client(
    port: int, sent: list[bytes], number: int, measured: Measured, begin: float, arrivals: Iterator[float] | None
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    end, turn = begin + measured.seconds, number
    while True:
        started = time.perf_counter()
        if arrivals is not None:
            if (planned := next(arrivals, None)) is None:
                break
            await asyncio.sleep(max(0.0, planned - started))
            started = planned
        elif started >= end:
            break
        writer.write(sent[turn % len(sent)])
        try:
            status = await _answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            status = DROPPED
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        turn += 1
        finished = time.perf_counter()
        if status != 200:
            measured.others[status] = measured.others.get(status, 0) + 1
        elif begin <= started and (arrivals is not None or finished <= end):
            measured.latencies.append(finished - started)
            measured.at.append(finished - begin)
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])
    await reader.readexactly(length)
    return int(head[9:12])


@contextmanager
def service(
    scorer: Path, task: str, folder: Path, flags: tuple[str, ...] = (), beside: Sequence[dict] = (), **args
) -> Iterator[int]:
    """The service as its command starts it, and other applications beside it; its port."""
    port = free_ports(1)[0]
    application = {
        "name": "scorer",
        "import_path": "deployments.scorer:build",
        "args": {"scorer": str(scorer.absolute()), "task": {"kind": task}, **args},
    }
    config = folder / "service.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "proxy_location": "HeadOnly",
                "http_options": {"host": "127.0.0.1", "port": port},
                "applications": [application, *beside],
            }
        )
    )
    with process([sys.executable, "-m", "mint_ray.service", str(config), *flags], port, folder / "service.log"):
        yield port


@contextmanager
def process(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen]:
    """A server, once it is ready at `/livez`."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output, env=environment)
    try:
        _wait(server, f"http://127.0.0.1:{port}/livez", log)
        yield server
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(90)


def _wait(server: subprocess.Popen, url: str, log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        with suppress(httpx.TransportError):  # it does not listen yet
            if httpx.get(url).status_code == 200:
                return
        time.sleep(0.3)
    raise SystemExit(f"the server did not start; see {log}")


def counters(port: int, prefix: str = "") -> dict[str, float]:
    """The service's metrics by name and labels, without the replica's."""
    lines = httpx.get(f"http://127.0.0.1:{port}{prefix}/metrics", timeout=120).text.splitlines()
    pairs = [re.sub(r'replica="[^"]*",?', "", line).rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}
