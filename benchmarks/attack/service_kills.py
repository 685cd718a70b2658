"""Kills of a service's own processes, one after the other, while a client asks the same: soon the same answer comes again."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

UNANSWERED, PATIENCE = 0, 240.0
AWAY = {500, 502, 503, 504, UNANSWERED}  # 500: of Serve's proxy, in plain text
KINDS = {  # by how a title begins, or what it holds
    "ray::ServeReplica": "replica",
    "ray::ServeController": "controller",
    "ray::ProxyActor": "proxy",
    "ray::HAProxyManager": "manager of HAProxy",
    "VLLM::EngineCore": "engine",
    "from multiprocessing.spawn import": "scorer",
}


class Question(NamedTuple):
    """What is asked over and over: an address, a body, and what of an answer must stay."""

    path: str
    body: dict[str, Any]
    said: Callable[[dict[str, Any]], Any]


RANKING = Question("/v1/rank", {"cases": [{"id": "a", "text": "Hypotonia, Seizure"}]}, lambda answer: answer["results"])
COMPLETION = Question(
    "/v1/completions",
    {"model": "base", "prompt": "Name a fruit.", "max_tokens": 4},
    lambda answer: answer["choices"][0]["text"],
)


def killed(port: int, question: Question, count: int, seed: int) -> dict[str, Any]:
    """Kill a process of the service `count` times, of each kind in turn and a random one of it."""
    rng, wanted = random.Random(seed), ask(port, question)[1]
    victims, statuses, seconds, differs = Counter(), Counter(), [], []
    for number in range(count):
        victim = kill_one(number, rng)
        victims[victim] += 1
        time.sleep(rng.random())
        took, met = until_it_is_back(port, question, wanted)
        statuses += Counter(status for status, _ in met)
        seconds.append(took)
        differs += [f"kill {number}, {victim}: {what}" for what in told(met, wanted, took)]
    by_kind = {f"kills of a {kind}": many for kind, many in sorted(victims.items())}
    return {"tried": count, "differs": differs, **by_kind, "statuses": dict(statuses), "seconds": seconds}


def until_it_is_back(port: int, question: Question, wanted: Any) -> tuple[float | None, list[tuple[int, Any]]]:
    """Seconds until five answers in a row, or None; and every status and answer until then."""
    started, met = time.monotonic(), []
    while time.monotonic() < started + PATIENCE:
        met.append(ask(port, question))
        if [status for status, _ in met[-5:]] == [200] * 5:
            return round(time.monotonic() - started, 1), met
        time.sleep(0.2)
    return None, met


def told(met: list[tuple[int, Any]], wanted: Any, took: float | None) -> list[str]:
    """What was not as it must be."""
    found = {f"status {status}" for status, _ in met if status not in AWAY | {200}}
    found |= {"another answer" for status, said in met if status == 200 and said != wanted}
    return sorted(found) + ([] if took is not None else [f"not back within {PATIENCE:g} s"])


def kill_one(number: int, rng: random.Random) -> str:
    """Kill a process of the service; its kind."""
    found = processes()
    kind = sorted(found)[number % len(found)]
    rng.choice(found[kind]).kill()
    return kind


def processes() -> dict[str, list[psutil.Process]]:
    """The processes below this one without which a service must come back by itself, by kind."""
    found: defaultdict[str, list[psutil.Process]] = defaultdict(list)
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if kind := kind_of(each.cmdline()):
                found[kind].append(each)
    return found


def kind_of(command: list[str]) -> str | None:
    """What a process is, by its command line or the title in its place."""
    if command and Path(command[0]).name == "haproxy":
        return "HAProxy"
    title = " ".join(command)
    return next((kind for mark, kind in KINDS.items() if mark in title), None)


def ask(port: int, question: Question) -> tuple[int, Any]:
    """Status and what was said, on a connection of its own."""
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}{question.path}", json=question.body, timeout=60)
        return answer.status_code, question.said(answer.json()) if answer.status_code == 200 else None
    except httpx.TransportError:
        return UNANSWERED, None
