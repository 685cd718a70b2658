"""How much of its patients a model learns a second of training: adapters of several ranks, all weights, every method.

    python benchmarks/learning_curves.py runs/demo --to runs/curves [--curve "LoRA r 32: learning_rate=1e-3"] ...

Takes the pairs of a run whose stage `preferences` is complete. Each curve is one training over them, in a process of
its own; its settings are those of the run's `alignment` but for what the curve names. Between steps, validation cases are
asked for their first name: the label whose name the model finds likeliest where an answer begins. The clock is CPU
seconds of training alone, on `--threads` threads; asking stands still. A curve that is in `--to` is not made again.
Leaves a JSON file a curve, and `learning_curves.png`: the share whose truth comes first, against seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

# Learning rates to begin with; none was found by a search.
CURVES = (
    "ORPO, LoRA r 8: lora.rank=8,lora.alpha=16,learning_rate=2e-3",
    "ORPO, LoRA r 32: lora.rank=32,lora.alpha=64,learning_rate=1e-3",
    "ORPO, LoRA r 256: lora.rank=256,lora.alpha=256,learning_rate=5e-4",
    "ORPO, all weights: lora=null,learning_rate=1e-4",
    "SFT, all weights: method=sft,lora=null,learning_rate=1e-4",
    "DPO, all weights: method=dpo,lora=null,learning_rate=1e-5",
)


class Quiz:
    """Validation cases as rows of a prompt and one answer a label, as `Collator` lays them out."""

    def __init__(self, run, tokenizer, count: int):
        from mint_ray.alignment.collation import Collator
        from mint_ray.corpora.store import case_table, run_labels
        from mint_ray.records import Case, from_table

        task, labels = run.config.task, run_labels(run)
        self.ids = [label.id for label in labels]
        answers = {label.id: _tokens(tokenizer, task.answer([label.name])) for label in labels}
        cases = [case for case in from_table(case_table(run, splits=["validation"]), Case) if case.label_id in self.ids]
        collate = Collator(tokenizer.pad_token_id, answers=self.ids)
        self.truths = [case.label_id for case in cases[:count]]
        self.rows = [
            collate([SimpleNamespace(case_id=case.case_id, prompt=_prompt(task, case, tokenizer), **answers)])
            for case in cases[:count]
        ]

    def top1(self, trainer) -> float:
        """The share of cases whose true name is the likeliest."""
        import torch

        from mint_ray.alignment.losses import segment_sum

        trainer.model.eval()
        right = 0
        with torch.no_grad(), trainer.compute_loss_context_manager():
            for row, truth in zip(self.rows, self.truths, strict=True):
                sums = segment_sum(trainer.log_probs(trainer.model, row), row["segments"], len(self.ids))
                right += self.ids[int(sums.argmax())] == truth
        trainer.model.train()
        return right / len(self.rows)


def _tokens(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _prompt(task, case, tokenizer) -> list[int]:
    messages = [message.model_dump() for message in task.prompt(task.downstream_view(case))]
    return _tokens(tokenizer, tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))


def measure(folder: Path, overrides: Sequence[str], options: argparse.Namespace) -> list[dict[str, float]]:
    """Train once; the points of the curve: seconds, pairs, top1."""
    import torch
    from transformers import TrainerCallback

    from mint_ray.alignment.collation import encode_pairs
    from mint_ray.alignment.methods import build_trainer
    from mint_ray.config import load_config
    from mint_ray.models import load_tokenizer, resolve_model
    from mint_ray.preferences.store import pair_dataset
    from mint_ray.runs import Run

    torch.set_num_threads(options.threads)
    config = load_config(folder / "config.yaml", [f"alignment.{override}" for override in overrides]).moved(folder)
    run, section = Run(config), config.alignment
    model = resolve_model(section.model)
    tokenizer = load_tokenizer(model)
    pairs, _ = encode_pairs(pair_dataset(run, "train"), tokenizer, section.max_length)
    quiz, points = Quiz(run, tokenizer, options.cases), []

    class Asking(TrainerCallback):
        def on_train_begin(self, args, state, control, **others):
            self.cpu, self.started, self.asked = 0.0, time.process_time(), 0.0

        def on_step_end(self, args, state, control, **others):
            self.cpu += time.process_time() - self.started
            if self.cpu - self.asked >= options.every or state.global_step == state.max_steps:
                self.asked = self.cpu
                pairs_seen = state.global_step * section.batch_size * section.gradient_accumulation
                points.append({"seconds": self.cpu, "pairs": pairs_seen, "top1": quiz.top1(trainer)})
                print(json.dumps(points[-1]), flush=True)
            self.started = time.process_time()

    with TemporaryDirectory() as scratch:
        os.environ["TENSORBOARD_LOGGING_DIR"] = scratch
        trainer = build_trainer(
            section.model_copy(update={"save_steps": 10**9}), model, {"train": pairs}, 7, Path(scratch)
        )
        trainer.add_callback(Asking())
        trainer.train()
    return points


def draw(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for name, points in found.items():
        axes.plot([0, *(p["seconds"] for p in points)], [0, *(100 * p["top1"] for p in points)], marker="o", label=name)
    axes.set(xlabel="CPU seconds of training", ylabel="validation cases whose truth comes first, %", ylim=(0, 100))
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--curve", action="append", help="name: key=value,key=value of `alignment`")
    parser.add_argument("--every", type=float, default=60, help="seconds between two points")
    parser.add_argument("--cases", type=int, default=80, help="validation cases asked")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.run, options.one.split(","), options)
        return
    options.to.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for curve in options.curve or CURVES:
        name, _, overrides = curve.partition(": ")
        path = options.to / (re.sub(r"\W+", "_", curve) + ".json")
        if not path.exists():
            print(curve, flush=True)
            command = [sys.executable, *sys.argv, "--one", overrides]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                lines = []
                for line in process.stdout:
                    print(line, end="", flush=True)
                    lines += [json.loads(line)] if line.startswith('{"seconds"') else []
            if process.returncode:
                sys.exit(f"{curve}: failed")
            path.write_text(json.dumps(lines))
        found[name] = json.loads(path.read_text())
        draw(found, options.to / "learning_curves.png")


if __name__ == "__main__":
    main()
