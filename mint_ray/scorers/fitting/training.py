"""The loop that every worker of Ray Train runs: one epoch after the other, a checkpoint after each.

A checkpoint holds model, optimiser, schedule and the curve so far. Whoever starts again from it goes on as if
nothing had happened: order, blinding and moves of the examples depend on seed and epoch alone.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import get_cosine_schedule_with_warmup, set_seed

from mint_ray import progress
from mint_ray.errors import TrainingError
from mint_ray.precision import dtype_of
from mint_ray.scorers.fitting.examples import Example, Shard
from mint_ray.storage import local_copy

if TYPE_CHECKING:
    from mint_ray.scorers.base import FittedSection

WEIGHTS, OPTIMISER, PROGRESS = "model.safetensors", "optimiser.pt", "progress.json"


@dataclass(frozen=True)
class Plan:
    """What every worker needs to know; `start` is a scorer's folder with the weights that fitting starts from."""

    section: FittedSection
    start: Path
    seed: int
    examples: int

    @property
    def steps_per_epoch(self) -> int:
        workers = self.section.workers
        return -(-(self.examples // workers) // (self.section.batch_size // workers))


class Learner(Protocol):
    """What one kind of scorer brings to the loop: a model, and what is asked of it."""

    module: torch.nn.Module  # from a batch to an output; what the workers train together
    weights: torch.nn.Module  # the part of it that a checkpoint keeps

    def batch(self, examples: list[Example]) -> Any:
        """Tensors of some examples, with a method `to(device)`."""

    def altered(self, example: Example, chance: np.random.Generator) -> Example:
        """A training example as this epoch shows it."""
        ...

    def loss(self, output: Any, batch: Any) -> torch.Tensor:
        """A scalar, fp32, of what the module made of a batch."""
        ...

    def hits(self, batch: Any) -> list[bool]:
        """Whether the best label of each example is the true one."""
        ...


def train_worker(config: dict) -> str | None:
    """Ray Train's entry: `config["plan"]`, and the streams `train` and `validation`.

    What went wrong for good is returned, in words: Ray would start the workers again for an error, and they would
    meet the same loss.
    """
    import ray.train

    logging.getLogger().setLevel(logging.WARNING)  # Ray tells of every report; `validate` says what matters
    fitting, section = Fitting(config["plan"]), config["plan"].section
    if checkpoint := ray.train.get_checkpoint():
        with checkpoint.as_directory() as folder:
            fitting.restore(Path(folder))
    fitting.tell()
    while fitting.epoch < section.epochs:
        try:
            fitting.train_epoch()
        except TrainingError as error:
            return str(error)
        fitting.validate()
        if fitting.epoch % section.checkpoint_every == 0 or fitting.epoch == section.epochs:
            fitting.report()
    return None


class Fitting:
    """One worker's model, optimiser and examples. Rank 0 also validates, prints and writes."""

    def __init__(self, plan: Plan):
        import ray.train
        import ray.train.torch

        section = plan.section
        self.plan, self.rank = plan, ray.train.get_context().get_world_rank()
        torch.set_num_threads(section.cpus_per_worker)
        set_seed(plan.seed + self.rank)
        self.device = ray.train.torch.get_device()
        self.dtype = dtype_of(section.precision, section.use_gpu)
        self.learner: Learner = section.learner(local_copy(plan.start))
        self.model = ray.train.torch.prepare_model(self.learner.module)
        self.optimiser, self.schedule = _optimiser(self.learner.module, plan)
        batch = section.batch_size // section.workers
        # Workers may hold like rows in like order: each has an order of its own.
        self.shard = Shard(ray.train.get_dataset_shard("train"), batch, section.in_memory, plan.seed + self.rank)
        self.validation = self._validation_shard() if self.rank == 0 else None
        self.epoch, self.curve = 0, []

    def _validation_shard(self) -> Shard | None:
        import ray.train

        try:
            stream = ray.train.get_dataset_shard("validation")
        except KeyError:  # the run keeps no case for validation
            return None
        return Shard(stream, self.plan.section.score_batch, self.plan.section.in_memory, 0)

    def train_epoch(self) -> None:
        """One pass over the worker's examples."""
        total = []
        chance = np.random.default_rng((self.plan.seed, self.epoch, self.rank))
        self.model.train()
        for examples in self.shard.epoch(self.epoch):
            total.append(self._step([self.learner.altered(example, chance) for example in examples]))
            if self.rank == 0:
                progress.advance(1, f"epoch {self.epoch + 1} of {self.plan.section.epochs}, loss {total[-1]:.3f}")
        self.epoch += 1
        self.curve.append({"epoch": self.epoch, "loss": round(float(np.mean(total)), 5)})

    def _step(self, examples: list[Example]) -> float:
        section = self.plan.section
        batch = self.learner.batch(examples).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            output = self.model(batch)
        loss = self.learner.loss(output, batch)
        self._refuse_non_finite("loss", loss)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.learner.module.parameters(), section.max_grad_norm)
        self._refuse_non_finite("gradient", norm)
        self.optimiser.step()
        self.schedule.step()
        self.optimiser.zero_grad()
        return loss.item()

    def _refuse_non_finite(self, what: str, value: torch.Tensor) -> None:
        """Stop before the update, on every worker, or the others would wait in the next exchange for ever."""
        bad = (~torch.isfinite(value.detach())).float()
        if self.plan.section.workers > 1:
            torch.distributed.all_reduce(bad)
        if bad.item():
            raise TrainingError(
                f"the scorer's {what} is not finite in epoch {self.epoch + 1}; nothing was updated. "
                "Lower scorer.learning_rate, or take scorer.precision fp32"
            )

    def tell(self) -> None:
        """Say how far the fit has come, before its first step; rank 0 alone."""
        if self.rank == 0:
            steps = self.plan.steps_per_epoch
            progress.begin("fitting", self.plan.section.epochs * steps, "steps", done=self.epoch * steps)

    def validate(self) -> None:
        """Add the accuracy on validation cases to the curve, and say it; rank 0 alone."""
        if self.rank:
            return
        last, said = self.curve[-1], ""
        if self.validation:
            last["validation_top1"] = round(self._top1(self.validation.epoch(0)), 4)
            said = f", validation top-1 {last['validation_top1']:.3f}"
        print(f"scorer: epoch {self.epoch}/{self.plan.section.epochs}, loss {last['loss']:.3f}{said}", flush=True)

    def report(self) -> None:
        """Leave a checkpoint; all workers must come here."""
        import ray.train

        if self.rank:
            ray.train.report(self.curve[-1])
            return
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            ray.train.report(self.curve[-1], checkpoint=ray.train.Checkpoint.from_directory(folder))

    def _top1(self, batches: Iterable[list[Example]]) -> float:
        self.learner.module.eval()
        hits = []
        with torch.inference_mode():
            for examples in batches:
                hits += self.learner.hits(self.learner.batch(examples).to(self.device))
        return float(np.mean(hits)) if hits else 0.0

    def save(self, folder: Path) -> None:
        save_file(self.learner.weights.state_dict(), folder / WEIGHTS)
        state = {"optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}
        torch.save(state, folder / OPTIMISER)
        (folder / PROGRESS).write_text(json.dumps({"epochs": self.epoch, "curve": self.curve}))

    def restore(self, folder: Path) -> None:
        restore_weights(self.learner.weights, folder)
        state = torch.load(folder / OPTIMISER, map_location=self.device, weights_only=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        progress = json.loads((folder / PROGRESS).read_text())
        self.epoch, self.curve = progress["epochs"], progress["curve"]


def restore_weights(model: torch.nn.Module, folder: Path) -> None:
    """Put a checkpoint's weights into a model."""
    model.load_state_dict(load_file(folder / WEIGHTS))


def _optimiser(
    model: torch.nn.Module, plan: Plan
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, no decay on biases and norms; warm-up, then cosine to zero over all epochs."""
    section = plan.section
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": section.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=section.learning_rate)
    steps = section.epochs * plan.steps_per_epoch
    return optimiser, get_cosine_schedule_with_warmup(optimiser, round(section.warmup_ratio * steps), steps)
