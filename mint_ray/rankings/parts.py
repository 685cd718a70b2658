"""A part of the corpus: the cases that one call of an actor scores and writes. Nothing here needs Ray.

A part is a range of rows of one file of cases. What becomes of it is written under a name that the range
decides, its rankings last. So whatever dies, a part is either done, and is never scored again, or is done
anew over its own traces; and the batches that the scorer sees are those of an undisturbed run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from mint_ray import progress
from mint_ray.batches import Batches
from mint_ray.config import RankingsSection
from mint_ray.errors import ModelError, RowError
from mint_ray.parquet import parquet_file, write_part
from mint_ray.rankings.ranking import Ranked, rank_all
from mint_ray.rankings.store import LABELS
from mint_ray.records import Case, Ranking, Refusal, arrow_schema, from_table, to_table
from mint_ray.runs import write_atomically
from mint_ray.scorers.scoring import Ahead, batches_of
from mint_ray.storage import location, reaching
from mint_ray.tasks.base import Task, View, labels_text

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer

Loader = Callable[[], "Scorer"]


class Why(Protocol):
    """Why a case is left out: the fields of a `Refusal`."""

    @property
    def reason(self) -> str: ...
    @property
    def field(self) -> str: ...
    @property
    def seen(self) -> str: ...
    @property
    def expected(self) -> str: ...


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of a file of cases, and the name of what becomes of them."""

    name: str
    file: str
    start: int
    stop: int


def case_parts(files: Iterable[Path], rows: int) -> list[Part]:
    """The corpus in parts of at most so many rows, none across two files."""
    ranges = [
        (str(file), start, min(start + rows, total))
        for file in files
        for total in [parquet_file(file).metadata.num_rows]
        for start in range(0, total, rows)
    ]
    return [Part(f"part-{index:05d}.parquet", *each) for index, each in enumerate(ranges)]


class PartScorer:
    """One loaded scorer in one actor: reads a part's cases, scores them, writes refusals and rankings."""

    def __init__(self, load: Loader, task: Task, settings: RankingsSection, folder: Path):
        self.scorer, self.task, self.settings, self.folder = Ahead(load()), task, settings, folder
        self.batches, self.rows = batches_of(self.scorer), Rows()
        self.label_ids = [label.id for label in self.scorer.labels]

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Score one part, given as columns, unless an actor that died since had done it; how many cases were ranked."""
        part, ranked = Part(*(batch[field.name].item() for field in fields(Part))), 0
        if not self._done(part):
            try:
                ranked = self.score(part)
            except (ConnectionError, TimeoutError) as error:
                raise ModelError(
                    f"the scorer does not answer ({type(error).__name__}): see that it runs, then start this stage again; "
                    "what is done is kept"
                ) from None
        return {"name": batch["name"], "cases_ranked": np.array([ranked])}

    def _done(self, part: Part) -> bool:
        done = self.folder / part.name
        with reaching(done):
            return done.exists()

    def score(self, part: Part) -> int:
        """Write what becomes of a part's cases; the rankings last, since they say that it is done. Cases ranked."""
        cases = list(from_table(self.rows.of(part), Case))
        views = [scorer_view(case, self.task, self.settings) for case in cases]
        scores = score_views(self.batches, views, self.settings.batch_size, self.scorer.expect)
        rankings: list[dict[str, Any]] = []
        refusals: list[Refusal] = []
        rows = [scored for scored in scores if not isinstance(scored, RowError)]
        ranked = iter(rank_all(np.stack(rows), self.label_ids) if rows else ())
        for case, view, scored in zip(cases, views, scores, strict=True):
            if isinstance(scored, RowError):
                refusals.append(refusal(case, scored))
            else:
                rankings.append(self._row(case, view, next(ranked)))
        self._write(part.name, rankings, refusals)
        return len(rankings)

    def tokens_cut(self, view: View) -> int | None:
        """By how many tokens the scorer cuts a view's text; None where it does not say."""
        told = getattr(self.scorer, "tokens_cut", None)
        return told and told(view)

    def _row(self, case: Case, view: View, ranked: Ranked) -> dict[str, Any]:
        """A row with the fields of `Ranking`: a record of it would look at every label again."""
        return {
            **{name: getattr(case, name) for name in ("case_id", "group_id", "split", "label_id")},
            "label_ids": ranked.label_ids,
            "scores": ranked.scores,
            "scorer": self.scorer.name,
            "scorer_digest": self.scorer.digest,
            "tokens_cut": self.tokens_cut(view),
        }

    def _write(self, name: str, rankings: list[dict[str, Any]], refusals: list[Refusal]) -> None:
        write_atomically(self.folder / LABELS, labels_text(self.scorer.labels))
        if refusals:
            write_part(to_table(refusals, Refusal), self.folder / "refused" / name)
        write_part(pa.Table.from_pylist(rankings, schema=arrow_schema(Ranking)), self.folder / name)


def scorer_view(case: Case, task: Task, settings: RankingsSection) -> View:
    """What the scorer is shown of a case: everything, or nothing that the language model lacks."""
    return task.blinded_view(case) if settings.scorer_sees == "downstream" else task.scorer_view(case)


class Rows:
    """Reads parts' rows. What it read last is kept: the next part is mostly of the same row groups of the same file."""

    def __init__(self) -> None:
        self._file, self._before = "", 0
        self._kept = arrow_schema(Case).empty_table()

    def of(self, part: Part) -> pa.Table:
        """A part's rows; of its file, only the row groups that hold them are read."""
        if not (part.file == self._file and self._before <= part.start and part.stop <= self._before + len(self._kept)):
            self._read(part)
        return self._kept.slice(part.start - self._before, part.stop - part.start)

    def _read(self, part: Part) -> None:
        path = location(part.file)
        with reaching(path), parquet_file(path) as file:
            ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
            first, last = np.searchsorted(ends, [part.start, part.stop - 1], side="right")
            rows = file.read_row_groups(list(range(first, last + 1)))
        self._file, self._before = part.file, int(ends[first - 1]) if first else 0
        self._kept = rows.select(arrow_schema(Case).names).cast(arrow_schema(Case))


def score_views(
    batches: Batches[View, np.ndarray],
    views: Sequence[View],
    batch_size: int,
    expect: Callable[[list[View]], None] = lambda views: None,
) -> list[np.ndarray | RowError]:
    """For each view its scores, or why it has none; one bad view costs its batch a second, single pass.

    Args:
        expect: told the views of a batch while the one before it is scored.

    Raises:
        ModelError: the scorer is broken.
    """
    nothing = RowError("nothing-to-see", "text and image", "neither", "one of them that the scorer may see")
    outcomes: list[np.ndarray | RowError] = [nothing] * len(views)
    seen = [i for i, view in enumerate(views) if view.text or view.image is not None]
    for start in range(0, len(seen), batch_size):
        part, following = seen[start : start + batch_size], seen[start + batch_size : start + 2 * batch_size]
        if following:
            expect([views[i] for i in following])
        for i, row in zip(part, batches([views[i] for i in part]), strict=True):
            outcomes[i] = row
        progress.advance(len(part))
    progress.advance(len(views) - len(seen))
    progress.flush()
    return outcomes


def refusal(case: Case, why: Why) -> Refusal:
    """A case that is left out, and why, without what it says."""
    return Refusal(
        source=case.source,
        case_id=case.case_id,
        reason=why.reason,
        field=why.field,
        seen=why.seen,
        expected=why.expected,
    )
