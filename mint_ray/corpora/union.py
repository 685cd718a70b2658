"""Several sources as one corpus: published patients, tables, patients simulated from annotations.

Whatever a source draws from annotations is drawn without the publications of the other sources: what these say, their own
patients say, and those of them that are held out must be heard of nowhere. Every case names its source before its row.
Two sources that have a case id in common, or cases of one group in splits that differ, are dealt with as one source is:
the second case, or the one that is not in the held-out split, is refused by its reason.
"""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from mint_ray import hpo
from mint_ray.corpora.base import Corpus
from mint_ray.corpora.inventory import Inventory, source_name
from mint_ray.records import Case, Split
from mint_ray.sections import Section, resolve_kind
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import annotated_patient

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

ROWS_PER_BLOCK = 256
_TOLD = ("label_id", "publications", "phenotypes")


class Source(Section):
    """One source of a union."""

    corpus: Annotated[SerializeAsAny[Corpus], BeforeValidator(partial(resolve_kind, Corpus))]
    shares: dict[Split, float] | None = Field(
        default=None,
        description="shares of its groups that stand in each split, e.g. {train: 1}; none: as the section splits has it",
    )

    @field_validator("shares")
    @classmethod
    def _sum_to_one(cls, shares: dict[Split, float] | None) -> dict[Split, float] | None:
        if shares is not None and (min(shares.values(), default=0) < 0 or abs(sum(shares.values()) - 1) > 1e-6):
            raise ValueError(f"the shares add up to {sum(shares.values()):g}; they must add up to 1, none below 0")
        return shares


class Union(Corpus):
    """Several sources, by names that the cases carry."""

    sources: dict[str, Source] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_one_kind_of_label(self):
        if len(found := {e for source in self.sources.values() if (e := source.corpus.entity())}) > 1:
            raise ValueError(f"the sources have different labels, {' and '.join(sorted(found))}: take one of them")
        return self

    def entity(self) -> str | None:
        return next((e for source in self.sources.values() if (e := source.corpus.entity())), None)

    def labels(self) -> list[Label] | None:
        """The lists of all sources; None where one of them has none: then the labels that the cases carry."""
        lists = [source.corpus.labels() for source in self.sources.values()]
        if any(listed is None for listed in lists):
            return None
        return list({label.id: label for listed in lists for label in listed or ()}.values())

    def named(self, label: Label) -> Label:
        for source in self.sources.values():
            if (known := source.corpus.named(label)) != label:
                return known
        return label

    def inventory(self) -> Inventory | None:
        found = {name: each for name, source in self.sources.items() if (each := source.corpus.inventory())}
        return Inventory.together(found) if found else None

    def outcomes(self, seed: int) -> ray.data.Dataset:
        found: list[ray.data.Dataset] = []
        for name, source in self.sources.items():
            mark: Any = partial(_marked, name=name, shares=source.shares, seed=seed)  # Ray's types know no batch format
            rows = source.corpus.outcomes_without(seed, self._told_by_others(name, seed))
            found.append(rows.map_batches(mark, batch_format="pyarrow", batch_size=ROWS_PER_BLOCK))
        return found[0].union(*found[1:]) if found[1:] else found[0]

    def _told_by_others(self, name: str, seed: int) -> hpo.Withheld | None:
        """The publications of the other sources, where this one draws from annotations."""
        if type(self.sources[name].corpus).outcomes_without is Corpus.outcomes_without:
            return None
        others = [source.corpus.outcomes(seed) for other, source in self.sources.items() if other != name]
        tell: Any = _told
        told = [each.map_batches(tell, batch_format="pyarrow", batch_size=ROWS_PER_BLOCK) for each in others]
        patients = [
            annotated_patient(Case(case_id="told", group_id="told", **row)) for each in told for row in each.iter_rows()
        ]
        return hpo.Withheld(patients) if patients else None


def _marked(outcomes: pa.Table, name: str, shares: dict[Split, float] | None, seed: int) -> pa.Table:
    """The rows with their source's name before their place, and cases in the split of their group."""
    import pyarrow as pa

    rows = outcomes.to_pylist()
    for row in rows:
        each = row["case"] or row["refusal"]
        each["source"] = source_name(name, each["source"])
        if row["case"] and shares is not None:
            each["split"] = split_of(each["group_id"], shares, seed)
    return pa.Table.from_pylist(rows, schema=outcomes.schema)


def split_of(group_id: str, shares: dict[Split, float], seed: int) -> Split:
    """The split of a group, the same in every process and whatever other groups there are."""
    place = zlib.crc32(f"{seed}:{group_id}".encode()) / 2**32
    end, found = 0.0, next(iter(shares))
    for split, share in shares.items():
        end, found = end + share, split
        if place < end:
            break
    return found


def _told(outcomes: pa.Table) -> pa.Table:
    """Label, publications and findings of the cases that are published."""
    import pyarrow as pa

    case: Any = outcomes.schema.field("case").type
    cases = [row["case"] for row in outcomes.select(["case"]).to_pylist() if row["case"]]
    kept = [{name: each[name] for name in _TOLD} for each in cases if each["publications"] and each["label_id"]]
    return pa.Table.from_pylist(kept, schema=pa.schema([(name, case.field(name).type) for name in _TOLD]))
