"""A part's rankings to its pairs: pure functions, without a scorer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mint_ray.candidates import Candidates
from mint_ray.config import Configuration, PreferencesSection
from mint_ray.errors import RowError
from mint_ray.preferences.policy import Preference, Skip, choose
from mint_ray.preferences.store import PAIR_SPLITS, pair_schema
from mint_ray.rankings.parts import refusal
from mint_ray.rankings.ranking import Ranked
from mint_ray.records import PAIR_SCHEMA_VERSION, Case, Refusal, to_table
from mint_ray.tasks.base import Label, Task


@dataclass(frozen=True)
class Given:
    """The ranking that a case is given, its own or another's, with the truth of the case that was ranked."""

    ranked: Ranked
    truth: str | None
    scorer: str
    scorer_digest: str


@dataclass
class Made:
    """What becomes of a part: its pairs, and the cases that make none although their split has pairs.

    A pair is a row with the fields of `PreferencePair`: a record of each took a quarter of the time of making pairs, and what
    it would check comes from records that were checked as they were written.
    """

    pairs: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def tables(self, images: bool) -> dict[str, pa.Table]:
        """The part's tables, by their folder; pairs only where there are some, refusals always."""
        schema = pair_schema(images)
        found = {
            f"pairs/{split}": pa.Table.from_pylist(rows, schema=schema)
            for split in PAIR_SPLITS
            if (rows := [pair for pair in self.pairs if pair["split"] == split])
        }
        return found | {"refused": to_table(self.refusals, Refusal)}


class PairMaker:
    """Makes pairs as one configuration says.

    Args:
        labels: those that are ranked.
        candidates: what puts the likeliest labels into the prompts; None: they have none.
    """

    def __init__(self, config: Configuration, labels: Iterable[Label], candidates: Candidates | None = None):
        self.candidates = candidates
        self.task, self.settings = config.task, config.preferences
        self.policy = json.dumps(policy_of(config))
        self.names = {label.id: label.name for label in labels}
        self.images = shows_images(self.task)

    def make(self, cases: Iterable[tuple[Case, Given]]) -> Made:
        """The pairs of cases, each with the ranking that it is given."""
        made = Made()
        for case, given in cases:
            found = self.pairs_of(case, given)
            if isinstance(found, Skip):
                made.refusals.append(refusal(case, found))
            else:
                made.pairs += found
        return made

    def pairs_of(self, case: Case, given: Given) -> list[dict[str, Any]] | Skip:
        """A case's pairs as the data set has them; none for a case that is kept for testing."""
        if case.split not in PAIR_SPLITS:
            return []
        chosen = choose(given.ranked, given.truth, self.settings)
        if isinstance(chosen, Skip):
            return chosen
        view = self.task.downstream_view(case)
        if view.image is None and self.images:
            return Skip("nothing-to-show", "image", "no image", "an image, all that the language model sees")
        if self.candidates:
            try:
                view, _ = self.candidates.add(view, case.case_id)
            except RowError as error:
                return Skip(error.reason, error.field, error.seen, error.expected)
        shared: dict[str, Any] = {
            "prompt": [said(message.role, message.content) for message in self.task.prompt(view)],
            "images": [{"bytes": view.image, "path": None}] if view.image is not None else [],
            "withheld": list(view.withheld),
            "policy": self.policy,
            "scorer": given.scorer,
            "scorer_digest": given.scorer_digest,
            "schema_version": PAIR_SCHEMA_VERSION,
            **{name: getattr(case, name) for name in ("case_id", "group_id", "split", "label_id")},
        }
        return [shared | self._answers(preference) for preference in chosen]

    def _answers(self, preference: Preference) -> dict[str, Any]:
        sides: dict[str, Any] = {}
        for side, label_ids in [("chosen", preference.chosen), ("rejected", preference.rejected)]:
            text = self.task.answer([self.names[label_id] for label_id in label_ids])
            sides |= {side: [said("assistant", text)], f"{side}_label_ids": label_ids}
        return {**sides, "chosen_scores": preference.chosen_scores, "rejected_scores": preference.rejected_scores}


def said(role: str, content: str) -> dict[str, str]:
    """A message as a row holds it."""
    return {"role": role, "content": content}


def policy_of(config: Configuration) -> dict[str, Any]:
    """The settings that decide which names a pair holds; where they are sampled answers, those decide: see `rounds`."""
    chosen = PreferencesSection.model_fields.keys() - {"max_refused_share", "sampled"}
    return {"scorer_sees": config.rankings.scorer_sees, **config.preferences.model_dump(include=set(chosen))}


def shows_images(task: Task) -> bool:
    """Whether the task's language model sees images, asked of its view of a case that has one."""
    return task.downstream_view(Case(case_id="probe", group_id="probe", image=b"probe")).image is not None
