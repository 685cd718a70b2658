"""What an application decides: what each model sees of a case, how it is asked, and how it answers.

A task is a `Task` subclass that a package registers (see `mint_ray.plugins`); its fields are the `task` section of the
configuration. Whatever speaks of one application stands in its task and nowhere else. Nothing here imports torch or ray.
"""

from __future__ import annotations

import base64
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mint_ray.records import Case, Message, Phenotype
from mint_ray.sections import KindSection


class Label(BaseModel):
    """One possible answer: an id of its source (`OMIM:147920`, `Breast`), a name, other names."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    id: str
    name: str
    synonyms: tuple[str, ...] = ()


class View(BaseModel):
    """What one model sees of a case. `withheld` names what the case has and this view lacks.

    `findings` are those that stand in the text, for a model that reads them as terms.
    `context` is knowledge about labels that was looked up for the case; see mint_ray/inference/retrieval.py.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    text: str | None = None
    image: bytes | None = None
    findings: tuple[Phenotype, ...] = ()
    withheld: tuple[str, ...] = ()
    context: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"View(text={'yes' if self.text else 'no'}, image={'yes' if self.image else 'no'})"

    __str__ = __repr__


GREY = base64.b64decode(  # a grey PNG of 32 x 32 pixels
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAJklEQVR42u3NMQ0AAAwDoEqv9KrYsQQMkB6LQCAQCAQCgUAg+BIMLd4AWwUP"
    "N68AAAAASUVORK5CYII="
)

Ranker = Callable[[Case], "list[str] | None"]
"""Ranks all labels for a case, best first, by id; None where it cannot."""


def save_labels(labels: list[Label], path: Path) -> None:
    path.write_text(labels_text(labels), encoding="utf-8")


def labels_text(labels: Sequence[Label]) -> str:
    """A list of labels as `load_labels` reads it."""
    return json.dumps([label.model_dump() for label in labels], indent=1, ensure_ascii=False)


def load_labels(path: Path) -> list[Label]:
    """The labels of a list `[{"id": ..., "name": ..., "synonyms": [...]}, ...]`, in its order.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such list, or names a label twice; in one sentence.
    """
    listed = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(listed, list):
        raise ValueError(f"holds a {type(listed).__name__}; expected a list of labels, [{{id, name, synonyms}}]")
    labels: dict[str, Label] = {}
    for number, each in enumerate(cast("list[Any]", listed), 1):
        try:
            label = Label.model_validate(each)
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"])) or "the whole"
            raise ValueError(
                f"label {number}: {field}: {error.errors()[0]['msg']}; expected id, name, synonyms"
            ) from None
        if not label.id.strip() or not label.name.strip():
            raise ValueError(f"label {number} has no {'name' if label.id.strip() else 'id'}")
        if label.id in labels:
            raise ValueError(f"label {number} is {label.id}, which is there before: keep one")
        labels[label.id] = label
    return list(labels.values())


_NUMBERED_LINE = re.compile(r"^\s*(\d+)\s*[.):]\s*(.+?)\s*$")
_QUOTES = "'\"‘’“”`"


class Task(KindSection):
    """An application. The prompt is a contract: pair maker, trainer, evaluation and service call `prompt`."""

    entry_points: ClassVar[str] = "mint_ray.tasks"
    header: ClassVar[str]
    entity: ClassVar[str | None] = None  # what a label is, in a word, which a corpus may be held against
    exact_names: ClassVar[bool] = False  # whether a name that is nearly a label's is another one
    parting_words: ClassVar[frozenset[str]] = frozenset()  # that part two names, however alike they are otherwise
    captions: ClassVar[tuple[str, ...]] = ("an image of {}.",)  # of an image of a label, for scorers that read such
    upright: ClassVar[bool] = True  # whether an image that is turned or mirrored is another one
    terms: ClassVar[str | None] = None  # the vocabulary of findings, by its name
    # Made up. It fills the fields of a case that the application reads: forms offer these, and services try them.
    # As constants, unchecked: to check one takes the whole schema of cases, which nobody needs who mistypes a setting.
    example: ClassVar[Case] = Case.model_construct(
        case_id="example", group_id="example", text="What is seen", image=GREY
    )
    answer_size: int = Field(ge=1, description="names in an answer (published: 10 diseases, 5 tissues)")

    @abstractmethod
    def scorer_view(self, case: Case) -> View:
        """Everything: what the upstream multimodal scorer sees."""

    @abstractmethod
    def downstream_view(self, case: Case) -> View:
        """One modality: what the language model sees, with what was withheld recorded."""

    def blinded_view(self, case: Case) -> View:
        """What the scorer sees where it is blinded to all that the language model lacks, in the scorer's own form."""
        return self.downstream_view(case)

    def query(self, case: Case) -> str | None:
        """What knowledge is looked up by: of what the language model may see, nothing else; None where it has no words."""
        return self.downstream_view(case).text

    @abstractmethod
    def prompt(self, view: View) -> list[Message]:
        """The messages before the answer. Images stand in the view, not in the messages."""

    def rankers(self, labels: Sequence[Label], without: Any = None) -> dict[str, Ranker]:
        """By title: rankings from published knowledge alone, which nothing was trained for. None by default.

        Args:
            without: what this knowledge leaves out, see `held_out`; then there is a ranking with it, too.
        """
        return {}

    def reads(self, field: str) -> bool:
        """Whether the application has a use for a field of a case."""
        return bool(getattr(self.example, field))

    def phenotype(self, words: str, excluded: bool = False) -> Phenotype:
        """A finding by its name, or by its id in the vocabulary; the id is empty where the vocabulary has no such name.

        Raises:
            CorpusError: the words are an id that the vocabulary does not know.
        """
        return Phenotype(id="", name=words, excluded=excluded)

    def suggestions(self, words: str) -> list[tuple[Phenotype, str]]:
        """Findings that the words may be the beginning of, the likeliest first, each with its name that was found."""
        return []

    def counts(self, case: Case) -> dict[str, int]:
        """By title: what else of a case is counted, so that cases of like counts are compared."""
        return {}

    def knowledge(self, labels: Sequence[Label], without: Any = None) -> Mapping[str, str]:
        """By label id: what a published reference says, for prompts with retrieved knowledge. None by default.

        Args:
            without: what it leaves out, see `held_out`.
        """
        return {}

    def held_out(self, cases: Iterable[Case]) -> Any:
        """What published knowledge must not know when it is asked about these cases; None by default: it knows none of them."""
        return None

    def taken_out(self, without: Any) -> dict[str, Any]:
        """How much of the published knowledge that is, for the manifest."""
        return {}

    def vocabulary(self) -> list[str]:
        """Published terms of the field, whose words a tokenizer from scratch may know whole."""
        return []

    def answer(self, names: list[str]) -> str:
        """The published answer form: the header, then numbered, single-quoted names."""
        return "\n".join([self.header, *(f"{i}. '{name}'" for i, name in enumerate(names, 1))])

    def opening(self, name: str) -> str:
        """An answer up to the end of its first name."""
        return self.answer([name]).removesuffix("'")

    def parse(self, text: str) -> list[str]:
        """The names of an answer in order, at most `answer_size`, outer quotes removed.

        Lines before the header are ignored where there is a header; lines without a number always are.
        """
        return [text[start:end] for start, end in self.spans(text)]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where the names of an answer stand in it: first character, and first after; see `parse`."""
        found = text.find(self.header)
        at = 0 if found < 0 else found + len(self.header)
        spans: list[tuple[int, int]] = []
        for line in text[at:].splitlines(keepends=True):
            match = _NUMBERED_LINE.match(line)
            if match and (name := match[2].strip(_QUOTES + " ").strip()):
                start = at + line.index(name, match.start(2))
                spans.append((start, start + len(name)))
            at += len(line)
        return spans[: self.answer_size]
