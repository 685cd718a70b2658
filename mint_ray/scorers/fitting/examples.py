"""A run's labelled cases as training examples: encoded by Ray Data, streamed to the workers of Ray Train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from mint_ray import progress
from mint_ray.batches import Batches
from mint_ray.errors import RowError
from mint_ray.records import Case
from mint_ray.scorers.base import PROBE
from mint_ray.tasks.base import View

if TYPE_CHECKING:
    import ray.data

NO_LABEL = RowError("no-label", "label_id", "none of the run's labels", "one of them")
NOTHING_TO_SEE = RowError("nothing-to-see", "text and image", "neither", "one of them that the scorer may see")


@dataclass(frozen=True)
class Example:
    """One case as numbers: `input_ids` of the text, `pixels` uint8 (3, height, width) or None, a label's index.

    `cut` is how many tokens of the text the model has no room for.
    """

    input_ids: list[int]
    pixels: np.ndarray | None
    has_text: bool
    label: int = -1
    cut: int = 0


class Inputs(Protocol):
    """What turns a view into an example."""

    def example(self, view: View) -> Example: ...


EXAMPLES = pa.schema(
    [
        ("case_id", pa.string()),
        ("split", pa.string()),
        ("refused", pa.string()),  # why the case is no example; null where it is one
        ("cut", pa.int32()),  # tokens of its text that there is no room for
        ("label", pa.int64()),
        ("has_text", pa.bool_()),
        ("input_ids", pa.list_(pa.int32())),
        ("pixels", pa.binary()),  # uint8, 3 x height x width; null: no photograph
        ("height", pa.int32()),
        ("width", pa.int32()),
    ]
)


def encode_cases(
    cases: pa.Table, splits: list[str], view_of: Callable[[Case], View], inputs: Inputs, label_index: dict[str, int]
) -> pa.Table:
    """Every case of some splits as a row of `EXAMPLES`; one that can be no example has a reason and nothing else.

    Raises:
        ModelError: the inputs fail at every case.
    """
    found = [Case.model_validate(row) for row in cases.to_pylist() if row["split"] in splits]
    views = [view_of(case) if case.label_id in label_index else None for case in found]
    usable = [i for i, view in enumerate(views) if view and (view.text or view.image is not None)]
    encode = Batches(lambda some: [inputs.example(view) for view in some], "the scorer's processor", [PROBE])
    examples = dict(zip(usable, encode([views[i] for i in usable]), strict=True))
    rows = []
    for i, case in enumerate(found):
        encoded = examples.get(i, NO_LABEL if views[i] is None else NOTHING_TO_SEE)
        values = {"refused": encoded.reason} if isinstance(encoded, RowError) else _to_row(encoded)
        label = label_index.get(case.label_id, -1)
        rows.append({"case_id": case.case_id, "split": case.split, "label": label, **values})
    progress.advance(len(rows))
    progress.flush()
    return pa.Table.from_pylist(rows, schema=EXAMPLES)


def _to_row(example: Example) -> dict:
    _, height, width = (3, 0, 0) if example.pixels is None else example.pixels.shape
    return {
        "cut": example.cut,
        "has_text": example.has_text,
        "input_ids": example.input_ids,
        "pixels": None if example.pixels is None else example.pixels.tobytes(),
        "height": height,
        "width": width,
    }


@dataclass
class Encoded:
    """What became of the cases of a split: examples, texts that were cut and by how much, the others by reason."""

    usable: int = 0
    cut: int = 0
    tokens_cut: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, rows: pa.Table) -> None:
        """Count some rows of the split."""
        for reason, tokens in zip(rows["refused"].to_pylist(), rows["cut"].to_pylist(), strict=True):
            if reason:
                self.refused[reason] += 1
                continue
            self.usable += 1
            self.cut += bool(tokens)
            self.tokens_cut += tokens

    @property
    def figures(self) -> dict:
        """What a manifest says of them."""
        cut = {"text_cut": {"cases": self.cut, "tokens": self.tokens_cut}} if self.cut else {}
        return cut | {"refused": dict(self.refused)}


def from_row(row: dict) -> Example:
    """A row of `EXAMPLES` as an example."""
    pixels = row["pixels"]
    if pixels is not None:
        pixels = np.frombuffer(pixels, np.uint8).reshape(3, row["height"], row["width"])
    return Example(row["input_ids"], pixels, row["has_text"], row["label"])


class Shard:
    """The examples of one worker, epoch by epoch, in an order that seed and epoch decide.

    In memory, they are read once, put in the order of their case ids, and shuffled whole. Streaming, they come from
    Ray's object store in every epoch anew and are shuffled within a window of `WINDOW` batches.
    """

    WINDOW = 16

    def __init__(self, stream: ray.data.DataIterator, batch_size: int, in_memory: bool, seed: int):
        self._stream, self._batch_size, self._seed = stream, batch_size, seed
        self._kept = self._read() if in_memory else None

    def _read(self) -> list[Example]:
        rows = [
            row
            for table in self._stream.iter_batches(batch_size=None, batch_format="pyarrow")
            for row in table.to_pylist()
        ]
        return [from_row(row) for row in sorted(rows, key=lambda row: row["case_id"])]

    def epoch(self, number: int) -> Iterator[list[Example]]:
        """Batches of one epoch; the last may be smaller."""
        if self._kept is None:
            yield from self._streamed(number)
            return
        order = np.random.default_rng((self._seed, number)).permutation(len(self._kept))
        for start in range(0, len(order), self._batch_size):
            yield [self._kept[i] for i in order[start : start + self._batch_size]]

    def _streamed(self, number: int) -> Iterator[list[Example]]:
        batches = self._stream.iter_batches(
            batch_size=self._batch_size,
            batch_format="pyarrow",
            local_shuffle_buffer_size=self.WINDOW * self._batch_size,
            local_shuffle_seed=self._seed + number,
        )
        for table in batches:
            yield [from_row(row) for row in table.to_pylist()]
