"""What each worker of Ray Train does: build the trainer, go on from the last checkpoint, leave the adapter."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import ray.train
import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from transformers import Trainer, TrainerCallback

from mint_ray import progress, telemetry
from mint_ray.adapters import ADAPTER_CONFIG
from mint_ray.alignment.encoded import ENCODED, StoredPairs
from mint_ray.alignment.methods import build_trainer
from mint_ray.alignment.start import trained_folder
from mint_ray.config import AlignmentSection
from mint_ray.errors import TrainingError
from mint_ray.models import resolve_model, save_model
from mint_ray.preferences.store import PAIR_SPLITS
from mint_ray.runs import strict_json, write_atomically
from mint_ray.storage import remote, written_folder

CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Plan:
    """What all workers are told. `folder` is the stage's; `notice` is given when the job is about to end."""

    section: AlignmentSection
    model: str
    folder: Path
    seed: int
    notice: ActorHandle


@ray.remote(num_cpus=0, max_restarts=-1)
class Notice:
    """Tells workers that their job is about to end."""

    def __init__(self):
        self._given = False

    def give(self) -> None:
        self._given = True

    def given(self) -> bool:
        return self._given


def train_worker(config: dict[str, Plan]) -> str | None:
    """Align one worker's share; what went wrong for good, in words, or None.

    A loss that is not finite is returned, not raised: Ray would start the workers again for an error,
    and they would meet the same loss.
    """
    logging.getLogger().setLevel(logging.WARNING)  # Ray tells of every report; `Progress` says what matters
    plan = config["plan"]
    use_all_cores()
    pairs = {split: StoredPairs(plan.folder / ENCODED / split) for split in PAIR_SPLITS}
    folder = resolve_model(plan.model)
    with TemporaryDirectory() as scratch, curves_for_tensorboard(plan.folder / "tensorboard"):
        trainer = build_trainer(plan.section, folder, pairs, plan.seed, Path(scratch))
        saving = SaveInTime(plan.section.save_seconds, agree=agreed, leaving=partial(leaving, plan.notice))
        for callback in (RayTrainReportCallback(), saving, Progress(), Counts(plan.folder.parent.name)):
            trainer.add_callback(callback)
        try:
            _train(prepare_trainer(trainer))
        except TrainingError as error:
            return str(error)
        if trainer.is_world_process_zero():
            save_curve(trainer, plan.folder / CURVE)
            trained, out = trainer.accelerator.unwrap_model(trainer.model), trained_folder(plan.folder, plan.section)
            if isinstance(trained, PeftModel):
                with written_folder(out, last=ADAPTER_CONFIG) as temporary:
                    save_adapter(trained, temporary)
            else:
                save_model(trained, folder, out)
    return None


def save_adapter(model: PeftModel, folder: Path) -> None:
    """As PEFT saves it, with the adapted modules in order: its set of them has another one in every process, and the
    same training would leave adapters of different digests."""
    for config in model.peft_config.values():
        if isinstance(config.target_modules, set):
            config.target_modules = sorted(config.target_modules)
    model.save_pretrained(folder)


@contextmanager
def curves_for_tensorboard(folder: Path) -> Iterator[None]:
    """Have TensorBoard's files written to a folder; to a store, which cannot append, only when the block ends well."""
    with written_folder(folder) if remote(folder) else nullcontext(folder) as local:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(local)
        yield


def _train(trainer: Trainer) -> None:
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        trainer.train()
        return
    with checkpoint.as_directory() as folder:
        trainer.train(resume_from_checkpoint=str(Path(folder, RayTrainReportCallback.CHECKPOINT_NAME)))


def use_all_cores() -> None:
    """Give torch this worker's share of its node's cores: Ray allows as many threads as CPUs were asked for, one."""
    node = ray.get_runtime_context().get_node_id()
    allowed = next(n["Resources"].get("CPU", 1) for n in ray.nodes() if n["NodeID"] == node)
    cores = min(len(os.sched_getaffinity(0)), int(allowed))
    torch.set_num_threads(max(1, cores // ray.train.get_context().get_local_world_size()))


def save_curve(trainer: Trainer, path: Path) -> None:
    """One line a step and one a validation, from the first step on, also when the run was resumed."""
    precision = "bf16" if trainer.args.bf16 else "fp32"
    history = [row for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    write_atomically(path, "".join(strict_json(row | {"precision": precision}) + "\n" for row in history))


class SaveInTime(TrainerCallback):
    """A checkpoint every so many seconds, and one as soon as a node is told to leave: beside those by steps.

    Args:
        seconds: between a checkpoint, of whatever cause, and the next.
        agree: what all workers take for true, given what each of them thinks: they save together or not at all.
        leaving: what is about to end, a `node` of this training or the `job`; asked of every worker at every step.
    """

    def __init__(
        self,
        seconds: float,
        agree: Callable[[bool], bool] = bool,
        leaving: Callable[[], set[str]] = set,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.seconds, self.agree, self.leaving, self.clock = seconds, agree, leaving, clock
        self._saved, self._left = clock(), set[str]()

    def on_train_begin(self, args, state, control, **kwargs):
        self._saved = self.clock()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:  # the adapter is written at once
            return
        leaving = self.leaving()
        due = self.clock() - self._saved >= self.seconds or bool(leaving - self._left)
        self._left = leaving
        if self.agree(due):
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        self._saved = self.clock()


def agreed(mine: bool) -> bool:
    """What the first worker thinks: the workers' clocks differ."""
    told = [mine]
    broadcast_object_list(told)
    return told[0]


def leaving(notice: ActorHandle) -> set[str]:
    """What is about to end: the `job`, a `node` of this training (preempted, drained, its pod deleted), both, nothing.

    Ray 2.60 drains a node whose `ray start` gets SIGTERM, for RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S seconds (30).
    """
    # Asked first, by all workers: they wait for each other in it.
    nodes = {"node"} if ray.train.get_preemption_info() is not None else set[str]()
    try:
        return nodes | ({"job"} if ray.get(notice.given.remote()) else set())
    except RayActorError:  # its node is gone; it is started again elsewhere
        return nodes


class Counts(TrainerCallback):
    """Steps and loss in Ray's metrics, from the first worker."""

    def __init__(self, run: str):
        self.run = run

    def on_log(self, args, state, control, logs: dict[str, Any], **kwargs):
        if state.is_world_process_zero and "loss" in logs:
            telemetry.count("steps", 1, self.run, "alignment")
            telemetry.show("loss", logs["loss"], self.run, "alignment")


class Progress(TrainerCallback):
    """Steps, with the loss, and what validation says; from the first worker."""

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            progress.begin("training", state.max_steps, "steps", done=state.global_step)

    def on_log(self, args, state, control, logs: dict[str, Any], **kwargs):
        if not state.is_world_process_zero:
            return
        if "eval_loss" in logs:
            print(f"alignment: step {state.global_step} of {state.max_steps}: {_validated(logs)}", flush=True)
            progress.advance(0, _validated(logs))
        elif "loss" in logs:
            progress.advance(1, f"loss {logs['loss']:.3f}, {logs['pairs_per_second']:.2f} pairs/s")


def _validated(logs: dict[str, Any]) -> str:
    accuracy = logs.get("eval_accuracy", logs.get("eval_rewards/accuracies"))
    preferred = "" if accuracy is None else f", prefers the chosen in {accuracy:.0%}"
    return f"validation loss {logs['eval_loss']:.3f}{preferred}"
