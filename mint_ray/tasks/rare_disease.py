"""Rare genetic disease from text: the photograph is the scorer's, findings and demographics are the model's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from mint_ray.errors import CorpusError
from mint_ray.hpo import (
    Patient,
    Withheld,
    disease_names,
    diseases,
    information_content,
    ontology,
    other_names,
    remembered,
    search,
    taken_out,
)
from mint_ray.records import Case, Mention, Message, Phenotype
from mint_ray.tasks.base import GREY, Label, Ranker, Task, View

_INSTRUCTION = (
    "You are a clinical geneticist. Name the {n} most likely {asked} of the patient, most likely first. "
    "Answer with the line {header} followed by {n} numbered names in single quotes."
)
_INSTRUCTION_FOR_ONE = (
    "You are a clinical geneticist. Name the most likely {asked} of the patient. "
    "Answer with the line {header} followed by one numbered name in single quotes."
)
WITHHELD = "[withheld]"
_KNOWLEDGE = "Diseases that may fit, from a reference:"


class RareDisease(Task):
    """The first application of the paper (section 2.1)."""

    header: ClassVar[str] = "POTENTIAL_DISEASES:"
    entity: ClassVar[str | None] = "disease"
    # Inheritance parts diseases as surely as a number does, and so does what a disease comes with or without.
    parting_words: ClassVar[frozenset[str]] = frozenset({"dominant", "recessive", "linked", "with", "without"})
    terms: ClassVar[str | None] = "the Human Phenotype Ontology"
    example: ClassVar[Case] = Case.model_construct(
        case_id="example",
        group_id="example",
        sex="female",
        age_years=4.5,
        ethnicity="Finnish",
        phenotypes=[
            Phenotype.model_construct(id="HP:0000316", name="Hypertelorism"),
            Phenotype.model_construct(id="HP:0001249", name="Intellectual disability"),
            Phenotype.model_construct(id="HP:0001250", name="Seizure", excluded=True),
        ],
        text="Recurrent infections, prominent fingertip pads",
        image=GREY,
    )
    asked: ClassVar[tuple[str, str]] = ("rare genetic disease", "rare genetic diseases")  # of one name, of several
    answer_size: int = Field(default=10, ge=1)
    withhold_branches: list[str] = Field(
        default=[],
        description="HPO ids, e.g. HP:0000271 (the face): the language model sees no finding of these branches, nor of "
        "ids that the ontology does not know, which may belong to them",
    )

    def scorer_view(self, case: Case) -> View:
        told = tuple(p for p in case.phenotypes if p.modality == "text")
        return View(text=scorer_text(case), image=case.image, findings=told)

    def downstream_view(self, case: Case) -> View:
        seen = self._seen(case)
        told, shown = in_order(seen), set(map(id, seen))
        withheld = [p.id for p in case.phenotypes if id(p) not in shown] + [m.id for m in self._hidden(case)]
        if case.image is not None:
            withheld.insert(0, "image")
        text = patient_text(case, told, self._note(case, seen))
        return View(text=text, findings=tuple(told), withheld=tuple(dict.fromkeys(withheld)))

    def blinded_view(self, case: Case) -> View:
        seen = self._seen(case)
        shown = {"image": None, "phenotypes": seen, "text": self._note(case, seen)}
        return self.scorer_view(case.model_copy(update=shown))

    def query(self, case: Case) -> str | None:
        """The findings observed, and the note: a finding that was excluded would look up what it speaks against."""
        seen = self._seen(case)
        observed, note = [p.name for p in in_order(seen) if not p.excluded], self._note(case, seen)
        return "; ".join([*observed, note] if note else observed)

    def prompt(self, view: View) -> list[Message]:
        one, several = self.asked
        wording, asked = (_INSTRUCTION_FOR_ONE, one) if self.answer_size == 1 else (_INSTRUCTION, several)
        instruction = wording.format(n=self.answer_size, asked=asked, header=self.header)
        knowledge = ["\n".join([_KNOWLEDGE, *(f"- {passage}" for passage in view.context)])] if view.context else []
        return [Message(role="user", content="\n\n".join([instruction, *knowledge, str(view.text)]))]

    def _seen(self, case: Case) -> list[Phenotype]:
        """The findings that the language model may see."""
        roots = self._withheld(case)
        return [p for p in case.phenotypes if p.modality == "text" and not (roots and _may_be_below(roots, p.id))]

    def _withheld(self, case: Case) -> tuple[str, ...]:
        """The terms that it may not see, nor any below: those of `withhold_branches`, and what the photograph alone shows."""
        return (*self.withhold_branches, *(p.id for p in case.phenotypes if p.modality == "image" and p.id))

    def _hidden(self, case: Case) -> list[Mention]:
        """The places in the note that name what the language model may not see, of whomever they are said."""
        roots = self._withheld(case)
        return [m for m in case.mentions if roots and _may_be_below(roots, m.id)]

    def _note(self, case: Case, seen: list[Phenotype]) -> str | None:
        """The note as the language model reads it: what is not among the findings seen is blacked out, by place and by name."""
        if not case.text:
            return case.text
        places = [(m.start, m.end) for m in self._hidden(case)]
        shown = set(map(id, seen))
        names = [p.name for p in case.phenotypes if id(p) not in shown]
        places += [match.span() for name in names for match in re.finditer(re.escape(name), case.text, re.IGNORECASE)]
        return blacked_out(case.text, places)

    def phenotype(self, words: str, excluded: bool = False) -> Phenotype:
        known = ontology()
        term = known.resolve(words) if words.startswith("HP:") else known.named(words)
        if term is None and words.startswith("HP:"):
            raise CorpusError(f"{words}: is no id of {self.terms} {known.release}")
        return Phenotype(id=term.id if term else "", name=term.name if term else words, excluded=excluded)

    def suggestions(self, words: str) -> list[tuple[Phenotype, str]]:
        return [(Phenotype(id=found.id, name=found.name), found.wording) for found in search(words)]

    def counts(self, case: Case) -> dict[str, int]:
        return {"findings observed": sum(not p.excluded for p in case.phenotypes)}

    def knowledge(self, labels: Sequence[Label], without: Withheld | None = None) -> Mapping[str, str]:
        """The findings that HPO annotates for each disease, the most frequent first.

        A finding of frequency 0 was looked for in patients and never there (`0/7`), so it is none of the disease's.
        """
        known, terms, found = diseases(without), ontology().terms, dict[str, str]()
        for label in labels:
            if label.id in known:
                frequencies = {term_id: share for term_id, share in known[label.id].frequencies.items() if share > 0}
                often = sorted(frequencies, key=lambda term_id: (-frequencies[term_id], term_id))
                found[label.id] = "; ".join(terms[term_id].name for term_id in often)
        return found

    def held_out(self, cases: Iterable[Case]) -> Withheld | None:
        """The publications of the cases, with their patients, on whom annotations may rest."""
        patients = [annotated_patient(case) for case in cases if case.publications and case.label_id]
        return Withheld(patients) if patients else None

    def taken_out(self, without: Withheld) -> dict[str, Any]:
        return {"annotations_taken_out": dataclasses.asdict(taken_out(without))}

    def vocabulary(self) -> list[str]:
        return [term.name for term in ontology().terms.values()]

    def diseases_of(self, label: Label) -> tuple[str, ...]:
        """The OMIM diseases that a label stands for."""
        return (label.id,)

    def rankers(self, labels: Sequence[Label], without: Withheld | None = None) -> dict[str, Ranker]:
        from mint_ray.likelihood import LikelihoodRatio

        diseases = {label.id: self.diseases_of(label) for label in labels}
        ranker = LikelihoodRatio(diseases, without)
        found: dict[str, Ranker] = {
            "likelihood ratio, all findings": lambda case: ranker.rank(case.phenotypes),
            "likelihood ratio, findings shown": lambda case: ranker.rank(self._seen(case)),
        }
        if without is not None:
            leaky = LikelihoodRatio(diseases)
            found["likelihood ratio, all findings, annotations as shipped"] = lambda case: leaky.rank(case.phenotypes)
        return found


def annotated_patient(case: Case) -> Patient:
    """A case as annotations may have counted it."""
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for phenotype in case.phenotypes:
        if term := ontology().resolve(phenotype.id):
            found[phenotype.excluded].add(term.id)
    papers = frozenset(name for paper in case.publications for name in paper)
    return Patient(case.label_id or "", papers, frozenset(found[False]), frozenset(found[True]))


def disease_label(disease_id: str) -> Label:
    """An annotated disease with all its names: `NAME; ABBREVIATION` taken apart and capitals made readable."""
    name, *others = [part.strip() for part in disease_names()[disease_id].split(";") if part.strip()]
    synonyms = dict.fromkeys([*others, *other_names().get(disease_id, ())])
    return Label(id=disease_id, name=name.capitalize() if name.isupper() else name, synonyms=tuple(synonyms))


@remembered(maxsize=None)
def _above(term_id: str) -> frozenset[str] | None:
    """The living terms of an id and all above them; None for an id of HPO that nobody can place."""
    living = ontology().successors(term_id)
    if not living and term_id.startswith("HP:"):
        return None
    return frozenset[str]().union(*(ontology().ancestors(term.id) for term in living))


def _may_be_below(roots: tuple[str, ...], term_id: str) -> bool:
    """Whether a term is in one of the branches, or is one of HPO that nobody can place."""
    above = _above(term_id)
    return above is None or not above.isdisjoint(roots)


def in_order(phenotypes: Iterable[Phenotype]) -> list[Phenotype]:
    """Findings as they are told: by name, so that no answer hangs on what was recorded first."""
    return sorted(phenotypes, key=lambda p: (p.name.casefold(), p.name))


def scorer_text(case: Case) -> str | None:
    """The published text form of a patient (GestaltMML): `Sex <s> Age <y> years <m> months Ethnicity <e> <terms>`.

    The most specific findings stand first: a scorer that has no room for all of a text cuts its end.
    """
    parts: list[str] = []
    if case.sex:
        parts.append(f"Sex {case.sex}")
    if case.age_years is not None:
        years, months = divmod(round(case.age_years * 12), 12)
        parts.append(f"Age {years} years {months} months")
    if case.ethnicity:
        parts.append(f"Ethnicity {case.ethnicity}")
    parts += [
        p.name for p in most_specific_first(p for p in case.phenotypes if p.modality == "text" and not p.excluded)
    ]
    if case.text:
        parts.append(case.text)
    return re.sub(r"[,.()]", "", " ".join(parts)) or None


def most_specific_first(phenotypes: Iterable[Phenotype]) -> list[Phenotype]:
    """By falling information content, equals by name, whatever was recorded first."""
    found = list(phenotypes)
    if len(found) < 2:  # which needs no ontology
        return found
    return sorted(found, key=lambda p: (-information_content(p.id), p.name.casefold(), p.name))


def blacked_out(text: str, places: Iterable[tuple[int, int]]) -> str:
    """A text with `[withheld]` in place of each run of characters; places may overlap."""
    parts: list[str] = []
    at = 0
    for start, end in sorted(places):
        if end > at:
            parts += [text[at : max(at, start)], *([WITHHELD] if start >= at else [])]
            at = end
    return "".join([*parts, text[at:]])


def patient_text(case: Case, phenotypes: list[Phenotype], note: str | None) -> str:
    """A patient as a language model reads it: demographics, findings, findings excluded, the note.

    Args:
        note: the case's own, without what the model may not see.
    """
    lines: list[str] = []
    if case.sex or case.age_years is not None or case.ethnicity:
        age = f"{case.age_years:.0f} years" if case.age_years is not None else None
        lines.append("Patient: " + ", ".join(filter(None, [case.sex, age, case.ethnicity])))
    observed = [p.name for p in phenotypes if not p.excluded]
    excluded = [p.name for p in phenotypes if p.excluded]
    if observed or not note:
        lines.append("Findings: " + ("; ".join(observed) or "none recorded"))
    if excluded:
        lines.append("Excluded: " + "; ".join(excluded))
    if note:
        lines.append("Note: " + note)
    return "\n".join(lines)
