"""Encoded pairs on disk: made once, part by part, and read by their place, so that no process holds them.

encoded/
  train/, validation/
    part-00000.arrow    pairs as `EncodedPair`: Arrow's file format, tokens as int32, images as they were encoded
    part-00000.parquet  the length of each; written last: a part is done when it exists

A part is a share of the split's row groups. The k-th pair of a split is the k-th that is not refused, in the order of
the cases, whoever made which part.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import pyarrow as pa

from mint_ray.alignment.collation import EncodedPair
from mint_ray.errors import RunError
from mint_ray.parquet import part_files, random_access, read_table, write_part
from mint_ray.storage import location, reaching, written

ENCODED = "encoded"
PAGE = 8  # pairs that are read together: one of them is wanted
_OPEN = 64  # parts that a process keeps open

_TOKENS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("prompt", _TOKENS),
        ("chosen", _TOKENS),
        ("rejected", _TOKENS),
        ("image", pa.large_binary()),
        ("openings", pa.list_(_TOKENS)),
        ("scores", pa.list_(pa.float64())),
    ]
)


def write_pairs(pairs: Iterable[EncodedPair], path: Path) -> list[int]:
    """Write the pairs of a part, whose lengths will be at `path`, a page at a time; the length of each."""
    lengths: list[int] = []
    rest = iter(pairs)
    with written(data_file(path)) as file, pa.ipc.new_file(cast(io.IOBase, file), SCHEMA) as writer:
        while page := list(islice(rest, PAGE)):
            lengths += [pair.length for pair in page]
            writer.write_batch(pa.RecordBatch.from_pylist([pair._asdict() for pair in page], schema=SCHEMA))
    return lengths


def write_lengths(lengths: Sequence[int], path: Path) -> None:
    """Say that a part is done."""
    write_part(pa.table({"length": pa.array(lengths, pa.int32())}), path)


def data_file(path: Path) -> Path:
    """Where a part's pairs are, whose lengths are at `path`."""
    return path.with_suffix(".arrow")


class StoredPairs(Sequence[EncodedPair]):
    """The encoded pairs of a split, each read when it is asked for; all that is held is their lengths.

    Args:
        folder: of the split's parts; none are pairs of nothing.
    """

    def __init__(self, folder: Path):
        files = part_files(folder)
        columns = [np.asarray(read_table(path)["length"]) for path in files]
        self.lengths = np.concatenate([np.empty(0, np.int32), *columns])  # tokens of each
        self._ends = np.cumsum([len(column) for column in columns])
        # As texts: a process that was forked may not reach a store through its parent's connections.
        self._files = [str(data_file(path)) for path in files]
        self._opened, self._page = lru_cache(_OPEN)(_opened), lru_cache(2)(self._read)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, place: int) -> EncodedPair: ...
    @overload
    def __getitem__(self, place: slice) -> list[EncodedPair]: ...
    def __getitem__(self, place: int | slice) -> EncodedPair | list[EncodedPair]:
        """A pair by its place.

        Raises:
            RunError: its file is gone, or damaged.
        """
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        part = int(np.searchsorted(self._ends, place, side="right"))
        row = place - (int(self._ends[part - 1]) if part else 0)
        page = self._page(self._files[part], row // PAGE, os.getpid())
        return _as_encoded(page.slice(row % PAGE, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[EncodedPair]:
        return (self[place] for place in range(len(self)))

    def _read(self, file: str, number: int, process: int) -> pa.RecordBatch:
        path = location(file)
        try:
            with reaching(path):
                return self._opened(file, process).get_batch(number)
        except (pa.ArrowException, OSError) as error:
            raise RunError(
                f"{path}: cannot be read ({type(error).__name__}), and was whole when it was written; run the stage "
                "`alignment` again: it makes it anew where it is missing, and with --fresh where it is damaged"
            ) from None


def lengths_of(pairs: Sequence[EncodedPair]) -> np.ndarray:
    """Tokens of each pair, int32; those of stored pairs are known without reading them."""
    return pairs.lengths if isinstance(pairs, StoredPairs) else np.array([pair.length for pair in pairs], np.int32)


def _as_encoded(row: dict[str, Any]) -> EncodedPair:
    changed: dict[str, Any] = row | {"openings": tuple(row["openings"]), "scores": tuple(row["scores"])}
    return EncodedPair(**changed)


def _opened(file: str, process: int) -> pa.RecordBatchFileReader:
    return pa.ipc.open_file(random_access(location(file)))
