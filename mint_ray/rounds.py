"""Rounds of alignment: the model is asked about the training cases, and learns from its own best and worst answers.

alignment/rounds/0/        a run directory: the alignment on the scorer's pairs
alignment/rounds/1/        a run directory, one more for each round
  sampled/                   a run directory: `samples` answers to each training case by the model of the round before
  preferences/               pairs of the best and the worst, with a card
  alignment/                 training on them, from where the round before ended

The scorer's stored ranking grades the answers (`mint_ray.preferences.sampled`); nothing is scored anew. Every step is
a stage of its run: a killed round goes on where it stopped. What the last round leaves is the stage's own.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mint_ray.adapters import ADAPTER_CONFIG
from mint_ray.alignment.align import align as align_once
from mint_ray.alignment.start import START, adapted_model, is_whole, trained_folder
from mint_ray.config import Configuration, RoundsSection
from mint_ray.corpora.store import run_labels
from mint_ray.errors import RunError
from mint_ray.inference.predict import predict
from mint_ray.inference.store import answer_table
from mint_ray.models import MODEL_CONFIG
from mint_ray.parquet import write_part
from mint_ray.preferences.sampled import Graded, best_and_worst, grade, probabilities
from mint_ray.preferences.store import PAIR_SPLITS, pair_dataset, pair_schema
from mint_ray.rankings.store import ranking_table
from mint_ray.records import Message, Refusal, case_of, to_table
from mint_ray.runs import Run, StageReport, read_json_lines, write_atomically
from mint_ray.storage import local_copy, written_folder
from mint_ray.tasks.base import Label, Task

logger = logging.getLogger(__name__)

CURVE = "curve.jsonl"
SUMMED = ("steps", "pairs_seen", "training_seconds", "training_tokens")


def align(run: Run) -> StageReport:
    """The stage `alignment`: on the scorer's pairs, and in `alignment.rounds` on the model's own answers.

    Raises:
        RunError: the rankings are of another scorer than the pairs of a round that was begun.
        MintError: what a round's stages raise.
    """
    rounds = run.config.alignment.rounds
    if rounds is None:
        return align_once(run)
    done, report = [first_round(run)], StageReport()
    for number in range(1, rounds.count + 1):
        following = next_round(run, done[-1], number, rounds)
        if following is None:
            break
        done.append(following)
    keep(done, run)
    stages = [each.stage("alignment").told for each in done]
    report.rows_in, report.rows_out = (sum(told["rows"][key] for told in stages) for key in ("in", "out"))
    report.figures = stages[-1]["figures"] | {key: sum(told["figures"][key] for told in stages) for key in SUMMED}
    report.figures["rounds"] = [{key: told["figures"][key] for key in ("train_pairs", *SUMMED)} for told in stages]
    return report


def first_round(run: Run) -> Run:
    """The run that is aligned on the scorer's pairs, which it borrows."""
    section = run.config.alignment.model_copy(update={"rounds": None})
    inner = Run(run.config.model_copy(update={"alignment": section}).moved(folder_of(run, 0)), (run, *run.lenders))
    inner.carry_out("alignment", align_once)
    return inner


def next_round(run: Run, before: Run, number: int, rounds: RoundsSection) -> Run | None:
    """The run of a round, aligned; None where its answers make no pair, so that there is nothing to learn.

    Args:
        before: the run of the round before.
    """
    sampled = Run(sampling(before.config, rounds).moved(folder_of(run, number) / "sampled"), (before, run))
    sampled.carry_out("answers", predict)
    inner = Run(following(before, sampled, rounds).moved(folder_of(run, number)), (run,))
    inner.carry_out("preferences", partial(pairs_of_samples, sampled=sampled, judged=run))
    if not inner.stage("preferences").told["figures"]["pairs"]["train"]:
        logger.info("round %d: no case has two answers far enough apart; there is nothing more to learn", number)
        return None
    inner.carry_out("alignment", align_once)
    return inner


def folder_of(run: Run, number: int) -> Path:
    return run.stage("alignment").path / "rounds" / str(number)


def sampling(config: Configuration, rounds: RoundsSection) -> Configuration:
    """The configuration that asks a round's model about the training cases."""
    asked = {
        "models": ["aligned"],
        "split": "train",
        "samples": rounds.samples,
        "temperature": rounds.temperature,
        "retrieval": None,
        "endpoint": None,
    }
    return config.model_copy(update={"inference": config.inference.model_copy(update=asked)})


def following(before: Run, sampled: Run, rounds: RoundsSection) -> Configuration:
    """The configuration of the round after another one: its pairs, and where its training starts."""
    was = before.config.alignment
    start = trained_folder(before.stage("alignment").path, was)
    alignment = was.model_copy(update={"model": adapted_model(before), "start": start, "method": rounds.method})
    pairs = {"sampled": sampled.stage("answers").path, "min_margin": rounds.min_margin}
    preferences = before.config.preferences.model_copy(update=pairs)
    return before.config.model_copy(update={"alignment": alignment, "preferences": preferences})


def keep(done: list[Run], run: Run) -> None:
    """Leave what the last round made, and the curve of all of them, in the stage's own folder."""
    stage, last = run.stage("alignment").path, done[-1]
    made = trained_folder(last.stage("alignment").path, last.config.alignment)
    started = last.stage("alignment").path / START
    if is_whole(started) and not is_whole(stage / START):
        copy_folder(started, stage / START)
    trained = trained_folder(stage, run.config.alignment)
    if not is_whole(trained):
        copy_folder(made, trained)
    rows: list[dict[str, Any]] = []
    for number, each in enumerate(done):
        steps = len({row["step"] for row in rows})
        for row in read_json_lines(each.stage("alignment").path / CURVE):
            rows.append(row | {"step": row["step"] + steps, "round": number})
    write_atomically(stage / CURVE, "".join(f"{json.dumps(row)}\n" for row in rows))


def copy_folder(source: Path, out: Path) -> None:
    """Copy a folder of weights; what says that it is whole comes last."""
    last = next(name for name in (ADAPTER_CONFIG, MODEL_CONFIG) if (source / name).exists())
    with written_folder(out, last=last) as there:
        shutil.copytree(local_copy(source), there, dirs_exist_ok=True)


def pairs_of_samples(inner: Run, sampled: Run, judged: Run) -> StageReport:
    """Write a round's pairs: of each training case the best of its sampled answers, and the worst.

    Args:
        sampled: the run whose answers they are.
        judged: the run with the scorer's rankings and pairs.

    Raises:
        RunError: the rankings are of another scorer than the pairs that the model has learnt from.
    """
    folder, task = inner.stage("preferences").path, inner.config.task
    labels, rankings, rows = run_labels(judged), rankings_of(judged), pair_dataset(judged, "train").to_list()
    answers = by_case(answer_table(sampled, "aligned"))
    pairs: list[dict[str, Any]] = []
    refusals: list[Refusal] = []
    for row in {row["case_id"]: row for row in rows}.values():
        ranking = rankings[row["case_id"]]
        check_scorer(row, ranking)
        probability = probabilities(ranking["label_ids"], ranking["scores"])
        graded = graded_answers(answers.get(row["case_id"], ()), probability, task, labels)
        chosen = best_and_worst(graded, inner.config.preferences.min_margin) if graded else None
        if chosen:
            pairs.append(pair_of(row, *chosen, dict(zip(ranking["label_ids"], ranking["scores"], strict=True))))
        else:
            refusals.append(no_margin(row, graded, inner.config.preferences.min_margin))
    shown = "images" in (rows[0] if rows else {})
    schema = pair_schema(shown)
    if pairs:
        write_part(pa.Table.from_pylist(pairs, schema=schema), folder / "pairs" / "train" / "part-00000.parquet")
    held_out = pair_dataset(judged, "validation").to_list()
    if held_out:
        write_part(
            pa.Table.from_pylist(held_out, schema=schema), folder / "pairs" / "validation" / "part-00000.parquet"
        )
    if refusals:
        write_part(to_table(refusals, Refusal), folder / "refused" / "part-00000.parquet")
    figures = {"pairs": {"train": len(pairs), "validation": len(held_out)}, "answers": sum(map(len, answers.values()))}
    write_card(inner, figures, len(refusals))
    return StageReport(
        len(pairs) + len(refusals), len(pairs), {"no-margin": len(refusals)} if refusals else {}, figures
    )


def rankings_of(run: Run) -> dict[str, dict[str, Any]]:
    """The stored ranking of each training case."""
    columns = ["case_id", "label_ids", "scores", "scorer_digest"]
    return {row["case_id"]: row for row in ranking_table(run, ["train"], columns).to_pylist()}


def check_scorer(pair: dict[str, Any], ranking: dict[str, Any]) -> None:
    """Refuse rankings that another scorer made than the pairs that were learnt from.

    Raises:
        RunError: naming both.
    """
    if pair["scorer_digest"] != ranking["scorer_digest"]:
        raise RunError(
            f"the rankings come from the scorer {ranking['scorer_digest']}, and the model has learnt from pairs of "
            f"{pair['scorer_digest']}: two scorers' words do not mix; start the stage `preferences` over with --fresh"
        )


def by_case(answers: pa.Table) -> dict[str, list[str]]:
    """The different texts that each case was answered, in their order."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for row in answers.select(["case_id", "text"]).to_pylist():
        found[case_of(row["case_id"])][row["text"]] = None
    return {case_id: list(texts) for case_id, texts in found.items()}


def graded_answers(
    texts: list[str] | tuple[str, ...], probability: dict[str, float], task: Task, labels: list[Label]
) -> list[Graded]:
    """The answers to a case with their grades. A name counts as its label's where it is written as the list has it."""
    known = {name.casefold(): label.id for label in labels for name in (label.name, *label.synonyms)}
    graded: list[Graded] = []
    for text in filter(str.strip, texts):
        named = tuple(known.get(name.casefold()) for name in task.parse(text))
        graded.append(Graded(text, named, grade(named, probability, task.answer_size)))
    return graded


def pair_of(row: dict[str, Any], best: Graded, worst: Graded, scores: dict[str, float]) -> dict[str, Any]:
    """A pair of the scorer's with the model's own answers in place of its."""
    sides = {"chosen": best, "rejected": worst}
    told: dict[str, Any] = {
        "policy": json.dumps({"grades": {side: answer.grade for side, answer in sides.items()}}),
    }
    for side, answer in sides.items():
        named = [label_id for label_id in answer.label_ids if label_id in scores]
        told |= {
            side: [Message(role="assistant", content=answer.text).model_dump()],
            f"{side}_label_ids": named,
            f"{side}_scores": [scores[label_id] for label_id in named],
        }
    return row | told


def no_margin(row: dict[str, Any], graded: list[Graded], least: float) -> Refusal:
    grades = [answer.grade for answer in graded]
    seen = f"{max(grades) - min(grades):.3g} between {len(grades)} answers" if grades else "no answer"
    return Refusal(
        source="answers",
        case_id=row["case_id"],
        reason="no-margin",
        field="min_margin",
        seen=seen,
        expected=f"at least {least:g} between the best answer's grade and the worst's",
    )


def write_card(inner: Run, figures: dict[str, Any], without: int) -> None:
    """The README.md of a round's pairs: what `datasets` loads, and where rows come from."""
    rounds = inner.stage("preferences").path
    files = [
        {"split": split, "path": f"pairs/{split}/part-*.parquet"} for split in PAIR_SPLITS if figures["pairs"][split]
    ]
    front = json.dumps({"configs": [{"config_name": "pairs", "data_files": files, "default": True}]}, indent=1)
    text = (
        f"---\n{front}\n---\n\n# Preference pairs of a round: {inner.config.task.kind}\n\n"
        f"The aligned model of the round before answered each training case several times ({figures['answers']} different "
        "answers). The scorer's stored ranking graded them by the reciprocal rank that it expects; the best became the chosen "
        f"answer, the worst the rejected one. {figures['pairs']['train']} pairs; {without} cases had no two answers far enough "
        "apart. Validation pairs are the scorer's own. Columns are those of the scorer's pairs; `policy` has the grades.\n"
    )
    write_atomically(rounds / "README.md", text)
