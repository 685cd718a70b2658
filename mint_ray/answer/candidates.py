"""The names of an answer, and the labels that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from mint_ray.tasks.base import Label, Task

if TYPE_CHECKING:
    from mint_ray.config import Configuration
    from mint_ray.evaluation.grounding import NameIndex


class Candidate(BaseModel):
    """A name in its place, and the label that it means: None where it means none or several.

    `score` is the scorer's, or the model's log-probability of the name where the one who was asked tells it.
    """

    model_config = ConfigDict(frozen=True)

    rank: int
    name: str
    id: str | None
    score: float | None = None


def candidates(text: str, task: Task, index: NameIndex) -> list[Candidate]:
    """What an answer names, in its order."""
    return [Candidate(rank=rank, name=name, id=index.ground(name)) for rank, name in enumerate(task.parse(text), 1)]


def index_of(config: Configuration, labels: Sequence[Label]) -> NameIndex:
    """The labels to ask what a name means, as evaluation does."""
    from mint_ray.evaluation.inputs import rules_of
    from mint_ray.evaluation.measure import name_index

    return name_index(rules_of(config), labels)
