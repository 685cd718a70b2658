"""The driver's part of fitting a scorer: examples as streams, and the workers of Ray Train."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mint_ray import progress
from mint_ray.corpora.store import case_dataset, case_table
from mint_ray.errors import CorpusError, TrainingError
from mint_ray.parquet import train_storage
from mint_ray.records import Case
from mint_ray.scorers.fitting.examples import Encoded, Inputs, encode_cases
from mint_ray.scorers.fitting.survey import fitting_split
from mint_ray.scorers.fitting.training import PROGRESS, Plan, restore_weights, train_worker
from mint_ray.tasks.base import Label, View

if TYPE_CHECKING:
    import ray.data
    import torch
    from ray.train import Result

    from mint_ray.runs import Run


@dataclass(frozen=True)
class Examples:
    """Streams of examples: `train` to fit on and, if there are any, `validation`; and the account of the former."""

    streams: dict[str, ray.data.Dataset]
    fitted: Encoded


def encoded_examples(
    run: Run, view_of: Callable[[Case], View], inputs: Inputs, labels: list[Label], least: int
) -> Examples:
    """The run's cases as examples, encoded once and held by Ray's object store, which spills to disk.

    Raises:
        CorpusError: there are fewer than `least` to fit on.
    """
    from ray.data.expressions import col

    sources = {"train": fitting_split(run), "validation": "validation"}
    index = {label.id: i for i, label in enumerate(labels)}
    known = {"splits": list(sources.values()), "view_of": view_of, "inputs": inputs, "label_index": index}
    encoded = case_dataset(run).map_batches(encode_cases, fn_kwargs=known, batch_format="pyarrow", batch_size=64)
    wanted = pc.is_in(case_table(run, ["split"])["split"], pa.array(list(sources.values())))
    progress.begin("encoding", pc.sum(wanted).as_py(), "cases")
    held = encoded.materialize()
    account = {split: Encoded() for split in sources.values()}
    for rows in held.select_columns(["split", "refused", "cut"]).iter_batches(batch_format="pyarrow", batch_size=None):
        for split, counted in account.items():
            counted.add(rows.filter(pc.equal(rows["split"], split)))
    if (fitted := account[sources["train"]]).usable < least:
        raise CorpusError(
            f"{run.dir}: {fitted.usable} training cases can be read as examples, {least} are needed; refused: "
            f"{', '.join(f'{reason} {count}' for reason, count in fitted.refused.most_common()) or 'none'}"
        )
    streams = {
        name: held.filter(expr=(col("split") == split) & col("refused").is_null())
        for name, split in sources.items()
        if account[split].usable
    }
    return Examples(streams, fitted)


def train(plan: Plan, examples: Examples, folder: Path, model: torch.nn.Module) -> dict[str, Any]:
    """Carry the plan out, put the weights that come of it into `model`, return the curve and the account of the cases.

    The same folder again goes on after its last checkpoint.

    Raises:
        TrainingError: the loss is not finite, or the workers failed.
    """
    progress.begin("fitting: starting the workers")
    with _result(plan, examples.streams, folder).checkpoint.as_directory() as checkpoint:
        restore_weights(model, Path(checkpoint))
        done = json.loads((Path(checkpoint) / PROGRESS).read_text())
    cases = plan.examples - plan.examples % plan.section.workers  # all workers get equally many
    return {"training_cases": cases, **examples.fitted.figures, **done}


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
    from ray.train.torch import TorchConfig

    from mint_ray.training import RESTARTS, Training, what_failed

    section = plan.section
    resources = {"CPU": section.cpus_per_worker, **({"GPU": 1} if section.use_gpu else {})}
    trainer = Training(
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
        result = trainer.fit()
    except TrainingFailedError as error:
        raise what_failed(error, folder) from error
    if result.return_value:
        raise TrainingError(result.return_value)
    return result
