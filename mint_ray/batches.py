"""Whose fault it is that a batch fails: a row's, or the model's that reads it. Pure; every batch of a model goes by it.

A model that is broken (a CUDA context that is lost, memory that is taken) fails at every row, and within milliseconds.
Were that held against the rows, it would empty a corpus faster than any sound model could score it.

| a batch fails, and then                                                 | so                                       |
|-------------------------------------------------------------------------|------------------------------------------|
| a row alone raises `RowError`                                           | the row is refused, by the reason given  |
| a row alone raises anything else, and rows after it pass                | the row is refused, by the error's type  |
| the last that were tried raise anything else, what passed before passes | these rows are refused, by the same      |
| the last that were tried raise anything else, and so does that          | the model is broken: nothing is refused  |
| any row raises a `MintError` of another kind, or what is reached is gone | it is raised as it is                   |
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from mint_ray.errors import MintError, ModelError, RowError

Item = TypeVar("Item")
Row = TypeVar("Row")


class Unsound(Exception):
    """What came of a row is no result. `refusal` says why, if it turns out to be the row's fault."""

    def __init__(self, refusal: RowError):
        self.refusal = refusal
        super().__init__(refusal.reason)


class Batches(Generic[Item, Row]):
    """Calls a model with batches and keeps the two faults apart. One caller at a time.

    Args:
        work: the model: rows of a batch of items, one each, in order. Raises `Unsound` where a result is none.
        model: what it is called in errors, e.g. `the scorer`.
        probe: items that any sound model of this kind can read, for as long as no batch of the caller's has passed.
        reason, field, expected: what a refusal says of a row that fails alone.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Iterable[Row]],
        model: str,
        probe: Sequence[Item] = (),
        reason: str = "not-scorable",
        field: str = "image or text",
        expected: str = "a case that the scorer can read",
    ):
        self._work, self._model, self._passed = work, model, probe
        self._told = {"reason": reason, "field": field, "expected": expected}

    def __call__(self, items: Sequence[Item]) -> list[Row | RowError]:
        """A row for each item, or why it has none.

        Raises:
            ModelError: the model is broken.
        """
        try:
            rows: list[Row | RowError] = [*self._work(items)]
        except Exception as error:
            _pass_on(error)
            return self._one_by_one(items)
        self._passed = items or self._passed
        return rows

    def _one_by_one(self, items: Sequence[Item]) -> list[Row | RowError]:
        rows: list[Row | RowError] = []
        doubt: Exception | None = None  # what the last rows raised, if nothing has passed since
        for item in items:
            try:
                rows.extend(self._work([item]))
                self._passed, doubt = self._passed or [item], None
            except RowError as error:
                rows.append(error)
            except Exception as error:
                _pass_on(error)
                rows.append(self._refusal(error))
                doubt = error
        if doubt:
            self._check(doubt)
        return rows

    def _refusal(self, error: Exception) -> RowError:
        """The error's type alone: its text may quote the row."""
        return error.refusal if isinstance(error, Unsound) else RowError(seen=type(error).__name__, **self._told)

    def _check(self, doubt: Exception) -> None:
        """See that the model still does what it did before: the whole batch, since one row may need less memory."""
        try:
            if self._passed:
                self._work(self._passed)
                return
        except Exception as error:
            _pass_on(error)
        raise ModelError(
            f"{self._model} is broken: it fails at every row, {_where(doubt)}; see the log of its worker or device, mend "
            "it, and start this again: what is done is kept, and nothing was refused for it"
        ) from None


def _pass_on(error: Exception) -> None:
    """Raise what speaks of the model or the way to it, and not of a row."""
    if isinstance(error, MintError | ConnectionError | TimeoutError) and not isinstance(error, RowError):
        raise error


def _where(error: Exception) -> str:
    """An error's type and the line that raised it, without its text."""
    if isinstance(error, Unsound):
        return f"{error.refusal.reason} ({error.refusal.seen})"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
