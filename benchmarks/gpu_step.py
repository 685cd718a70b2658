"""A training step of ours and of TRL's ORPO loss on a GPU: pairs a second, share of the card's dense rate, memory.

    python benchmarks/gpu_step.py --out step.json          # one GPU, under six minutes
    python benchmarks/gpu_step.py --out step.json --tiny   # the same on a CPU at tiny size, to prove the script

Needs torch, transformers, peft and accelerate, and nothing to fetch: models of SmolLM2-135M's and Llama 3.2-3B's shapes
with random weights, pairs of random tokens (a prompt of 256, answers of 128). Ours is this package's trainer, its rows
attended by a dense mask, by FlexAttention, or by structure; TRL's loss is written out below as its `ORPOTrainer`
computes it (two full sequences a pair, all logits), which tests hold equal to ours. Before anything is measured, each
way's loss is held against the CPU's in fp32. A row that fails says so in the JSON, and the others go on.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch.nn.attention.flex_attention import create_block_mask
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

sys.path.insert(0, str(Path(__file__).parents[1]))

from mint_ray.alignment.collation import Collator, EncodedPair, InParts
from mint_ray.alignment.losses import odds_ratio_loss
from mint_ray.alignment.trainer import OrpoTrainer

SHAPES = {
    "smollm2-135m": LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True,
    ),
    "llama-3.2-3b": LlamaConfig(
        vocab_size=128256, hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24,
        num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
    ),
    "tiny": LlamaConfig(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, initializer_range=0.2,
    ),
}  # fmt: skip
WAYS = ("trl", "dense", "flex", "structure")
SECONDS = 330  # no row is begun after this


class Row(NamedTuple):
    shape: str
    way: str
    rank: int | None  # None: all weights
    batch: int


def pairs_of(count: int, vocabulary: int, prompt: int, answer: int) -> list[EncodedPair]:
    random = torch.Generator().manual_seed(0)

    def tokens(length: int) -> list[int]:
        return torch.randint(3, vocabulary, (length,), generator=random).tolist()

    return [EncodedPair(str(i), tokens(prompt), tokens(answer), tokens(answer)) for i in range(count)]


class FlexTrainer(OrpoTrainer):
    """The dense mask as a BlockMask."""

    def hidden_states(self, model, part):
        dense, (rows, time) = part["attention_mask"][:, 0], part["input_ids"].shape
        mask = create_block_mask(lambda b, h, q, k: dense[b, q, k], rows, None, time, time, device=dense.device)
        return super().hidden_states(model, part | {"attention_mask": mask})


def model_of(shape: str, rank: int | None, device: str, dtype: torch.dtype) -> LlamaForCausalLM:
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(copy.deepcopy(SHAPES[shape]))
    model.to(dtype if rank else torch.float32)
    if rank is None:
        return model
    return get_peft_model(
        model, LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def trainer_of(way: str, model: Any, batch: int, scratch: str, on_cpu: bool) -> OrpoTrainer:
    arguments = TrainingArguments(
        output_dir=scratch, per_device_train_batch_size=batch, bf16=not on_cpu, use_cpu=on_cpu, report_to=[],
        save_strategy="no", disable_tqdm=True, remove_unused_columns=False, label_names=[],
    )  # fmt: skip
    kind = FlexTrainer if way == "flex" else OrpoTrainer
    trainer = kind(beta=0.1, nll_scope="sequence", model=model, args=arguments, train_dataset=[])
    name = {"dense": "sdpa", "flex": "flex_attention"}.get(way)
    if name:
        trainer.model.get_decoder().set_attn_implementation(name)
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def trl_loss(model: Any, pairs: list[EncodedPair], device: str, beta: float = 0.1) -> torch.Tensor:
    """As `ORPOTrainer.get_batch_loss_metrics` of TRL 1.16: chosen and rejected sequences in one batch, NLL over the
    whole chosen sequences. All are of one length here."""
    sequences = [p.prompt + p.chosen for p in pairs] + [p.prompt + p.rejected for p in pairs]
    ids = torch.tensor(sequences, device=device)
    logits = model(input_ids=ids, use_cache=False).logits
    nll = F.cross_entropy(logits[: len(pairs), :-1].flatten(0, 1), ids[: len(pairs), 1:].flatten())
    start = len(pairs[0].prompt) - 1
    scored = logits[:, start:-1].log_softmax(-1).gather(-1, ids[:, start + 1 :, None]).squeeze(-1).mean(-1)
    return nll + beta * odds_ratio_loss(*scored.chunk(2))[0].mean()


def stepper(row: Row, pairs: list[EncodedPair], device: str, dtype: torch.dtype, scratch: str):
    """A function that computes loss and gradients of one batch, and the model."""
    model = model_of(row.shape, row.rank, device, dtype)
    on_cpu = device == "cpu"
    if row.way == "trl":
        model.train()

        def step() -> torch.Tensor:
            with torch.autocast(device, torch.bfloat16, enabled=not on_cpu):
                loss = trl_loss(model, pairs, device)
            loss.backward()
            return loss.detach()

        return step, model
    trainer = trainer_of(row.way, model, row.batch, scratch, on_cpu)
    parts = InParts(Collator(0, score_prompt=True), row.batch)(pairs)
    if row.way == "flex" and on_cpu:  # torch cannot differentiate it there, so its loss alone is held
        return torch.no_grad()(lambda: trainer.compute_loss(model, parts[0])), model
    return lambda: trainer.training_step(model, parts), model


def dense_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large product, measured on this card."""
    side = 8192 if device == "cuda" else 512
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in "ab")
    return 10 * 2 * side**3 / timed(lambda: a @ b, 10, device)


def timed(work, times: int, device: str) -> float:
    for _ in range(2):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(times):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.monotonic() - start


def operations(row: Row, pairs: list[EncodedPair], model: Any) -> float:
    """Of a step's products as this method needs them at least: a prompt once, frozen weights without a gradient."""
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return sum(len(p.prompt + p.chosen + p.rejected) for p in pairs) * (4 * frozen + 6 * trained)


def measure(row: Row, device: str, dtype: torch.dtype, rate: float, lengths: tuple[int, int]) -> dict[str, Any]:
    pairs = pairs_of(row.batch, SHAPES[row.shape].vocab_size, *lengths)
    with TemporaryDirectory() as scratch:
        step, model = stepper(row, pairs, device, dtype, scratch)
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-5)

        def whole() -> None:
            step()
            optimizer.step()
            optimizer.zero_grad()

        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        times = 5
        seconds = timed(whole, times, device)
        peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
        share = times * operations(row, pairs, model) / seconds / rate
        return {"pairs_per_second": times * row.batch / seconds, "share_of_dense_rate": share, "peak_gib": peak}


def held_against_the_cpu(device: str, dtype: torch.dtype) -> dict[str, float]:
    """Loss of each way on the device by the CPU's fp32 loss of ours, at tiny size; what fails is said in words."""
    pairs = pairs_of(3, SHAPES["tiny"].vocab_size, 20, 9)
    found = {}
    with TemporaryDirectory() as scratch:
        exact = stepper(Row("tiny", "dense", 8, 3), pairs, "cpu", torch.float32, scratch)[0]().item()
    for way in WAYS:
        with attempt(found, way), TemporaryDirectory() as scratch:
            found[way] = stepper(Row("tiny", way, 8, 3), pairs, device, dtype, scratch)[0]().item() / exact
    return found


class attempt:
    """A row that fails is written down in words, and the others go on."""

    def __init__(self, found: dict[str, Any], name: str):
        self.found, self.name = found, name

    def __enter__(self) -> None:
        gc.collect()
        torch.compiler.reset()  # FlexAttention is compiled for a row's own shapes
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __exit__(self, kind, error, traceback) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.found[self.name] = f"{kind.__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        return True


def rows_of(tiny: bool) -> list[Row]:
    if tiny:
        return [Row("tiny", way, 4, 2) for way in WAYS] + [Row("tiny", way, None, 2) for way in ("trl", "structure")]
    small = [Row("smollm2-135m", way, rank, 8) for rank in (16, 256) for way in WAYS]
    large = [Row("llama-3.2-3b", way, rank, 4) for rank in (16, 256) for way in WAYS]
    return [*large, *small, Row("smollm2-135m", "trl", None, 8), Row("smollm2-135m", "structure", None, 8)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    device, dtype = ("cpu", torch.float32) if options.tiny else ("cuda", torch.bfloat16)
    start, lengths = time.monotonic(), (24, 12) if options.tiny else (256, 128)
    card = "CPU" if options.tiny else torch.cuda.get_device_name()
    rate = dense_rate(device, dtype)
    result: dict[str, Any] = {"device": card, "torch": torch.__version__, "dense_operations_per_second": rate}
    result["loss_by_the_cpus"] = held_against_the_cpu(device, dtype)
    result["rows"] = rows = {}
    for row in rows_of(options.tiny):
        name = f"{row.shape} {'all weights' if row.rank is None else f'r {row.rank}'} {row.way}"
        if time.monotonic() - start > SECONDS:
            rows[name] = "not begun: out of time"
            continue
        with attempt(rows, name):
            rows[name] = measure(row, device, dtype, rate, lengths)
        print(name, rows[name], flush=True)
        result["seconds"] = time.monotonic() - start
        options.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
