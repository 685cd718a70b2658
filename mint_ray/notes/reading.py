"""A note read: findings with their places, sex and age."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from mint_ray.hpo import FACE, ontology
from mint_ray.notes.context import statuses
from mint_ray.notes.demographics import age_of, sex_of
from mint_ray.notes.lexicon import lexicon
from mint_ray.notes.measures import measured
from mint_ray.notes.spotting import Spot, spots
from mint_ray.notes.words import Word, words
from mint_ray.records import Mention, Phenotype, Sex

DYSMORPHISM = "HP:0001999"  # "dysmorphic features": no more than a heading where two features of the face are told


@dataclass(frozen=True)
class Reading:
    """What a note says; `mentions` has every place, `findings` each term once, observed or excluded."""

    mentions: list[Mention]
    sex: Sex | None
    age_years: float | None

    @property
    def findings(self) -> list[Phenotype]:
        return findings(self.mentions)


def read_note(text: str) -> Reading:
    """Findings, sex and age of a note in plain text (`mint_ray.notes.plain`); spans count its characters."""
    found, known = words(text), ontology()
    sex = sex_of(text)
    spotted = _with_numbers(spots(found, lexicon()), text, found)
    said = statuses(text, found, spotted, sex)
    mentions = [
        Mention(id=spot.term_id, name=known.terms[spot.term_id].name, start=spot.start, end=spot.end, status=status)
        for spot, status in zip(spotted, said, strict=True)
    ]
    return Reading(mentions, sex, age_of(text))


def _with_numbers(spotted: list[Spot], text: str, found: list[Word]) -> list[Spot]:
    """The named findings and the measured ones, in their order; a name that shares words with what is measured goes."""
    starts = [word.start for word in found]
    numbers = [
        Spot(m.term_id, bisect_left(starts, m.start), bisect_left(starts, m.end) - 1, m.start, m.end, 0, m.said)
        for m in measured(text)
    ]
    named = [s for s in spotted if not any(n.start < s.end and s.start < n.end for n in numbers)]
    return sorted([*named, *numbers], key=lambda spot: (spot.start, spot.end))


def _faces(observed: Iterable[str]) -> int:
    return sum(term in ontology().descendants(FACE) for term in observed)


def findings(mentions: Iterable[Mention]) -> list[Phenotype]:
    """Each term once: observed where any place says so, else excluded; of a term and one below it the one below.

    Uncertain findings and those of relatives are none of the patient's.
    """
    known = ontology()
    every = list(mentions)
    observed = dict.fromkeys(m.id for m in every if m.status == "observed")
    above = {a for term in observed for a in known.ancestors(term) if a != term}
    excluded = dict.fromkeys(
        m.id for m in every if m.status == "excluded" and m.id not in observed and m.id not in above
    )
    kept = [term for term in observed if term not in above and not (term == DYSMORPHISM and _faces(observed) > 2)]
    names = {m.id: m.name for m in every}
    return [Phenotype(id=i, name=names[i]) for i in kept] + [
        Phenotype(id=i, name=names[i], excluded=True) for i in excluded
    ]
