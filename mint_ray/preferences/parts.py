"""A part of the corpus: the cases that one call of an actor scores and writes. Nothing here needs Ray.

A part is a range of rows of one file of cases. What becomes of it is written under a name that the range
decides, its rankings last. So whatever dies, a part is either done, and is never scored again, or is done
anew over its own traces; and the batches that the scorer sees are those of an undisturbed run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mint_ray import progress
from mint_ray.batches import Batches
from mint_ray.config import PreferencesSection, label_conflicts
from mint_ray.errors import ConfigError, ModelError, RowError
from mint_ray.parquet import parquet_file, write_part
from mint_ray.preferences.policy import Preference, Ranked, Skip, choose, rank
from mint_ray.preferences.shuffling import Donors
from mint_ray.preferences.store import PAIR_SPLITS, pair_schema
from mint_ray.records import (
    Case,
    EncodedImage,
    Message,
    PreferencePair,
    Ranking,
    Refusal,
    arrow_schema,
    from_table,
    to_table,
)
from mint_ray.scorers.scoring import batches_of
from mint_ray.storage import location, reaching
from mint_ray.tasks.base import Task, View

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer

Loader = Callable[[], "Scorer"]
POLICY = ("scorer_sees", "shuffled", "chosen", "rejected", "cut", "truth", "min_margin", "pairs_per_case")


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
    """One loaded scorer in one actor: reads a part's cases, scores them, writes pairs, refusals, rankings."""

    def __init__(
        self, load: Loader, task: Task, settings: PreferencesSection, folder: Path, donors: Donors | None = None
    ):
        self.scorer, self.task, self.settings, self.folder = load(), task, settings, folder
        self.donors = donors
        self.batches = batches_of(self.scorer)
        self.names = {label.id: label.name for label in self.scorer.labels}
        if conflicts := label_conflicts(settings, len(self.names)):
            raise ConfigError(conflicts)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Score one part, given as columns, unless an actor that died since had done it; what was made of it, counted."""
        part, made = Part(*(batch[field.name].item() for field in fields(Part))), (0, 0)
        if not self._done(part):
            try:
                made = self.score(part)
            except (ConnectionError, TimeoutError) as error:
                raise ModelError(
                    f"the scorer does not answer ({type(error).__name__}): see that it runs, then start this stage again; "
                    "what is done is kept"
                ) from None
        return {"name": batch["name"], "cases_ranked": np.array(made[:1]), "pairs": np.array(made[1:])}

    def _done(self, part: Part) -> bool:
        done = self.folder / "rankings" / part.name
        with reaching(done):
            return done.exists()

    def score(self, part: Part) -> tuple[int, int]:
        """Write what becomes of a part's cases; the rankings last, since they say that it is done. Rankings, pairs."""
        cases = list(from_table(read_rows(part), Case))
        scored_cases = self.donors.of(cases) if self.donors else cases
        views = [scorer_view(case, self.task, self.settings) for case in scored_cases]
        scores = score_views(self.batches, views, self.settings.batch_size)
        rankings, pairs, refusals = [], [], []
        for case, scored_case, view, scored in zip(cases, scored_cases, views, scores, strict=True):
            if isinstance(scored, RowError):
                refusals.append(refusal(case, scored))
                continue
            rankings.append(ranking_of(case, rank(scored, list(self.names)), self.scorer, self.tokens_cut(view)))
            made = pairs_of(case, rankings[-1], self.task, self.settings, self.names, scored_case.label_id)
            pairs += made if isinstance(made, list) else []
            refusals += [refusal(case, made)] if isinstance(made, Skip) else []
        self._write(part.name, rankings, pairs, refusals)
        return len(rankings), len(pairs)

    def tokens_cut(self, view: View) -> int | None:
        """By how many tokens the scorer cuts a view's text; None where it does not say."""
        told = getattr(self.scorer, "tokens_cut", None)
        return told and told(view)

    def _write(self, name: str, rankings: list[Ranking], pairs: list[PreferencePair], refusals: list[Refusal]) -> None:
        schema = pair_schema(shows_images(self.task))
        for split in PAIR_SPLITS:
            if rows := [pair.model_dump(include=set(schema.names)) for pair in pairs if pair.split == split]:
                write_part(pa.Table.from_pylist(rows, schema=schema), self.folder / "pairs" / split / name)
        if refusals:
            write_part(to_table(refusals, Refusal), self.folder / "refused" / name)
        write_part(to_table(rankings, Ranking), self.folder / "rankings" / name)


def scorer_view(case: Case, task: Task, settings: PreferencesSection) -> View:
    """What the scorer is shown of a case: everything, or nothing that the language model lacks."""
    return task.blinded_view(case) if settings.scorer_sees == "downstream" else task.scorer_view(case)


def read_rows(part: Part) -> pa.Table:
    """A part's rows; of its file, only the row groups that hold them are read."""
    path = location(part.file)
    with reaching(path), parquet_file(path) as file:
        return _rows_of(file, part)


def _rows_of(file: pq.ParquetFile, part: Part) -> pa.Table:
    ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
    first, last = np.searchsorted(ends, [part.start, part.stop - 1], side="right")
    before = int(ends[first - 1]) if first else 0
    rows = file.read_row_groups(list(range(first, last + 1))).slice(part.start - before, part.stop - part.start)
    return rows.select(arrow_schema(Case).names).cast(arrow_schema(Case))


def score_views(
    batches: Batches[View, np.ndarray], views: Sequence[View], batch_size: int
) -> list[np.ndarray | RowError]:
    """For each view its scores, or why it has none; one bad view costs its batch a second, single pass.

    Raises:
        ModelError: the scorer is broken.
    """
    nothing = RowError("nothing-to-see", "text and image", "neither", "one of them that the scorer may see")
    outcomes: list[np.ndarray | RowError] = [nothing] * len(views)
    seen = [i for i, view in enumerate(views) if view.text or view.image is not None]
    for start in range(0, len(seen), batch_size):
        part = seen[start : start + batch_size]
        for i, row in zip(part, batches([views[i] for i in part]), strict=True):
            outcomes[i] = row
        progress.advance(len(part))
    progress.advance(len(views) - len(seen))
    progress.flush()
    return outcomes


def ranking_of(case: Case, ranked: Ranked, scorer: Scorer, tokens_cut: int | None) -> Ranking:
    return Ranking(
        case_id=case.case_id,
        group_id=case.group_id,
        split=case.split,
        label_id=case.label_id,
        label_ids=ranked.label_ids,
        scores=ranked.scores,
        scorer=scorer.name,
        scorer_digest=scorer.digest,
        tokens_cut=tokens_cut,
    )


def pairs_of(
    case: Case, ranking: Ranking, task: Task, settings: PreferencesSection, names: dict[str, str], truth: str | None
) -> list[PreferencePair] | Skip:
    """A case's pairs as the data set has them; none for a case that is kept for testing.

    Args:
        truth: the label of the case that was ranked; of another one, where answers are shuffled.
    """
    if case.split not in PAIR_SPLITS:
        return []
    chosen = choose(Ranked(ranking.label_ids, ranking.scores), truth, settings)
    if isinstance(chosen, Skip):
        return chosen
    view = task.downstream_view(case)
    if view.image is None and shows_images(task):
        return Skip("nothing-to-show", "image", "no image", "an image, all that the language model sees")
    shared = {
        "prompt": task.prompt(view),
        "images": [EncodedImage(bytes=view.image)] if view.image is not None else [],
        "withheld": list(view.withheld),
        "policy": json.dumps(policy_of(settings)),
        **ranking.model_dump(include={"case_id", "group_id", "split", "label_id", "scorer", "scorer_digest"}),
    }
    return [PreferencePair(**shared, **_answers(preference, task, names)) for preference in chosen]


def policy_of(settings: PreferencesSection) -> dict[str, Any]:
    """The settings that decide which names a pair holds."""
    return settings.model_dump(include=set(POLICY))


def _answers(preference: Preference, task: Task, names: dict[str, str]) -> dict:
    sides = {}
    for side, label_ids in [("chosen", preference.chosen), ("rejected", preference.rejected)]:
        text = task.answer([names[label_id] for label_id in label_ids])
        sides |= {side: [Message(role="assistant", content=text)], f"{side}_label_ids": label_ids}
    return {**sides, "chosen_scores": preference.chosen_scores, "rejected_scores": preference.rejected_scores}


def refusal(case: Case, why: RowError | Skip) -> Refusal:
    return Refusal(
        source=case.source,
        case_id=case.case_id,
        reason=why.reason,
        field=why.field,
        seen=why.seen,
        expected=why.expected,
    )


def shows_images(task: Task) -> bool:
    """Whether the task's language model sees images, asked of its view of a case that has one."""
    return task.downstream_view(Case(case_id="probe", group_id="probe", image=b"probe")).image is not None
