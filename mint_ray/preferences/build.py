"""Rankings to pairs, part by part: no scorer, no Ray. A part is done when its refusals are written, even if there are none."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mint_ray import progress, telemetry
from mint_ray.candidates import candidate_source
from mint_ray.config import label_conflicts
from mint_ray.corpora.store import case_files
from mint_ray.errors import ConfigError, CorpusError
from mint_ray.parquet import parquet_dataset, part_files, read_table, remove_debris, write_part
from mint_ray.preferences.card import write_card
from mint_ray.preferences.pairs import Given, PairMaker
from mint_ray.preferences.shuffling import draw_donors
from mint_ray.preferences.store import PAIR_SPLITS, refusal_table
from mint_ray.rankings.parts import Part, Rows, case_parts
from mint_ray.rankings.ranking import ranked_rows
from mint_ray.rankings.store import LABELS, ranking_table
from mint_ray.records import Case, Ranking, Record, arrow_schema, as_stored, plain_values
from mint_ray.runs import Run, StageReport, told_counts
from mint_ray.tasks.base import load_labels

logger = logging.getLogger(__name__)
GIVEN = ["case_id", "label_id", "scorer", "scorer_digest", "label_ids", "scores"]  # what is read of rankings
CODED = "label_ids.list.element"  # read as codes of a dictionary: a label's id is a text once, not once a row
FINDINGS = 20_000  # kept from part to part; a vocabulary has about as many, words and places in notes have no end
BLOCK = 32  # parts whose donors are looked up in one pass through the rankings


def build_preferences(run: Run) -> StageReport:
    """Make pairs of the ranked training and validation cases, and write the card.

    Raises:
        ConfigError: the pair policy does not fit the number of labels.
        CorpusError: too many cases are refused, or none is left to train on.
    """
    folder = run.stage("preferences").path
    make_pairs(run)
    report = account(run)
    report.figures |= write_card(run, report)
    remove_debris(folder)
    return report


def make_pairs(run: Run) -> None:
    """Write the pairs of all parts that are not done yet."""
    folder, labels = run.stage("preferences").path, load_labels(run.stage("rankings").path / LABELS)
    if conflicts := label_conflicts(run.config.preferences, len(labels)):
        raise ConfigError(conflicts)
    source = candidate_source(run)
    maker, rows = PairMaker(run.config, labels, source.open() if source else None), Rows()
    every = case_parts(case_files(run), run.config.rankings.part_rows)
    done = {path.name for path in part_files(folder / "refused")}
    pending = [part for part in every if part.name not in done]
    logger.info("preferences: %d parts of %d to make pairs of", len(pending), len(every))
    progress.begin("pairing", len(every), "parts", len(every) - len(pending))
    findings: dict[Any, Record] = {}
    for count, (part, given) in enumerate(given_rankings(run, pending), 1):
        if len(findings) > FINDINGS:
            findings.clear()
        cases = (case for case in as_stored(rows.of(part), Case, findings) if case.case_id in given)
        made = maker.make((case, given[case.case_id]) for case in cases)
        for place, table in made.tables(maker.images).items():  # refusals last, since they say that it is done
            write_part(table, folder / place / part.name)
        telemetry.count("pairs", len(made.pairs), run.name, "preferences")
        progress.advance(1)
        if count % BLOCK == 0 or count == len(pending):
            logger.info("preferences: %d of %d parts done", count, len(pending))


def given_rankings(run: Run, parts: Sequence[Part]) -> Iterator[tuple[Part, dict[str, Given]]]:
    """For each part, the rankings that its cases are given, by case id: their own, or where answers are shuffled another's."""
    folder = run.stage("rankings").path
    if not run.config.preferences.shuffled:
        for part in parts:
            yield part, given_by_id(read_table(folder / part.name, GIVEN, coded=[CODED]))
        return
    donors = draw_donors(ranking_table(run, columns=["case_id", "split"]), run.config.run.seed)
    rankings = parquet_dataset(part_files(folder), arrow_schema(Ranking))
    for start in range(0, len(parts), BLOCK):
        block = parts[start : start + BLOCK]
        own = {part: case_ids_of(read_table(folder / part.name, ["case_id"])) for part in block}
        wanted = [donors[case_id] for case_ids in own.values() for case_id in case_ids]
        found = given_by_id(rankings.to_table(filter=pc.field("case_id").isin(wanted)))
        for part, case_ids in own.items():
            yield part, {case_id: found[donors[case_id]] for case_id in case_ids}


def case_ids_of(table: pa.Table) -> list[str]:
    """The column of case ids."""
    return [str(case_id) for case_id in table["case_id"].to_pylist()]


def given_by_id(rankings: pa.Table) -> dict[str, Given]:
    """Rankings by the case that was ranked."""
    columns = [plain_values(rankings[name].combine_chunks()) for name in GIVEN[:4]]
    return {
        case_id: Given(ranked, truth, scorer, digest)
        for ranked, case_id, truth, scorer, digest in zip(ranked_rows(rankings), *columns, strict=True)
    }


def account(run: Run) -> StageReport:
    """What became of the ranked cases, read back from the parts.

    Raises:
        CorpusError: too many cases are refused, or there is no pair to train on.
    """
    folder, limit = run.stage("preferences").path, run.config.preferences.max_refused_share
    rows_in = ranking_table(run, columns=["case_id"]).num_rows
    reasons = Counter(map(str, refusal_table(run)["reason"].to_pylist()))
    refused, counts = sum(reasons.values()), told_counts(reasons)
    if refused > limit * rows_in:
        raise CorpusError(
            f"{refused} of {rows_in} cases are refused ({counts}), more than preferences.max_refused_share {limit:g}: "
            f"see {folder / 'refused'}, mend the cause and start over with --fresh, or raise the share"
        )
    if not part_files(folder / "pairs" / PAIR_SPLITS[0]):
        raise CorpusError(
            f"no pair to train on: of {rows_in} cases {refused} are refused ({counts or 'none is a training case'})"
        )
    return StageReport(rows_in=rows_in, rows_out=rows_in - refused, refused=dict(reasons))
