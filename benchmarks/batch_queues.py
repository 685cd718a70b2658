"""Our queue against `@serve.batch` with no wait: the same clients, the same forward, one process, no HTTP and no model.

    python benchmarks/batch_queues.py [--clients 1 8 32] [--seconds 3]

A forward of n cases takes `--fixed` and n times `--each` seconds, as a model's does, and one runs at a time. A client asks
again a random time after its answer, `--apart` seconds in the mean: over HTTP no two requests come in one turn of an event loop.
Serve's queue is Ray's own class. Prints cases a second, p50 and p99 in milliseconds and cases a forward, and Serve's rate over ours.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from ray import serve

from mint_ray.service.batching import Batcher


class Forward:
    """Sleeps as long as a forward takes, and remembers of how many cases each was."""

    def __init__(self, fixed: float, each: float):
        self._fixed, self._each, self.sizes = fixed, each, []

    async def __call__(self, cases: list[int]) -> list[int]:
        self.sizes.append(len(cases))
        await asyncio.sleep(self._fixed + self._each * len(cases))
        return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--fixed", type=float, default=0.006)
    parser.add_argument("--each", type=float, default=0.003)
    parser.add_argument(
        "--apart", type=float, default=0.005, help="mean seconds from an answer to the client's next case"
    )
    options = parser.parse_args()
    replica = SimpleNamespace(_deployment_config=SimpleNamespace(max_ongoing_requests=10**6))
    serve.get_replica_context = lambda: replica  # Serve's queue asks its replica whether it is let in enough
    print(f"{'clients':>7} {'queue':<7} {'cases/s':>8} {'p50':>7} {'p99':>7} {'cases a forward':>16}")
    for clients in options.clients:
        rates = [asyncio.run(measured(side, clients, options)) for side in ("ours", "serve's")]
        print(f"{clients:7} serve's over ours: {rates[1] / rates[0]:.2f}")


async def measured(side: str, clients: int, options: argparse.Namespace) -> float:
    """Cases a second."""
    forward, latencies, rng = Forward(options.fixed, options.each), [], np.random.default_rng(0)
    submit = (ours if side == "ours" else serves)(forward)
    until = time.perf_counter() + options.seconds

    async def client() -> None:
        while (started := time.perf_counter()) < until:
            await submit(0)
            latencies.append(time.perf_counter() - started)
            await asyncio.sleep(rng.exponential(options.apart))

    await asyncio.gather(*(client() for _ in range(clients)))
    p50, p99 = 1e3 * np.percentile(latencies, [50, 99])
    rate, size = len(latencies) / options.seconds, np.mean(forward.sizes)
    print(f"{clients:7} {side:<7} {rate:8.1f} {p50:7.1f} {p99:7.1f} {size:16.1f}")
    return rate


def ours(forward: Forward) -> Callable[[int], Awaitable]:
    batcher = Batcher(forward, at_once=1, max_batch_size=32, max_queued=1000)
    batcher.start()
    return batcher.submit


def serves(forward: Forward) -> Callable[[int], Awaitable]:
    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0)
    async def row(cases: list[int]) -> list[int]:
        return await forward(cases)

    return row


if __name__ == "__main__":
    main()
