"""Tables of text with a header (CSV, TSV), row by row: a row that cannot be taken apart costs itself alone."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mint_ray.corpora.inventory import is_text, shown
from mint_ray.corpora.reading import Row, problem_of
from mint_ray.errors import CorpusError, RowError
from mint_ray.storage import opened

FIELD_CHARACTERS = 131_072  # what the module csv takes


def delimited_rows(path: Path, required: Sequence[str], delimiter: str = ",") -> Iterator[Row]:
    """The rows of a table by column, with `row` (the line on which each ends) and `problem`; texts stripped, absent ones empty.

    Raises:
        CorpusError: the file cannot be read, lacks a column, or has one twice.
    """
    try:
        # What is no UTF-8 costs its own row: see `_problem`.
        with opened(path, mode="r", newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header, required)
            yield from _rows(reader, header)
    except (OSError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read as a table ({type(error).__name__})") from None


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    known = set(required) & set(header)  # where there is none, the first line may be a patient's
    has = (
        f"it has {shown(', '.join(header), 500)}" if known else f"its first line has {len(header)} fields, none of them"
    )
    if missing := [name for name in required if name not in header]:
        raise CorpusError(f"{path}: has no column {', '.join(missing)}; {has}")
    if twice := [name for name, n in Counter(header).items() if n > 1 and name in required]:
        raise CorpusError(f"{path}: has the column {', '.join(twice)} twice; {has}")


def _rows(reader: Any, header: list[str]) -> Iterator[Row]:
    before = reader.line_num
    while True:
        problem, fields = None, []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = RowError("malformed-row", "row", type(error).__name__, f"fields of {FIELD_CHARACTERS} characters")
        lines, before = reader.line_num - before, reader.line_num
        if not fields and not problem:
            continue
        lines = max(lines, 1 + sum(field.count("\n") for field in fields))  # at the end of a file, too
        columns = dict(zip(header, [*(field.strip() for field in fields), *[""] * len(header)], strict=False))
        problem = problem or _problem(columns, lines, len(fields) - len(header))
        yield {**columns, "row": reader.line_num, "problem": problem_of(problem) if problem else ""}


def _problem(columns: dict[str, str], lines: int, more: int) -> RowError | None:
    if lines > 1:  # rows that an open quote has swallowed are not lost without a word
        return RowError("malformed-row", "row", f"a quote open over {lines} lines", "one row a line; close the quote")
    if more > 0:
        return RowError("malformed-row", "row", f"{more} fields too many", "as many fields as columns")
    odd = [name for name, value in columns.items() if not is_text(value)]
    return RowError("wrong-field", odd[0], "bytes that are not UTF-8", "text in UTF-8") if odd else None
