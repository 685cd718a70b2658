"""Ten minutes at 70 % of capacity: errors, drift of latency, memory at start and end.

    python benchmarks/scorer_soak.py --scorer runs/demo/scorer --cases runs/demo/cases --out docs/images

Capacity is measured first, by 32 clients for --calibrate seconds; then requests arrive at random times at the
given share of it, whatever the answers are, so that a server that slows down is seen to do so. Writes
scorer_soak.json, .md and .png into --out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.serving import Measured, closed_loop, counters, open_loop, requests, run_cases, service

RESIDENT = "mint_ray_resident_bytes{}"


def main() -> None:
    options = arguments()
    cases = run_cases(options.cases, 256)
    with (
        tempfile.TemporaryDirectory() as folder,
        service(options.scorer, options.task, Path(folder)) as port,
    ):
        sent = requests(cases, port)
        capacity = closed_loop(port, sent, 32, options.calibrate).rate
        memory = MemoryLog(port, options.seconds / 60)
        with memory:
            measured = open_loop(port, sent, options.share * capacity, options.seconds)
    result = summary(measured, memory.megabytes, capacity, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scorer_soak.json").write_text(json.dumps(result, indent=1))
    (options.out / "scorer_soak.md").write_text(table(result))
    plot(result, options.out / "scorer_soak.png")
    print(table(result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", type=Path, default=Path("runs/demo/scorer"))
    parser.add_argument("--cases", type=Path, default=Path("runs/demo/cases"))
    parser.add_argument("--task", default="rare_disease")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--calibrate", type=float, default=20)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    return parser.parse_args()


class MemoryLog:
    """The replica's resident memory, asked for at intervals in a thread of its own."""

    def __init__(self, port: int, interval: float):
        self.megabytes: list[float] = []
        self._port, self._interval, self._stop = port, interval, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.megabytes.append(counters(self._port)[RESIDENT] / 2**20)
            self._stop.wait(self._interval)

    def __enter__(self) -> MemoryLog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.megabytes.append(counters(self._port)[RESIDENT] / 2**20)


def summary(measured: Measured, megabytes: list[float], capacity: float, options: argparse.Namespace) -> dict:
    """Latencies by tenth of the time, from the planned arrival."""
    at, latencies = np.array(measured.at), 1e3 * np.array(measured.latencies)
    edges = np.linspace(0, options.seconds, 11)
    tenths = [latencies[(at >= low) & (at < high)] for low, high in itertools.pairwise(edges)]
    return {
        "seconds": options.seconds,
        "capacity": capacity,
        "rate": options.share * capacity,
        "answered": len(latencies),
        "errors": {str(status): count for status, count in measured.others.items()},
        "p50": [float(np.percentile(t, 50)) if len(t) else None for t in tenths],
        "p99": [float(np.percentile(t, 99)) if len(t) else None for t in tenths],
        "megabytes": [round(m, 1) for m in megabytes],
    }


def table(result: dict) -> str:
    errors = sum(result["errors"].values())
    rows = {
        "capacity, 32 clients": f"{result['capacity']:.0f} req/s",
        "offered": f"{result['rate']:.0f} req/s for {result['seconds']:.0f} s",
        "answered": str(result["answered"]),
        "errors": str(errors),
        "p50, first and last tenth": f"{result['p50'][0]:.1f} and {result['p50'][-1]:.1f} ms",
        "p99, first and last tenth": f"{result['p99'][0]:.1f} and {result['p99'][-1]:.1f} ms",
        "replica's memory, start and end": f"{result['megabytes'][0]:.0f} and {result['megabytes'][-1]:.0f} MB",
    }
    return "| figure | measured |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def plot(result: dict, path: Path) -> None:
    """Latency and memory over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    minutes = (np.arange(10) + 0.5) * result["seconds"] / 600
    for name, style in (("p50", "o-"), ("p99", "o:")):
        left.plot(minutes, result[name], style, color="#3b7dd8", label=name)
    left.set(title="latency, ms", xlabel="minutes")
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    right.plot(np.linspace(0, result["seconds"] / 60, len(result["megabytes"])), result["megabytes"], color="#2a9d5c")
    right.set(title="replica's memory, MB", xlabel="minutes")
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
