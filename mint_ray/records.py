"""The records that cross a boundary of the line, each with the Arrow schema derived from it.

| record           | made by                | read by                              |
|------------------|------------------------|--------------------------------------|
| `Case`           | corpora                | scorers, preferences, inference      |
| `Refusal`        | every reader and stage | the stage's manifest, the report     |
| `Ranking`        | preferences (a scorer) | preferences, evaluation              |
| `PreferencePair` | preferences            | alignment, TRL, datasets             |
| `Answer`         | inference              | evaluation                           |
| `GradedAnswer`   | evaluation             | report                               |
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    import pyarrow as pa

PAIR_SCHEMA_VERSION = 1
MAX_CHARACTERS = 500  # of an id or a name: the longest name of a disease has 145
MAX_YEARS = 150

Split = Literal["scorer", "train", "validation", "test"]
# What a scorer or a language model has learnt from: no group of theirs is asked about.
LEARNED_FROM: tuple[Split, ...] = ("scorer", "train")
Modality = Literal["text", "image"]
Sex = Literal["female", "male", "other"]
R = typing.TypeVar("R", bound="Record")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _text(text: str) -> str:
    """A text that UTF-8 can hold; JSON can carry halves of characters, which no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("lone_surrogate", "a text that UTF-8 can hold") from None
    return text


def _line(text: str) -> str:
    """A text of one line: line breaks, tabs and runs of spaces are one space, as in a folded text of YAML."""
    line = " ".join(_text(text).split())
    if _CONTROL.search(line):
        raise PydanticCustomError("control_character", "a text without control characters")
    return _bounded(line)


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise PydanticCustomError("too_long", "at most {most} characters", {"most": MAX_CHARACTERS})
    return text


def _there(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("missing", "a text that is not blank")
    return text


def _id(text: str) -> str:
    """An id is kept as it is written, or refused: two ids must not become one."""
    if _CONTROL.search(_text(text)):
        raise PydanticCustomError("control_character", "an id without line breaks and control characters")
    return _bounded(text)


def _shown(text: Any) -> Any:
    """What a refusal says of a row: writable whatever the row holds, and short."""
    if not isinstance(text, str):
        return text
    whole = text.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", whole)[:2000]


Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[str, AfterValidator(_line)]
Name = Annotated[str, AfterValidator(_line), AfterValidator(_there)]
Id = Annotated[str, AfterValidator(_id), AfterValidator(_there)]
Years = Annotated[float, Field(ge=0, le=MAX_YEARS, allow_inf_nan=False)]
Shown = Annotated[str, BeforeValidator(_shown)]


class Record(BaseModel):
    """A row of a Parquet file. Its repr shows ids alone: rows may hold patients' text and images."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, 'case_id', '')})"

    __str__ = __repr__


class Phenotype(Record):
    """One finding: a term of the Human Phenotype Ontology, observed or looked for and excluded.

    `modality` says where the finding can be seen: a term of modality `image` shows in the photograph
    and stands in no text that a model reads. `id` is empty where somebody named a finding in words of their own.
    """

    id: Line
    name: Name
    excluded: bool = False
    modality: Modality = "text"

    def __repr__(self) -> str:
        return "Phenotype()"


class Mention(Record):
    """A place in a case's `text` that names a finding: characters `start` to `end`, and what is said of it there.

    `family` is a relative's finding; `uncertain` one that is suspected, to be looked for, or was not looked for.
    """

    id: Line
    name: Line = ""
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    status: Literal["observed", "excluded", "uncertain", "family"] = "observed"

    def __repr__(self) -> str:
        return "Mention()"


class Case(Record):
    """One patient or one patch, as its source has it: nothing flattened away, nothing withheld yet.

    `group_id` (publication, patient or slide) is the unit of splitting and of the bootstrap; `publications`
    are the papers that the source names for it, its own first, each with all of its ids. `label_synonyms` are
    other names that the source has for the label. `image` holds encoded bytes (PNG or JPEG). `text` is the
    source's free text, if it has any. `source` names the file and row that the case was read from.
    `synthetic` marks whatever was simulated. Ids and names are single lines, not blank, of at most
    `MAX_CHARACTERS`; an age is 0 to `MAX_YEARS`.
    """

    case_id: Id
    group_id: Id
    publications: list[list[Id]] = []
    split: Split | None = None
    label_id: Id | None = None
    label_name: Name | None = None
    label_synonyms: list[Name] = []
    image: bytes | None = None
    text: Text | None = None
    phenotypes: list[Phenotype] = []
    mentions: list[Mention] = []
    sex: Sex | None = None
    age_years: Years | None = None
    ethnicity: Line | None = None
    synthetic: bool = False
    source: Shown = ""


class Refusal(Record):
    """A row that could not be used, kept beside the rows that could: where, which rule, what was seen."""

    source: Shown
    row: int | None = None
    case_id: Shown | None = None
    reason: str
    field: Shown = ""
    seen: Shown = ""
    expected: Shown = ""


class Ranking(Record):
    """All labels of a case in the scorer's order, best first; `scores` are aligned with `label_ids`.

    `tokens_cut` are those of the case's text that the scorer had no room for; null where it does not say.
    """

    case_id: str
    group_id: str
    split: Split | None = None
    label_id: str | None = None
    label_ids: list[str]
    scores: list[float]
    scorer: str
    scorer_digest: str
    tokens_cut: int | None = None


class Message(Record):
    role: Literal["system", "user", "assistant"]
    content: str


class EncodedImage(Record):
    """An image as Hugging Face `datasets` stores it in Parquet."""

    bytes: bytes
    path: str | None = None


class PreferencePair(Record):
    """One preference in the conversational format of the field; TRL and `datasets` read it as it is.

    `chosen_label_ids` and `rejected_label_ids` are what the two answers name, in order; the score lists
    are aligned with them. `withheld` names what the scorer saw and the downstream model does not.
    `policy` is the pair policy's parameters as JSON.
    """

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    images: list[EncodedImage] = []
    case_id: str
    group_id: str
    split: Split | None = None
    label_id: str | None = None
    chosen_label_ids: list[str]
    rejected_label_ids: list[str]
    chosen_scores: list[float]
    rejected_scores: list[float]
    withheld: list[str] = []
    scorer: str
    scorer_digest: str
    policy: str
    schema_version: int = PAIR_SCHEMA_VERSION


def sample_id(case_id: str, number: int) -> str:
    """The id that a case is asked by for the so many-th time."""
    return f"{case_id}#{number}"


def case_of(sample: str) -> str:
    """The case that a `sample_id` belongs to."""
    return sample.rpartition("#")[0]


class Answer(Record):
    """What a model said for a case. `finish_reason` is `stop`, `length` (cut off) or `empty`.

    `retrieved` holds the labels whose knowledge stood in the prompt, the best first; null without retrieval.
    `log_probabilities`, one for each of these, say how likely the model was to name it first; null where not asked for.
    """

    case_id: str
    group_id: str
    label_id: str | None = None
    model: str
    model_digest: str
    adapter_digest: str | None = None
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    retrieved: list[str] | None = None
    log_probabilities: list[float] | None = None


class GradedAnswer(Answer):
    """An answer, the names read out of it, and the label each name grounds to (null: none)."""

    names: list[str]
    grounded_label_ids: list[str | None]


@cache
def _arrow_types() -> dict[Any, pa.DataType]:
    import pyarrow as pa

    return {str: pa.string(), bytes: pa.binary(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def _arrow_type(annotation: Any) -> pa.DataType:
    import pyarrow as pa

    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _arrow_types():
        return _arrow_types()[annotation]
    if origin is Annotated:
        return _arrow_type(arguments[0])
    if origin in (typing.Union, types.UnionType):
        (inner,) = (a for a in arguments if a is not type(None))
        return _arrow_type(inner)
    if origin is Literal:
        return pa.string()
    if origin is list:
        return pa.list_(_arrow_type(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(list(arrow_schema(annotation)))
    raise TypeError(f"no Arrow type for {annotation}")


def arrow_schema(record: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a record class: one column a field, in the order of declaration.

    Literals become plain strings, not dictionaries, so that blocks concatenate without unifying.
    """
    import pyarrow as pa

    return pa.schema([pa.field(name, _arrow_type(field.annotation)) for name, field in record.model_fields.items()])


def to_table(records: Iterable[Record], record: type[Record]) -> pa.Table:
    """Records as an Arrow table of exactly the record's schema, also when there are none."""
    import pyarrow as pa

    return pa.Table.from_pylist([r.model_dump() for r in records], schema=arrow_schema(record))


def as_stored(table: pa.Table, record: type[R], known: dict[Any, Record] | None = None) -> Iterator[R]:
    """The records of a table that was written from records: what was checked then is not checked again.

    Equal records within them, as findings that many cases have, are one object.

    Args:
        known: the records within that earlier tables had; those of this one are added, so that they are not made anew.
    """
    known = {} if known is None else known
    columns: list[list[Any]] = []
    for name in table.column_names:
        column: Any = table[name].combine_chunks()
        inner = _inner_record(record.model_fields[name])
        columns.append(_each_once(column, inner, known) if inner else plain_values(column))
    for row in zip(*columns, strict=True):
        yield record.model_construct(**dict(zip(table.column_names, row, strict=True)))


def plain_values(array: Any) -> list[Any]:
    """What `to_pylist` gives, but not value by value: flat ones come at once, and lists are cut out of them."""
    from pyarrow import types

    kind: Any = array.type
    if types.is_list(kind) and not array.null_count:
        return _cut(plain_values(array.flatten()), array)
    number = types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    if types.is_string(kind) or types.is_binary(kind) or (number and not array.null_count):
        return array.to_numpy(zero_copy_only=False).tolist()  # numbers with nulls would become floats
    return array.to_pylist()


def _each_once(lists: Any, record: type[Record], known: dict[Any, Record]) -> list[list[Record]]:
    """Lists of records; equal ones are one object."""
    flat = lists.flatten()
    names, kind = [field.name for field in flat.type], repeat(record)
    keys = list(zip(kind, *map(plain_values, flat.flatten()), strict=False))
    for key in set(keys) - known.keys():
        known[key] = record.model_construct(**dict(zip(names, key[1:], strict=True)))
    return _cut([known[key] for key in keys], lists)


def _cut(flat: list[Any], lists: Any) -> list[list[Any]]:
    """The flat values of lists, parted into them."""
    ends = list(accumulate(plain_values(lists.value_lengths()), initial=0))
    return [flat[start:end] for start, end in pairwise(ends)]


def _inner_record(field: Any) -> type[Record] | None:
    """The record that a field has a list of, if it has one."""
    inner: Any = next(iter(get_args(field.annotation)), None)
    listed = get_origin(field.annotation) is list and isinstance(inner, type) and issubclass(inner, Record)
    return typing.cast("type[Record]", inner) if listed else None


def from_table(table: pa.Table, record: type[R]) -> Iterator[R]:
    """The records of a table, each validated."""
    for row in table.to_pylist():
        yield record.model_validate(row)
