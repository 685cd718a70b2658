"""All arms of a comparison carried out on one split, each with its search."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from mint_ray.comparison.arms import (
    ARMS,
    Point,
    arm_alignment,
    arm_config,
    arm_folder,
    grid,
    point_name,
    points_of,
    search_file,
)
from mint_ray.config import Configuration
from mint_ray.errors import ConfigError, CorpusError
from mint_ray.line import LINE, function_of
from mint_ray.records import LEARNED_FROM
from mint_ray.runs import Run, StageReport, read_json, write_json
from mint_ray.storage import files_below, remove

logger = logging.getLogger(__name__)
Work = Callable[[Run], StageReport]


def clear_arms(run: Run) -> None:
    """Remove every arm and what was concluded from them, each run of theirs as `--fresh` removes one.

    Raises:
        RunError: a folder of one of them is no stage's; nothing is removed then, of any.
    """
    begun = {path.parent.parent for path in files_below(run.dir / "arms") if path.name == "begun.json"}
    stages = [stage for folder in sorted(begun) for stage in Run(run.config.moved(folder)).removable_from("cases")]
    remove(run.dir / "comparison")
    for stage in stages:
        stage.clear()
    remove(run.dir / "arms")


def run_arms(run: Run) -> dict[str, Run]:
    """Every arm's completed run, by name."""
    complete(run, "preferences")
    check_groups(run)
    check_search(run)
    done: dict[str, Run] = {}
    for name in ARMS:  # in this order, so that what an arm needs comes before it
        if name in run.config.comparison.arms:
            logger.info("arm %s: %s", name, ARMS[name].says)
            done[name] = run_arm(run, name, done)
            write_cost(run, name, done)
    return done


def run_arm(run: Run, name: str, done: dict[str, Run]) -> Run:
    """Carry an arm out to its answers on the test cases, searching the grid first where it has more than one point."""
    arm, points = ARMS[name], points_of(run.config, name, done)
    lenders = (run, done["mint"]) if arm.rounds else (run,)
    if arm.trains:
        configs = {
            point: arm_config(run.config, name, arm_alignment(run.config, name, point, done), done) for point in points
        }
        mine = Run(configs[points[0]], lenders)  # at home here: the pairs, where they differ, and the first point
        if len(points) > 1:
            searched = {point: search_run(mine, config, point) for point, config in configs.items()}
            best = choose_point(run.config, name, searched)
            tested = configs[best] if best == points[0] else configs[best].moved(searched[best].dir / "test")
            mine = Run(tested, (searched[best], mine))
        else:
            remove(search_file(run.config, name))  # what is left of a grid that this configuration no longer has
    else:
        settled = done[arm.adapter_of] if arm.adapter_of else run
        mine = Run(arm_config(run.config, name, settled.config.alignment, done), (settled, run))
    complete(mine, "answers")
    return mine


def search_run(home: Run, config: Configuration, point: Point) -> Run:
    """The run of one point of an arm's grid: trained as the arm is, asked about the validation cases."""
    judged = config.model_copy(update={"inference": config.inference.model_copy(update={"split": "validation"})})
    return Run(judged.moved(home.dir / "search" / point_name(point)), (home,))


def choose_point(config: Configuration, name: str, searched: dict[Point, Run]) -> Point:
    """The point whose answers to the validation cases are best; leaves search.json in the arm's folder.

    Best is the highest share of cases whose truth is among an answer's names, by grounding; then the highest mean
    reciprocal rank; then the point that is written first.
    """
    rows: list[dict[str, float]] = []
    for point, each in searched.items():
        complete(each, "answers")
        figures = {"learning_rate": point[0], "epochs": point[1], **validation_figures(each)}
        rows.append(figures | {"training_seconds": each.stage("alignment").told["figures"]["training_seconds"]})
        logger.info("arm %s: %s", name, ", ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()))
    best = max(range(len(rows)), key=lambda i: (rows[i]["top"], rows[i]["mrr"], -i))
    chosen = {"chosen": rows[best], "points": rows}
    write_json(search_file(config, name), chosen)
    return list(searched)[best]


def validation_figures(run: Run) -> dict[str, float]:
    """`top`: the share of answered cases whose truth is named; `mrr`: its mean reciprocal rank; `cases`: how many."""
    from mint_ray.corpora.store import case_table, run_labels
    from mint_ray.evaluation.inputs import read_answers, rules_of
    from mint_ray.evaluation.measure import grade, name_index
    from mint_ray.evaluation.metrics import rank_of

    rules = rules_of(run.config)
    index = name_index(rules, run_labels(run))
    asked = case_table(run, ["case_id", "group_id", "label_id"], [rules.split])
    answers = [grade(rules.task, answer, index) for answer in read_answers(run, "aligned", asked)]
    ranks = [rank_of(answer.grounded_label_ids, answer.label_id) for answer in answers if answer.label_id is not None]
    if not ranks:
        raise ConfigError(
            ["comparison has a grid, but no validation case has an answer and a label: raise splits.validation"]
        )
    named = [rank for rank in ranks if rank is not None]
    return {"top": len(named) / len(ranks), "mrr": sum(1 / rank for rank in named) / len(ranks), "cases": len(ranks)}


def write_cost(run: Run, name: str, done: dict[str, Run]) -> None:
    """Write cost.json: training with what it started from, the search around it apart, and answering."""
    arm, mine = ARMS[name], done[name]
    answers = mine.stage("answers").told
    cost = {
        "trained": training_cost(name, done),
        "search_seconds": search_seconds(run, name),
        "answers": answers["figures"][mine.config.inference.models[0]] | {"seconds": answers["seconds"]},
    }
    write_json(arm_folder(run.config, name) / "cost.json", cost | {"arm": arm.says})


def training_cost(name: str, done: dict[str, Run]) -> dict[str, float]:
    """Steps, pairs, seconds and tokens that the arm's model was trained with, those of the arm it needs included."""
    arm = ARMS[name]
    cost: dict[str, float] = dict.fromkeys(("steps", "pairs_seen", "training_seconds", "training_tokens"), 0)
    if arm.trains:
        figures = done[name].stage("alignment").told["figures"]
        cost = {key: figures[key] for key in cost}
    if before_it := arm.start or arm.adapter_of:  # rounds count what they go on from themselves
        before = training_cost(before_it, done)
        cost = {key: value + before[key] for key, value in cost.items()}
    return cost


def search_seconds(run: Run, name: str) -> float:
    """Seconds of training at all points of an arm's grid; 0 where nothing was searched."""
    searched = read_json(search_file(run.config, name))
    return sum(row["training_seconds"] for row in searched["points"]) if searched else 0.0


def complete(run: Run, last: str) -> None:
    """Carry out the stages that lead to one and are not complete, in their order."""
    for stage, work in works().items():
        if stage in leading_to(run, last):
            run.carry_out(stage, work())


def leading_to(run: Run, stage: str) -> set[str]:
    """A stage and all that it reads, straight or by others."""
    return {stage}.union(*(leading_to(run, needed) for needed in run.stage(stage).inputs))


def works() -> dict[str, Callable[[], Work]]:
    """The line's stages up to the answers, each with what imports and returns its work."""

    return {name: partial(function_of, stage.work) for name, stage in LINE.items() if name != "evaluation"}


def check_groups(run: Run) -> None:
    """Refuse a split in which cases that belong together stand on both sides.

    Raises:
        CorpusError: naming the group and the first of its cases that is not for training.
    """
    from mint_ray.corpora.store import case_table

    rows = case_table(run, ["case_id", "group_id", "split"]).to_pylist()
    trained = {row["group_id"] for row in rows if row["split"] in LEARNED_FROM}
    leaked = [row for row in rows if row["split"] in ("validation", "test") and row["group_id"] in trained]
    if leaked:
        first, groups = leaked[0], {row["group_id"] for row in leaked}
        raise CorpusError(
            f"{len(leaked)} cases that are not for training share {len(groups)} groups with training cases: the first "
            f"is case {first['case_id']!r} (split {first['split']}) of group {first['group_id']!r}. Mend the source's "
            "splits, or its groups, then run jobs/prepare_cases.py again with --fresh"
        )


def check_search(run: Run) -> None:
    """Refuse a search that nothing could judge, before the first of its points is trained.

    Raises:
        ConfigError: the grid has more than one point, and no labelled case is for validation.
    """
    from mint_ray.corpora.store import case_table

    searches = len(grid(run.config)) > 1 and any(ARMS[name].trains for name in run.config.comparison.arms)
    if searches and not any(case_table(run, ["label_id"], splits=["validation"])["label_id"].to_pylist()):
        raise ConfigError(
            [
                "comparison has a grid, and its points are judged on validation cases, of which none has a label: raise "
                "splits.validation, or give comparison.learning_rates and comparison.epochs one value at most"
            ]
        )
