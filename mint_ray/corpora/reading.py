"""What file readers share: rows with their origin as a stream, and rows to outcomes, block by block.

A row is a dictionary with `source` (the file, with the member of an archive after `!`) and `row` (its line
or number from 1, null where the file is the row), beside the reader's own columns. Where the column `problem` is not
empty, the row was refused before it could be read; `case_id` is its case's, where that is known by then.

Nothing that a row does stops a corpus: what its reader raises is a refusal by the exception's type, never by its text.
Only what an object store refuses is no fault of a row, and ends the stage.
"""

from __future__ import annotations

import gzip
import io
import json
import stat
import traceback
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from mint_ray.corpora.base import outcome_table
from mint_ray.corpora.inventory import HIDDEN, Inventory, Verdict, hidden, is_text, shown, survey, unread
from mint_ray.errors import CorpusError, RowError, StorageError
from mint_ray.records import Case, Refusal
from mint_ray.storage import location, opened, reaching, remote
from mint_ray.yaml_text import Document, NotPlain, parse_yaml

if TYPE_CHECKING:
    import pyarrow as pa
    import ray.data

ROWS_PER_BLOCK = 128
BLOCK_BYTES = 32 * 2**20
MAX_TEXT = 32 * 2**20  # a document or line: an image of 20 MiB in base64 fits
LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_YAML = (".yml", ".yaml", ".yml.gz", ".yaml.gz")
DOCUMENTS = (".json", ".json.gz", *_YAML)
_PROTOBUF = (".pb", ".pbtxt", ".txtpb", ".pb.txt", ".textproto", ".prototxt", ".binpb", ".protobuf")

Row = dict[str, Any]
Unit = dict[str, Any]
Outcome = Case | Refusal


def chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Consecutive lists of at most `size` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def refusal(row: Row, error: RowError, case_id: str | None = None) -> Refusal:
    """The refusal of a row, with where it stands."""
    return Refusal(
        source=shown(row["source"]),
        row=row["row"],
        case_id=None if case_id is None else shown(case_id, 200),
        reason=error.reason,
        field=shown(error.field, 200),
        seen=shown(error.seen, 500),
        expected=shown(error.expected, 1000),
    )


def place_of(row: Row) -> str:
    """A case's `source`: file, member, line."""
    return row["source"] if row["row"] is None else f"{row['source']}:{row['row']}"


def problem_of(error: RowError) -> str:
    """An error as the column `problem` holds it."""
    return json.dumps([error.reason, error.field, error.seen, error.expected])


def unreadable(
    error: BaseException, field: str = "file", expected: str = "a file that can be read to its end"
) -> RowError:
    """The refusal of what cannot be read, by the exception's type."""
    return RowError("unreadable-file", field, type(error).__name__, expected)


def outcomes_of(row: Row, parse: Callable[[Row], Outcome | list[Outcome]]) -> list[Outcome]:
    """What a reader makes of a row; whatever it raises is a refusal.

    Raises:
        StorageError: an object store refused meanwhile.
    """
    try:
        if row.get("problem"):
            raise RowError(*json.loads(row["problem"]))
        made = parse(row)
        return made if isinstance(made, list) else [made]
    except StorageError:
        raise
    except Exception as error:
        return [refusal(row, row_error(error), row.get("case_id"))]


def row_error(error: Exception) -> RowError:
    """An exception as the fault of a row: by field where it tells one, else by its type and where it was raised."""
    if isinstance(error, RowError):
        return error
    if isinstance(error, ValidationError):
        return field_error(error)
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "mint_ray" in Path(f.filename).parts]
    where = f" in {Path(ours[-1].filename).stem}.{ours[-1].name}" if ours else ""
    return RowError("reader-failed", "row", f"{type(error).__name__}{where}", "a row that the reader knows how to take")


def parsed(rows: ray.data.Dataset, parse: Callable[[Row], Outcome | list[Outcome]]) -> ray.data.Dataset:
    """Rows to the outcomes of `Corpus.outcomes`, at most `ROWS_PER_BLOCK` rows a block."""
    # Strict, or Ray fuses this with what reads the rows, and one file is parsed by one task.
    blocks = rows.repartition(target_num_rows_per_block=ROWS_PER_BLOCK, strict=True)
    parse_block: Any = partial(_parse_block, parse=parse)  # Ray's types know no batch format
    return blocks.map_batches(parse_block, batch_format="pyarrow", batch_size=None)


def _parse_block(block: pa.Table, parse: Callable[[Row], Outcome | list[Outcome]]) -> pa.Table:
    return outcome_table([made for row in block.to_pylist() for made in outcomes_of(row, parse)])


def row_dataset(rows: list[Row]) -> ray.data.Dataset:
    """Rows that the driver holds, as `parsed` takes them."""
    import ray

    held = [_held(row) for row in rows]
    return ray.data.from_items(held, override_num_blocks=-(-len(held) // ROWS_PER_BLOCK))


def _held(row: Row) -> Row:
    """The row as Arrow can hold it: the values of one that is refused anyway without lone surrogates."""
    return {
        name: shown(value) if isinstance(value, str) and not is_text(value) else value for name, value in row.items()
    }


def read_units(units: list[Unit], read: Callable[[Unit], Iterator[pa.Table]]) -> ray.data.Dataset:
    """The tables that `read` yields for each unit (plain data that says what to read), one task a unit."""
    import ray

    items = ray.data.from_items(units, override_num_blocks=len(units))
    return items.map_batches(partial(_read_block, read=read), batch_format="pyarrow", batch_size=None)


def _read_block(block: pa.Table, read: Callable[[Unit], Iterator[pa.Table]]) -> Iterator[pa.Table]:
    for unit in block.to_pylist():
        yield from read(unit)


def read_ranges(units: list[Unit], read: Callable[[Unit], Iterator[Outcome]]) -> ray.data.Dataset:
    """The outcomes of files that are read in ranges of rows, one task a range.

    A unit has `source`, `first` (the number of its first row; null where the file is refused as a whole), `count` and
    `problem`, beside what `read` needs. `read` yields one outcome a row; where it fails, the rows left of the range are
    refused, each by its number.
    """
    return read_units(units, partial(_range_tables, read=read))


def range_unit(source: str, first: int | None, count: int, problem: RowError | None = None, **more: Any) -> Unit:
    return {"source": source, "first": first, "count": count, "problem": problem_of(problem) if problem else "", **more}


def _range_tables(unit: Unit, read: Callable[[Unit], Iterator[Outcome]]) -> Iterator[pa.Table]:
    for chunk in chunks(range_outcomes(unit, read), ROWS_PER_BLOCK):
        yield outcome_table(chunk)


def range_outcomes(unit: Unit, read: Callable[[Unit], Iterator[Outcome]]) -> Iterator[Outcome]:
    """One outcome for each row of a unit, whatever `read` does."""
    done = 0
    try:
        if unit["problem"]:
            raise RowError(*json.loads(unit["problem"]))
        for outcome in islice(read(unit), unit["count"]):
            yield outcome
            done += 1
        error = RowError(
            "unreadable-file", "file", f"{done} of {unit['count']} rows", "all rows that the file announces"
        )
    except StorageError:
        raise
    except Exception as failure:
        error = failure if isinstance(failure, RowError) else unreadable(failure, unit.get("part") or "file")
    for n in range(done, unit["count"]):
        at = None if unit["first"] is None else unit["first"] + n
        yield refusal({"source": unit["source"], "row": at}, error)


def text_rows(path: Path) -> ray.data.Dataset:
    """Texts as rows with a column `text`, or with `problem` where a file cannot be read to its end.

    Args:
        path: JSON, YAML, JSON lines, each also gzipped, a ZIP of these, or a folder of any.

    Raises:
        CorpusError: the path is missing, is none of these, or holds none.
    """
    units, inventory = text_source(path)
    if not units:
        raise CorpusError(
            f"{path}: holds no .json, .yml, .yaml, .jsonl or .ndjson file (.gz or not), and no .zip of these; it holds "
            f"{inventory.told()}"
        )
    return read_units(units, _read_texts)


def read_texts(names: list[str], root: Path) -> ray.data.Dataset:
    """The rows of files of these names below `root`, as `text_rows` has them."""
    return read_units(_units(root, "", [_item(name) for name in names]), _read_texts)


def text_inventory(path: Path) -> Inventory:
    """What becomes of every file and member that `text_rows` meets."""
    return text_source(path)[1]


def text_source(path: Path) -> tuple[list[Unit], Inventory]:
    """What `text_rows` reads, one task each (a file of lines, or up to `ROWS_PER_BLOCK` documents), and the inventory."""
    root = path.parent
    found, inventory = survey(path, root, judge_text)
    inventory.taken.clear()
    loose, units = [], []
    for file in found:
        name = file.relative_to(root).as_posix()
        if name.lower().endswith(".zip"):
            units += _units(root, name, _members(file, name, inventory))
        else:
            inventory.taken.append(name)
            loose.append(_item(name))
    refused = [_item(source, problem=problem_of(error)) for source, error in inventory.refused]
    return [*_units(root, "", refused + loose), *units], inventory


def judge_text(name: str) -> Verdict:
    """What becomes of a file of this name among phenopackets."""
    lower = name.lower()
    if lower.endswith((*LINES, *DOCUMENTS, ".zip")):
        return None
    if lower.removesuffix(".gz").endswith(_PROTOBUF):
        return RowError(
            "unread-format", "file", "protobuf by its ending", "JSON or YAML: write it anew as one of these"
        )
    return unread(name)


def _item(name: str, at: int = 0, problem: str = "") -> Row:
    return {"name": name, "at": at, "problem": problem}


def _units(root: Path, archive: str, items: list[Row]) -> list[Unit]:
    """Files of lines alone, documents together."""
    lines = [[item] for item in items if item["name"].lower().endswith(LINES)]
    documents = chunks((item for item in items if not item["name"].lower().endswith(LINES)), ROWS_PER_BLOCK)
    return [{"root": str(root), "archive": archive, "items": each} for each in [*documents, *lines]]


def _members(path: Path, archive: str, inventory: Inventory) -> list[Row]:
    """The members of a ZIP that are read; what becomes of the others, or of the whole, goes to the inventory."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as members:
            infos = sorted(enumerate(members.infolist()), key=lambda entry: entry[1].filename)
    except StorageError:
        raise
    except Exception as error:
        inventory.sort(archive, unreadable(error, expected="a ZIP that can be opened; pack it again"))
        return []
    names = [(at, info.filename) for at, info in infos if not info.is_dir()]
    if not names:
        inventory.sort(archive, "an archive without a file")
    return [
        _item(f"{archive}!{name}", at) for at, name in names if inventory.sort(f"{archive}!{name}", _judge_member(name))
    ]


def _judge_member(name: str) -> Verdict:
    if hidden(name.split("/")):
        return HIDDEN
    return unread(name) if name.lower().endswith(".zip") else judge_text(name)


def _read_texts(unit: Unit) -> Iterator[pa.Table]:
    block, size = [], 0
    for row in _unit_rows(unit):
        block.append(row)
        size += len(row["text"] or b"")
        if len(block) == ROWS_PER_BLOCK or size >= BLOCK_BYTES:
            yield _text_table(block)
            block, size = [], 0
    if block:
        yield _text_table(block)


def _text_table(rows: list[Row]) -> pa.Table:
    import pyarrow as pa

    columns = [("source", pa.string()), ("row", pa.int64()), ("text", pa.binary()), ("problem", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns))


def _unit_rows(unit: Unit) -> Iterator[Row]:
    root = location(unit["root"])
    if not unit["archive"]:
        for item in unit["items"]:
            yield from _item_rows(item, root / item["name"], partial(opened, root / item["name"]))
        return
    path, waiting = root / unit["archive"], list(unit["items"])
    try:
        with opened(path) as stored, zipfile.ZipFile(stored) as archive:
            infos = archive.infolist()
            while waiting:
                yield from _item_rows(waiting[0], path, partial(archive.open, infos[waiting[0]["at"]]))
                waiting.pop(0)
    except StorageError:
        raise
    except Exception as error:  # another file by now
        yield from (_text(item["name"], None, None, unreadable(error)) for item in waiting)


def _item_rows(item: Row, path: Path, open_: Callable[[], AbstractContextManager[IO[bytes]]]) -> Iterator[Row]:
    """The document of a file or member, or its lines, as far as they can be read; `path` is what lies in the store."""
    name, number = item["name"], None
    if item["problem"]:
        yield {"source": name, "row": None, "text": None, "problem": item["problem"]}
        return
    try:
        with reaching(path), open_() as stored, _unpacked(name, stored) as stream:
            if not name.lower().endswith(LINES):
                yield _bounded(name, None, stream.read(MAX_TEXT + 1))
                return
            for number, line in enumerate(_lines(stream), 1):
                if len(line) > MAX_TEXT or line.strip():
                    yield _bounded(name, number, line)
    except StorageError:
        raise
    except Exception as error:
        last = number or 0
        yield _text(name, last + 1 if name.lower().endswith(LINES) else None, None, unreadable(error))


def _unpacked(name: str, stored: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    return gzip.open(stored) if name.lower().endswith(".gz") else nullcontext(stored)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines of at most one byte above `MAX_TEXT`: what goes beyond is passed over, so that no line fills the memory."""
    reader = stream if isinstance(stream, io.BufferedIOBase) else io.BufferedReader(stream)  # a store's has no limit
    while line := reader.readline(MAX_TEXT + 1):
        rest = line
        while not rest.endswith(b"\n") and len(line) > MAX_TEXT and rest:
            rest = reader.readline(2**20)
        yield line


def _bounded(source: str, row: int | None, text: bytes) -> Row:
    if len(text.rstrip(b"\n")) > MAX_TEXT:
        return _text(source, row, None, RowError("text-too-large", "file", f"over {MAX_TEXT} bytes", "a smaller text"))
    return _text(source, row, text)


def _text(source: str, row: int | None, text: bytes | None, problem: RowError | None = None) -> Row:
    return {"source": source, "row": row, "text": text, "problem": problem_of(problem) if problem else ""}


def json_object(row: Row) -> dict[str, Any]:
    """The object of a text row: of JSON, or of YAML by the ending of its file.

    Raises:
        RowError: `unreadable-file` (cut off, damaged, encrypted), or `no-json`, `no-yaml` (also what is no object, and
            an object with two fields of one name, of which any reader would drop one).
    """
    if row["text"] is None:
        raise RowError(*json.loads(row["problem"]))
    form = "YAML" if row["source"].lower().endswith(_YAML) else "JSON"
    reason, expected = f"no-{form.lower()}", f"one {form} object"
    try:
        value = (
            parse_yaml(row["text"], Document)
            if form == "YAML"
            else json.loads(row["text"], object_pairs_hook=_each_once)
        )
    except (ValueError, RecursionError) as error:
        raise RowError(reason, seen=f"no {form} at {_where(error)}", expected=expected) from None
    if not isinstance(value, dict):
        raise RowError(reason, seen=type(value).__name__, expected=expected)
    return value


def _where(error: Exception) -> str:
    """Line and column where the text breaks, else the kind of fault; nothing of the text itself."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    return error.place if isinstance(error, NotPlain) else type(error).__name__


def _each_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(fields)
    if len(found) < len(fields):
        raise RowError("no-json", seen="two fields of one name in an object", expected="each field once")
    return found


def bytes_below(folder: Path, name: str, most: int, field: str, reason: str = "no-image-file") -> bytes:
    """The bytes of a regular file in a folder or below, looked at before it is opened; at most one more than `most`.

    Raises:
        RowError: with `reason`, where there is no such file, a pipe or device, or a path that leads out of the folder.
        StorageError: the store refuses.
    """
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise RowError(reason, field, "a path outside of the folder", "a file in the folder or below")
        if not remote(path) and not stat.S_ISREG(path.stat().st_mode):
            raise RowError(reason, field, "no regular file", "a file that can be read")
        with opened(path) as file:
            return file.read(most + 1)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL or lone surrogate in the name; a loop of links
        raise RowError(reason, field, type(error).__name__, "a file that can be read") from None


def field_error(error: ValidationError) -> RowError:
    """The first thing that a record's validation refuses, by field; never the value that stands there."""
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return RowError("missing-field", field, "nothing", "a value")
    if first["type"] == "extra_forbidden":
        return RowError("unknown-field", field, "a field of no case", "the fields of the case schema")
    return RowError("wrong-field", field, first["type"].replace("_", " "), first["msg"])
