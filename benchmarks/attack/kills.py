"""Kill random processes of the line at random moments, go on with the same command, and compare with an undisturbed run.

    python benchmarks/attack/kills.py out/kills [--kills 100] [--seed 1] [--engine vllm]

The line is as small as it gets: 40 synthetic patients, a scorer of one epoch, a language model of random weights. A chain
is one run directory, in which each of the six stages is killed in once: at a random moment after it began, one process of
a random kind among those that are there. Then the same command goes on, to the next stage and the next kill; a job that
survives is left to go on by itself. Last, the line is completed, and rankings, pairs, the training curve, the digests of
scorer and adapter, the answers and the metrics must be those of the undisturbed run, every row a case or a refusal.

Every chain is decided by the seed and its number. Its kills are appended to `<out>/kills.jsonl` when it is complete, and
chains that stand there are not repeated. Processes are killed by the number that they were started under here, never by
name. What differs is kept in `<out>/<chain>/`; what every chain said in `<out>/<chain>.log`.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.attack.results import Results

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("cases", "scorer", "rankings", "preferences", "alignment", "answers", "evaluation")
PATIENCE = 900  # seconds for one command
STARTS = 3  # of the command, to complete a line that is no longer disturbed
START_SECONDS = 15.0  # in which a command that finds its stage complete is killed
TIMES = ("per_second", "runtime", "seconds")  # in a curve: no two runs are equally fast
# Ray's processes wait so long for a lost controller, 60 s by default: an hour of the attack would be spent on it.
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY), "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}

# Kind of process: how it is told by its title or its command line. The first that fits counts.
VICTIMS: dict[str, Callable[[str], bool]] = {
    "driver": lambda title: "jobs/run_line.py" in title,
    "raylet": lambda title: title.split(" ")[0].endswith("/raylet"),
    "gcs": lambda title: title.split(" ")[0].endswith("/gcs_server"),
    "train worker": lambda title: title.startswith("ray::RayTrainWorker"),
    "train controller": lambda title: title.startswith("ray::TrainController"),
    "engine": lambda title: title.startswith("ray::MapWorker") and "Engine" in title,
    "data actor": lambda title: title.startswith("ray::MapWorker"),
    "idle worker": lambda title: title.startswith("ray::IDLE"),
    "agent": lambda title: (title.startswith("ray::") and "Agent" in title) or "dashboard" in title,
    "data task": lambda title: title.startswith("ray::") and ("Map" in title or "Read" in title or "Write" in title),
    "Ray's own actor": lambda title: title.startswith("ray::"),
}


def kind_of(title: str) -> str | None:
    return next((kind for kind, fits in VICTIMS.items() if fits(title)), None)


@dataclass
class Kill:
    """One kill and what came of it."""

    stage: str
    share: float  # of the stage's undisturbed seconds
    kind: str = "none"
    title: str = ""
    status: int | None = None  # the command's; None: it went on
    seconds: float = 0.0
    traceback: bool = False  # in what the killed command itself said
    differs: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """What stands of it beside its kind."""
        ended = "went on" if self.status is None else f"status {self.status}"
        figures = {"stage": self.stage, "share": self.share, "title": self.title, "seconds": self.seconds}
        return figures | {"ended": ended, "outlived": self.status in (None, 0), "traceback": self.traceback}


def settings(model: Path, engine: str) -> dict[str, Any]:
    """The small line's configuration, without its run directory."""
    with (REPOSITORY / "configs" / "demo.yaml").open() as file:
        config = yaml.safe_load(file)
    config["task"]["answer_size"] = 3
    config["corpus"] |= {"diseases": config["corpus"]["diseases"][:8], "patients_per_disease": 5}
    config["splits"] = {"train": 0.6, "validation": 0.1, "test": 0.3}
    config["scorer"] |= {"epochs": 1, "precision": "fp32", "checkpoint_every": 1}
    config["rankings"] = {"part_rows": 8, "batch_size": 4}
    config["preferences"] = {"chosen": 3, "rejected": 4, "cut": 4}
    config["alignment"] |= {
        "model": str(model),
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
        "precision": "fp32",
        "epochs": 0.5,
        "save_steps": 2,
    }
    config["inference"] = {
        "engine": engine,
        "precision": "fp32",
        "max_tokens": 8,
        "max_model_len": 512,
        "batch_size": 4,
        "cache_gib": 0.25,
        "cpus_per_engine": 1,
    }
    config["evaluation"] = {"worked_cases": 2, "bootstrap": 200}
    return config


def make_model(folder: Path) -> None:
    """A Llama of width 64 and two layers, its weights random by a fixed seed, behind the packaged tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from mint_ray.models import resolve_model

    tokenizer = AutoTokenizer.from_pretrained(resolve_model("packaged:smollm2-135m-instruct"))
    torch.manual_seed(1)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokens = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, initializer_range=0.2, **shape, **tokens)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Line:
    """The command over one run directory, as a process group of its own."""

    def __init__(self, config: Path, folder: Path, log: Path):
        self.folder, self._log = folder, log
        self._command = [sys.executable, "jobs/run_line.py", str(config), "--set", f"run.dir={folder}"]
        self._seen: dict[int, psutil.Process] = {}
        self._driver: subprocess.Popen | None = None
        atexit.register(self.end)  # also where the harness itself is stopped

    def start(self) -> None:
        environment = os.environ | ENVIRONMENT
        environment.pop("RAY_ADDRESS", None)  # the harness may only ever meet a Ray of its own
        with self._log.open("a") as log:
            self._driver = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._seen = {self._driver.pid: psutil.Process(self._driver.pid)}

    def running(self) -> bool:
        return self._driver is not None and self._driver.poll() is None

    def begun(self, stage: str) -> bool:
        return (self.folder / stage / "begun.json").exists()

    def processes(self) -> Iterator[tuple[psutil.Process, str]]:
        """What the command has started and is alive, with its title; remembered, so that nothing is left behind."""
        with suppress(psutil.Error):
            for each in self._seen[self._driver.pid].children(recursive=True):
                self._seen.setdefault(each.pid, each)
        for process in list(self._seen.values()):
            with suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process, " ".join(process.cmdline())

    def wait(self, until: Callable[[], bool] = lambda: False) -> int | None:
        """The command's exit status, whatever else it has started being ended; None where `until` came first."""
        last = time.monotonic() + PATIENCE
        while self.running() and time.monotonic() < last:
            if until():
                return None
            list(self.processes())
            time.sleep(0.1)
        if self.running():
            self._driver.send_signal(signal.SIGKILL)
        status = self._driver.wait()
        for _ in range(50):  # Ray's own processes follow their driver by themselves
            if not list(self.processes()):
                break
            time.sleep(0.1)
        self.end()
        return status

    def end(self) -> None:
        """End whatever is left of what the command started."""
        for process, _ in list(self.processes()) if self._driver else []:
            with suppress(psutil.Error):
                process.kill()


class Chain:
    """One run directory, killed in at every stage and completed."""

    def __init__(self, number: int, out: Path, config: Path, seed: int):
        self.chance = random.Random(f"{seed} {number}")
        self.folder, self.log = out / f"{number:03}", out / f"{number:03}.log"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.log.unlink(missing_ok=True)
        self.line = Line(config, self.folder, self.log)
        self._outlived = False  # the last kill

    def kill(self, stage: str, following: str | None, seconds: float) -> Kill:
        """Go on to a stage, kill once in it, and wait for the command's end, or for the following stage's beginning."""
        kill, started = Kill(stage, round(self.chance.random(), 3)), time.monotonic()
        if not self._reached(stage):
            kill.differs.append("the command ended before it was killed")
            return kill
        said = self.log.stat().st_size
        complete = (self.folder / stage / "manifest.json").exists()
        moment = time.monotonic() + kill.share * (START_SECONDS if complete else seconds)
        self.line.wait(lambda: time.monotonic() > moment)
        self._kill_one(kill)
        kill.status = self.line.wait(lambda: following is not None and self.line.begun(following))
        self._outlived = kill.status is None
        kill.traceback = kill.kind != "driver" and has_traceback(self.log, said)
        kill.seconds = round(time.monotonic() - started, 1)
        return kill

    def _reached(self, stage: str) -> bool:
        """Whether the command gets to a stage, given again where it ended; what was killed may end it later, once."""
        for _ in range(1 + self._outlived):
            if not self.line.running():
                self.line.start()
            if self.line.wait(lambda: self.line.begun(stage)) is None:
                return True
        return False

    def _kill_one(self, kill: Kill) -> None:
        """Kill one process: first the kind is chosen among those that are there, then the process."""
        found: dict[str, list[tuple[psutil.Process, str]]] = {}
        for process, title in self.line.processes():
            if kind := kind_of(title):
                found.setdefault(kind, []).append((process, title))
        if self.line.running() and found:
            kill.kind = self.chance.choice(sorted(found))
            process, title = self.chance.choice(found[kill.kind])
            process.kill()  # psutil sees that the number has not gone to another process
            kill.title = title.strip()[:120]

    def complete(self) -> int | None:
        """The command's exit status, once it is not disturbed any more."""
        status = None
        for _ in range(STARTS):
            if not self.line.running():
                self.line.start()
            if (status := self.line.wait()) == 0:
                break
        return status


# What a run says, and the stage that makes it.
MADE_IN = {
    "cases": "cases",
    "scorer": "scorer",
    "rankings": "rankings",
    "pairs": "preferences",
    "curve": "alignment",
    "adapter": "alignment",
    "answers": "answers",
    "metrics": "evaluation",
    "rows": "evaluation",
}


def outcome(folder: Path) -> dict[str, Any]:
    """What a complete run says, by name, without what only the clock decides."""
    from mint_ray.corpora.store import case_table
    from mint_ray.inference.store import answer_table
    from mint_ray.models import model_digest
    from mint_ray.preferences.store import pair_dataset
    from mint_ray.rankings.store import ranking_table
    from mint_ray.runs import digest_files, open_run

    run = open_run(folder)
    curve = (folder / "alignment" / "curve.jsonl").read_text().splitlines()
    manifests = {stage: json.loads((folder / stage / "manifest.json").read_text()) for stage in STAGES}
    return {
        "cases": case_table(run).to_pylist(),
        "scorer": digest_files(folder / "scorer", "*.safetensors"),
        "rankings": ranking_table(run).to_pylist(),
        "pairs": {split: pair_dataset(run, split).to_list() for split in ("train", "validation")},
        "curve": [{k: v for k, v in json.loads(row).items() if not k.endswith(TIMES)} for row in curve],
        "adapter": model_digest(folder / "alignment" / "adapter"),
        "answers": {model: answer_table(run, model).to_pylist() for model in ("base", "aligned")},
        "metrics": json.loads((folder / "evaluation" / "metrics.json").read_text()),
        "rows": {stage: manifest["rows"] for stage, manifest in manifests.items()},
    }


def undisturbed(out: Path, config: Path, engine: str) -> Path:
    """The run that nothing disturbs, made once."""
    folder = out / "undisturbed"
    if not (out / "model" / "config.json").exists():
        make_model(out / "model")
    config.write_text(yaml.safe_dump(settings(out / "model", engine) | {"run": {"dir": str(folder), "seed": 7}}))
    line = Line(config, folder, out / "undisturbed.log")
    line.start()
    if status := line.wait():
        sys.exit(f"the undisturbed run ended with {status}: see {out / 'undisturbed.log'}")
    return folder


def carry_out(chain: Chain, standard: Path, wanted: dict[str, Any]) -> list[Kill]:
    """A chain's kills; what differs at its end stands with the kill in the stage that made it."""
    kills = []
    for stage, following in zip(STAGES, [*STAGES[1:], None], strict=True):
        seconds = json.loads((standard / stage / "manifest.json").read_text())["seconds"]
        kills.append(chain.kill(stage, following, seconds))
    started = time.monotonic()
    if status := chain.complete():
        kills[-1].differs.append(f"the command goes on to status {status}")
    else:
        found = outcome(chain.folder)
        for name in (name for name in wanted if found[name] != wanted[name]):
            kills[STAGES.index(MADE_IN[name])].differs.append(f"{name} not as undisturbed")
    kills[-1].seconds = round(kills[-1].seconds + time.monotonic() - started, 1)
    if not any(kill.differs for kill in kills):
        shutil.rmtree(chain.folder)
    return kills


def has_traceback(log: Path, since: int) -> bool:
    """Whether the command itself printed one: not what Ray passes on of its processes, `(name pid=...)` before it."""
    lines = log.read_bytes()[since:].decode(errors="replace").splitlines()
    return any(line.startswith("Traceback (most recent call last)") for line in lines)


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    out = options.out.resolve()
    results, config = Results(out / "kills.jsonl"), out / "line.yaml"
    standard = undisturbed(out, config, options.engine)
    wanted = outcome(standard)
    done = {row["number"] for row in results.rows}
    for number in (n for n in range(-(-options.kills // len(STAGES))) if n not in done):
        for kill in carry_out(Chain(number, out, config, options.seed), standard, wanted):
            results.add(f"kill: {kill.kind}", int(kill.kind != "none"), kill.differs, number=number, **kill.told())
    sys.exit(results.differs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder of its own; a second call goes on with what is left")
    parser.add_argument("--kills", type=int, default=102)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
