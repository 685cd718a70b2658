"""A case with its note read: what the note says joins what its source says, which goes first."""

from __future__ import annotations

from mint_ray.errors import RowError
from mint_ray.hpo import ontology
from mint_ray.notes.plain import plain
from mint_ray.notes.reading import findings, read_note
from mint_ray.records import Case, Mention, Phenotype


def with_note_read(case: Case) -> Case:
    """The case with the findings, sex and age that its note tells.

    A note is read once. Mentions that the source brings along stand as they are, and are findings of the case like those
    that are read here; their spans count characters of the note as it came.

    Raises:
        RowError: a mention that the source brings is none of the note, or of no known term.
    """
    if not case.text:
        return case
    if case.mentions:
        brought = [_checked(mention, len(case.text)) for mention in case.mentions]
        return case.model_copy(update={"mentions": brought, "phenotypes": _joined(case.phenotypes, findings(brought))})
    text = plain(case.text)
    read = read_note(text)
    told = {"text": text, "mentions": read.mentions, "phenotypes": _joined(case.phenotypes, read.findings)}
    if case.sex is None:
        told["sex"] = read.sex
    if case.age_years is None:
        told["age_years"] = read.age_years
    return case.model_copy(update=told)


def _checked(mention: Mention, length: int) -> Mention:
    if not mention.start < mention.end <= length:
        raise RowError(
            "wrong-field", "mentions", f"characters {mention.start} to {mention.end}", f"a place in {length}"
        )
    if (term := ontology().resolve(mention.id)) is None:
        raise RowError("wrong-field", "mentions", mention.id[:20], f"an id of {ontology().release}")
    return mention.model_copy(update={"id": term.id, "name": term.name})


def _joined(known: list[Phenotype], read: list[Phenotype]) -> list[Phenotype]:
    """The source's findings, then those of the note that it does not have under the same or another of their ids."""
    ids = {term.id if (term := ontology().resolve(p.id)) else p.id for p in known}
    return [*known, *(p for p in read if p.id not in ids)]
