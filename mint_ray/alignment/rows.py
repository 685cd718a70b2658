"""Rows of token sequences: what several begin with lies in a row once, and is computed once, as in a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# A beginning of fewer tokens is laid out again: a part of its own in every layer's attention costs more.
_SHORTEST = 8


@dataclass(frozen=True)
class Span:
    """The tokens from `start` to before `stop` of a row: each sees those before it here, and all of `before`.

    `before` are (start, stop) in the same row, in order, not touching each other.
    """

    start: int
    stop: int
    before: tuple[tuple[int, int], ...] = ()


class Row:
    """A row that sequences are laid into, each token after the one that it follows; `tokens` are the row's."""

    def __init__(self):
        self.tokens: list[int] = []
        self.positions: list[int] = []  # of each token in its sequence
        self._parents: list[int] = []  # the token that each follows; -1: it is a first one
        self._branching: set[int] = set()  # tokens that more than one follows
        self._next: dict[tuple[int, int], int] = {}

    def add(self, sequence: Sequence[int], after: int = -1) -> list[int]:
        """Lay out tokens that follow the row's token `after`, or begin; where each of them is.

        What is there already, from `_SHORTEST` tokens on, is not laid out again.
        """
        places = self._found(sequence, after)
        for token in sequence[len(places) :]:
            places.append(self._append(token, places[-1] if places else after))
        return places

    def _found(self, sequence: Sequence[int], after: int) -> list[int]:
        places, whole, at = [], 0, after
        for token in sequence:
            following = self._next.get((at, token))
            if following is None:
                break
            places.append(at := following)
            if at in self._branching:
                whole = len(places)
        return places if len(places) - whole >= _SHORTEST else places[:whole]

    def _append(self, token: int, parent: int) -> int:
        place = len(self.tokens)
        if parent != place - 1:
            self._branching.add(parent)
        self.tokens.append(token)
        self.positions.append(self.positions[parent] + 1 if parent >= 0 else 0)
        self._parents.append(parent)
        self._next[parent, token] = place
        return place

    def spans(self) -> tuple[Span, ...]:
        """The row in parts that nothing branches off inside of, in order."""
        starts = [i for i, parent in enumerate(self._parents) if i == 0 or parent != i - 1 or parent in self._branching]
        spans: list[Span] = []
        seen: dict[int, tuple[tuple[int, int], ...]] = {}  # by the last token of a span: what follows it sees
        for start, stop in zip(starts, [*starts[1:], len(self.tokens)], strict=True):
            before = seen.get(self._parents[start], ())
            spans.append(Span(start, stop, before))
            touching = before and before[-1][1] == start
            seen[stop - 1] = (*before[:-1], (before[-1][0], stop)) if touching else (*before, (start, stop))
        return tuple(spans)


def mask_of(spans: Sequence[Span], time: int) -> Tensor:
    """What may be seen in a row padded to `time`: (time, time) bool. What is padding sees itself."""
    mask = torch.eye(time, dtype=torch.bool)
    for span in spans:
        rows = mask[span.start : span.stop]
        rows[:, span.start : span.stop] = True
        rows[:, span.start : span.stop].tril_()
        for start, stop in span.before:
            rows[:, start:stop] = True
    return mask
