"""Tokens a second through the models' endpoint against plain vLLM: one run's model, the same prompts, one session.

    python benchmarks/aligned_model.py --run runs/demo --prompts 64 --clients 1 8 32

Both sides generate exactly `--tokens` tokens an answer with the run's own engine settings. The endpoint is started by
its command and asked by `--clients` threads; plain vLLM is one engine in one process that has as many prompts at one
time. One after the other, so that neither takes the other's cores; a figure is the median of `--rounds`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
import yaml

from benchmarks.serving import REPOSITORY, process
from mint_ray.corpora.store import case_table
from mint_ray.inference.asking import chat_request
from mint_ray.inference.engine import engine_arguments
from mint_ray.inference.predict import engine_environment
from mint_ray.records import Case, from_table
from mint_ray.runs import open_run
from mint_ray.service.models import served_models
from mint_ray.service.ports import free_ports
from mint_ray.service.settings import ModelSection

NAME = "aligned"
Rates = dict[int, list[float]]


def main() -> None:
    options = arguments()
    if options.plain:
        print(json.dumps(plain(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        served = through_endpoint(options, Path(folder))
    alone = json.loads(in_a_process_of_its_own(options.run))
    print(table(options, served, {int(clients): rates for clients, rates in alone.items()}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def prompts(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Chat requests of the run's held-out cases."""
    run = open_run(options.run)
    cases = list(from_table(case_table(run, list(Case.model_fields), ["test"]), Case))
    settings = {"max_tokens": options.tokens, "temperature": 0, "ignore_eos": True}
    return [
        chat_request(run.config.task, run.config.task.downstream_view(case), NAME, **settings)
        for case in (cases * options.prompts)[: options.prompts]
    ]


def through_endpoint(options: argparse.Namespace, folder: Path) -> Rates:
    """The rates of the running service."""
    port, config = free_ports(1)[0], folder / "models.yaml"
    args = {"run": str(options.run.absolute()), "names": [NAME]}
    application = {"name": "models", "import_path": "deployments.aligned_model:build", "args": args}
    http = {"host": "127.0.0.1", "port": port}
    config.write_text(
        yaml.safe_dump({"proxy_location": "HeadOnly", "http_options": http, "applications": [application]})
    )
    with (
        process([sys.executable, "-m", "mint_ray.service", str(config)], port, folder / "models.log"),
        httpx.Client(timeout=600, limits=httpx.Limits(max_connections=None)) as client,
    ):
        address = f"http://127.0.0.1:{port}/v1/chat/completions"

        def ask(requests: list[dict], clients: int) -> int:
            with ThreadPoolExecutor(clients) as threads:
                answers = threads.map(lambda request: client.post(address, json=request), requests)
                return sum(answer.json()["usage"]["completion_tokens"] for answer in answers)

        return rates(options, ask)


def in_a_process_of_its_own(run: Path) -> str:
    """What this script prints with `--plain`: vLLM must find its environment before it is loaded."""
    environment = os.environ | engine_environment(open_run(run).config.inference)
    command = [sys.executable, __file__, *sys.argv[1:], "--plain"]
    return subprocess.check_output(command, text=True, cwd=REPOSITORY, env=environment).splitlines()[-1]


def plain(options: argparse.Namespace) -> Rates:
    """The rates of one vLLM engine in this process."""
    from vllm import LLM, SamplingParams

    engine, served = served_models(ModelSection(run=options.run, names=[NAME]))
    llm = LLM(**engine_arguments(engine, served[NAME]))
    sampling = SamplingParams(temperature=0, max_tokens=options.tokens, ignore_eos=True)

    def ask(requests: list[dict], clients: int) -> int:
        chunks = [requests[i : i + clients] for i in range(0, len(requests), clients)]
        outputs = [llm.chat([request["messages"] for request in chunk], sampling, use_tqdm=False) for chunk in chunks]
        return sum(len(output.outputs[0].token_ids) for chunk in outputs for output in chunk)

    return rates(options, ask)


def rates(options: argparse.Namespace, ask: Callable[[list[dict], int], int]) -> Rates:
    """Tokens a second for each number of clients, a round each; a first, uncounted pass warms up."""
    requests = prompts(options)
    ask(requests[:8], 8)
    found: Rates = {clients: [] for clients in options.clients}
    for _ in range(options.rounds):
        for clients in options.clients:
            some = requests[: max(4, min(len(requests), 2 * clients))]  # a lone client need not ask for all
            started = time.perf_counter()
            tokens = ask(some, clients)
            found[clients].append(tokens / (time.perf_counter() - started))
    return found


def table(options: argparse.Namespace, served: Rates, alone: Rates) -> str:
    lines = [
        f"{options.tokens} tokens an answer, median of {options.rounds} rounds",
        "",
        "| at one time | endpoint, tokens/s | plain vLLM, tokens/s | ratio |",
        "|---:|---:|---:|---:|",
    ]
    for clients in options.clients:
        here, there = median(served[clients]), median(alone[clients])
        lines.append(f"| {clients} | {here:.0f} | {there:.0f} | {here / there:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
