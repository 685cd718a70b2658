"""The service against the same model behind plain FastAPI, and against the model alone: one run, one machine.

    python benchmarks/scorer_service.py --scorer runs/demo/scorer --cases runs/demo/cases --out docs/images

Writes scorer_service.json, .md (the tables) and .png (the plot) into --out. The three sides take turns, `--rounds`
times; a figure is the median of the rounds.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.serving import Measured, closed_loop, counters, process, requests, run_cases, service
from mint_ray.service.ports import free_ports

PERCENTILES = (50, 90, 99)
BARS = {"speed_up_at_32": 3.0, "share_of_model_alone_at_32": 0.8, "lone_latency_ratio": 1.15}


def main() -> None:
    options = arguments()
    cases = run_cases(options.cases, 256)
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(options, cases, Path(folder))
    result = summary(rounds, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scorer_service.json").write_text(json.dumps(result, indent=1))
    (options.out / "scorer_service.md").write_text(tables(result))
    plot(result, options.out / "scorer_service.png")
    print(tables(result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", type=Path, default=Path("runs/demo/scorer"))
    parser.add_argument("--cases", type=Path, default=Path("runs/demo/cases"))
    parser.add_argument("--task", default="rare_disease")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of a replica's forwards together")
    parser.add_argument("--forwards", type=int, help="of a replica at one time")
    parser.add_argument("--python-proxy", action="store_true", help="Serve's Python proxy instead of HAProxy")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    return parser.parse_args()


def measure(options: argparse.Namespace, cases: list, folder: Path) -> list[dict]:
    """All rounds: each has both servers at every number of clients, and the model alone at the service's batch sizes."""
    plain_port = free_ports(1)[0]
    plain = [sys.executable, "-m", "benchmarks.plain_server", str(options.scorer), options.task, str(plain_port)]
    flags = ("--python-proxy",) if options.python_proxy else ()
    scoring = {name: value for name in ("threads", "forwards") if (value := getattr(options, name))}
    rounds = []
    with (
        process(plain, plain_port, folder / "plain.log"),
        service(options.scorer, options.task, folder, flags, **scoring) as port,
    ):
        sent = {"plain": (plain_port, requests(cases, plain_port)), "service": (port, requests(cases, port))}
        for number in range(options.rounds):
            rounds.append(one_round(sent, port, options, cases, folder))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    return rounds


def one_round(sent: dict, port: int, options: argparse.Namespace, cases: list, folder: Path) -> dict:
    found: dict = {"plain": {}, "service": {}, "alone": {}}
    for clients in options.clients:
        found["plain"][clients] = _row(closed_loop(*sent["plain"], clients, options.seconds))
        before = counters(port)
        found["service"][clients] = _row(closed_loop(*sent["service"], clients, options.seconds))
        found["service"][clients] |= _inside(before, counters(port))
        batch = max(1, round(found["service"][clients]["batch"]))
        found["alone"][clients] = {"batch": batch, "rate": alone(options, cases, batch, folder)}
    most = at_which_it_is_held(options.clients)
    found["alone"][most]["rate_of_all"] = alone(options, cases, most, folder)
    return found


def at_which_it_is_held(clients: list[int]) -> int:
    """The number of clients at which the service is held to its bars."""
    return 32 if 32 in clients else max(clients)


def _row(measured: Measured) -> dict:
    return {"rate": measured.rate, "others": measured.others, **{f"p{p}": measured.percentile(p) for p in PERCENTILES}}


def _inside(before: dict[str, float], after: dict[str, float]) -> dict:
    """Mean batch, and mean milliseconds of a request by stage, from the service's own metrics."""
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    found = {"batch": grown["mint_ray_batch_size_sum{}"] / max(grown["mint_ray_batch_size_count{}"], 1)}
    for stage in ("prepare", "queue", "forward", "request"):
        count = grown[f'mint_ray_stage_seconds_count{{stage="{stage}"}}']
        found[stage] = 1e3 * grown[f'mint_ray_stage_seconds_sum{{stage="{stage}"}}'] / max(count, 1)
    return found


def alone(options: argparse.Namespace, cases: list, batch: int, folder: Path) -> float:
    """Cases a second of the model in a process of its own, decoding included."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scorer_service",
        "--alone",
        str(options.scorer),
        str(options.cases),
        options.task,
    ]
    done = subprocess.run([*command, str(batch), str(options.seconds)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def run_alone(scorer: str, cases: str, task: str, batch: str, seconds: str) -> None:
    """The model's own loop: encoded images and texts in, scores out, `batch` at a time."""
    from mint_ray.scorers import load_scorer
    from mint_ray.sections import resolve_kind
    from mint_ray.service.api import CaseIn
    from mint_ray.tasks.base import Task

    model, kind = load_scorer(scorer), resolve_kind(Task, {"kind": task})
    queries = run_cases(Path(cases), 256)
    fields = [{name: value for name, value in vars(query).items() if name != "image"} for query in queries]
    images = [base64.b64encode(query.image) for query in queries]
    views = [
        kind.scorer_view(CaseIn(**{**f, "phenotypes": list(f["phenotypes"])}).case(base64.b64decode(image)))
        for f, image in zip(fields, images, strict=True)
    ]
    size, done = int(batch), 0
    for _ in range(5):
        model.scores(views[:size])
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < float(seconds):
        at = done % (len(views) - size + 1)
        model.scores(views[at : at + size])
        done += size
    print(done / elapsed)


def summary(rounds: list[dict], options: argparse.Namespace) -> dict:
    """Medians over the rounds, and the three figures that the service is held to."""
    sides = {
        side: {str(c): _medians([r[side][c] for r in rounds]) for c in options.clients}
        for side in ("plain", "service", "alone")
    }
    at = str(at_which_it_is_held(options.clients))
    held = {
        "speed_up_at_32": sides["service"][at]["rate"] / sides["plain"][at]["rate"],
        "share_of_model_alone_at_32": sides["service"][at]["rate"] / sides["alone"][at]["rate"],
        "share_of_model_alone_with_all_clients_in_one_batch": sides["service"][at]["rate"]
        / sides["alone"][at]["rate_of_all"],
        "lone_latency_ratio": sides["service"]["1"]["p50"] / sides["plain"]["1"]["p50"],
    }
    return {
        "held": held,
        "bars": BARS,
        "sides": sides,
        "rounds": len(rounds),
        "seconds": options.seconds,
        "ingress": "python" if options.python_proxy else "haproxy",
    }


def _medians(rows: list[dict]) -> dict:
    return {name: median(row[name] for row in rows) for name in rows[0] if name != "others"} | {
        "failed": sum(sum(row.get("others", {}).values()) for row in rows)
    }


def tables(result: dict) -> str:
    """Three tables in Markdown: the figures held, latency and throughput, and where a request's time goes."""
    held = "\n".join(
        f"| {name.replace('_', ' ')} | {value:.2f} | {result['bars'].get(name, '')} |"
        for name, value in result["held"].items()
    )
    rows, inside = [], []
    for clients, mine in result["sides"]["service"].items():
        plain, model = result["sides"]["plain"][clients], result["sides"]["alone"][clients]
        rows.append(
            f"| {clients} | {plain['rate']:.0f} | {mine['rate']:.0f} | {model['rate']:.0f} (batch {model['batch']:.0f}) "
            f"| {_latencies(plain)} | {_latencies(mine)} | {mine['failed']} |"
        )
        rest = mine["request"] - mine["prepare"] - mine["queue"] - mine["forward"]
        inside.append(
            f"| {clients} | {mine['batch']:.1f} | {mine['prepare']:.1f} | {mine['queue']:.1f} | {mine['forward']:.1f} | {rest:.1f} |"
        )
    return (
        "| figure | measured | bar |\n|---|---|---|\n" + held + "\n\n"
        "| clients | plain, req/s | service, req/s | model alone, cases/s | plain, ms p50 / p90 / p99 | service, ms p50 / p90 / p99 | failed |\n"
        "|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "| clients | mean batch | decode and tokenise, ms | wait for the forward, ms | forward, ms | JSON and the rest, ms |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(inside) + "\n"
    )


def _latencies(row: dict) -> str:
    return " / ".join(f"{row[f'p{p}']:.1f}" for p in PERCENTILES)


def plot(result: dict, path: Path) -> None:
    """Throughput and latency against the number of clients."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sides = result["sides"]
    clients = [int(c) for c in sides["service"]]
    for name, colour in (("plain", "#999999"), ("service", "#3b7dd8"), ("alone", "#2a9d5c")):
        label = {"plain": "plain FastAPI + uvicorn", "service": "service", "alone": "model alone, same batch"}[name]
        left.plot(clients, [row["rate"] for row in sides[name].values()], "o-", color=colour, label=label)
        if name != "alone":
            right.plot(clients, [row["p50"] for row in sides[name].values()], "o-", color=colour, label=f"{label}, p50")
            right.plot(clients, [row["p99"] for row in sides[name].values()], "o:", color=colour, label=f"{label}, p99")
    for axis, title in ((left, "requests a second"), (right, "latency, ms")):
        axis.set(xscale="log", xlabel="clients", title=title, xticks=clients, xticklabels=clients)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        run_alone(*sys.argv[2:])
    else:
        main()
