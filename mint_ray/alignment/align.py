"""The stage `alignment`: pairs to an adapter, by ORPO, SFT or DPO on Ray Train.

alignment/
  start/         where `alignment.start` names an adapter: the model with it merged in, which `adapter/` belongs to
  adapter/       the adapter, as PEFT saves and vLLM reads it; there when training is done
  model/         in its place with `alignment.lora: null`: the whole model, as transformers saves and vLLM reads it
  curve.jsonl    one line a step: loss, nll, odds_ratio_loss, log_odds_ratio, accuracy, learning_rate,
                 grad_norm, pairs_per_second, tokens_per_second; the same as `eval_` for each validation;
                 SFT and DPO have TRL's names for what ORPO has no name for
  checkpoints/   Ray Train's, for going on after a worker or the whole run died
  tensorboard/   the same figures for TensorBoard
  encoded/       the pairs as tokens, which the workers read by their place; see `encoded`
  refused/       pairs that could not be used
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mint_ray import progress
from mint_ray.alignment.check import check_alignment
from mint_ray.alignment.encoding import REFUSED, encode_splits, refused_pairs, remove_data
from mint_ray.alignment.start import adapted_model, is_whole, trained_folder
from mint_ray.config import AlignmentSection
from mint_ray.errors import TrainingError
from mint_ray.lock import followed
from mint_ray.mending import template_date
from mint_ray.models import model_digest, resolve_model
from mint_ray.parquet import train_storage
from mint_ray.runs import Run, StageReport, read_json_lines
from mint_ray.storage import local_copy

logger = logging.getLogger(__name__)

# Seconds for a last checkpoint: Kubernetes and most schedulers kill after 30, a person waits for less.
GRACE, GRACE_AT_A_TERMINAL = 25.0, 3.0


def align(run: Run) -> StageReport:
    """Leave an adapter and its loss curve in the stage's folder.

    Raises:
        ConfigError: the package that `log_to` needs is not installed.
        ModelError: the model cannot be used.
        TrainingError: no pair is left, the loss is not finite, or the workers failed.
    """
    from mint_ray.alignment.worker import CURVE

    section, folder = run.config.alignment, run.stage("alignment").path
    check_alignment(section)
    name = adapted_model(run)
    model = resolve_model(name)
    trained = trained_folder(folder, section)
    counts = encode_splits(run, name, read=not is_whole(trained))
    reasons = refused_pairs(run)
    if not counts["train"]:
        raise TrainingError(
            f"no training pair is left ({_told(reasons)}): raise alignment.max_length, or look at {folder / REFUSED}"
        )
    logger.info("alignment: %d training pairs, %d for validation, %s", *counts.values(), _told(reasons))
    if not is_whole(trained):
        train(run, name)
    remove_data(run)
    made = local_copy(trained)
    figures = {
        "model": section.model,
        "method": section.method,
        **({"start_digest": model_digest(local_copy(section.start))} if section.start else {}),
        "model_digest": model_digest(model),
        "template_date": template_date(model),
        f"{'adapter' if section.lora else 'aligned'}_digest": model_digest(made),
        "trainable_parameters": parameter_count(made),
        **{f"{split}_pairs": count for split, count in counts.items()},
        **curve_figures(folder / CURVE, section),
    }
    rows_out = sum(counts.values())
    return StageReport(rows_out + reasons.total(), rows_out, dict(reasons), figures)


def train(run: Run, model: str) -> None:
    """Carry the training out on Ray Train; the same run again goes on after its last checkpoint.

    Raises:
        TrainingError: the loss is not finite, or the workers failed more than `RESTARTS` times.
    """
    from ray.train import (
        CheckpointConfig,
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
    )
    from ray.train.torch import TorchConfig

    from mint_ray.alignment.worker import Notice, Plan, train_worker
    from mint_ray.training import RESTARTS, Training, what_failed

    progress.begin("loading the model")
    notice = Notice.remote()
    section, folder = run.config.alignment, run.stage("alignment").path
    trainer = Training(
        train_worker,
        train_loop_config={"plan": Plan(section, model, folder, run.config.run.seed, notice)},
        torch_config=TorchConfig(backend="nccl" if section.use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=section.workers, use_gpu=section.use_gpu),
        run_config=RunConfig(
            name="checkpoints",
            **train_storage(folder),
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            logging_config=LoggingConfig("WARNING"),
        ),
    )
    try:
        failure = trainer.fit().return_value
    except (
        KeyboardInterrupt,
        SystemExit,
    ) as end:  # Ctrl-C, and Ray's answer to SIGTERM; the training goes on meanwhile
        seconds = GRACE_AT_A_TERMINAL if isinstance(end, KeyboardInterrupt) else GRACE
        save_before_end(notice.give.remote, folder / "checkpoints", seconds)
        raise
    except TrainingFailedError as error:
        raise what_failed(error, folder) from error
    if failure:
        raise TrainingError(failure)


def save_before_end(tell: Callable[[], object], checkpoints: Path, seconds: float = GRACE) -> None:
    """Have the workers save after the step that runs, and wait until Ray Train has noted it, or the time is up.

    A job that another one has followed saves nothing: the folder is no longer its own.
    """
    if followed():
        return
    record = checkpoints / "checkpoint_manager_snapshot.json"  # written when a checkpoint is whole
    before, until = _text(record), time.monotonic() + seconds
    progress.say(f"Told to end: a checkpoint is made first, for which there are {seconds:.0f} s (Ctrl-C: end at once)")
    tell()
    while _text(record) == before and time.monotonic() < until:
        time.sleep(0.2)


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def curve_figures(path: Path, section: AlignmentSection) -> dict[str, Any]:
    """Steps and what they cost, however often the training was resumed; first and last line of it and of validation.

    `training_seconds` and `training_tokens` are of training steps alone, without start, validation and checkpoints.
    """
    rows = read_json_lines(path)
    steps = [row for row in rows if "loss" in row]
    validations = [row for row in rows if "eval_loss" in row]
    pairs_a_step = section.batch_size * section.gradient_accumulation * section.workers
    seconds = [pairs_a_step / row["pairs_per_second"] for row in steps]
    return {
        "steps": len(steps),
        "pairs_seen": len(steps) * pairs_a_step,
        "pairs_per_second": round(len(steps) * pairs_a_step / sum(seconds), 3),
        "training_seconds": round(sum(seconds), 1),
        "training_tokens": round(sum(row["tokens_per_second"] * s for row, s in zip(steps, seconds, strict=True))),
        "first": steps[0],
        "last": steps[-1],
        "validation": validations[-1] if validations else None,
    }


def parameter_count(folder: Path) -> int:
    """The number of weights in a saved adapter or model."""
    from safetensors import safe_open

    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def _told(reasons: Counter) -> str:
    return ", ".join(f"{count} refused as {reason}" for reason, count in reasons.items()) or "none refused"
