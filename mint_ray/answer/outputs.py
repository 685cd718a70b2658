"""What was answered, for whoever reads it: a table, JSON lines, phenopackets, PhEval's results, and metrics.

<folder>/
  differentials.tsv      a row a candidate: patient, place, name, id, score, findings, what was withheld
  differentials.jsonl    `Differential`, a line a patient
  phenopackets/*.json    the patient with each candidate as an interpretation in progress
  pheval/<by>/...        as evaluation writes them (mint_ray/reports/pheval.py)
  metrics.json           of the cases that have a label; how many have none

All of it holds patients' data and stays in this folder. Written again it comes out the same.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mint_ray import hpo
from mint_ray.answer.answering import SCORER, AnsweringRun
from mint_ray.answer.differential import Differential, differentials
from mint_ray.corpora.store import case_table, run_labels
from mint_ray.evaluation.metrics import grounded
from mint_ray.parquet import write_part
from mint_ray.records import Case
from mint_ray.reports.pheval import SCHEMAS, Ranked, file_name, file_stems, in_order, result_table
from mint_ray.runs import write_atomically, write_json
from mint_ray.storage import remove

COLUMNS = ("patient", "rank", "name", "id", "score", "findings", "excluded", "withheld")


def write_outputs(run: AnsweringRun) -> dict[str, Any]:
    """Write everything anew; what `metrics.json` says."""
    folder = run.dir
    told = list(differentials(run))
    write_atomically(folder / "differentials.jsonl", "".join(each.model_dump_json() + "\n" for _, each in told))
    write_atomically(folder / "differentials.tsv", table([each for _, each in told]))
    if run.config.task.entity in SCHEMAS:  # diseases and genes
        _write_packets(told, folder / "phenopackets", made_at(run))
        _write_pheval(run, told, folder / "pheval")
    found = metrics(run, told)
    write_json(folder / "metrics.json", found)
    return found


def table(told: Sequence[Differential]) -> str:
    """Tab-separated, a row a candidate; a patient without any has one row."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in told:
        seen = ["; ".join(each.findings), "; ".join(each.excluded), "; ".join(each.withheld)]
        for found in each.candidates:
            score = "" if found.score is None else f"{found.score:.4f}"
            writer.writerow([each.case_id, found.rank, found.name, found.id or "", score, *seen])
        if not each.candidates:
            writer.writerow([each.case_id, "", "", "", "", *seen])
    return text.getvalue()


def made_at(run: AnsweringRun) -> str:
    """When the last case was answered."""
    return run.stage("rankings" if run.by == SCORER else "answers").told["finished"]


def _write_packets(told: Sequence[tuple[Case, Differential]], folder: Path, created: str) -> None:
    remove(folder)
    stems = file_stems({case.case_id: case.source for case, _ in told}, "disease")
    for case, each in told:
        write_json(folder / f"{stems[case.case_id]}.json", packet(case, each, created))


def packet(case: Case, told: Differential, created: str) -> dict[str, Any]:
    """A phenopacket (GA4GH, schema 2.0): the patient, and each candidate that means a label as an interpretation.

    An interpretation is in progress and its variants, of which nobody knows any, are candidates: no reader takes it for
    a diagnosis that holds.
    """
    subject: dict[str, Any] = {"id": case.case_id}
    if case.sex:
        subject["sex"] = {"female": "FEMALE", "male": "MALE"}.get(case.sex, "OTHER_SEX")
    if case.age_years is not None:
        subject["timeAtLastEncounter"] = {"age": {"iso8601duration": duration(case.age_years)}}
    features = [
        {"type": {"id": p.id, "label": p.name}, **({"excluded": True} if p.excluded else {})}
        for p in case.phenotypes
        if p.id
    ]
    return {
        "id": case.case_id,
        "subject": subject,
        "phenotypicFeatures": features,
        "interpretations": [
            _interpretation(case, each.rank, each.id, each.name) for each in told.candidates if each.id
        ],
        "metaData": {
            "created": created,
            "createdBy": f"mint_ray, {told.by}",
            "phenopacketSchemaVersion": "2.0",
            "resources": [
                {
                    "id": "hp",
                    "name": "human phenotype ontology",
                    "url": "http://purl.obolibrary.org/obo/hp.owl",
                    "version": hpo.dates()["hpo"],
                    "namespacePrefix": "HP",
                    "iriPrefix": "http://purl.obolibrary.org/obo/HP_",
                }
            ],
        },
    }


def _interpretation(case: Case, rank: int, label_id: str, name: str) -> dict[str, Any]:
    is_gene = bool(re.match(r"HGNC:|ENSEMBL:|NCBIGene:", label_id))
    genomic: dict[str, Any] = {"subjectOrBiosampleId": case.case_id, "interpretationStatus": "CANDIDATE"}
    if is_gene:
        genomic["gene"] = {"valueId": label_id, "symbol": name}
    diagnosis: dict[str, Any] = {} if is_gene else {"disease": {"id": label_id, "label": name}}
    return {
        "id": f"{case.case_id}-{rank}",
        "progressStatus": "IN_PROGRESS",
        "diagnosis": {**diagnosis, "genomicInterpretations": [genomic]},
        "summary": f"candidate {rank}",
    }


def duration(years: float) -> str:
    """An age as ISO 8601 has it, to the month."""
    whole, months = divmod(round(years * 12), 12)
    return "P" + (f"{whole}Y" if whole else "") + (f"{months}M" if months or not whole else "")


def _write_pheval(run: AnsweringRun, told: Sequence[tuple[Case, Differential]], folder: Path) -> None:
    entity = str(run.config.task.entity)
    remove(folder)
    names = {label.id: label.name for label in run_labels(run)}
    said = {each.case_id: each for _, each in told}
    cases = case_table(run, ["case_id", "source", "label_id"]).to_pylist()
    stems = file_stems({row["case_id"]: row["source"] for row in cases}, entity)
    for row in cases:
        found = ranked(said[row["case_id"]]) if row["case_id"] in said else []
        place = folder / run.by / f"pheval_{entity}_results" / file_name(stems[row["case_id"]], entity)
        write_part(result_table(entity, found, row["label_id"], names), place)


def ranked(told: Differential) -> list[Ranked]:
    """A differential's labels, with the scores that they were ranked by, else 1 / place."""
    if any(each.score is not None for each in told.candidates):
        return [Ranked(str(each.id), each.rank, float(each.score or 0)) for each in told.candidates]
    return in_order([each.id for each in told.candidates])


def metrics(run: AnsweringRun, told: Sequence[tuple[Case, Differential]]) -> dict[str, Any]:
    """The grounded metrics (docs/metrics.md) over the answered cases that have a label of the run's list."""
    known = {label.id for label in run_labels(run)}
    size = run.config.task.answer_size
    labelled = [(case, each) for case, each in told if case.label_id in known]
    rows = [grounded([c.id for c in each.candidates], case.label_id, None, size) for case, each in labelled]
    means = {
        name: sum(row[name] for row in rows) / len(rows)
        for name in (rows[0] if rows else ())
        if name.startswith(("grounded_top", "grounded_mrr"))
    }
    unlabelled = sum(case.label_id is None for case, _ in told)
    return {
        "by": run.by,
        "answered": len(told),
        "unlabelled": unlabelled,
        "label_outside_list": len(told) - unlabelled - len(labelled),
        "measured": len(labelled),
        **means,
    }
