"""Kill random processes of the line at random moments, go on with the same command, and compare with an undisturbed run.

    python benchmarks/attack/kills.py out/kills [--kills 100] [--seed 1] [--engine vllm] [--victims driver worker ...]

The line is small: a few synthetic patients, a scorer of one epoch, a language model of random weights. Each trial starts
from the undisturbed run's stages before a random one, kills one process of a random kind at a random moment of that
stage, and repeats the command until the line is complete. Then rankings, pairs, the training curve, the digests of
scorer and adapter, the answers and the metrics must be those of the undisturbed run.

Every trial is decided by the seed and its number. Results are appended to `<out>/kills.jsonl` as they come, and trials
that stand there are not repeated; a table ends it. Processes are killed by the number that they were started under here,
never by name. What differs is kept in `<out>/<trial>/`; the log of every command as `<out>/<trial>.log`.
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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = ("cases", "scorer", "preferences", "alignment", "answers", "evaluation")
PATIENCE = 900  # seconds for one command
TIMES = ("per_second", "runtime", "seconds")  # in a curve: no two runs are equally fast

# Kind of process: how it is told among those that the command started, by its title or its command line.
VICTIMS: dict[str, Callable[[str], bool]] = {
    "driver": lambda title: "jobs/run_line.py" in title,
    "worker": lambda title: title.startswith("ray::") and not title.startswith("ray::IDLE") and "Agent" not in title,
    "engine": lambda title: (
        title.startswith("ray::") and ("Engine" in title or "PartScorer" in title or "Train" in title)
    ),
    "raylet": lambda title: title.split(" ")[0].endswith("/raylet"),
    "gcs": lambda title: title.split(" ")[0].endswith("/gcs_server"),
    "agent": lambda title: "agent" in title.lower() and not title.split(" ")[0].endswith(("/raylet", "/gcs_server")),
}


@dataclass
class Trial:
    """One kill and what came of it."""

    number: int
    stage: str
    victim: str
    share: float  # of the stage's undisturbed seconds
    killed: str = ""
    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0
    traceback: bool = False  # in what the killed command itself said
    differing: list[str] = field(default_factory=list)
    survived: bool = False  # the killed command went on to its end

    @property
    def well(self) -> bool:
        return self.statuses[-1:] == [0] and not self.differing


def drawn(number: int, seed: int, victims: list[str]) -> Trial:
    """The trial of that number."""
    chance = random.Random(f"{seed} {number}")
    return Trial(number, chance.choice(STAGES), chance.choice(victims), chance.random())


def settings(model: Path, engine: str) -> dict[str, Any]:
    """The small line's configuration, without its run directory."""
    with (REPOSITORY / "configs" / "demo.yaml").open() as file:
        config = yaml.safe_load(file)
    config["task"]["answer_size"] = 3
    config["corpus"] |= {"diseases": config["corpus"]["diseases"][:8], "patients_per_disease": 8}
    config["splits"] = {"train": 0.6, "validation": 0.1, "test": 0.3}
    config["scorer"] |= {"epochs": 2, "precision": "fp32", "checkpoint_every": 1}
    config["preferences"] = {"chosen": 3, "rejected": 4, "cut": 4, "part_rows": 8, "batch_size": 4}
    config["alignment"] |= {
        "model": str(model),
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
        "precision": "fp32",
        "epochs": 1.0,
        "save_steps": 4,
    }
    config["inference"] = {
        "engine": engine,
        "precision": "fp32",
        "max_tokens": 16,
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

    def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        environment.pop("RAY_ADDRESS", None)  # the harness may only ever meet a Ray of its own
        with self._log.open("a") as log:
            self._driver = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        self._seen[self._driver.pid] = psutil.Process(self._driver.pid)
        atexit.register(self.end)  # also where the harness itself is stopped

    def running(self) -> bool:
        return self._driver.poll() is None

    def processes(self) -> Iterator[tuple[psutil.Process, str]]:
        """What the command has started and is alive, with its title; remembered, so that nothing is left behind."""
        with suppress(psutil.Error):
            for each in self._seen[self._driver.pid].children(recursive=True):
                self._seen.setdefault(each.pid, each)
        for process in list(self._seen.values()):
            with suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process, " ".join(process.cmdline())

    def kill_one(self, victim: str, chance: random.Random) -> str | None:
        """Kill one process of a kind; its title, or None where there is none now."""
        found = [(process, title) for process, title in self.processes() if VICTIMS[victim](title)]
        if not found:
            return None
        process, title = chance.choice(found)
        process.kill()  # psutil sees that the number has not gone to another process
        return title[:120]

    def wait(self) -> int:
        """The command's exit status; whatever else it has started is ended."""
        until = time.monotonic() + PATIENCE
        while self.running() and time.monotonic() < until:
            list(self.processes())
            time.sleep(0.2)
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
        for process, _ in list(self.processes()):
            with suppress(psutil.Error):
                process.kill()


def outcome(folder: Path) -> dict[str, Any]:
    """What a complete run says, by name, without what only the clock decides."""
    from mint_ray.inference.store import answer_table
    from mint_ray.models import model_digest
    from mint_ray.preferences.store import pair_dataset, ranking_table
    from mint_ray.runs import digest_files, open_run

    run = open_run(folder)
    curve = (folder / "alignment" / "curve.jsonl").read_text().splitlines()
    return {
        "scorer": digest_files(folder / "scorer", "*.safetensors"),
        "rankings": ranking_table(run).to_pylist(),
        "pairs": {split: pair_dataset(run, split).to_list() for split in ("train", "validation")},
        "curve": [{k: v for k, v in json.loads(row).items() if not k.endswith(TIMES)} for row in curve],
        "adapter": model_digest(folder / "alignment" / "adapter"),
        "answers": {model: answer_table(run, model).to_pylist() for model in ("base", "aligned")},
        "metrics": json.loads((folder / "evaluation" / "metrics.json").read_text()),
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


def carry_out(trial: Trial, out: Path, config: Path, standard: Path, wanted: dict[str, Any], seed: int) -> None:
    """Kill once, repeat the command until the line is complete, and compare."""
    folder, log = out / f"{trial.number:04}", out / f"{trial.number:04}.log"
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)
    for stage in STAGES[: STAGES.index(trial.stage)]:
        shutil.copytree(standard / stage, folder / stage)
    started, line = time.monotonic(), Line(config, folder, log)
    line.start()
    kill_once(trial, line, standard, random.Random(f"{seed} {trial.number} which"))
    trial.statuses.append(line.wait())
    trial.survived = trial.statuses == [0]
    trial.traceback = trial.victim != "driver" and "Traceback (most recent call last)" in own_words(log)
    while trial.statuses[-1] != 0 and len(trial.statuses) < 3:
        line = Line(config, folder, log)
        line.start()
        trial.statuses.append(line.wait())
    trial.seconds = round(time.monotonic() - started, 1)
    if trial.statuses[-1] == 0:
        found = outcome(folder)
        trial.differing = [name for name in wanted if found[name] != wanted[name]]
    if trial.well:
        shutil.rmtree(folder)


def kill_once(trial: Trial, line: Line, standard: Path, chance: random.Random) -> None:
    """Wait for the moment, then for a process of the kind, and kill it."""
    seconds = json.loads((standard / trial.stage / "manifest.json").read_text())["seconds"]
    while line.running() and not (line.folder / trial.stage / "begun.json").exists():
        list(line.processes())
        time.sleep(0.02)
    moment = time.monotonic() + trial.share * seconds
    while line.running() and time.monotonic() < moment:
        time.sleep(0.02)
    while line.running() and not trial.killed:
        trial.killed = line.kill_one(trial.victim, chance) or ""
        time.sleep(0.05)


def own_words(log: Path) -> str:
    """What the first command printed itself: without what Ray passes on of its processes, `(name pid=...)` before it."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(line for line in lines if "pid=" not in line.split(")")[0] and not line.startswith(" "))


def table(trials: list[Trial]) -> str:
    """Kills by kind: how many went on by themselves, were resumed, ended in a traceback, or came out differently."""
    rows = ["| killed | kills | went on | resumed | not hit | traceback | differing |", "|---|---|---|---|---|---|---|"]
    for victim in VICTIMS:
        mine = [trial for trial in trials if trial.victim == victim]
        if mine:
            hit = [trial for trial in mine if trial.killed]
            counts = (
                len(hit),
                sum(trial.survived for trial in hit),
                sum(len(trial.statuses) > 1 and trial.statuses[-1] == 0 for trial in hit),
                len(mine) - len(hit),
                sum(trial.traceback for trial in hit),
                sum(not trial.well for trial in mine),
            )
            rows.append(f"| {victim} | " + " | ".join(map(str, counts)) + " |")
    stages = Counter(trial.stage for trial in trials if trial.killed)
    return "\n".join([*rows, "", "By stage: " + ", ".join(f"{stage} {stages[stage]}" for stage in STAGES)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder of its own; a second call goes on with what is left")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    parser.add_argument("--victims", nargs="+", choices=list(VICTIMS), default=list(VICTIMS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    config, results = out / "line.yaml", out / "kills.jsonl"
    standard = undisturbed(out, config, options.engine)
    wanted = outcome(standard)
    trials = [Trial(**json.loads(row)) for row in results.read_text().splitlines()] if results.exists() else []
    done = {trial.number for trial in trials}
    for number in (n for n in range(options.kills) if n not in done):
        trial = drawn(number, options.seed, options.victims)
        carry_out(trial, out, config, standard, wanted, options.seed)
        trials.append(trial)
        with results.open("a") as file:
            file.write(json.dumps(asdict(trial)) + "\n")
        print(f"{number}: {trial.victim} in {trial.stage}: {'as undisturbed' if trial.well else trial}", flush=True)
    print(table(trials))
    sys.exit(any(not trial.well for trial in trials))


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    main()
