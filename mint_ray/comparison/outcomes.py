"""The arms of a comparison: completed runs that answered the same cases, seen to be so before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mint_ray.comparison.arms import arm_folder
from mint_ray.corpora.store import case_table, held_out
from mint_ray.errors import EvaluationError
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.evaluation.inputs import Known, read_answers, read_known
from mint_ray.evaluation.measure import grade, name_index
from mint_ray.inference.store import refusal_table
from mint_ray.records import LEARNED_FROM, Case, GradedAnswer, from_table
from mint_ray.runs import Run, read_json, read_json_lines

COMPARISON = "comparison"  # its folder in the run's directory
SHOWN = 3  # ids that a message names


@dataclass(frozen=True)
class Arm:
    """What one way of making the model left: its answers, what it cost, how it learnt.

    `search` holds the points of its grid, if it had one: `learning_rate`, `epochs`, and on validation cases `top`, the
    share whose truth is named, and `mrr`.
    """

    name: str
    model: str
    answers: list[GradedAnswer]
    refused: int
    cost: dict[str, float | None]
    curve: list[dict[str, Any]]
    search: list[dict[str, Any]]


@dataclass(frozen=True)
class Given:
    """What the arms of a comparison share: what is known, the cases asked about without their images, and what published
    knowledge has to leave out, as the task has it."""

    known: Known
    cases: list[Case]
    held_out: Any


def graded_path(run: Run, arm: str) -> Path:
    """Where an arm's graded answers are kept."""
    return run.dir / COMPARISON / "graded" / arm / "part-00000.parquet"


def read_given(run: Run) -> Given:
    """What a run gives to all arms."""
    columns = [name for name in Case.model_fields if name != "image"]
    asked = case_table(run, columns, [run.config.inference.split])
    return Given(read_known(run), list(from_table(asked, Case)), held_out(run))


def read_comparison(home: Run, runs: dict[str, Run]) -> tuple[Given, list[Arm]]:
    """What the arms share, and the arms, graded.

    Args:
        home: the run whose arms they are, where their costs and searches are told.
        runs: by the arm's name.

    Raises:
        EvaluationError: there is no arm; an arm has answers of two models; arms do not share the split; a group is both trained on and
            asked about; answers belong to another data set; an arm answered nothing.
    """
    if not runs:
        raise EvaluationError("there is no arm to compare: name one or more")
    models = {name: answered_model(name, run) for name, run in runs.items()}
    check_splits(runs)
    given = read_given(home)
    known = given.known
    index = name_index(known.rules, known.labels)
    arms = [read_arm(name, run, models[name], index, arm_folder(home.config, name)) for name, run in runs.items()]
    return given, arms


def answered_model(name: str, run: Run) -> str:
    """The one model that an arm asked."""
    models = run.config.inference.models
    if len(models) != 1:
        raise EvaluationError(
            f"arm {name}: inference.models is {models}; an arm has the answers of one model: [base] or [aligned]"
        )
    return models[0]


def check_splits(runs: dict[str, Run]) -> None:
    """Refuse arms that were not asked about the same cases, and cases of groups that were trained on."""
    if len({run.config.inference.split for run in runs.values()}) > 1:
        told = ", ".join(f"{name} {run.config.inference.split}" for name, run in runs.items())
        raise EvaluationError(f"the arms answered different splits ({told}): set inference.split the same in all")
    known: dict[Path, dict[str, tuple]] = {}  # arms that borrow their cases are read once
    first, *others = runs
    for name, run in runs.items():
        folder = run.stage("cases").path
        if folder not in known:
            known[folder] = split_of(run)
            check_leak(name, run, known[folder])
    expected = known[runs[first].stage("cases").path]
    for name in others:
        found = known[runs[name].stage("cases").path]
        if differing := sorted(i for i in expected.keys() | found.keys() if expected.get(i) != found.get(i)):
            raise EvaluationError(
                f"arms {first} and {name} do not share the split: {len(differing)} cases are in another split, group or "
                f"data set, {_told(differing)}; make all arms from one stage `cases`"
            )


def split_of(run: Run) -> dict[str, tuple]:
    """Split, group and truth of every case."""
    rows = case_table(run, ["case_id", "split", "group_id", "label_id"]).to_pylist()
    return {row["case_id"]: (row["split"], row["group_id"], row["label_id"]) for row in rows}


def check_leak(name: str, run: Run, cases: dict[str, tuple]) -> None:
    """Refuse a case that is asked about while others of its group were trained on."""
    asked = run.config.inference.split
    learned_from, asked_about = (
        {group for split, group, _ in cases.values() if split in splits} for splits in (LEARNED_FROM, (asked,))
    )
    if leaked := sorted(learned_from & asked_about):
        raise EvaluationError(
            f"arm {name}: {len(leaked)} groups are in training and among the {asked} cases, {_told(leaked)}; what was "
            "learnt from a group shows in its other cases: split by group"
        )


def _told(ids: list[str]) -> str:
    return ", ".join(repr(i) for i in ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")


def read_arm(name: str, run: Run, model: str, index: NameIndex, folder: Path) -> Arm:
    asked = case_table(run, ["case_id", "group_id", "label_id"], [run.config.inference.split])
    answers = [grade(run.config.task, answer, index) for answer in read_answers(run, model, asked)]
    if not answers:
        raise EvaluationError(f"arm {name}: {run.stage('answers').path} holds no answers; run its stage `answers`")
    return Arm(
        name=name,
        model=model,
        answers=answers,
        refused=refusal_table(run, model).num_rows,
        cost=cost_of(run, model, folder),
        curve=read_json_lines(run.stage("alignment").path / "curve.jsonl") if model == "aligned" else [],
        search=(read_json(folder / "search.json") or {}).get("points", []),
    )


def cost_of(run: Run, model: str, folder: Path) -> dict[str, float | None]:
    """Seconds, pairs and tokens of training, of the search around it and of answering; None where nothing says.

    From cost.json in the arm's folder, which counts what training started from too, else from the manifests.
    """
    told = read_json(folder / "cost.json") or cost_by_manifests(run, model)
    trained, answered = told.get("trained", {}), told.get("answers", {})
    return {
        "training_seconds": trained.get("training_seconds"),
        "pairs_seen": trained.get("pairs_seen"),
        "training_tokens": trained.get("training_tokens"),
        "search_seconds": told.get("search_seconds"),
        "answering_seconds": answered.get("seconds"),
        "prompt_tokens": answered.get("prompt_tokens"),
        "completion_tokens": answered.get("completion_tokens"),
    }


def cost_by_manifests(run: Run, model: str) -> dict[str, Any]:
    """What the stages say of themselves, in the form of cost.json."""
    training = (run.stage("alignment").manifest or {}) if model == "aligned" else {}
    answering = run.stage("answers").manifest or {}
    return {
        "trained": {"training_seconds": training.get("seconds")},
        "answers": answering.get("figures", {}).get(model, {}) | {"seconds": answering.get("seconds")},
    }
