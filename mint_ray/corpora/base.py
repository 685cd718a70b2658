"""What a corpus is: a section of the configuration that reads its source into cases and refusals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from mint_ray.errors import RowError
from mint_ray.records import Case, Refusal
from mint_ray.sections import KindSection
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

    from mint_ray.corpora.inventory import Inventory
    from mint_ray.hpo import Withheld


_DRAWN_AT_ONCE = 64


class Corpus(KindSection):
    """A source on disk or in an object store, or a simulation. Subclasses import ray inside `outcomes`, never at the top."""

    entry_points: ClassVar[str] = "mint_ray.corpora"
    notes: bool = Field(
        default=True,
        description="read findings, sex and age from each case's text, where the task has such: docs/notes.md",
    )
    labelled: bool = Field(default=True, description="false: a row needs no label, and is not refused without one")

    def label_count(self) -> int | None:
        """The number of labels where the settings alone tell it, so that wrong settings are refused at once."""
        return None

    def entity(self) -> str | None:
        """What its labels are, in the words of `Task.entity`, where the settings tell it."""
        return None

    @abstractmethod
    def labels(self) -> list[Label] | None:
        """The label list where the source has one of its own; None: the labels that its cases carry."""

    def named(self, label: Label) -> Label:
        """A label that the cases carry, with whatever other names the source knows it by."""
        return label

    def inventory(self) -> Inventory | None:
        """What becomes of every file where the source lies; None: it has no files."""
        return None

    @abstractmethod
    def outcomes(self, seed: int) -> ray.data.Dataset:
        """One row for every row of the source, in columns `case` and `refusal`, exactly one of them not null.

        Raises:
            CorpusError: the source as a whole cannot be used.
        """

    def outcomes_without(self, seed: int, without: Withheld | None) -> ray.data.Dataset:
        """As `outcomes`; whatever is drawn from annotations knows nothing of these publications."""
        return self.outcomes(seed)


def drawn(cases: int, draw: Callable[[int], Case | Refusal]) -> ray.data.Dataset:
    """The outcomes of a simulation, each drawn from its number alone."""
    import ray.data

    def block(numbers: dict[str, Any]) -> pa.Table:
        return outcome_table([draw(int(number)) for number in numbers["id"]])

    numbers = ray.data.range(cases, override_num_blocks=max(1, cases // _DRAWN_AT_ONCE))
    work: Any = block  # Ray's types know no batch format
    return numbers.map_batches(work, batch_format="numpy", batch_size=None)


def notes_read(outcomes: pa.Table) -> pa.Table:
    """A block of `Corpus.outcomes` with the notes of its cases read; a case whose note cannot be is refused."""
    from mint_ray.notes.cases import with_note_read

    def read(row: dict[str, Any]) -> Case | Refusal:
        if row["case"] is None:
            return Refusal(**row["refusal"])
        case = Case(**row["case"])
        try:
            return with_note_read(case)
        except RowError as error:
            fault: dict[str, Any] = {"reason": error.reason, "field": error.field, "seen": error.seen}
            return Refusal(source=case.source, case_id=case.case_id, expected=error.expected, **fault)

    return outcome_table([read(row) for row in outcomes.to_pylist()])


def outcome_schema() -> pa.Schema:
    """The Arrow schema of the rows of `Corpus.outcomes`."""
    import pyarrow as pa

    from mint_ray.records import arrow_schema

    return pa.schema(
        [(name, pa.struct(list(arrow_schema(record)))) for name, record in [("case", Case), ("refusal", Refusal)]]
    )


def outcome_table(outcomes: list[Case | Refusal]) -> pa.Table:
    """Cases and refusals, in their order, as a block of `Corpus.outcomes`; what Arrow cannot hold is refused."""
    import pyarrow as pa

    try:
        return _table(outcomes)
    except Exception:
        return pa.concat_tables([_row_table(outcome) for outcome in outcomes])


def _table(outcomes: Sequence[Case | Refusal]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "case": o.model_dump() if isinstance(o, Case) else None,
            "refusal": o.model_dump() if isinstance(o, Refusal) else None,
        }
        for o in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=outcome_schema())


def _row_table(outcome: Case | Refusal) -> pa.Table:
    from mint_ray.corpora.inventory import shown

    try:
        return _table([outcome])
    except Exception as error:
        place: dict[str, Any] = {"source": shown(outcome.source), "case_id": shown(str(outcome.case_id), 200)}
        field, expected = _unheld(outcome), "values that Arrow can hold: text in Unicode, numbers in 64 bits"
        return _table(
            [Refusal(**place, reason="wrong-field", field=field, seen=type(error).__name__, expected=expected)]
        )


def _unheld(outcome: Case | Refusal) -> str:
    """The first field that Arrow cannot hold."""
    import pyarrow as pa

    from mint_ray.records import arrow_schema

    for field in arrow_schema(type(outcome)):
        try:
            pa.array([outcome.model_dump()[field.name]], field.type)
        except Exception:
            return field.name
    return "row"
