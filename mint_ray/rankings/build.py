"""Cases to rankings: an actor pool of scorers on Ray Data, over the corpus in fixed parts.

What makes it safe to kill stands in `parts`: Ray Data carries parts' names, actors write the rows. Ray Data's
own checkpointing goes by single rows: what is left after a crash is batched anew, and scores change in their
last digits with the batch.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from mint_ray import progress, telemetry
from mint_ray.corpora.store import case_files
from mint_ray.errors import CorpusError, ModelError, RunError
from mint_ray.parquet import part_files, remove_debris
from mint_ray.rankings.parts import Loader, Part, PartScorer, case_parts
from mint_ray.rankings.soundness import check_soundness
from mint_ray.rankings.store import ranking_table, refusal_table
from mint_ray.runs import Run, StageReport, told_counts
from mint_ray.scorers import load_scorer, scorer_section
from mint_ray.scorers.served import connect

if TYPE_CHECKING:
    import ray.data

    from mint_ray.scorers.base import Scorer

logger = logging.getLogger(__name__)


def build_rankings(run: Run, load: Loader | None = None) -> StageReport:
    """Rank all labels for every case.

    Args:
        load: opens the scorer, once in each actor; the run's own by default. It is pickled, so it is a
            module's function or a `partial` of one, and what it returns may score from afar. Its scorer
            raises `ModelError`, `ConnectionError` or `TimeoutError` where it cannot score at all. Any other
            exception refuses the case that it comes with, as long as others pass: see `mint_ray.batches`.

    Raises:
        ModelError: the scorer cannot be opened, breaks, or does not tell labels or cases apart.
        CorpusError: too many cases are refused.
    """
    folder = run.stage("rankings").path
    every = case_parts(case_files(run), run.config.rankings.part_rows)
    done = {path.name for path in part_files(folder)}
    pending = [part for part in every if part.name not in done]
    logger.info("rankings: %d parts of %d to score", len(pending), len(every))
    if pending:
        todo = [sum(part.stop - part.start for part in parts) for parts in (every, pending)]
        progress.begin("ranking", todo[0], "cases", todo[0] - todo[1], "loading the scorer")
        score_parts(pending, run, load or own_loader(run))
    report = account(run, sum(part.stop - part.start for part in every))
    remove_debris(folder)
    return report


def own_loader(run: Run) -> Loader:
    """The run's scorer, in each actor or behind the application that the settings name.

    Raises:
        ModelError: the application does not run, or serves another scorer than the run's.
    """
    settings, folder = run.config.rankings, run.stage("scorer").path
    if settings.application is None:
        return partial(load_scorer, folder, "cuda" if settings.gpus_per_actor else "cpu")
    served, own = connect(settings.application).digest, load_scorer(folder).digest
    if served != own:
        raise ModelError(
            f"the application {settings.application!r} serves the scorer {served}, the run has {own} in {folder}: "
            "serve that folder, or leave rankings.application empty"
        )
    return partial(served_scorer, settings.application, folder)


def served_scorer(application: str, folder: Path) -> Scorer:
    """The scorer of a running application; what it cuts of a text is told from its own folder."""
    scorer, (section, local) = connect(application), scorer_section(folder)
    scorer.tokens_cut = section.tokens_cut(local)
    return scorer


def score_parts(pending: list[Part], run: Run, load: Loader) -> None:
    """Score and write parts, each by one call of an actor; an actor that dies is replaced and its part repeated."""
    import ray

    settings, folder = run.config.rankings, run.stage("rankings").path
    done: ray.data.Dataset = ray.data.from_items(
        [asdict(p) for p in pending], override_num_blocks=len(pending)
    ).map_batches(
        PartScorer,
        fn_constructor_args=(load, run.config.task, settings, folder),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(settings.actors, len(pending))),
        num_cpus=settings.cpus_per_actor,
        num_gpus=settings.gpus_per_actor or None,
    )
    for row in done.iter_rows():
        telemetry.count("cases_ranked", row["cases_ranked"], run.name, "rankings")


def account(run: Run, rows_in: int) -> StageReport:
    """What the parts hold, read back from them: every case ranked or refused, once, by one scorer.

    Raises:
        RunError: cases are missing, or rankings come from two scorers.
        ModelError: the scorer does not tell labels apart, or cases.
        CorpusError: too many cases are refused.
    """
    folder, refusals = run.stage("rankings").path, refusal_table(run)
    rankings = ranking_table(run, columns=["case_id", "scorer_digest"])
    seen = set(rankings["case_id"].to_pylist()) | set(refusals["case_id"].to_pylist())
    if len(seen) != rows_in or len(rankings) + len(refusals) != rows_in:
        raise RunError(f"{folder}: {len(seen)} cases are accounted for, of {rows_in}; start over with --fresh")
    if len(digests := list(map(str, pc.unique(rankings["scorer_digest"]).to_pylist()))) > 1:
        raise RunError(
            f"{folder}: rankings come from {len(digests)} scorers ({', '.join(digests)}); start over with --fresh"
        )
    sound = check_soundness(run)
    reasons, limit = Counter(map(str, refusals["reason"].to_pylist())), run.config.rankings.max_refused_share
    if len(refusals) > limit * rows_in:
        raise CorpusError(
            f"{len(refusals)} of {rows_in} cases are refused ({told_counts(reasons)}), more than "
            f"rankings.max_refused_share {limit:g}: see {folder / 'refused'}, mend the cause and start over with --fresh, "
            "or raise the share"
        )
    return StageReport(rows_in=rows_in, rows_out=len(rankings), refused=dict(reasons), figures=sound.figures)
