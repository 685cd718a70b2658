"""Ray Data's verbs as the readers use them, in this process: what a reader makes of a source, told in milliseconds.

The rows go through Arrow at each step, as Ray's do. One test a reader runs on Ray itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


class Here:
    """Blocks as Arrow tables, in order."""

    def __init__(self, tables: list[pa.Table]):
        self.tables = tables

    def map_batches(self, work: Callable, batch_format: str, batch_size: None, zero_copy_batch: bool = True) -> Here:
        made = (work(table) for table in self.tables)
        return Here([each for result in made for each in ([result] if isinstance(result, pa.Table) else result)])

    def flat_map(self, work: Callable) -> Here:
        return Here([pa.Table.from_pylist(work(row)) for row in self.take_all()])

    def map(self, work: Callable) -> Here:
        return Here([pa.Table.from_pylist([work(row)]) for row in self.take_all()])

    def repartition(self, target_num_rows_per_block: int, strict: bool) -> Here:
        whole = pa.concat_tables(self.tables)
        starts = range(0, len(whole), target_num_rows_per_block)
        return Here([whole.slice(start, target_num_rows_per_block) for start in starts])

    def union(self, *others: Here) -> Here:
        assert others, "Ray Data fails over a union of one"
        return Here([table for each in (self, *others) for table in each.tables])

    def write_parquet(self, folder: str, filesystem: Any = None) -> None:
        Path(folder).mkdir(parents=True)
        for number, table in enumerate(self.tables):
            pq.write_table(table, f"{folder}/{number:05}.parquet")

    def take_all(self) -> list[dict]:
        return list(self.iter_rows())

    def iter_rows(self) -> Iterator[dict]:
        return (row for table in self.tables for row in table.to_pylist())


def _from_items(items: list[dict], override_num_blocks: int) -> Here:
    size = -(-len(items) // override_num_blocks)
    return Here([pa.Table.from_pylist(items[at : at + size]) for at in range(0, len(items), size)])


@contextmanager
def in_this_process() -> Iterator[None]:
    """Readers run in this process for the time of the block."""
    import ray.data

    with patch.object(ray.data, "from_items", _from_items):
        yield


@pytest.fixture
def here() -> Iterator[None]:
    """Readers run in this process."""
    with in_this_process():
        yield


def outcomes(corpus: Any) -> list[dict]:
    return corpus.outcomes(0).take_all()


def told(corpus: Any) -> list[tuple]:
    """Case ids and the reasons of refusals with their place, sorted by place."""
    return sorted(
        (r["refusal"]["source"], r["refusal"]["row"] or 0, r["refusal"]["reason"])
        if r["refusal"]
        else (r["case"]["source"], 0, r["case"]["case_id"])
        for r in outcomes(corpus)
    )
