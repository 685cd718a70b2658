"""Fit a ViLT scorer: the driver's part, around the workers of Ray Train."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import ViltForQuestionAnswering, set_seed

from mint_ray.corpora.store import case_dataset, run_labels
from mint_ray.errors import CorpusError, MintError, TrainingError
from mint_ray.models import resolve_model
from mint_ray.scorers.survey import survey
from mint_ray.scorers.vilt.examples import encode_cases
from mint_ray.scorers.vilt.inputs import ViltInputs, build_processor, build_tokenizer
from mint_ray.scorers.vilt.model import (
    SETTINGS,
    inputs_of,
    labelled,
    load_inputs,
    load_vilt,
    new_config,
    read_config,
    save_scorer,
)
from mint_ray.scorers.vilt.training import PROGRESS, Plan, restore_weights, train_worker
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    import ray.data
    from ray.train import Result

    from mint_ray.runs import Run
    from mint_ray.scorers.vilt import Vilt

logger = logging.getLogger(__name__)

RESTARTS = 2  # of workers that die, within one fit


def fit_vilt(section: Vilt, run: Run, folder: Path) -> dict:
    """Fit on the run's training cases, leave a finished scorer in `folder`, return the training curve.

    Raises:
        CorpusError: there is nothing to learn from.
        ModelError: `pretrained` is no ViLT.
        TrainingError: the loss is not finite, or the workers failed.
    """
    seen, labels, training = survey(run, ("train",)), run_labels(run), folder / "training"
    if seen.usable < section.workers:
        raise CorpusError(f"{run.dir}: {seen.usable} training cases have a label and something to see; none to fit on")
    start = training / "start"
    if not (start / SETTINGS).exists():
        start.mkdir(parents=True, exist_ok=True)
        set_seed(run.config.run.seed)
        save_scorer(*starting_point(section, seen.texts, labels), labels, section, start)
    config = read_config(start)
    vilt, inputs = load_vilt(start, config), load_inputs(start, config, section.missing_text)
    logger.info("scorer: %d training cases, %d labels, %d weights", seen.usable, len(labels), vilt.num_parameters())
    result = _train(Plan(section, start, run.config.run.seed, seen.usable), _streams(run, inputs, labels), training)
    with result.checkpoint.as_directory() as checkpoint:
        restore_weights(vilt, Path(checkpoint))
        progress = json.loads((Path(checkpoint) / PROGRESS).read_text())
    save_scorer(vilt, inputs, labels, section, folder)
    cases = seen.usable - seen.usable % section.workers  # all workers get equally many
    return {"training_cases": cases, "weights": vilt.num_parameters(), **progress}


def starting_point(section: Vilt, texts: list[str], labels: list[Label]) -> tuple[ViltForQuestionAnswering, ViltInputs]:
    """The model and inputs that fitting starts from: `pretrained` with a new head, or random weights."""
    if section.pretrained:
        folder = resolve_model(section.pretrained)
        config = labelled(read_config(folder), labels)
        return load_vilt(folder, config, new_head=True), load_inputs(folder, config, section.missing_text)
    tokenizer = build_tokenizer(texts, section.size.vocabulary)
    config = labelled(new_config(section.size, len(tokenizer), tokenizer.pad_token_id), labels)
    processor = build_processor(config.image_size, config.patch_size)
    return ViltForQuestionAnswering(config), inputs_of(config, tokenizer, processor, section.missing_text)


def _streams(run: Run, inputs: ViltInputs, labels: list[Label]) -> dict[str, ray.data.Dataset]:
    """The examples of each split that has any, encoded once and held by Ray's object store, which spills to disk."""
    from ray.data.expressions import col

    splits = [split for split in ("train", "validation") if survey(run, (split,)).usable]
    index = {label.id: i for i, label in enumerate(labels)}
    known = {"splits": splits, "task": run.config.task, "inputs": inputs, "label_index": index}
    encoded = case_dataset(run).map_batches(encode_cases, fn_kwargs=known, batch_format="pyarrow", batch_size=64)
    held = encoded.materialize()
    return {split: held.filter(expr=col("split") == split) for split in splits}


def _train(plan: Plan, streams: dict[str, ray.data.Dataset], training: Path) -> Result:
    """Carry the plan out; the same folder again goes on after its last checkpoint."""
    from ray.data import ExecutionOptions
    from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    section = plan.section
    resources = {"CPU": section.cpus_per_worker, **({"GPU": 1} if section.use_gpu else {})}
    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"plan": plan},
        datasets=streams,
        dataset_config=DataConfig(["train"], execution_options=ExecutionOptions(preserve_order=True)),
        torch_config=TorchConfig(backend="nccl" if section.use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=section.workers, use_gpu=section.use_gpu, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name="workers",
            storage_path=str(training),
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    try:
        return trainer.fit()
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {}).values()
        raise next(
            (f for f in failures if isinstance(f, MintError)), TrainingError(f"the workers failed: {error}")
        ) from error
