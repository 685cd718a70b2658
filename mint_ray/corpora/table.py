"""Any other source: Parquet files or JSON lines whose columns are fields of `Case`.

Needed are `case_id` and `label_id` (null: unknown). `group_id` is the case itself where it is left out,
`label_name` the label's id; every other field may be missing, and no other column may stand there. An image
is encoded bytes (PNG or JPEG) in Parquet; in JSON lines `image` is base64, or `image_path` names a file
beside the table or below. What is refused, by reason, beside the reasons of `mint_ray.corpora.images`:

| reason            | when                                                     |
|-------------------|----------------------------------------------------------|
| `unreadable-file` | a file breaks off or is damaged                          |
| `unreadable-name` | a file's name is no UTF-8                                |
| `text-too-large`  | a line has over 32 MiB                                   |
| `no-json`         | a line is no JSON object                                 |
| `missing-field`   | `case_id` or `label_id` is not there                     |
| `unknown-field`   | a field that a case does not have                        |
| `wrong-field`     | a value that the field does not take                     |
| `no-image-file`   | `image_path` names no file, or one outside of the folder |
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from mint_ray.corpora.base import Corpus
from mint_ray.corpora.images import ENDINGS, MAX_BYTES, check_image
from mint_ray.corpora.inventory import Inventory, Verdict, survey, unread
from mint_ray.corpora.label_ids import check_list
from mint_ray.corpora.reading import (
    LINES,
    ROWS_PER_BLOCK,
    Outcome,
    Row,
    Unit,
    bytes_below,
    field_error,
    json_object,
    outcomes_of,
    parsed,
    place_of,
    range_unit,
    read_ranges,
    read_texts,
    refusal,
    unreadable,
)
from mint_ray.errors import CorpusError, RowError, StorageError
from mint_ray.records import Case, Refusal, arrow_schema
from mint_ray.storage import Location, location, reaching
from mint_ray.tasks.base import Label, load_labels

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

REQUIRED = ("case_id", "label_id")  # the label where the corpus is labelled: null where it is unknown


class Table(Corpus):
    """Cases that someone has prepared: one file, or a folder of Parquet files or of JSON lines."""

    path: Location
    label_list: Location | None = Field(
        default=None, description="labels.json ([{id, name, synonyms}]); None: the cases' labels"
    )

    def labels(self) -> list[Label] | None:
        if self.label_list is None:
            return None
        try:
            labels = load_labels(self.label_list)
        except StorageError:
            raise
        except ValueError as error:  # in words of its own, by place
            told = type(error).__name__ if isinstance(error, UnicodeError) else error
            raise CorpusError(f"{self.label_list}: is no label list ({told})") from None
        except Exception as error:
            raise CorpusError(f"{self.label_list}: is no label list ({type(error).__name__})") from None
        check_list(labels, self.label_list)
        return labels

    def needed(self) -> Sequence[str]:
        """The columns that must be there."""
        return REQUIRED if self.labelled else REQUIRED[:1]

    def inventory(self) -> Inventory:
        return self._files()[1]

    def outcomes(self, seed: int) -> ray.data.Dataset:
        files, inventory = self._files()
        lines = [file for file in files if file.name.lower().endswith(LINES)]
        units = [range_unit(source, None, 1, error) for source, error in inventory.refused]
        units += [
            unit for file in files if file not in lines for unit in _row_groups(file, self.path.parent, self.needed())
        ]
        if not lines:
            self._check_units(units, inventory)
        found = [read_ranges(units, _read_row_group)] if units else []
        if lines:
            texts = read_texts([file.relative_to(self.path.parent).as_posix() for file in lines], self.path.parent)
            found.append(parsed(texts, partial(read_line, root=self.path.parent, needed=self.needed())))
        return found[0].union(*found[1:]) if len(found) > 1 else found[0]

    def _files(self) -> tuple[list[Path], Inventory]:
        """The files of cases, and the inventory of all."""
        found, inventory = survey(self.path, self.path.parent, self._judge)
        return [file for file in found if file != self.label_list], inventory

    def _judge(self, name: str) -> Verdict:
        if name.lower().endswith((".parquet", *LINES)) or self.path / name == self.label_list:
            return None
        if name.lower().endswith(ENDINGS):
            return "images: one is read where the image_path of a line names it"
        return unread(name)

    def _check_units(self, units: list[Unit], inventory: Inventory) -> None:
        if not inventory.taken and not inventory.refused:
            raise CorpusError(
                f"{self.path}: holds no .parquet, .jsonl or .ndjson (.gz or not) file; it holds {inventory.told()}"
            )
        if not units:
            raise CorpusError(f"{self.path}: its Parquet files hold no rows")
        if all(unit["problem"] for unit in units):
            _, field, seen, expected = json.loads(units[0]["problem"])
            raise CorpusError(f"{self.path}: {units[0]['source']}: {seen}: {field}; expected {expected}")


def _row_groups(path: Path, root: Path, needed: Sequence[str]) -> list[Unit]:
    """One unit a row group, once the file's columns are known to be a case's; else one that is refused."""
    from mint_ray.parquet import parquet_file

    source = path.relative_to(root).as_posix()
    try:
        with reaching(path), parquet_file(path) as file:
            footer, schema = file.metadata, file.schema_arrow
        _check_columns(schema.names, needed)
    except StorageError:
        raise
    except RowError as error:
        return [range_unit(source, None, 1, error)]
    except Exception as error:
        return [range_unit(source, None, 1, unreadable(error, expected="a Parquet file that can be read"))]
    sizes = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    starts = accumulate(sizes, initial=1)
    return [
        range_unit(source, first, size, root=str(root), group=index, needed=list(needed), part=f"row group {index}")
        for index, (first, size) in enumerate(zip(starts, sizes, strict=False))
        if size
    ]


def _check_columns(names: list[str], needed: Sequence[str]) -> None:
    known = arrow_schema(Case).names
    if unknown := [name for name in names if name not in known]:
        raise RowError(
            "unknown-field", ", ".join(unknown), "columns that a case does not have", f"columns of {', '.join(known)}"
        )
    if missing := [name for name in needed if name not in names]:
        raise RowError("missing-field", ", ".join(missing), "no such column", "a column, null where a label is unknown")
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise RowError("wrong-field", ", ".join(twice), "a column that is there twice", "each column once")


def _read_row_group(unit: Unit) -> Iterator[Outcome]:
    from mint_ray.parquet import parquet_file

    path, numbers = location(unit["root"]) / unit["source"], count(unit["first"])
    with reaching(path), parquet_file(path) as file:
        for batch in file.iter_batches(ROWS_PER_BLOCK, row_groups=[unit["group"]]):
            for columns in _plain(batch):
                yield from outcomes_of(
                    {"source": unit["source"], "row": next(numbers), "columns": columns},
                    partial(read_columns, needed=unit["needed"]),
                )


def _plain(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | RowError]:
    """Rows as plain data; a row that holds what Python cannot (broken text, dates out of range), as its fault."""
    try:
        rows: list[Any] = batch.to_pylist()
    except Exception:
        rows = [_plain_row(batch, index) for index in range(batch.num_rows)]
    yield from rows


def _plain_row(batch: pa.RecordBatch, index: int) -> dict[str, Any] | RowError:
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns[name] = column[index].as_py()
        except Exception as error:
            return RowError("wrong-field", name, type(error).__name__, "a value that can be read")
    return columns


def read_columns(row: Row, needed: Sequence[str] = REQUIRED) -> Case | Refusal:
    """A Parquet row, its values in `columns` (or its fault), to a case, or to the reason why it is none."""
    columns = row["columns"]
    try:
        if isinstance(columns, RowError):
            raise columns
        image = columns.get("image")
        return _case(row, {**columns, "image": check_image(image) if isinstance(image, bytes) else image}, needed)
    except RowError as error:
        return refusal(row, error, None if isinstance(columns, RowError) else _id_of(columns))


def read_line(row: Row, root: Path, needed: Sequence[str] = REQUIRED) -> Case | Refusal:
    """A JSON line to a case, or to the reason why it is none; `root` is the folder that its source counts from."""
    columns: dict[str, Any] = {}
    try:
        columns = json_object(row)
        image = _image(columns, (root / row["source"]).parent)
        return _case(row, {**columns, "image": image}, needed)
    except RowError as error:
        return refusal(row, error, _id_of(columns))


def _id_of(columns: dict[str, Any]) -> str | None:
    case_id = columns.get("case_id")
    return case_id if isinstance(case_id, str) else None


def _case(row: Row, columns: dict[str, Any], needed: Sequence[str]) -> Case:
    if missing := [name for name in needed if name not in columns]:
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
        if not isinstance(path, str):
            raise RowError("wrong-field", "image_path", type(path).__name__, "a path beside the table or below")
        return check_image(bytes_below(folder, path, MAX_BYTES, "image_path"), "image_path")
    if encoded is None:
        return None
    try:
        return check_image(base64.b64decode(encoded, validate=True))
    except (TypeError, ValueError):
        raise RowError("wrong-field", "image", type(encoded).__name__, "an image in base64") from None
