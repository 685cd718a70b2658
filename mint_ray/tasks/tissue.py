"""Tissue from a nucleus image: the caption is the scorer's, the image alone is the model's."""

from __future__ import annotations

import difflib
from typing import ClassVar

from pydantic import Field

from mint_ray.errors import RowError
from mint_ray.records import Case, Message
from mint_ray.tasks.base import GREY, Label, Task, View

# The 19 tissues of PanNuke (Gamper et al. 2020): its spelling is the id, and a synonym where the name differs.
_NAMES = {
    "Adrenal_gland": "Adrenal gland",
    "Bile-duct": "Bile duct",
    "Bladder": "Bladder",
    "Breast": "Breast",
    "Cervix": "Cervix",
    "Colon": "Colon",
    "Esophagus": "Esophagus",
    "HeadNeck": "Head and neck",
    "Kidney": "Kidney",
    "Liver": "Liver",
    "Lung": "Lung",
    "Ovarian": "Ovarian",
    "Pancreatic": "Pancreatic",
    "Prostate": "Prostate",
    "Skin": "Skin",
    "Stomach": "Stomach",
    "Testis": "Testis",
    "Thyroid": "Thyroid",
    "Uterus": "Uterus",
}
TISSUES: tuple[Label, ...] = tuple(
    Label(id=id, name=name, synonyms=(id,) if id != name else ()) for id, name in _NAMES.items()
)
_BY_ID = {label.id: label for label in TISSUES}

_INSTRUCTION = (
    "You are a pathologist. This is a microscope image of nuclei, stained with hematoxylin and eosin. Name the {n} tissues "
    "that it most likely comes from, most likely first.{choice} Answer with the line {header} followed by {n} numbered "
    "names in single quotes."
)
_INSTRUCTION_FOR_ONE = (
    "You are a pathologist. This is a microscope image of nuclei, stained with hematoxylin and eosin. Name the tissue "
    "that it most likely comes from.{choice} Answer with the line {header} followed by one numbered name in single quotes."
)


class Tissue(Task):
    """The second application of the paper (section 2.2): 19 tissues, five names in an answer."""

    header: ClassVar[str] = "MOST_LIKELY_TISSUE:"
    captions: ClassVar[tuple[str, ...]] = (
        "H&E image of {}.",
        "a patch of {} tissue.",
        "{} histology.",
        "nuclei of {}.",
        "a histopathology image of {} tissue, stained with hematoxylin and eosin.",
    )
    upright: ClassVar[bool] = False
    example: ClassVar[Case] = Case.model_construct(case_id="example", group_id="example", image=GREY)
    answer_size: int = Field(default=5, ge=1)
    candidates: tuple[str, ...] = Field(
        default=tuple(_NAMES.values()),
        description="the names that the prompt offers to choose from; none: the model must know them",
    )

    def scorer_view(self, case: Case) -> View:
        """The image. A caption teaches the scorer when it is fitted; it may name the tissue, so it is no input."""
        return View(image=case.image, withheld=_caption(case))

    def downstream_view(self, case: Case) -> View:
        return View(image=case.image, withheld=_caption(case))

    def prompt(self, view: View) -> list[Message]:
        choice = f" Choose from: {', '.join(self.candidates)}." if self.candidates else ""
        wording = _INSTRUCTION_FOR_ONE if self.answer_size == 1 else _INSTRUCTION
        return [Message(role="user", content=wording.format(n=self.answer_size, header=self.header, choice=choice))]


def _caption(case: Case) -> tuple[str, ...]:
    return ("caption",) if case.text else ()


def tissue(name: str) -> Label:
    """The tissue that PanNuke spells so.

    Raises:
        RowError: `unknown-tissue`, offering the nearest known spelling.
    """
    if name in _BY_ID:
        return _BY_ID[name]
    known = {spelling.casefold(): label.id for label in TISSUES for spelling in (label.id, label.name)}
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[near[0]]}?" if near else f"one of {', '.join(_BY_ID)}"
    raise RowError("unknown-tissue", "tissue", repr(name), hint)
