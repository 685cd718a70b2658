"""Both services on Ray Serve under attack: odd requests, slow clients, ten times the load, and a long steady one.

    python benchmarks/attack/services.py out/services [--requests 10000] [--overload-seconds 120] [--soak-seconds 600]

A scorer of the demo's size with random weights and the packaged language model are served as their commands start them.

odd       requests by a grammar and a seed, two thirds to the scorer: no 5xx, none unanswered, and no canary in an answer,
          a log of the service or of Ray, or a metric
held      connections to every port that speaks HTTP, the replicas' own too, which send slowly, or what is no request, or
          one that is to be upgraded: all have ended after the time that is allowed for them
overload  ten times what the service can do arrives: what is accepted is answered within its bound, the rest is told
          so at once, and memory stays
killed    processes of each service, one after the other: soon the same answer comes again
soak      70 % of what it can do arrives at random times: no error, and memory within 2 % in ten minutes, by the slope of the
          second half

0 leaves a part out. Results are appended to services.jsonl in the folder as they come, and parts that stand there are not
repeated; status 1 if anything differs from what must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.attack.memory import MemoryByKind, growth
from benchmarks.attack.odd_requests import CANARY, Asked, model_requests, scorer_requests
from benchmarks.attack.results import Results
from benchmarks.attack.service_kills import COMPLETION, RANKING, Question, killed
from benchmarks.scorer_soak import MemoryLog
from benchmarks.serving import _answer, closed_loop, open_loop, process
from mint_ray.service.connections import GRACE_SECONDS, HEAD_SECONDS
from mint_ray.service.ports import free_ports

LIMITS = {
    "scorer": {"request_seconds": 20.0, "body_seconds": 5.0},
    "models": {"request_seconds": 120.0, "body_seconds": 5.0},  # two cores say a few words a second
}
MODEL = "packaged:smollm2-135m-instruct"
SIZE = {"image_size": 96, "patch_size": 24, "layers": 3, "text_tokens": 48}  # as configs/demo.yaml has it
BIG_CASES = 32  # in a request of the overload: so that ten times what two cores can do can be sent from them
UNANSWERED, CLIENTS, PATIENCE = 0, 8, 180.0
REPLICAS = range(30000, 31001)  # Serve's own ports of replicas


Found = dict[str, Any]  # of a part: how many were `tried`, in words what `differs`, and figures
Part = Callable[[int], Found]  # by the service's port


def main() -> None:
    options = arguments()
    out = options.out.resolve()
    results = Results(out / "services.jsonl")
    scorer = {"scorer": str(options.scorer or demo_scorer(out / "scorer")), "task": {"kind": "rare_disease"}}
    attack(partial(served, out, "scorer", scorer), scorer_parts(options, out), results)
    models = {"model": MODEL, "engine": {"max_model_len": 128, "cache_gib": 0.25}}
    attack(partial(served, out, "models", models), {} if options.no_models else model_parts(options, out), results)
    sys.exit(results.differs)


def attack(serve: Callable[[], AbstractContextManager[int]], parts: dict[str, Part], results: Results) -> None:
    """The parts whose results do not stand yet."""
    done = {row["kind"] for row in results.rows}
    left = {kind: part for kind, part in parts.items() if kind not in done}
    if not left:
        return
    with serve() as port:
        for kind, part in left.items():
            results.add(kind, **part(port))


def scorer_parts(options: argparse.Namespace, out: Path) -> dict[str, Part]:
    asked = partial(islice, scorer_requests(options.seed), options.requests - options.requests // 3)
    parts = {
        "odd requests to the scorer": (options.requests, lambda port: odd(port, asked(), out / "scorer.log")),
        "held connections to the scorer": (options.held, partial(held, count=options.held, limits=LIMITS["scorer"])),
        "killed processes of the scorer": (options.kills, partial(_killed, RANKING, options)),
        "overload": (options.overload_seconds, partial(overload, seconds=options.overload_seconds)),
        "soak": (options.soak_seconds, partial(soak, seconds=options.soak_seconds)),
    }
    return {kind: part for kind, (size, part) in parts.items() if size}


def model_parts(options: argparse.Namespace, out: Path) -> dict[str, Part]:
    asked = partial(islice, model_requests(options.seed, "base"), options.requests // 3)
    parts = {
        "odd requests to the models": (options.requests, lambda port: odd(port, asked(), out / "models.log")),
        "held connections to the models": (options.held, partial(held, count=options.held, limits=LIMITS["models"])),
        "killed processes of the models": (options.kills, partial(_killed, COMPLETION, options)),
    }
    return {kind: part for kind, (size, part) in parts.items() if size}


def _killed(question: Question, options: argparse.Namespace, port: int) -> Found:
    return killed(port, question, options.kills, options.seed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--held", type=int, default=40, help="slow or broken connections to each port")
    parser.add_argument("--kills", type=int, default=10, help="of each service's processes")
    parser.add_argument("--overload-seconds", type=float, default=120)
    parser.add_argument("--soak-seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scorer", type=Path, help="a finished scorer's folder; default: random weights")
    parser.add_argument("--no-models", action="store_true", help="the scorer's service alone")
    return parser.parse_args()


def demo_scorer(folder: Path) -> Path:
    """A scorer as the demo's, but for its weights, which are chance."""
    from mint_ray.scorers.vilt import Vilt
    from mint_ray.scorers.vilt.fitting import starting_point
    from mint_ray.scorers.vilt.model import save_scorer
    from mint_ray.tasks.base import Label

    labels = [Label(id=f"OMIM:{number}", name=f"Disease {number}") for number in range(28)]
    section = Vilt(kind="vilt", size=SIZE)
    folder.mkdir(parents=True, exist_ok=True)
    save_scorer(*starting_point(section, WORDS, labels), labels, section, folder)
    return folder


WORDS = [
    "Sex",
    "female",
    "Age",
    "3",
    "years",
    "Hypotonia",
    "Seizure",
    "Hypertelorism",
    "Short",
    "stature",
    "Global",
    "developmental",
    "delay",
]


@contextmanager
def served(folder: Path, kind: str, args: dict[str, Any]) -> Iterator[int]:
    """A service as its command starts it; its port."""
    (port,) = free_ports(1)
    builder = {"scorer": "deployments.scorer:build", "models": "deployments.aligned_model:build"}[kind]
    application = {"name": kind, "import_path": builder, "args": args | {"limits": LIMITS[kind]}}
    config = folder / f"{kind}.yaml"
    config.write_text(yaml.safe_dump({"http_options": {"port": port}, "applications": [application]}))
    with process([sys.executable, "-m", "mint_ray.service", str(config)], port, folder / f"{kind}.log"):
        yield port


def odd(port: int, asked: Iterable[Asked], log: Path) -> Found:
    """Answers by status, and what should not be."""
    told: list[str] = []
    statuses = asyncio.run(_ask_all(port, asked, told))
    failed = [f"{status}: {count}" for status, count in statuses.items() if status == UNANSWERED or status >= 500]
    failed += sorted(set(told))
    if CANARY in httpx.get(f"http://127.0.0.1:{port}/metrics").text:
        failed.append("the canary stands in the metrics")
    failed += [f"the canary stands in {path.name}" for path in logs_since(log) if CANARY in _text(path)]
    return {"tried": sum(statuses.values()), "statuses": dict(sorted(statuses.items())), "differs": failed}


async def _ask_all(port: int, asked: Iterable[Asked], told: list[str]) -> Counter:
    statuses: Counter = Counter()
    waiting = iter(asked)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:

        async def one_after_the_other() -> None:
            for each in waiting:
                statuses[await _status(client, each, told)] += 1

        await asyncio.gather(*(one_after_the_other() for _ in range(CLIENTS)))
    return statuses


async def _status(client: httpx.AsyncClient, asked: Asked, told: list[str]) -> int:
    headers = {name: value.encode("latin-1", "replace") for name, value in asked.headers.items()}
    try:
        answer = await client.request(asked.method, asked.path, headers=headers, content=asked.body)
    except httpx.TransportError as error:
        told.append(f"{asked.method} {asked.path.split('?')[0]}: {type(error).__name__}")
        return UNANSWERED
    if answer.status_code >= 500:
        told.append(f"{asked.method} {asked.path.split('?')[0]}: {answer.status_code} {answer.text[:200]}")
    if answer.status_code >= 400 and CANARY in answer.text:
        told.append(f"{asked.method} {asked.path.split('?')[0]}: {answer.status_code} repeats the canary")
    return answer.status_code


def logs_since(service: Path) -> list[Path]:
    """The service's own log, and those of the Ray that it started."""
    started = service.stat().st_ctime - 600
    sessions = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    logs = [path for path in sessions.glob("session_2*/logs/**/*") if path.is_file()]
    return [service, *(path for path in logs if path.stat().st_mtime > started)]


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def http_ports(port: int) -> list[int]:
    """The service's port, and its replicas' own: those on which a process listens that this one started."""
    family = {child.pid for child in psutil.Process().children(recursive=True)}
    listening = {
        c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in family
    }
    return [port, *sorted(listening & set(REPLICAS))]


def held(port: int, count: int, limits: dict[str, float]) -> Found:
    """How many connections to each port had ended after the time that they are allowed, by what they sent."""
    ports = http_ports(port)
    allowed = limits["request_seconds"] + GRACE_SECONDS + 2 * HEAD_SECONDS
    ended = asyncio.run(_hold_all(ports, count, allowed))
    failed = [
        f"port {'of a replica' if at != port else 'of the service'}: {name} is held"
        for (at, name), ok in ended
        if not ok
    ]
    return {"tried": len(ended), "ports": len(ports), "seconds_allowed": allowed, "differs": sorted(set(failed))}


HEAD = b"POST /v1/rank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
HELD: dict[str, tuple[bytes, bytes]] = {  # what is sent at once, and then again and again
    "nothing": (b"", b""),
    "a slow head": (HEAD, b"x"),
    "a head that stops": (HEAD, b""),
    "a slow body": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body that stops": (HEAD + b"Content-Length: 1000\r\n\r\n{", b""),
    "slow chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "expected to go on": (HEAD + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", b""),
    "an upgrade": (HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 10\r\n\r\n", b""),
    "a websocket": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"",
    ),
    "h2c": (HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 10\r\n\r\n", b""),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""),
    "CONNECT": (b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"x"),
    "noise": (bytes(range(256)), b"\x00"),
    "requests in a row": (b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50, b""),
}


async def _hold_all(ports: list[int], count: int, allowed: float) -> list[tuple[tuple[int, str], bool]]:
    names = [list(HELD)[number % len(HELD)] for number in range(max(count, len(HELD)))]
    every = [(port, name) for port in ports for name in names]
    return list(zip(every, await asyncio.gather(*(_ends(*each, allowed) for each in every)), strict=True))


async def _ends(port: int, name: str, allowed: float) -> bool:
    """Whether a connection ends; one on which everything was answered is kept alive, and no matter."""
    first, again = HELD[name]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = asyncio.create_task(reader.read())
    with suppress(ConnectionError):
        writer.write(first)
        until = time.monotonic() + allowed
        while not said.done() and time.monotonic() < until:
            await asyncio.wait([said], timeout=0.5)
            if again and not said.done():
                writer.write(again)
                await writer.drain()
    ended = said.done() or name == "requests in a row"
    said.cancel()
    writer.close()
    return ended


def overload(port: int, seconds: float) -> Found:
    """Ten times the capacity for so long."""
    sent = rank_requests(port, BIG_CASES, images=False)
    capacity = closed_loop(port, sent, 8, 10).rate
    memory = MemoryLog(port, max(seconds / 20, 1))
    with memory:
        found = asyncio.run(_flood(port, sent, 10 * capacity, seconds))
    accepted = sorted(took for status, took in found if status == 200)
    refused = sorted(took for status, took in found if status == 503)
    others = Counter(status for status, _ in found if status not in (200, 503))
    p99 = float(np.percentile(accepted, 99)) if accepted else float("inf")
    failed = [f"{status}: {count}" for status, count in others.items()]
    if p99 > (bound := LIMITS["scorer"]["request_seconds"]):
        failed.append(f"p99 of the accepted is {p99:.1f} s, above {bound:g}")
    if len(accepted) < 0.5 * capacity * seconds:
        failed.append(f"{len(accepted)} were accepted of {capacity * seconds:.0f} that it can do")
    return {
        "tried": len(found),
        "differs": failed,
        "capacity, requests a second": round(capacity, 1),
        "cases a request": BIG_CASES,
        "accepted": len(accepted),
        "refused with 503": len(refused),
        "p99 of the accepted, s": round(p99, 2),
        "bound, s": bound,
        "p99 of the refused, s": round(float(np.percentile(refused, 99)), 2) if refused else None,
        "megabytes": [round(each) for each in memory.megabytes],
    }


def rank_requests(port: int, cases: int, images: bool) -> list[bytes]:
    """Whole HTTP requests of sound cases, of every length of text."""
    chance = random.Random(0)
    return [_rank_request(chance, port, cases, images) for _ in range(64)]


def _rank_request(chance: random.Random, port: int, cases: int, images: bool) -> bytes:
    from mint_ray.service.api import EXAMPLE_IMAGE

    asked = [{"id": str(n), "text": " ".join(chance.choices(WORDS, k=chance.randrange(1, 60)))} for n in range(cases)]
    body = json.dumps({"cases": [case | ({"image": EXAMPLE_IMAGE} if images else {}) for case in asked]}).encode()
    head = f"POST /v1/rank HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _flood(port: int, sent: list[bytes], rate: float, seconds: float) -> list[tuple[int, float]]:
    """Status and seconds of requests that arrive at a rate, whatever the answers; each finds a free connection."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    started, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(_arrival(port, sent[number % len(sent)], free)))
    found = await asyncio.gather(*tasks)
    for _, writer in free:
        writer.close()
    return list(found)


async def _arrival(port: int, request: bytes, free: list) -> tuple[int, float]:
    started = time.perf_counter()
    try:
        connection = free.pop() if free else await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        connection[1].write(request)
        async with asyncio.timeout(PATIENCE):
            status = await _answer(connection[0])
        free.append(connection)
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        status = UNANSWERED
    return status, time.perf_counter() - started


def soak(port: int, seconds: float) -> Found:
    """Seven tenths of the capacity for so long, and the memory of the service's processes."""
    sent = rank_requests(port, 1, images=True)
    capacity = closed_loop(port, sent, 32, 10).rate
    with MemoryByKind(seconds / 100) as memory:
        measured = open_loop(port, sent, 0.7 * capacity, seconds)
    grown = growth(memory.seconds, memory.total())
    failed = [f"{status}: {count}" for status, count in measured.others.items()]
    if grown > 0.02:
        failed.append(f"memory grows by {grown:.1%} in ten minutes")
    return {
        "tried": len(measured.latencies),
        "differs": failed,
        "capacity, requests a second": round(capacity, 1),
        "p99, ms": round(measured.percentile(99), 1),
        "growth in ten minutes, by the second half": round(grown, 4),
        "megabytes a minute": memory.slopes(),
        "megabytes": {kind: [round(each) for each in found[::5]] for kind, found in memory.megabytes.items()},
    }


if __name__ == "__main__":
    main()
