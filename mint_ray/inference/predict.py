"""Ask each model about the held-out cases: batch inference with vLLM on Ray Data."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mint_ray import progress, telemetry
from mint_ray.alignment.start import adapted_model, trained_folder
from mint_ray.candidates import candidate_source
from mint_ray.config import ASKING_CPUS, TASKS_OWN, InferenceSection
from mint_ray.corpora.store import case_dataset, case_table, held_out, run_labels
from mint_ray.errors import StorageError
from mint_ray.inference.answering import TOKENS, AnswerEngine, Weights, bounded
from mint_ray.inference.retrieval import read_passages
from mint_ray.inference.store import answer_folder, answer_table, refusal_folder, refusal_table
from mint_ray.mending import template_date
from mint_ray.models import (
    MODEL_CONFIG,
    adapter_settings,
    adapts_language_alone,
    load_tokenizer,
    merge_adapter,
    model_digest,
    name_elsewhere,
    resolve_model,
)
from mint_ray.records import sample_id
from mint_ray.runs import Run, StageReport
from mint_ray.storage import local_copy, remove

if TYPE_CHECKING:
    import ray.data

logger = logging.getLogger(__name__)


def predict(run: Run) -> StageReport:
    """Answers of every model of `inference.models` for every case of `inference.split`.

    A case that a model has answered, or that was refused, is not asked again: a resumed run asks the rest.
    """
    section = run.config.inference
    cases = case_table(run, ["case_id"], [section.split])["case_id"].to_pylist()
    wanted = {each for case_id in cases for each in asked_ids(case_id, section.samples)}
    report, figures = StageReport(), {}
    for model in section.models:
        dated = template_date(resolve_model(name_elsewhere(run.config.alignment.model)))
        if pending := wanted - settled(run, model):
            logger.info(
                "%s: %d of %d cases to ask about, through %s",
                model,
                len(pending),
                len(wanted),
                section.endpoint or section.engine,
            )
            progress.begin(model, note="preparing its weights")
            with weights(run, model) as loaded:
                check_served(run, model, loaded)
                progress.begin(model, len(wanted), "cases", len(wanted) - len(pending), "loading the model")
                ask(run, model, loaded, pending)
        answers, refusals = answer_table(run, model), refusal_table(run, model)
        report.rows_in += len(wanted)
        report.rows_out += answers.num_rows
        report.refused = dict(Counter(report.refused) + Counter(refusals["reason"].to_pylist()))
        figures[model] = summary(answers.to_pylist()) | ({"template_date": dated} if dated else {})
    report.figures = figures | knowledge_figures(run)
    return report


def knowledge_figures(run: Run) -> dict[str, Any]:
    """What the task's own knowledge had to leave out, where passages are made of it."""
    retrieval = run.config.inference.retrieval
    if retrieval is None or retrieval.knowledge != TASKS_OWN or (without := held_out(run)) is None:
        return {}
    return run.config.task.taken_out(without)


def asked_ids(case_id: str, samples: int) -> list[str]:
    """The ids that a case is asked by: its own, or one a sample, so that each has a seed of its own and is asked once."""
    return [case_id] if samples == 1 else [sample_id(case_id, number) for number in range(samples)]


def asked_cases(run: Run, samples: int) -> ray.data.Dataset:
    """The run's cases, each as often as it is asked."""
    cases = case_dataset(run)
    if samples == 1:
        return cases
    return cases.map_batches(copies, fn_kwargs={"samples": samples}, batch_format="pyarrow", batch_size=None)


def copies(cases: pa.Table, samples: int) -> pa.Table:
    """Each case so many times, by the ids that it is asked by."""
    rows = cases.take([row for row in range(cases.num_rows) for _ in range(samples)])
    ids = [each for case_id in cases["case_id"].to_pylist() for each in asked_ids(case_id, samples)]
    return rows.set_column(rows.schema.get_field_index("case_id"), "case_id", pa.array(ids, pa.string()))


def settled(run: Run, model: str) -> set[str]:
    """The cases that need not be asked about any more."""
    tables = answer_table(run, model), refusal_table(run, model)
    return {case_id for table in tables for case_id in table["case_id"].to_pylist()}


def ask(run: Run, model: str, loaded: Weights, pending: set[str]) -> None:
    """Stream the pending cases through the engines, which write what they are answered."""
    import ray
    from ray.data.expressions import col

    labels, tokenizer = run_labels(run), load_tokenizer(resolve_model(name_elsewhere(run.config.alignment.model)))
    section = bounded(run.config.inference, run.config.task, labels, tokenizer)
    folders = answer_folder(run, model), refusal_folder(run, model)
    task = run.config.task
    passages = read_passages(section.retrieval, labels, task, held_out(run)) if section.retrieval else None
    counts = (
        asked_cases(run, section.samples)
        .filter(expr=col("case_id").is_in(sorted(pending)))
        .repartition(target_num_rows_per_block=section.batch_size)  # a block a batch, or progress comes in leaps
        .map_batches(
            engine_class(section),
            fn_constructor_args=(
                model,
                run.config.task,
                section,
                loaded,
                run.config.run.seed,
                *folders,
                passages,
                candidate_source(run),
                labels,
            ),
            fn_constructor_kwargs=secrets(section),
            batch_format="pyarrow",
            batch_size=section.batch_size,
            compute=ray.data.ActorPoolStrategy(size=section.engines),
            **placement(section),
            runtime_env={"env_vars": engine_environment(section)},
        )
    )
    for row in counts.iter_rows():
        _count(run, model, row)


def _count(run: Run, model: str, row: dict[str, int]) -> None:
    telemetry.count("answers", row["answered"], run.name, "answers", model=model)
    for kind in TOKENS:
        telemetry.count("tokens", row[kind], run.name, "answers", model=model, kind=kind.removesuffix("_tokens"))


def check_served(run: Run, model: str, loaded: Weights) -> None:
    """See that an endpoint, where one is set, serves this run's model by this name, before anything is asked.

    Raises:
        EndpointError: it cannot be reached, wants a token, or serves something else.
    """
    section = run.config.inference
    if section.endpoint:
        from mint_ray.inference.endpoint import Endpoint, check_endpoint, endpoint_token

        check_endpoint(section, model, loaded, Endpoint(section.endpoint, endpoint_token()).models())


def secrets(section: InferenceSection) -> dict[str, Any]:
    """What an engine is told that stands in no configuration."""
    if not section.endpoint:
        return {}
    from mint_ray.inference.endpoint import endpoint_token

    return {"token": endpoint_token()}


def placement(section: InferenceSection) -> dict[str, Any]:
    """What an engine takes of the cluster; one that only asks takes next to nothing."""
    if section.endpoint:
        return {"num_cpus": ASKING_CPUS}
    return {
        "num_cpus": section.cpus_per_engine,
        "num_gpus": section.tensor_parallel if section.use_gpu else None,
    }


def engine_class(section: InferenceSection) -> type[AnswerEngine]:
    """What `inference.endpoint` and `inference.engine` name."""
    if section.endpoint:
        from mint_ray.inference.endpoint import EndpointEngine

        return EndpointEngine
    if section.engine == "transformers":
        from mint_ray.inference.generation import TransformersEngine

        return TransformersEngine
    from mint_ray.inference.engine import VllmEngine

    return VllmEngine


def engine_environment(section: InferenceSection) -> dict[str, str]:
    """What vLLM and OpenMP read from the environment before anything else is loaded."""
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    if section.use_gpu:
        return quiet
    # Without a process of its own the engine takes its threads from OpenMP, not from vLLM's binding of cores.
    return quiet | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(section.cpus_per_engine)}


@contextmanager
def weights(run: Run, model: str) -> Iterator[Weights]:
    """What the engines load. Where an adapter cannot be used as such it is merged into a copy for the time of the block.

    On a CPU that is ten times faster; vLLM takes adapters of language layers alone, and no modules trained whole.
    """
    if model == "base":
        name = name_elsewhere(run.config.alignment.model)
        yield Weights(name, model_digest(resolve_model(name)))
        return
    stored = trained_folder(run.stage("alignment").require(), run.config.alignment)
    if run.config.alignment.lora is None:
        yield Weights(str(stored), model_digest(resolve_model(str(stored))))
        return
    name = adapted_model(run)
    adapter, base = local_copy(stored), resolve_model(name)
    made_of = {"digest": model_digest(base), "adapter_digest": model_digest(adapter)}
    section = run.config.inference
    if section.endpoint:
        yield Weights(name, **made_of)  # the tokenizer alone is needed here
        return
    if section.use_gpu and (section.engine == "transformers" or adapts_language_alone(base, adapter)):
        yield Weights(name, **made_of, adapter=stored, adapter_rank=adapter_settings(adapter)["r"])
        return
    merged = run.stage("answers").path / "merged"
    if not (merged / MODEL_CONFIG).exists():
        merge_adapter(base, adapter, merged)
    try:
        yield Weights(merged, **made_of)
    finally:
        with suppress(OSError, StorageError):  # never in place of what went wrong before
            remove(merged)


def summary(answers: list[dict]) -> dict[str, Any]:
    """What the manifest says of a model's answers: their number, how they ended, their tokens, what was looked up."""
    return {
        **retrieved_figures(answers),
        "answers": len(answers),
        "finish_reasons": dict(Counter(answer["finish_reason"] for answer in answers)),
        "prompt_tokens": sum(answer["prompt_tokens"] for answer in answers),
        "completion_tokens": sum(answer["completion_tokens"] for answer in answers),
    }


def retrieved_figures(answers: list[dict]) -> dict[str, float]:
    """Passages a prompt, and the share of prompts that hold the truth's own; nothing without retrieval."""
    informed = [answer for answer in answers if answer["retrieved"] is not None]
    if not informed:
        return {}
    return {
        "passages": sum(len(answer["retrieved"]) for answer in informed) / len(informed),
        "truth_retrieved": sum(answer["label_id"] in answer["retrieved"] for answer in informed) / len(informed),
    }
