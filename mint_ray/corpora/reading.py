"""What file readers share: rows with their origin as a stream, and rows to outcomes, block by block.

A row is a dictionary with `source` (the file, with the member of an archive after `!`) and `row` (its line
or number from 1, null where the file is the row), beside the reader's own columns.
"""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import ValidationError

from mint_ray.corpora.base import outcome_table
from mint_ray.errors import CorpusError, RowError
from mint_ray.records import Case, Refusal
from mint_ray.storage import files_below, location, opened

if TYPE_CHECKING:
    import ray.data

ROWS_PER_BLOCK = 128
LINES = (".jsonl", ".jsonl.gz")
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_TEXT = pa.schema([("source", pa.string()), ("row", pa.int64()), ("text", pa.binary()), ("problem", pa.string())])

Row = dict[str, Any]
Unit = dict[str, Any]


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def refusal(row: Row, error: RowError, case_id: str | None = None) -> Refusal:
    """The refusal of a row, with where it stands."""
    place = {"source": row["source"], "row": row["row"], "case_id": case_id}
    return Refusal(**place, reason=error.reason, field=error.field, seen=error.seen, expected=error.expected)


def place_of(row: Row) -> str:
    """A case's `source`: file, member, line."""
    return row["source"] if row["row"] is None else f"{row['source']}:{row['row']}"


def parsed(rows: ray.data.Dataset, parse: Callable[[Row], Case | Refusal]) -> ray.data.Dataset:
    """Rows to the outcomes of `Corpus.outcomes`, at most `ROWS_PER_BLOCK` a block."""
    # Strict, or Ray fuses this with what reads the rows, and one file is parsed by one task.
    blocks = rows.repartition(target_num_rows_per_block=ROWS_PER_BLOCK, strict=True)
    return blocks.map_batches(partial(_parse_block, parse=parse), batch_format="pyarrow", batch_size=None)


def _parse_block(block: pa.Table, parse: Callable[[Row], Case | Refusal]) -> pa.Table:
    return outcome_table([parse(row) for row in block.to_pylist()])


def read_units(units: list[Unit], read: Callable[[Unit], Iterator[pa.Table]]) -> ray.data.Dataset:
    """The tables that `read` yields for each unit (plain data that says what to read), one task a unit."""
    import ray

    items = ray.data.from_items(units, override_num_blocks=len(units))
    return items.map_batches(partial(_read_block, read=read), batch_format="pyarrow", batch_size=None)


def _read_block(block: pa.Table, read: Callable[[Unit], Iterator[pa.Table]]) -> Iterator[pa.Table]:
    for unit in block.to_pylist():
        yield from read(unit)


def text_rows(path: Path) -> ray.data.Dataset:
    """JSON texts as rows with a column `text`, or with `problem` where a file cannot be read to its end.

    Args:
        path: JSON lines (also gzipped), a ZIP of .json members, one .json file, or a folder of these.

    Raises:
        CorpusError: the path is missing, is none of these, or holds none.
    """
    units = text_units(path)
    if not units:
        raise CorpusError(f"{path}: holds no .json, .jsonl or .jsonl.gz file, and no .zip with .json members")
    return read_units(units, _read_texts)


def files_under(path: Path) -> list[Path]:
    """The file itself, or all files below a folder but hidden ones, in the order of their names.

    Raises:
        CorpusError: there is nothing by that name.
    """
    found = files_below(path)
    if not found and not path.exists():
        raise CorpusError(f"{path}: is not there; name a file or a folder")
    return [file for file in found if not file.name.startswith(".")]


def text_units(path: Path) -> list[Unit]:
    """What `text_rows` reads, one task each: a file of lines, or up to `ROWS_PER_BLOCK` JSON documents."""
    root, files = path.parent, files_under(path)
    loose = [_name(file, root) for file in files if file.suffix == ".json"]
    units = [_unit(root, "", names) for names in chunks(loose, ROWS_PER_BLOCK)]
    for file in files:
        if file.name.endswith(LINES):
            units.append(_unit(root, _name(file, root), []))
        elif file.suffix == ".zip":
            units += [_unit(root, _name(file, root), names) for names in chunks(_json_members(file), ROWS_PER_BLOCK)]
    return units


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _unit(root: Path, file: str, members: list[str]) -> Unit:
    return {"root": str(root), "file": file, "members": members}


def _json_members(path: Path) -> list[str]:
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            names = sorted(archive.namelist())
    except UNREADABLE as error:
        raise CorpusError(f"{path}: is no ZIP that can be read ({type(error).__name__})") from None
    return [n for n in names if n.endswith(".json") and not n.rpartition("/")[2].startswith(".")]


def _read_texts(unit: Unit) -> Iterator[pa.Table]:
    root = location(unit["root"])
    if not unit["file"]:
        rows = (_document(name, partial(_bytes, root / name)) for name in unit["members"])
    elif unit["members"]:
        rows = _members(root, unit["file"], unit["members"])
    else:
        rows = _lines(root, unit["file"])
    for chunk in chunks(rows, ROWS_PER_BLOCK):
        yield pa.Table.from_pylist(chunk, schema=_TEXT)


def _text(source: str, row: int | None, text: bytes | None, problem: str | None = None) -> Row:
    return {"source": source, "row": row, "text": text, "problem": problem}


def _bytes(path: Path) -> bytes:
    with opened(path) as file:
        return file.read()


def _document(source: str, read: Callable[[], bytes]) -> Row:
    try:
        return _text(source, None, read())
    except UNREADABLE as error:
        return _text(source, None, None, type(error).__name__)


def _members(root: Path, file: str, members: list[str]) -> Iterator[Row]:
    with opened(root / file) as stored, zipfile.ZipFile(stored) as archive:
        for member in members:
            yield _document(f"{file}!{member}", partial(archive.read, member))


def _lines(root: Path, file: str) -> Iterator[Row]:
    number = 0
    try:
        with opened(root / file) as stored, gzip.open(stored) if file.endswith(".gz") else stored as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _text(file, number, line)
    except UNREADABLE as error:
        yield _text(file, number + 1, None, type(error).__name__)


def json_object(row: Row) -> dict[str, Any]:
    """The JSON object of a text row.

    Raises:
        RowError: `unreadable-file` (cut off, damaged, encrypted) or `no-json` (also JSON that is no object).
    """
    if row["text"] is None:
        raise RowError("unreadable-file", "file", row["problem"], "a file that can be read to its end")
    try:
        value = json.loads(row["text"])
    except (ValueError, RecursionError) as error:
        place = (
            f"line {error.lineno}, column {error.colno}"
            if isinstance(error, json.JSONDecodeError)
            else type(error).__name__
        )
        raise RowError("no-json", seen=f"no JSON at {place}", expected="one JSON object") from None
    if not isinstance(value, dict):
        raise RowError("no-json", seen=type(value).__name__, expected="one JSON object")
    return value


def field_error(error: ValidationError) -> RowError:
    """The first thing that a record's validation refuses, by field; never the value that stands there."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return RowError("missing-field", field, "nothing", "a value")
    if first["type"] == "extra_forbidden":
        return RowError("unknown-field", field, "a field of no case", "the fields of the case schema")
    return RowError("wrong-field", field, first["type"].replace("_", " "), first["msg"])
