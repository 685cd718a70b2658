"""A run's pairs, as later stages read them.

preferences/
  pairs/{train,validation}/part-*.parquet  `PreferencePair`; no column `images` where the task shows none
  refused/part-*.parquet                   `Refusal`; written last, be it empty: a part is done when it exists
  README.md, plots/                        the data set's card
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
import pyarrow.dataset

from mint_ray.errors import RunError
from mint_ray.parquet import parquet_file, part_files, read_parts, read_table
from mint_ray.records import PAIR_SCHEMA_VERSION, PreferencePair, Refusal, arrow_schema
from mint_ray.runs import Run
from mint_ray.storage import location, reaching

if TYPE_CHECKING:
    import datasets

PAIR_SPLITS = ("train", "validation")


def pair_dataset(run: Run, split: str) -> datasets.Dataset:
    """The pairs of a split in the order of the cases, columns as in `PreferencePair`, held in memory.

    A row's `images` are `{"bytes", "path"}`, not decoded; the column is missing where the task shows none.
    A split without pairs is a data set without rows.

    Raises:
        RunError: there are no pairs yet, or the files hold something else.
    """
    import datasets

    schema = stored_schema(run)
    tables = [read_pairs(path, schema) for path in pair_files(run, split)]
    table: Any = (
        pa.concat_tables(tables) if tables else schema.empty_table()
    )  # it takes Arrow's own, which its types do not say
    return datasets.Dataset(table)


def pair_files(run: Run, split: str) -> list[Path]:
    """The files of a split's pairs, in the order of the cases."""
    return part_files(run.stage("preferences").path / "pairs" / split)


def stored_schema(run: Run) -> pa.Schema:
    """The columns that a run's pairs have; without the metadata that marks images as images, and has them decoded.

    Raises:
        RunError: there are no pairs yet, or the first file holds something else.
    """
    found = [path for split in PAIR_SPLITS for path in pair_files(run, split)]
    if not found:
        folder = run.stage("preferences").path / "pairs"
        raise RunError(f"{folder} holds no pairs: run the stage `preferences` first")
    return pair_schema("images" in _columns(found[0])).remove_metadata()


def read_pairs(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, which are fields of `PreferencePair`, of a file of pairs.

    Raises:
        RunError: the file is none of pairs, or a pair lacks something; with column and case, without what it says.
    """
    wanted = [name for name in _columns(path) if name in schema.names]
    with _readable(path):
        stored = read_table(path, wanted)
    return _checked(stored, schema, path)


@dataclass(frozen=True)
class RowGroups:
    """Some of a file of pairs: `groups` are Parquet's row groups, `first` the place of their first row in the split."""

    file: str
    groups: tuple[int, ...]
    first: int


def group_pairs(run: Run, split: str, rows: int, size: int) -> list[list[RowGroups]]:
    """A split's pairs in shares of about so many rows, and bytes as they lie in memory, that need not be read together.

    No row group is cut, so a share is larger where one is.

    Raises:
        RunError: a file is none of Parquet.
    """
    shares: list[list[RowGroups]] = [[]]
    first = held = weight = 0
    for path in pair_files(run, split):
        with _readable(path), parquet_file(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        for number, group in enumerate(groups):
            if held >= rows or weight >= size:
                shares.append([])
                held = weight = 0
            last = shares[-1][-1] if shares[-1] else None
            if last and last.file == str(path):
                shares[-1][-1] = replace(last, groups=(*last.groups, number))
            else:
                shares[-1].append(RowGroups(str(path), (number,), first))
            first, held, weight = first + group.num_rows, held + group.num_rows, weight + group.total_byte_size
    return [share for share in shares if share]


def stream_pairs(share: RowGroups, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """As `read_pairs`, so many rows at a time, however large a row group is.

    Raises:
        RunError: as `read_pairs`.
    """
    path = location(share.file)
    wanted = [name for name in _columns(path) if name in schema.names]
    with _readable(path), reaching(path), parquet_file(path) as file:
        for batch in file.iter_batches(rows, row_groups=list(share.groups), columns=wanted):
            yield _checked(pa.Table.from_batches([batch]), schema, path)


def _checked(stored: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    table = pa.table([_column(stored, field, path) for field in schema], schema=schema)
    for row in table.drop_columns([name for name in ("images",) if name in schema.names]).to_pylist():
        _check_pair(row, path)
    return table


_MEND_PAIRS = "; run the stage `preferences` again (--fresh), or write the pairs as docs/preferences.md shows"


def _columns(path: Path) -> list[str]:
    with _readable(path):
        return parquet_file(path).schema_arrow.names


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"{path}: cannot be read as Parquet ({type(error).__name__}){_MEND_PAIRS}") from None


def _column(stored: pa.Table, field: pa.Field, path: Path) -> pa.ChunkedArray:
    if field.name not in stored.column_names:
        seen = "not there"
    else:
        column = stored[field.name]
        try:
            return column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            seen = f"of type {column.type}"
    raise RunError(f"{path}: the column `{field.name}` is {seen}; expected {field.type}{_MEND_PAIRS}")


def _check_pair(row: dict, path: Path) -> None:
    """See that a row holds what a pair must: every message in its place, an answer on each side."""
    where, version = f"{path}: the pair of case {row.get('case_id')!r}", row.get("schema_version", PAIR_SCHEMA_VERSION)
    if version != PAIR_SCHEMA_VERSION:
        raise RunError(f"{where} is of schema version {version}; this release reads {PAIR_SCHEMA_VERSION}{_MEND_PAIRS}")
    for name, value in row.items():
        problem = _problem(name, value)
        if problem:
            raise RunError(f"{where}: `{name}` {problem}{_MEND_PAIRS}")


def _problem(name: str, value: Any) -> str | None:
    if value is None:
        return None if name in _MAY_BE_NULL else "is null"
    if isinstance(value, list) and None in value:
        return "holds a null"
    if name not in ("prompt", "chosen", "rejected"):
        return None
    roles = [message["role"] for message in value]
    if not roles or any(not message[key] for message in value for key in ("role", "content")):
        return "holds no message" if not roles else "holds a message without role or content"
    if name != "prompt" and roles != ["assistant"]:
        return f"holds messages of {', '.join(roles)}; expected one of the assistant"
    return None


_MAY_BE_NULL = {name for name, field in PreferencePair.model_fields.items() if type(None) in get_args(field.annotation)}


def refusal_table(run: Run) -> pa.Table:
    """The ranked cases that make no pair, columns as in `Refusal`, in the order of the cases."""
    return read_parts(run.stage("preferences").path / "refused", arrow_schema(Refusal))


def pair_schema(images: bool) -> pa.Schema:
    """The Arrow schema of pairs; its metadata tells `datasets` that `images` are images.

    Args:
        images: whether the task shows images. TRL takes any data set with this column for a vision
            data set and refuses to train a text model on it, so text tasks leave it out.
    """
    import datasets

    schema = arrow_schema(PreferencePair)
    if not images:
        return schema.remove(schema.get_field_index("images"))
    features = datasets.Features.from_arrow_schema(schema)
    features["images"] = datasets.List(datasets.Image())
    return schema.with_metadata(features.arrow_schema.metadata)
