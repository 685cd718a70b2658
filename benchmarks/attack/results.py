"""What the attack's parts have in common: results as JSON lines that are kept as they come, and what they say together."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    """A file of results. Each row says its `kind`, how many were `tried`, and in words what `differs` from what must be."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.rows: list[Row] = _rows(path)

    def add(self, kind: str, tried: int, differs: list[str], **more: Any) -> None:
        row = {"kind": kind, "tried": tried, "differs": differs, **more}
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{kind}: {tried} tried, {'; '.join(differs) or 'nothing differs'}", flush=True)

    @property
    def differs(self) -> bool:
        return any(row["differs"] for row in self.rows)


def _rows(path: Path) -> list[Row]:
    """The rows that stand in a file; a line that a kill has cut is taken out of it."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if whole != lines:
        path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


def summary(rows: list[Row]) -> Row:
    """By kind: how many were tried, how many rows differ, and how often each further count was met."""
    found: dict[str, Counter] = defaultdict(Counter)
    for row in rows:
        counts = {name: value for name, value in row.items() if type(value) in (int, bool) and name != "number"}
        found[row["kind"]].update(counts | {"differing": bool(row["differs"])})
    return {kind: dict(counts) for kind, counts in found.items()}
