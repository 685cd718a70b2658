"""The first stage: a corpus to `cases/`, split by group, every refused row kept beside with its reason.

The source is read once, as a stream, into Parquet parts of outcomes. The small columns of these decide on
the driver what stays and in which split; a second stream over the parts writes the cases and the refusals.
A stage that was cut short is done again from the start.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any, cast, get_args
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mint_ray import progress
from mint_ray.config import Configuration, label_conflicts
from mint_ray.corpora.base import notes_read
from mint_ray.corpora.cohort import Cohort, Member, choose_cohort, grouped, under_one_id
from mint_ray.corpora.inventory import Inventory
from mint_ray.corpora.label_ids import shared_names
from mint_ray.corpora.names import with_given_names, without_shared_names
from mint_ray.corpora.store import LABELS
from mint_ray.errors import ConfigError, CorpusError, StorageError
from mint_ray.parquet import arrow_filesystem, parquet_file, read_table
from mint_ray.records import Case, Refusal, Split, arrow_schema, to_table
from mint_ray.runs import Run, StageReport, write_atomically
from mint_ray.storage import arrow_path, files_in, location, remove, written
from mint_ray.tasks.base import Label, save_labels

logger = logging.getLogger(__name__)

PART_ROWS = 256
NOTES_AT_ONCE = 64
OUTCOMES = ".outcomes"
LEFT_OUT = "left_out.tsv"
_DECIDED = ("group_id", "label_id", "label_name")
_SMALL = [f"case.{name}" for name in Member._fields] + [
    f"refusal.{name}" for name in ("reason", "source", "row", "field")
]


def prepare_cases(run: Run) -> StageReport:
    """Read the run's corpus into `cases/`.

    Raises:
        CorpusError: nothing is left of the source, or too little to tell diseases apart or to hold any out.
        ConfigError: the labels are fewer than the preferences ask for.
    """
    folder, config = run.stage("cases").path, run.config
    clear(folder)
    listed = config.corpus.labels()
    if listed is not None:
        _check_labels(config, listed)
    inventory = config.corpus.inventory()
    # Of this attempt: workers of a killed one may still write to theirs.
    outcomes = folder / OUTCOMES / uuid4().hex
    try:
        parts = write_outcomes(config, outcomes)
        members, refused = read_small_columns(parts)
        members, merged = under_one_id(grouped(members), listed)
        cohort = choose_cohort(members, listed, config.splits, config.run.seed)
        needed: list[Split] = ["train", "test", *(["scorer"] if config.splits.scorer else [])]
        _check_cohort(cohort, members, needed, _account(members, refused, cohort))
        _check_labels(config, cohort.labels)
        counts = write_parts(parts, members, cohort, folder)
    finally:
        with suppress(OSError, StorageError):
            remove(folder / OUTCOMES)
    known = [config.corpus.named(label) for label in cohort.labels]
    labels = with_given_names(known, cohort.labels)
    save_labels(without_shared_names(labels, known), folder / LABELS)
    figures = {"labels": len(cohort.labels), "splits": _split_figures(cohort, members), "with": dict(counts)}
    figures |= _label_figures(merged, labels) | _file_figures(inventory, refused, folder)
    return StageReport(len(members) + len(refused), len(cohort.splits), reasons(refused, cohort), figures)


def clear(folder: Path) -> None:
    """Remove what a stage that was cut short may have left; `begun.json` stays."""
    for part in [*files_in(folder, "*.parquet"), *files_in(folder, ".part-*")]:
        part.unlink(missing_ok=True)
    for leftover in (folder / "refused", folder / OUTCOMES, folder / LEFT_OUT):
        remove(leftover)


@contextmanager
def _source_order() -> Iterator[None]:
    """Ray Data keeps the order of the source, so that the first of two equal ids is the same in every run."""
    import ray

    options = ray.data.DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before


def write_outcomes(config: Configuration, folder: Path) -> list[Path]:
    """Read the source, once; the parts in the order of its rows."""
    progress.begin("reading the source", unit="rows")
    with _source_order():
        outcomes = config.corpus.outcomes(config.run.seed)
        if config.corpus.notes and config.task.terms:
            outcomes = outcomes.map_batches(cast(Any, notes_read), batch_format="pyarrow", batch_size=NOTES_AT_ONCE)
        # Strict, or Ray fuses reading and writing into one task a source file, which would hold all of it.
        count: Any = _counted  # the types of Ray Data leave no function of one kind of batch
        counted = outcomes.map_batches(count, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
        counted.repartition(target_num_rows_per_block=PART_ROWS, strict=True).write_parquet(
            arrow_path(folder), filesystem=arrow_filesystem(folder)
        )
    return files_in(folder, "*.parquet")


def _counted(rows: pa.Table) -> pa.Table:
    progress.advance(len(rows))
    progress.flush()
    return rows


def read_small_columns(parts: list[Path]) -> tuple[dict[int, Member], list[dict[str, Any]]]:
    """The cases' small columns by position in the corpus, and where and why rows were refused."""
    members, refused, position = {}, [], 0
    for part in parts:
        for row in parquet_file(part).read(columns=_SMALL).to_pylist():
            if row["case"] is not None:
                members[position] = Member(**row["case"])
            else:
                refused.append(row["refusal"])
            position += 1
    return members, refused


def write_parts(parts: list[Path], members: dict[int, Member], cohort: Cohort, folder: Path) -> Counter[str]:
    """Write the cases and the refusals of each part of outcomes; how many cases have what."""
    import ray

    starts = accumulate((parquet_file(part).metadata.num_rows for part in parts), initial=0)
    ranges = [range(*bounds) for bounds in pairwise(starts)]
    orders = [_order(n, part, ranges[n], members, cohort) for n, part in enumerate(parts)]
    items = ray.data.from_items(orders, override_num_blocks=len(orders))
    progress.begin("writing the cases", len(parts), "parts")
    total: Counter[str] = Counter()
    for counts in items.map(partial(_write_part, folder=folder)).iter_rows():
        total += Counter(counts)
        progress.advance()
    return total


def _order(number: int, part: Path, positions: range, members: dict[int, Member], cohort: Cohort) -> dict[str, str]:
    """What is decided about the rows of a part, as JSON: group, split and label of those that stay, the faults by row."""
    faults = {i - positions.start: vars(cohort.faults[i]) for i in positions if i in cohort.faults}
    kept = [members[i] for i in positions if i in cohort.splits]
    columns = {name: [getattr(m, name) for m in kept] for name in _DECIDED}
    decided = {"splits": [cohort.splits.get(i) for i in positions], "columns": columns, "faults": faults}
    return {"outcomes": str(part), "name": f"part-{number:05}.parquet", "decided": json.dumps(decided)}


def _write_part(order: dict[str, str], folder: Path) -> dict[str, int]:
    decided = json.loads(order["decided"])
    outcomes = read_table(location(order["outcomes"]))
    cases = _chosen(outcomes["case"], decided["splits"], decided["columns"])
    _write(cases, folder / order["name"])
    _write(_refusals(outcomes, decided["faults"]), folder / "refused" / order["name"])
    return _has(cases)


def _chosen(cases: pa.ChunkedArray, splits: list[str | None], columns: dict[str, list[str | None]]) -> pa.Table:
    column = pa.array(splits, pa.string())
    table = pa.Table.from_struct_array(cases.filter(column.is_valid()))
    for name, values in {"split": column.drop_null(), **columns}.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return table.cast(arrow_schema(Case))


def _refusals(outcomes: pa.Table, faults: dict[str, dict[str, Any]]) -> pa.Table:
    """The reader's refusals, then those that were decided for the whole corpus."""
    refusal = outcomes["refusal"]
    by_reader = pa.Table.from_struct_array(refusal.filter(refusal.is_valid()))
    late = [
        Refusal(
            source=outcomes["case"][int(at)]["source"].as_py(),
            case_id=outcomes["case"][int(at)]["case_id"].as_py(),
            **fault,
        )
        for at, fault in faults.items()
    ]
    return pa.concat_tables([by_reader.cast(arrow_schema(Refusal)), to_table(late, Refusal)])


def _write(table: pa.Table, path: Path) -> None:
    """Nothing for no rows; else a file that is whole or not there."""
    if len(table):
        with written(path) as file:
            pq.write_table(table, file)


def _has(cases: pa.Table) -> dict[str, int]:
    """How many cases have an image, a text, findings ..., by the name of the field."""
    fields = ("label_id", "image", "text", "sex", "age_years", "ethnicity")
    counts = {name: len(cases) - cases[name].null_count for name in fields}
    found: Any = pc.greater(pc.list_value_length(cases["phenotypes"]), pa.scalar(0, pa.int32()))
    findings = pc.sum(found).as_py()
    return counts | {"phenotypes": findings or 0, "synthetic": pc.sum(cases["synthetic"]).as_py() or 0}


def _label_figures(merged: dict[str, dict[str, Any]], labels: list[Label]) -> dict[str, Any]:
    """Which label ids became one, and which names several labels have; both are said, too."""
    shared = shared_names(labels)
    if merged:
        became = _first(f"{old} is {one['into']}" for old, one in merged.items())
        logger.info("cases: label ids that became another: %d (%s)", len(merged), became)
    if shared:
        some = _first(f"{name}: {', '.join(ids)}" for name, ids in shared.items())
        logger.warning(
            "cases: names that several labels have, so that such an answer is uncertain: %d (%s)", len(shared), some
        )
    return {"labels_merged": merged, "names_shared": {"count": len(shared), "first": dict(islice(shared.items(), 20))}}


def _file_figures(inventory: Inventory | None, refused: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The account of the source's files; those left out are named in a file of the stage, and said."""
    if inventory is None:
        return {}
    figures = inventory.figures({row["source"] for row in refused if row["row"] is None})
    logger.info("cases: %(in)d files: %(read)d read, %(refused)d refused, %(left_out)d left out", figures)
    if inventory.left_out:
        logger.warning("cases: left out: %s; all by name in %s", inventory.told(), folder / LEFT_OUT)
        lines = "".join(f"{name}\t{why}\n" for name, why in inventory.left_out)
        write_atomically(folder / LEFT_OUT, f"file\twhy\n{lines}")
    return {"files": figures}


def _first(texts: Iterable[str], count: int = 3) -> str:
    some = list(islice(texts, count + 1))
    return "; ".join(some[:count]) + ("; ..." if len(some) > count else "")


def _split_figures(cohort: Cohort, members: dict[int, Member]) -> dict[str, dict[str, int]]:
    """Cases, groups and labels of each split that has any."""
    figures = {}
    for split in get_args(Split):
        if not (inside := [members[i] for i, s in cohort.splits.items() if s == split]):
            continue
        labels = {m.label_id for m in inside} - {None}
        figures[split] = {"cases": len(inside), "groups": len({m.group_id for m in inside}), "labels": len(labels)}
        if unlabelled := sum(m.label_id is None for m in inside):
            figures[split]["unlabelled"] = unlabelled
    return figures


def _account(members: dict[int, Member], refused: list[dict[str, Any]], cohort: Cohort) -> str:
    """Rows read and refused by reason, with the place of the first that the reader refused for it."""
    places: dict[str, str] = {}
    for row in refused:
        line = "" if row["row"] is None else f" row {row['row']}"
        field = f" field {row['field']}" if row["field"] else ""
        places.setdefault(row["reason"], f", first: {row['source']}{line}{field}")
    lines = [f"{n} {reason}{places.get(reason, '')}" for reason, n in reasons(refused, cohort).items()]
    return f"{len(members) + len(refused)} rows read; refused: " + ("; ".join(lines) or "none")


def reasons(refused: list[dict[str, Any]], cohort: Cohort) -> dict[str, int]:
    counted = Counter(row["reason"] for row in refused) + Counter(e.reason for e in cohort.faults.values())
    return dict(sorted(counted.items()))


def _check_cohort(cohort: Cohort, members: dict[int, Member], needed: list[Split], account: str) -> None:
    """Refuse a corpus that teaches or tests nothing."""
    kept = [members[i] for i in cohort.splits]
    if not kept:
        raise CorpusError(f"no case is left ({account})")
    labels = {m.label_id for m in kept} - {None}
    if len(labels) < 2:
        raise CorpusError(f"the cases carry {len(labels)} label(s); two or more are needed to tell apart ({account})")
    if len({m.group_id for m in kept}) < 2:
        raise CorpusError(f"all cases are of one group ({kept[0].group_id}); a group cannot be split ({account})")
    for split in needed:
        if not any(m.label_id and s == split for m, s in zip(kept, cohort.splits.values(), strict=True)):
            raise CorpusError(
                f"no labelled case is in the split {split}: its labels have too few groups, or the source's own splits leave "
                f"it out; add groups, or set splits.min_groups_per_label ({account})"
            )


def _check_labels(config: Configuration, labels: list[Label]) -> None:
    if found := label_conflicts(config.preferences, len(labels)):
        raise ConfigError(found)
