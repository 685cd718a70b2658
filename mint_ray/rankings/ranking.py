"""All labels of a case in a scorer's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

T = TypeVar("T")
ROUNDING = (
    1e-6  # relative: scores are float32, and a forward rounds the same score differently by a few of its last bits
)


@dataclass(frozen=True)
class Ranked:
    """All labels of a case, best first; `scores` are aligned with `label_ids`."""

    label_ids: Sequence[str]
    scores: Sequence[float]


class Stored(Sequence[T]):
    """A row's values as they lie in a column. Pairs ask for the ends of a ranking, and only what is asked for becomes Python's."""

    def __init__(self, values: NDArray[Any]):
        self._values = values

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: Any) -> Any:
        return self._values[at].tolist() if isinstance(at, slice) else self._values[at : at + 1 or None].tolist()[0]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self._values.tolist())

    def index(self, value: Any, *bounds: int) -> int:
        return self._values.tolist().index(value, *bounds)


def rank(scores: Sequence[float] | NDArray[np.float32], label_ids: Sequence[str]) -> Ranked:
    """Labels by falling score; equal scores stand in the order of their label ids, so no order is by chance."""
    return rank_all(np.asarray([scores]), label_ids)[0]


def rank_all(scores: NDArray[Any], label_ids: Sequence[str]) -> list[Ranked]:
    """As `rank`, of scores (cases, labels)."""
    by_id = np.argsort(np.asarray(label_ids))
    names, scores = np.array(label_ids, dtype=object)[by_id], scores[:, by_id]
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")
    return [
        Ranked(ids, row)
        for ids, row in zip(names[order].tolist(), np.take_along_axis(scores, order, 1).tolist(), strict=True)
    ]


def above(score: float, other: float) -> bool:
    """Whether a score is higher than another by more than rounding."""
    return score - other > ROUNDING * max(abs(score), abs(other))


def ranked_rows(table: pa.Table) -> Iterator[Ranked]:
    """The rows of a table with the columns `label_ids` and `scores`."""
    scores = cast(Any, table["scores"].combine_chunks()).flatten().to_numpy(zero_copy_only=False)
    start = 0
    for label_ids in label_lists(table["label_ids"].combine_chunks()):
        stop = start + len(label_ids)
        yield Ranked(Stored(label_ids), Stored(scores[start:stop]))
        start = stop


def label_lists(lists: Any) -> Iterator[NDArray[Any]]:
    """Arrow's lists of label ids. Each id is made a text once, not once a row, so a row of 528 is 4 kB and not 34."""
    ids = lists.flatten()
    ids = ids if pa.types.is_dictionary(ids.type) else ids.dictionary_encode()
    names = np.array(ids.dictionary.to_pylist(), dtype=object)
    places = ids.indices.to_numpy(zero_copy_only=False)
    ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
    for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=False):
        yield names[places[start:end]]
