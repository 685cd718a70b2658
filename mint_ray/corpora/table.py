"""Any other source: Parquet files or JSON lines whose columns are fields of `Case`.

Needed are `case_id` and `label_id` (null: unknown). `group_id` is the case itself where it is left out,
`label_name` the label's id; every other field may be missing, and no other column may stand there. An image
is encoded bytes (PNG or JPEG) in Parquet; in JSON lines `image` is base64, or `image_path` names a file
beside the table or below. What is refused, by reason, beside the reasons of `mint_ray.corpora.images`:

| reason            | when                                                     |
|-------------------|----------------------------------------------------------|
| `unreadable-file` | a file breaks off or is damaged                          |
| `no-json`         | a line is no JSON object                                 |
| `missing-field`   | `case_id` or `label_id` is not there                     |
| `unknown-field`   | a field that a case does not have                        |
| `wrong-field`     | a value that the field does not take                     |
| `no-image-file`   | `image_path` names no file, or one outside of the folder |
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field, ValidationError

from mint_ray.corpora.base import Corpus, outcome_table
from mint_ray.corpora.images import MAX_BYTES, check_image
from mint_ray.corpora.reading import (
    LINES,
    ROWS_PER_BLOCK,
    Row,
    Unit,
    chunks,
    field_error,
    files_under,
    json_object,
    parsed,
    place_of,
    read_units,
    refusal,
    text_rows,
)
from mint_ray.errors import CorpusError, RowError
from mint_ray.records import Case, Refusal, arrow_schema
from mint_ray.storage import Location, location, opened, parquet_file, reaching
from mint_ray.tasks.base import Label, load_labels

if TYPE_CHECKING:
    import ray.data

REQUIRED = ("case_id", "label_id")


class Table(Corpus):
    """Cases that someone has prepared: one file, or a folder of Parquet files or of JSON lines."""

    path: Location
    label_list: Location | None = Field(
        None, description="labels.json ([{id, name, synonyms}]); None: the cases' labels"
    )

    def labels(self) -> list[Label] | None:
        if self.label_list is None:
            return None
        try:
            labels = load_labels(self.label_list)
        except (OSError, ValueError, TypeError) as error:
            raise CorpusError(f"{self.label_list}: is no label list ({type(error).__name__})") from None
        if not labels:
            raise CorpusError(f"{self.label_list}: is an empty label list")
        return labels

    def outcomes(self, seed: int) -> ray.data.Dataset:
        parquet = [file for file in files_under(self.path) if file.suffix == ".parquet"]
        if parquet:
            units = [unit for file in parquet for unit in _row_groups(file, self.path.parent)]
            if not units:
                raise CorpusError(f"{self.path}: its Parquet files hold no rows")
            return read_units(units, _read_row_group)
        if not any(file.name.endswith(LINES) for file in files_under(self.path)):
            raise CorpusError(f"{self.path}: holds no .parquet, .jsonl or .jsonl.gz file")
        return parsed(text_rows(self.path), partial(read_line, root=self.path.parent))


def _row_groups(path: Path, root: Path) -> Iterator[Unit]:
    """One unit a row group, once the file's columns are known to be a case's."""
    try:
        with parquet_file(path) as file:
            footer = file.metadata
        schema = footer.schema.to_arrow_schema()
    except (OSError, pa.ArrowInvalid) as error:
        raise CorpusError(f"{path}: is no Parquet file ({type(error).__name__})") from None
    known = arrow_schema(Case)
    if unknown := [name for name in schema.names if name not in known.names]:
        raise CorpusError(
            f"{path}: columns that a case does not have: {', '.join(unknown)}; known: {', '.join(known.names)}"
        )
    if missing := [name for name in REQUIRED if name not in schema.names]:
        raise CorpusError(f"{path}: has no column {', '.join(missing)}")
    first = 1
    for index in range(footer.num_row_groups):
        yield {"root": str(root), "file": path.relative_to(root).as_posix(), "group": index, "first": first}
        first += footer.row_group(index).num_rows


def _read_row_group(unit: Unit) -> Iterator[pa.Table]:
    path = location(unit["root"]) / unit["file"]
    with reaching(path), parquet_file(path) as file:
        batches = file.iter_batches(ROWS_PER_BLOCK, row_groups=[unit["group"]])
        rows = enumerate((row for batch in batches for row in batch.to_pylist()), unit["first"])
        for chunk in chunks(rows, ROWS_PER_BLOCK):
            yield outcome_table([read_columns({"source": unit["file"], "row": n}, columns) for n, columns in chunk])


def read_columns(row: Row, columns: dict[str, Any]) -> Case | Refusal:
    """The columns of a Parquet row to a case, or to the reason why they are none."""
    try:
        case = _case(row, columns)
        if case.image is not None:
            check_image(case.image)
        return case
    except RowError as error:
        return refusal(row, error, _id_of(columns))


def read_line(row: Row, root: Path) -> Case | Refusal:
    """A JSON line to a case, or to the reason why it is none; `root` is the folder that its source counts from."""
    columns: dict[str, Any] = {}
    try:
        columns = json_object(row)
        image = _image(columns, (root / row["source"]).parent)
        return _case(row, {**columns, "image": image})
    except RowError as error:
        return refusal(row, error, _id_of(columns))


def _id_of(columns: dict[str, Any]) -> str | None:
    case_id = columns.get("case_id")
    return case_id if isinstance(case_id, str) else None


def _case(row: Row, columns: dict[str, Any]) -> Case:
    if missing := [name for name in REQUIRED if name not in columns]:
        raise RowError("missing-field", missing[0], "nothing", "a value, or null for an unknown label")
    given = _without_nulls(columns) | {"source": place_of(row)}
    given.setdefault("group_id", given.get("case_id"))
    if "label_id" in given:
        given.setdefault("label_name", given["label_id"])
    try:
        case = Case.model_validate(given)
    except ValidationError as error:
        raise field_error(error) from None
    if not case.case_id.strip():
        raise RowError("missing-field", "case_id", "an empty text", "the case's id")
    return case


def _without_nulls(value: Any) -> Any:
    """Plain data without keys whose value is null or not a number, so that the record's defaults hold."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(item) for key, item in value.items() if item is not None and item == item}


def _image(columns: dict[str, Any], folder: Path) -> bytes | None:
    """The image of a JSON line, checked; takes `image_path` out of the columns."""
    path, encoded = columns.pop("image_path", None), columns.get("image")
    if path is not None:
        return _image_file(str(path), folder)
    if encoded is None:
        return None
    try:
        return check_image(base64.b64decode(encoded, validate=True))
    except (TypeError, ValueError):
        raise RowError("wrong-field", "image", type(encoded).__name__, "an image in base64") from None


def _image_file(name: str, folder: Path) -> bytes:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise RowError(
            "no-image-file", "image_path", "a path outside of the folder", "a file beside the table or below"
        )
    try:
        with opened(path) as file:
            return check_image(file.read(MAX_BYTES + 1), "image_path")
    except OSError as error:
        raise RowError("no-image-file", "image_path", type(error).__name__, "a file that can be read") from None


KIND = Table
