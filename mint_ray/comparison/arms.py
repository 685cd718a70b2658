"""The comparison's arms: what each changes in the one configuration, and where it works.

<run.dir>/arms/<arm>/     a run directory; stages that would equal another run's are borrowed from it, not made again
  search/<lr>-<epochs>/   a point of the grid, a run directory whose answers are those to the validation cases;
                          the first point's adapter and its answers to the test cases are the arm's own
    test/                 answers to the test cases, once another point than the first is chosen
  from/<lr>-<epochs>/     in place of the arm's own: what it made from that point of the arm that it needs, once
                          that is not the first
  search.json             the points with their validation figures, and the one chosen
  cost.json               what the arm took: pairs, steps, seconds and tokens of training, tokens of answering
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mint_ray.alignment.start import trained_folder
from mint_ray.config import Configuration
from mint_ray.errors import ConfigError
from mint_ray.places import check_knowledge
from mint_ray.runs import Run

Point = tuple[float, float]  # learning rate, epochs


@dataclass(frozen=True)
class Arm:
    """One row of the comparison.

    Args:
        says: what it is, in a table.
        trains: whether it trains an adapter of its own.
        method: `alignment.method`.
        start: the arm whose adapter training starts from.
        adapter_of: the arm whose adapter it answers with.
        retrieves: whether knowledge is put into its prompts.
        rankings: settings of the rankings that differ.
        preferences: settings of the pairs that differ.
        whole: whether it trains all weights.
        rounds: the method of its rounds, which go on from the alignment of mint; None: it has none.
    """

    says: str
    trains: bool = True
    method: str = "orpo"
    start: str | None = None
    adapter_of: str | None = None
    retrieves: bool = False
    rankings: dict[str, Any] = field(default_factory=dict[str, Any])
    preferences: dict[str, Any] = field(default_factory=dict[str, Any])
    whole: bool = False
    rounds: Literal["orpo", "sft"] | None = None

    @property
    def needs(self) -> str | None:
        """The arm that must be complete before this one begins."""
        return self.start or self.adapter_of or ("mint" if self.rounds else None)


ARMS: dict[str, Arm] = {
    "base": Arm("the model as it is", trains=False),
    "rag": Arm("the model, with retrieved knowledge", trains=False, retrieves=True),
    "sft": Arm("supervised fine-tuning on the chosen answers", method="sft"),
    "dpo": Arm("DPO on the pairs", method="dpo"),
    "sft_dpo": Arm("DPO on the pairs, from the model of sft", method="dpo", start="sft"),
    "mint": Arm("MINT: ORPO on the pairs"),
    "mint_rag": Arm("the model of mint, with retrieved knowledge", trains=False, adapter_of="mint", retrieves=True),
    "blinded": Arm(
        "ORPO on pairs of the same scorer, blinded to what the model lacks", rankings={"scorer_sees": "downstream"}
    ),
    "shuffled": Arm("ORPO on pairs whose answers belong to other cases", preferences={"shuffled": True}),
    "sft_truth": Arm(
        "supervised fine-tuning on the true label alone", method="sft", preferences={"truth": "alone", "chosen": 1}
    ),
    "sft_best": Arm("from mint, supervised fine-tuning on the best of the model's own answers", rounds="sft"),
    "mint_rounds": Arm("from mint, ORPO on the best and the worst of the model's own answers", rounds="orpo"),
    "mint_listwise": Arm("the chosen answer, and the scorer's probabilities of its names", method="listwise"),
    "sft_all": Arm("sft, of all weights", method="sft", whole=True),
    "mint_all": Arm("mint, of all weights", whole=True),
    "unlabelled": Arm("ORPO on pairs made without a look at any label", preferences={"truth": "ignored"}),
}


def arm_config(config: Configuration, name: str, alignment: Any, done: dict[str, Run]) -> Configuration:
    """The configuration of an arm's own run, whose training is settled by `alignment`."""
    arm = ARMS[name]
    update = {
        "rankings": config.rankings.model_copy(update=arm.rankings),
        "preferences": config.preferences.model_copy(update=arm.preferences),
        "alignment": alignment,
        "inference": config.inference.model_copy(
            update={
                "models": ["aligned" if arm.trains or arm.adapter_of else "base"],
                "split": "test",
                "retrieval": config.comparison.retrieval if arm.retrieves else None,
            }
        ),
    }
    return config.model_copy(update=update).moved(home_folder(config, name, done))


def arm_alignment(config: Configuration, name: str, point: Point, done: dict[str, Run]) -> Any:
    """`alignment` of a trained arm at a point of the grid; terms that its method lacks keep their default."""
    arm, section = ARMS[name], config.alignment
    defaults = {key: type(section).model_fields[key].default for key in ("beta", "nll_scope")}
    terms: dict[str, Any] = {"dpo": {**defaults, "beta": config.comparison.dpo_beta}, "orpo": {}}.get(
        arm.method, defaults
    )
    if arm.whole:
        terms["lora"] = None
    if arm.rounds:
        terms["rounds"] = config.comparison.rounds.model_copy(update={"method": arm.rounds})
    start = trained_folder(done[arm.start].stage("alignment").path, section) if arm.start else None
    learning_rate, epochs = point
    return section.model_copy(
        update={"method": arm.method, "start": start, "learning_rate": learning_rate, "epochs": epochs, **terms}
    )


def grid(config: Configuration) -> list[Point]:
    """The points that every trained arm is tried at, in the order in which they are written."""
    rates = config.comparison.learning_rates or (config.alignment.learning_rate,)
    return list(itertools.product(rates, config.comparison.epochs or (config.alignment.epochs,)))


def points_of(config: Configuration, name: str, done: dict[str, Run]) -> list[Point]:
    """The points that an arm is tried at: of the grid, or the one that was chosen for what its rounds go on from."""
    if not ARMS[name].rounds:
        return grid(config)
    settled = done["mint"].config.alignment
    return [(settled.learning_rate, settled.epochs)]


def point_name(point: Point) -> str:
    return "{:g}-{:g}".format(*point)


def arm_folder(config: Configuration, name: str) -> Path:
    return config.run.dir.absolute() / "arms" / name


def search_file(config: Configuration, name: str) -> Path:
    return arm_folder(config, name) / "search.json"


def home_folder(config: Configuration, name: str, done: dict[str, Run]) -> Path:
    """Where an arm works: its folder, or one within for what it makes of another point than the first of the arm it needs.

    So a search that is widened may choose another point, and no folder belongs to two of them.
    """
    folder, needed = arm_folder(config, name), ARMS[name].needs
    if not needed:
        return folder
    settled = done[needed].config.alignment
    point = (settled.learning_rate, settled.epochs)
    return folder if point == grid(config)[0] else folder / "from" / point_name(point)


def check_settings(config: Configuration) -> None:
    """Refuse a configuration that an arm cannot be told apart from, or in which an arm lacks another one, or knowledge.

    Raises:
        ConfigError: with every problem.
        StorageError: the knowledge's store has none by that name, or refuses.
    """
    plain = {
        "rankings.scorer_sees": (config.rankings.scorer_sees, "all"),
        "preferences.shuffled": (config.preferences.shuffled, False),
        "alignment.method": (config.alignment.method, "orpo"),
        "alignment.start": (config.alignment.start, None),
        "alignment.rounds": (config.alignment.rounds, None),
        "inference.retrieval": (config.inference.retrieval, None),
    }
    problems = [
        f"{key} is {value!r}; a comparison sets it for each arm: leave it at {expected!r}"
        for key, (value, expected) in plain.items()
        if value != expected
    ]
    arms = config.comparison.arms
    for name in arms:
        if (needed := ARMS[name].needs) and needed not in arms:
            problems.append(f"comparison.arms has {name}, which needs {needed}: add {needed}, or leave {name} out")
    if problems:
        raise ConfigError(problems)
    if any(ARMS[name].retrieves for name in arms):
        check_knowledge(config.comparison.retrieval, "comparison.retrieval")
