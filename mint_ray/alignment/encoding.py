"""A run's pairs to tokens, part by part: a few here, many on Ray Data. No process holds more than some rows of a part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mint_ray import progress
from mint_ray.alignment.collation import EncodedPair, encode_pairs
from mint_ray.alignment.encoded import ENCODED, data_file, write_lengths, write_pairs
from mint_ray.models import load_tokenizer, resolve_model
from mint_ray.parquet import parquet_file, part_files, read_table, write_part
from mint_ray.preferences.store import PAIR_SPLITS, RowGroups, group_pairs, stored_schema, stream_pairs
from mint_ray.records import Refusal, to_table
from mint_ray.runs import Run
from mint_ray.storage import files_in, reaching, remove
from mint_ray.tasks.base import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from mint_ray.config import AlignmentSection

REFUSED = "refused"
ROWS, SIZE = 4096, 64 * 2**20  # of a part
_AT_ONCE = 64  # rows in memory as Python's objects
_HERE = 2  # parts that are made sooner here than actors start


@dataclass(frozen=True)
class Part:
    """A share of a split's pairs, and the name of what becomes of it, which no part of another split has."""

    name: str
    split: str
    share: tuple[RowGroups, ...]


class Encoder:
    """A loaded tokenizer that makes parts of a run, in this process or in an actor.

    Args:
        parts: all there are, to be asked for by their number.
        schema: the columns that the pairs of every file have.
        folder: the stage's.
    """

    def __init__(
        self, parts: Sequence[Part], schema: pa.Schema, section: AlignmentSection, model: str, task: Task, folder: Path
    ):
        from mint_ray.alignment.vision import vision_inputs

        self.parts, self.schema, self.folder, local = parts, schema, folder, resolve_model(model)
        openings = partial(openings_of, task) if section.method == "listwise" else None
        self._encode = partial(
            encode_pairs,
            tokenizer=load_tokenizer(local),
            max_length=section.max_length,
            vision=vision_inputs(local),
            openings=openings,
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make one part, given by its number in a column."""
        return {"pairs": np.array([self.make(self.parts[batch["number"].item()])])}

    def make(self, part: Part) -> int:
        """Write what becomes of a part, the lengths last; how many of its pairs can be used.

        Raises:
            ModelError: the tokenizer cannot render conversations.
            RunError: a file is none of pairs, or is gone.
        """
        path = self.folder / ENCODED / part.split / part.name
        refused: list[Refusal] = []
        lengths = write_pairs(self._pairs(part, refused), path)
        told = self.folder / REFUSED / part.name
        if refused:
            write_part(to_table(refused, Refusal), told)
        else:
            remove(told)  # an older release told of all pairs in its first part
        write_lengths(lengths, path)
        return len(lengths)

    def _pairs(self, part: Part, refused: list[Refusal]) -> Iterator[EncodedPair]:
        for piece in part.share:
            row = piece.first
            for table in stream_pairs(piece, self.schema, _AT_ONCE):
                encoded, more = self._encode(table.to_pylist(), first=row)
                row += table.num_rows
                refused += more
                yield from encoded


def openings_of(task: Task, answer: str) -> list[str]:
    """Openings of answers that begin with each of an answer's names."""
    return [task.opening(name) for name in task.parse(answer)]


def encode_splits(run: Run, model: str, read: bool = True) -> dict[str, int]:
    """See that the run's pairs are there as tokens; how many of each split can be used.

    Args:
        model: a name for `resolve_model` on any node.
        read: whether training is to read them; else it is enough that they once were there.

    Raises:
        ModelError: the tokenizer cannot render conversations.
        RunError: there are no pairs, or a file holds something else.
    """
    folder = run.stage("alignment").path
    parts = list(parts_of(run))
    if pending := [part for part in parts if not _is_done(part, folder, read)]:
        encode_parts(pending, run, model)
    return {
        split: sum(parquet_file(path).metadata.num_rows for path in part_files(folder / ENCODED / split))
        for split in PAIR_SPLITS
    }


def parts_of(run: Run) -> Iterator[Part]:
    """The run's pairs in parts."""
    number = 0
    for split in PAIR_SPLITS:
        for share in group_pairs(run, split, ROWS, SIZE):
            yield Part(f"part-{number:05d}.parquet", split, tuple(share))
            number += 1


def _is_done(part: Part, folder: Path, read: bool) -> bool:
    path = folder / ENCODED / part.split / part.name
    with reaching(path):
        return path.exists() and (not read or data_file(path).exists())


def encode_parts(parts: Sequence[Part], run: Run, model: str) -> None:
    """Make parts, here where they are few, else in actors; one that dies is replaced and its part repeated."""
    progress.begin("reading the pairs", len(parts), "parts")
    folder, section = run.stage("alignment").path, run.config.alignment
    arguments = parts, stored_schema(run), section, model, run.config.task, folder
    if len(parts) <= _HERE:
        encoder = Encoder(*arguments)
        for part in parts:
            encoder.make(part)
            progress.advance(1)
        return
    import ray.data

    numbers = [{"number": number} for number in range(len(parts))]
    made = ray.data.from_items(numbers, override_num_blocks=len(parts)).map_batches(
        Encoder,
        fn_constructor_args=arguments,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=len(parts)),
        num_cpus=1,
    )
    for _ in made.iter_rows():
        progress.advance(1)


def refused_pairs(run: Run) -> Counter[str]:
    """The refused pairs of a run, counted by their reasons."""
    files = part_files(run.stage("alignment").path / REFUSED)
    return Counter(str(reason) for path in files for reason in read_table(path, ["reason"])["reason"].to_pylist())


def remove_data(run: Run) -> None:
    """Remove the tokens, which nothing reads after training; what they were is told by their lengths."""
    for split in PAIR_SPLITS:
        for path in files_in(run.stage("alignment").path / ENCODED / split, "*.arrow"):
            remove(path)
