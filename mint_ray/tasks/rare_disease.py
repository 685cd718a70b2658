"""Rare genetic disease from text: the photograph is the scorer's, findings and demographics are the model's."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from mint_ray.records import Case, Message
from mint_ray.tasks.base import Task, View

_INSTRUCTION = (
    "You are a clinical geneticist. Name the {n} most likely rare genetic diseases of the patient, most likely first. "
    "Answer with the line {header} followed by {n} numbered names in single quotes."
)


class RareDisease(Task):
    """The first application of the paper (section 2.1)."""

    header: ClassVar[str] = "POTENTIAL_DISEASES:"
    answer_size: int = Field(10, ge=1)
    withhold: frozenset[str] = Field(
        frozenset(),
        description="HPO ids whose observed or excluded findings the language model does not see (the facial branch)",
    )

    def scorer_view(self, case: Case) -> View:
        return View(text=scorer_text(case), image=case.image)

    def downstream_view(self, case: Case) -> View:
        seen = [p for p in case.phenotypes if p.modality == "text" and p.id not in self.withhold]
        withheld = [p.id for p in case.phenotypes if p.modality == "image" or p.id in self.withhold]
        if case.image is not None:
            withheld.insert(0, "image")
        return View(text=patient_text(case, seen), withheld=tuple(withheld))

    def prompt(self, view: View) -> list[Message]:
        instruction = _INSTRUCTION.format(n=self.answer_size, header=self.header)
        return [Message(role="user", content=f"{instruction}\n\n{view.text}")]


def scorer_text(case: Case) -> str | None:
    """The published text form of a patient (GestaltMML): `Sex <s> Age <y> years <m> months Ethnicity <e> <terms>`."""
    parts = []
    if case.sex:
        parts.append(f"Sex {case.sex}")
    if case.age_years is not None:
        years, months = divmod(round(case.age_years * 12), 12)
        parts.append(f"Age {years} years {months} months")
    if case.ethnicity:
        parts.append(f"Ethnicity {case.ethnicity}")
    parts += [p.name for p in case.phenotypes if p.modality == "text" and not p.excluded]
    if case.text:
        parts.append(case.text)
    return re.sub(r"[,.()]", "", " ".join(parts)) or None


def patient_text(case: Case, phenotypes: list) -> str:
    """A patient as a language model reads it: demographics, findings, findings excluded, the note."""
    lines = []
    if case.sex or case.age_years is not None or case.ethnicity:
        age = f"{case.age_years:.0f} years" if case.age_years is not None else None
        lines.append("Patient: " + ", ".join(filter(None, [case.sex, age, case.ethnicity])))
    observed = [p.name for p in phenotypes if not p.excluded]
    excluded = [p.name for p in phenotypes if p.excluded]
    lines.append("Findings: " + ("; ".join(observed) or "none recorded"))
    if excluded:
        lines.append("Excluded: " + "; ".join(excluded))
    if case.text:
        lines.append("Note: " + case.text)
    return "\n".join(lines)


KIND = RareDisease
