"""The line: its stages in their order, each with what it reads and the function that does its work.

A stage's name is that of its folder in a run directory and of its command. Its version belongs to its fingerprint: raise
it when the stage's code comes to write something else from the same settings (the wording of a prompt, a policy, how an
answer is read) or when a default of its sections changes. So nothing new is ever mixed into what was begun before;
`tests/test_line.py` keeps the defaults of each version.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class StageSpec(NamedTuple):
    """A stage of the line.

    Args:
        says: what it does, as the command line's help tells it.
        sections: the sections of the configuration that decide its result.
        reads: the stages whose results it reads.
        work: its function, `package.module:name`, from a `Run` to a `StageReport`.
        asks: what it needs of a cluster: the function from a `Configuration` to a `Demand`; none where it needs little.
        version: of what its code writes.
    """

    says: str
    sections: tuple[str, ...]
    reads: tuple[str, ...]
    work: str
    asks: str | None = None
    version: int = 1


LINE: dict[str, StageSpec] = {
    "cases": StageSpec(
        "Read the corpus into cases, split by group.",
        sections=("hpo", "corpus", "splits"),
        reads=(),
        work="mint_ray.corpora.prepare:prepare_cases",
    ),
    "scorer": StageSpec(
        "Fit the scorer, or take over one.",
        sections=("task", "scorer"),
        reads=("cases",),
        work="mint_ray.scorers.fitting.fit:fit_scorer",
        asks="mint_ray.capacity:scorer_demand",
    ),
    "rankings": StageSpec(
        "Rank all labels for each case by the scorer.",
        sections=("task", "rankings"),
        reads=("cases", "scorer"),
        work="mint_ray.rankings.build:build_rankings",
        asks="mint_ray.capacity:rankings_demand",
    ),
    "preferences": StageSpec(
        "Make preference pairs from the rankings.",
        sections=("task", "preferences", "candidates"),
        reads=("cases", "rankings"),
        work="mint_ray.preferences.build:build_preferences",
        version=3,
    ),
    "alignment": StageSpec(
        "Align the language model to the pairs.",
        sections=("alignment",),
        reads=("preferences",),
        work="mint_ray.rounds:align",
        asks="mint_ray.capacity:alignment_demand",
        version=2,
    ),
    "answers": StageSpec(
        "Ask the base and the aligned model about held-out cases.",
        sections=("task", "alignment", "inference", "candidates"),
        reads=("cases", "alignment"),
        work="mint_ray.inference.predict:predict",
        asks="mint_ray.capacity:answers_demand",
        version=3,
    ),
    "evaluation": StageSpec(
        "Grade the answers and write the report.",
        sections=("task", "evaluation"),
        reads=("cases", "rankings", "preferences", "answers"),
        work="mint_ray.reports.evaluate:evaluate",
    ),
}


def function_of(dotted: str) -> Callable[..., Any]:
    """What `package.module:name` names."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)
