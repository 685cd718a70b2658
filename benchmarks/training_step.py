"""A training step of TRL and of ours by each method, on the same pairs, one after the other on this machine.

    python benchmarks/training_step.py [--pairs 24] [--batch 4] [--threads 2] [--rank 64] [--precision fp32]

Each side runs in a process of its own, with the same LoRA on SmolLM2-135M-Instruct, once over the pairs,
in bf16 where the processor has instructions for it, else in fp32 (or as --precision says).
The pairs are real prompts and answers of the rare-disease task over the HPO's own findings and diseases. Printed are
pairs a second (wall clock, whatever else the machine does), CPU seconds a pair (steadier on a busy machine), and
peak memory. `ours, NLL over the sequence` does exactly TRL's work; `ours` is the default. TRL's trainers run as they
come; losses and gradients of each are held equal by tests/alignment.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple


class Side(NamedTuple):
    """A row of the table; `against` is the row that it is divided by."""

    says: str
    against: str
    method: str = "orpo"


SIDES = {
    "trl": Side("TRL's ORPOTrainer", "trl"),
    "sequence": Side("ours, NLL over the sequence", "trl"),
    "answer": Side("ours", "trl"),
    "trl_sft": Side("TRL's SFTTrainer", "trl_sft", "sft"),
    "sft": Side("ours", "trl_sft", "sft"),
    "trl_dpo": Side("TRL's DPOTrainer", "trl_dpo", "dpo"),
    "dpo": Side("ours", "trl_dpo", "dpo"),
}


def make_pairs(count: int) -> list[dict]:
    """Synthetic cases in real words: 5 to 15 findings, ten disease names an answer; fixed by a seed."""
    import numpy as np

    from mint_ray.hpo import PHENOTYPIC_ABNORMALITY, diseases, ontology
    from mint_ray.tasks.base import View
    from mint_ray.tasks.rare_disease import RareDisease

    random = np.random.default_rng(0)
    task = RareDisease(kind="rare_disease", answer_size=10)
    names = [disease.name for disease in diseases().values()]
    terms = sorted(ontology().terms[i].name for i in ontology().descendants(PHENOTYPIC_ABNORMALITY))
    pairs = []
    for number in range(count):
        findings = random.choice(terms, size=random.integers(5, 16), replace=False)
        view = View(text=f"Patient: female, {random.integers(1, 40)} years\nFindings: {'; '.join(findings)}")
        answers = [task.answer(list(random.choice(names, size=10, replace=False))) for _ in range(2)]
        chosen, rejected = ([{"role": "assistant", "content": answer}] for answer in answers)
        prompt = [message.model_dump() for message in task.prompt(view)]
        pairs.append({"case_id": str(number), "prompt": prompt, "chosen": chosen, "rejected": rejected})
    return pairs


def section(options: argparse.Namespace):
    from mint_ray.config import AlignmentSection, LoraSection

    return AlignmentSection(
        model="packaged:smollm2-135m-instruct",
        method=SIDES[options.side].method,
        lora=LoraSection(rank=options.rank, alpha=options.rank, dropout=0.0),
        batch_size=options.batch,
        nll_scope="sequence" if options.side == "sequence" else "answer",
        precision=options.precision,
    )


def our_trainer(options: argparse.Namespace, scratch: Path):
    from transformers import AutoTokenizer

    from mint_ray.alignment.collation import encode_pairs
    from mint_ray.alignment.methods import build_trainer
    from mint_ray.models import resolve_model

    model = resolve_model("packaged:smollm2-135m-instruct")
    encoded, _ = encode_pairs(make_pairs(options.pairs), AutoTokenizer.from_pretrained(model), 1024)
    return build_trainer(section(options), model, {"train": encoded}, 0, scratch)


def trl_trainer(options: argparse.Namespace, scratch: Path):
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    from mint_ray.alignment.methods import build_model, lora_config
    from mint_ray.models import load_model, resolve_model
    from mint_ray.precision import dtype_of

    method, folder = SIDES[options.side].method, resolve_model("packaged:smollm2-135m-instruct")
    trainer, config = {
        "orpo": (ORPOTrainer, ORPOConfig),
        "sft": (SFTTrainer, SFTConfig),
        "dpo": (DPOTrainer, DPOConfig),
    }[method]
    settings = config(
        output_dir=str(scratch),
        per_device_train_batch_size=options.batch,
        num_train_epochs=1,
        **({} if method == "sft" else {"beta": 0.1}),
        max_length=1024,
        bf16=str(dtype_of(options.precision, use_gpu=False)) == "torch.bfloat16",
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    names = ("prompt", "chosen") if method == "sft" else ("prompt", "chosen", "rejected")
    if method == "orpo":
        model = {"model": build_model(section(options), folder, 0)}
    else:  # given an adapter, TRL's DPO would run a copy of it as the reference
        base = load_model(folder, dtype_of(options.precision, use_gpu=False))
        model = {"model": base, "peft_config": lora_config(base, section(options).lora)}
    rows = Dataset.from_list([{name: pair[name] for name in names} for pair in make_pairs(options.pairs)])
    return trainer(
        **model,
        args=settings,
        train_dataset=rows.rename_column("chosen", "completion") if method == "sft" else rows,
        processing_class=AutoTokenizer.from_pretrained(folder),
    )


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Train once over the pairs on one side; the clocks run from the first step to the last."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *arguments, **others):
            self.wall, self.cpu = time.monotonic(), time.process_time()

        def on_train_end(self, *arguments, **others):
            self.wall, self.cpu = time.monotonic() - self.wall, time.process_time() - self.cpu

    torch.set_num_threads(options.threads)
    clock = Clock()
    with TemporaryDirectory() as scratch:
        build = trl_trainer if options.side.startswith("trl") else our_trainer
        trainer = build(options, Path(scratch))
        trainer.add_callback(clock)
        trainer.train()
    return {
        "pairs_per_second": options.pairs / clock.wall,
        "cpu_seconds_per_pair": clock.cpu / options.pairs,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options)))
        return
    found = {}
    print(f"{'':30}{'pairs/s':>10}{'CPU s/pair':>12}{'peak GiB':>10}{'speed':>8}{'memory':>8}")
    for side, row_of in SIDES.items():
        done = subprocess.run(
            [sys.executable, *sys.argv, "--side", side], stdout=subprocess.PIPE, text=True, check=True
        )
        row = found[side] = json.loads(done.stdout.splitlines()[-1])
        speed = row["pairs_per_second"] / found[row_of.against]["pairs_per_second"]
        memory = row["peak_gib"] / found[row_of.against]["peak_gib"]
        print(
            f"{row_of.says:30}{row['pairs_per_second']:10.2f}{row['cpu_seconds_per_pair']:12.2f}{row['peak_gib']:10.2f}{speed:7.2f}x{memory:7.2f}x",
            flush=True,
        )


if __name__ == "__main__":
    main()
