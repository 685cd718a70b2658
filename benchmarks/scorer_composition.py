"""Our queue and scorer processes against Serve's own: `@serve.batch`, and the model as a second deployment.

    python benchmarks/scorer_composition.py --scorer runs/demo/scorer --cases runs/demo/cases [--clients 1 8 32] [--waits 0]

All are applications of one Serve behind one HAProxy, with the same HTTP application, guards, threads, and two forwards at a
time; they take turns. A composed one is bound as Serve's documentation has it: the ingress asks a deployment of two replicas
by its handle, a case a call, and there `@serve.batch` makes batches of up to 32, `--waits` seconds after their first case.
Prints a table of requests a second, p50 and p99 in milliseconds, cases a forward and failed requests: medians of the rounds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from benchmarks.serving import closed_loop, counters, requests, run_cases, service
from mint_ray.errors import RowError
from mint_ray.scorers import load_scorer
from mint_ray.service.app import create_app
from mint_ray.service.engine import Engine
from mint_ray.service.metrics import Metrics
from mint_ray.service.scoring import LocalScoring
from mint_ray.service.settings import ServiceSection
from mint_ray.service.wire import Row
from mint_ray.tasks.base import View

HEADING = f"{'clients':>7} {'side':<16} {'req/s':>7} {'p50':>8} {'p99':>8} {'cases a forward':>16} {'failed':>7}"


def main() -> None:
    options = arguments()
    cases = run_cases(options.cases, 256)
    sides = {"ours": "", **{f"composed, {wait * 1e3:g} ms": f"/composed-{n}" for n, wait in enumerate(options.waits)}}
    with tempfile.TemporaryDirectory() as folder:
        beside = [composed(options, n, wait) for n, wait in enumerate(options.waits)]
        with service(options.scorer, options.task, Path(folder), ("--cpus", "8"), beside) as port:
            rounds = [one_round(port, cases, sides, options) for _ in range(options.rounds)]
    print(HEADING)
    for key in rounds[0]:
        rows = [each[key] for each in rounds]
        print(
            "{:>7} {:<16} {:7.1f} {:8.1f} {:8.1f} {:16.1f} {:7.0f}".format(
                *key, *(median(x) for x in zip(*rows, strict=True))
            )
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", type=Path, default=Path("runs/demo/scorer"))
    parser.add_argument("--cases", type=Path, default=Path("runs/demo/cases"))
    parser.add_argument("--task", default="rare_disease")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--waits", type=float, nargs="*", default=[0.0])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def composed(options: argparse.Namespace, number: int, wait: float) -> dict:
    args = {"scorer": str(options.scorer.absolute()), "task": {"kind": options.task}, "wait": wait}
    name = f"composed-{number}"
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "benchmarks.scorer_composition:build",
        "args": args,
    }


def one_round(port: int, cases: list, sides: dict[str, str], options: argparse.Namespace) -> dict:
    """By clients and side: requests a second, p50, p99, cases a forward, failed requests."""
    found = {}
    for clients in options.clients:
        for side, prefix in sides.items():
            sent = [each.replace(b"POST /v1", f"POST {prefix}/v1".encode()) for each in requests(cases, port)]
            before = batches(port, prefix)
            measured = closed_loop(port, sent, clients, options.seconds)
            forwards, scored = (after - was for after, was in zip(batches(port, prefix), before, strict=True))
            failed = sum(measured.others.values())
            figures = measured.rate, measured.percentile(50), measured.percentile(99), scored / forwards, failed
            found[clients, side] = figures
    return found


def batches(port: int, prefix: str) -> tuple[float, float]:
    """Forwards so far, and cases in them."""
    found = counters(port, prefix)
    return found["mint_ray_batch_size_count{}"], found["mint_ray_batch_size_sum{}"]


class Composed(ServiceSection):
    """The settings of the service, and how long a batch waits for company."""

    wait: float = 0.0


def build(args: Composed) -> serve.Application:
    model = Model.options(num_replicas=args.processes, max_ongoing_requests=args.limits.queued_cases).bind(args)
    return Ingress.options(max_ongoing_requests=args.limits.requests + args.limits.queued_cases).bind(args, model)


@serve.deployment(ray_actor_options={"num_cpus": 0.5}, logging_config={"enable_access_log": False})
class Model:
    """A scorer, and Serve's queue before it."""

    def __init__(self, settings: Composed):
        import torch

        threads = max(1, settings.cores // settings.processes)
        torch.set_num_threads(threads)
        self._scoring = LocalScoring(load_scorer(settings.scorer, settings.device), threads)
        self.row.set_max_batch_size(settings.batching.max_batch_size)
        self.row.set_batch_wait_timeout_s(settings.wait)

    async def card(self) -> tuple:
        return self._scoring.name, self._scoring.digest, self._scoring.labels, self._scoring.modalities

    @serve.batch
    async def row(self, views: list[View]) -> list[tuple[Row, int]]:
        """The scores of each view; the first of a batch says of how many."""
        rows = (await self._scoring.score(views)).rows
        return list(zip(rows, [len(views), *[0] * len(views)], strict=False))


class Composition(Engine):
    """The service's engine with Serve's queue in place of its own."""

    def __init__(self, settings: Composed, model: DeploymentHandle, card: tuple):
        super().__init__(Remote(*card), settings.task, settings.limits, 32, Metrics())
        self._model = model

    async def row(self, view: View) -> np.ndarray:
        row, batch = await self._model.row.remote(view)
        if batch:
            self.metrics.batch(batch, 0.0, 0.0)
        if isinstance(row, RowError):
            raise row
        return row

    @property
    def alive(self) -> bool:
        return True


class Remote:
    """A scorer's card."""

    at_once, alive = 1, True

    def __init__(self, name, digest, labels, modalities):
        self.name, self.digest, self.labels, self.modalities = name, digest, labels, modalities

    async def score(self, views: list[View]):
        raise NotImplementedError("rows are asked for one by one")


@serve.deployment(logging_config={"enable_access_log": False})
@serve.ingress()
class Ingress:
    async def __init__(self, settings: Composed, model: DeploymentHandle):
        self._engine = Composition(settings, model, await model.card.remote())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_app(self._engine, None)


if __name__ == "__main__":
    main()
