"""The driver's part of fitting a scorer: examples as streams, and the workers of Ray Train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mint_ray.corpora.store import case_dataset
from mint_ray.errors import MintError, TrainingError
from mint_ray.records import Case
from mint_ray.scorers.fitting.examples import Inputs, encode_cases
from mint_ray.scorers.fitting.survey import fitting_split, survey
from mint_ray.scorers.fitting.training import PROGRESS, Plan, restore_weights, train_worker
from mint_ray.storage import refused_somewhere, train_storage
from mint_ray.tasks.base import Label, View

if TYPE_CHECKING:
    import ray.data
    import torch
    from ray.train import Result

    from mint_ray.runs import Run

RESTARTS = 2  # of workers that die, within one fit


def example_streams(
    run: Run, view_of: Callable[[Case], View], inputs: Inputs, labels: list[Label]
) -> dict[str, ray.data.Dataset]:
    """The examples to fit on (`train`) and, if there are any, to validate on (`validation`), encoded once and held by
    Ray's object store, which spills to disk."""
    from ray.data.expressions import col

    sources = {"train": fitting_split(run), "validation": "validation"}
    splits = [split for split in sources.values() if survey(run, (split,)).usable]
    index = {label.id: i for i, label in enumerate(labels)}
    known = {"splits": splits, "view_of": view_of, "inputs": inputs, "label_index": index}
    encoded = case_dataset(run).map_batches(encode_cases, fn_kwargs=known, batch_format="pyarrow", batch_size=64)
    held = encoded.materialize()
    streams = {name: held.filter(expr=col("split") == split) for name, split in sources.items() if split in splits}
    for stream in streams.values():
        stream.context.enable_progress_bars = False  # the workers say themselves how far they are, epoch by epoch
    return streams


def train(plan: Plan, streams: dict[str, ray.data.Dataset], folder: Path, model: torch.nn.Module) -> dict[str, Any]:
    """Carry the plan out, put the weights that come of it into `model`, return the curve.

    The same folder again goes on after its last checkpoint.

    Raises:
        TrainingError: the loss is not finite, or the workers failed.
    """
    with _result(plan, streams, folder).checkpoint.as_directory() as checkpoint:
        restore_weights(model, Path(checkpoint))
        return json.loads((Path(checkpoint) / PROGRESS).read_text())


def _result(plan: Plan, streams: dict[str, ray.data.Dataset], folder: Path) -> Result:
    from ray.data import ExecutionOptions
    from ray.train import (
        CheckpointConfig,
        DataConfig,
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
    )
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
            **train_storage(folder),
            failure_config=FailureConfig(max_failures=RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            logging_config=LoggingConfig("WARNING"),
        ),
    )
    try:
        return trainer.fit()
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", {}).values()
        mine = next((f for f in failures if isinstance(f, MintError)), refused_somewhere(error, folder))
        raise mine or TrainingError(f"the workers failed: {error}") from error
