"""Answers and rankings in the form that PhEval reads (Bridges et al. 2025; the package pheval, 0.7), beside Exomiser's.

pheval/<model>/pheval_{disease,gene}_results/<name>-{disease,gene}_result.parquet
pheval/files.parquet    which case each name stands for

One file for every case that was to be asked about, also where there is no answer: PhEval holds two runs against each
other row by row, so a case that one of them lacks would shift all that follow. One row a label: `rank` from 1, `score`
(higher is better), the label, `true_positive`. A truth that is not named has rank and score 0, PhEval's miss.

PhEval calls a case by its phenopacket's file, without the ending; see `file_stems`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from mint_ray.evaluation.inputs import Known
from mint_ray.evaluation.results import REFERENCES, SCORER, Result
from mint_ray.parquet import write_part
from mint_ray.storage import remove

_RANKED = [("rank", pa.int64()), ("score", pa.float64())]
_TRUTH = [("true_positive", pa.bool_())]
SCHEMAS = {
    "disease": pa.schema([*_RANKED, ("disease_identifier", pa.string()), ("mondo_identifier", pa.string()), *_TRUTH]),
    "gene": pa.schema([*_RANKED, ("gene_symbol", pa.string()), ("gene_identifier", pa.string()), *_TRUTH]),
}
FILES = pa.schema([("file", pa.string()), ("case_id", pa.string()), ("source", pa.string())])
LONGEST = 255  # bytes of a file's name


@dataclass(frozen=True)
class Ranked:
    """A label at its place from 1, with a score."""

    label_id: str
    rank: int
    score: float


def write_pheval(known: Known, result: Result, folder: Path) -> None:
    """What each model and the scorer say, one folder each; nothing for a task whose labels PhEval does not know."""
    entity = known.rules.task.entity
    if entity is None or entity not in SCHEMAS:
        return
    remove(folder)  # a file under a name that no case has any more would count as one
    cases: list[dict[str, str]] = known.cases.select(["case_id", "source"]).to_pylist()
    stems = file_stems({case["case_id"]: case["source"] for case in cases}, entity)
    asked = known.asked.select(["case_id", "source", "label_id"]).to_pylist()
    names = {label.id: label.name for label in result.labels}
    for model, said_of in said(known, result).items():
        for case in asked:
            table = result_table(entity, said_of.get(case["case_id"], []), case["label_id"], names)
            write_part(table, folder / model / f"pheval_{entity}_results" / file_name(stems[case["case_id"]], entity))
    rows = [{**case, "file": stems[case["case_id"]]} for case in asked]
    write_part(pa.Table.from_pylist(rows, schema=FILES), folder / "files.parquet")


def said(known: Known, result: Result) -> dict[str, dict[str, list[Ranked]]]:
    """By model and case, the labels in order: a model's answer, the scorer's whole ranking."""
    found = {
        model: {case_id: in_order(reply.label_ids) for case_id, reply in replies.items()}
        for model, replies in result.replies.items()
        if model not in REFERENCES
    }
    rankings = known.rankings.to_pylist()
    found[SCORER] = {row["case_id"]: scored(row["label_ids"], row["scores"]) for row in rankings}
    return found


def scored(label_ids: Sequence[str], scores: Sequence[float]) -> list[Ranked]:
    """A ranking, best first, with the scores that it was made from."""
    pairs = enumerate(zip(label_ids, scores, strict=True), 1)
    return [Ranked(label_id, place, score) for place, (label_id, score) in pairs]


def in_order(label_ids: Sequence[str | None]) -> list[Ranked]:
    """An answer's labels, each at its first place; a name without a label keeps its place empty. Score: 1 / place."""
    first = {label_id: place for place, label_id in reversed(list(enumerate(label_ids, 1))) if label_id is not None}
    return [Ranked(label_id, place, 1 / place) for label_id, place in sorted(first.items(), key=lambda item: item[1])]


def result_table(entity: str, ranked: Iterable[Ranked], truth: str | None, names: dict[str, str]) -> pa.Table:
    """One case as PhEval reads it.

    A disease stands in `mondo_identifier` by its own id, which is what PhEval itself does where Mondo has no mapping.
    """
    rows = list(ranked)
    if truth is not None and truth not in {row.label_id for row in rows}:
        rows.append(Ranked(truth, 0, 0.0))
    ids = [row.label_id for row in rows]
    columns = {
        "rank": [row.rank for row in rows],
        "score": [row.score for row in rows],
        "disease_identifier": ids,
        "mondo_identifier": ids,
        "gene_symbol": [names.get(label_id, label_id) for label_id in ids],
        "gene_identifier": ids,
        "true_positive": [label_id == truth for label_id in ids],
    }
    schema = SCHEMAS[entity]
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def file_stems(sources: Mapping[str, str], entity: str) -> dict[str, str]:
    """By case id, what PhEval calls each case: never two by one name, nor by names that differ in case alone.

    A case that has a file for itself is called by it, as PhEval does; any other (a row of a table, a line, a member of
    a cohort, a simulation) by its id. Names that several cases of the corpus would have, and such as are too long for a
    file, end in `-` and 12 digits of the SHA-256 of the case id.

    Args:
        sources: each case's `source`, by case id.
    """
    room = LONGEST - len(file_name("", entity))
    wanted = {case_id: own_file(source) or _of_id(case_id) for case_id, source in sources.items()}
    times = Counter(map(_folded, wanted.values()))
    return {
        case_id: name if times[_folded(name)] == 1 and len(name.encode()) <= room else _marked(name, case_id, room)
        for case_id, name in wanted.items()
    }


_ARCHIVE = re.compile(r"^.*?\.(?:zip|tar|tgz|tar\.gz)!", re.IGNORECASE | re.DOTALL)
_ONE_OF_MANY = re.compile(r"(?::\d+|!\w+\[\d+\])$")  # corpora.reading.place_of: a row, a member
_NO_FILE_HAS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def own_file(source: str) -> str | None:
    """The file that holds this case and no other, by its name without folders and ending; None if there is none."""
    if _ONE_OF_MANY.search(source):
        return None
    inside = _ARCHIVE.sub("", source).replace("\\", "/")
    path = PurePosixPath(inside)
    stem = PurePosixPath(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
    return _NO_FILE_HAS.sub("_", stem) if path.suffix else None


def _of_id(case_id: str) -> str:
    """An id as a name; whatever a file's name should not hold becomes `_`."""
    return re.sub(r"^\.|[^\w.-]", "_", case_id)


def _folded(name: str) -> str:
    """What a file system that knows no capitals, or one form of an accent alone, makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).upper().casefold())


def _marked(name: str, case_id: str, room: int) -> str:
    mark = "-" + hashlib.sha256(case_id.encode(errors="surrogatepass")).hexdigest()[:12]
    return name.encode()[: room - len(mark)].decode(errors="ignore") + mark


def file_name(stem: str, entity: str) -> str:
    """The file of a case in the results of PhEval."""
    return f"{stem}-{entity}_result.parquet"
