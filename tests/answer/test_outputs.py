"""What was answered, as others read it: made from a target folder that holds cases and answers already."""

import json

import pyarrow.parquet as pq
import pytest

from mint_ray.answer.answering import AnsweringRun
from mint_ray.answer.outputs import duration, write_outputs
from mint_ray.corpora.phenopackets import read_packet
from mint_ray.errors import RunError
from mint_ray.notes.cases import with_note_read
from tests.tiny_run import (
    LABELS,
    NAMES,
    answered_run,
    finish_stage,
    tiny_case,
    write_answers,
    write_cases,
    write_rankings,
)

NOTE = "A boy with seizures and hypertelorism, no scoliosis."


def answering(tmp_path, by: str = "aligned", task=None) -> AnsweringRun:
    finished = answered_run(tmp_path / "finished", **({"task": task} if task else {}))
    return AnsweringRun(finished.config.moved(tmp_path / "new"), finished, by)


def answered(tmp_path, by: str = "aligned", task=None) -> AnsweringRun:
    """Three cases: one whose label is known, one without, and a note without; the fourth got no answer."""
    run = answering(tmp_path, by, task)
    bare = {"label_id": None, "label_name": None, "image": None}
    note = with_note_read(tiny_case(2, **bare, text=NOTE, phenotypes=[], sex=None, age_years=None))
    cases = [tiny_case(0), tiny_case(1, **bare), note, tiny_case(3, **bare)]
    write_cases(run, cases)
    if by == "scorer":
        write_rankings(run, {c.case_id: [label.id for label in LABELS] for c in cases[:3]}, cases[:3])
    else:
        answer = run.config.task.answer(["Noonan syndrome 1", "Something else", NAMES["OMIM:1"]])
        write_answers(run, by, {c.case_id: answer for c in cases[:3]}, cases[:3])
        finish_stage(run, "answers")
    return run


def lines(run) -> list[dict]:
    return [json.loads(line) for line in (run.dir / "differentials.jsonl").read_text().splitlines()]


def test_the_table_and_the_lines_tell_names_ids_and_findings_of_every_answered_patient(tmp_path):
    run = answered(tmp_path)
    write_outputs(run)
    rows = [row.split("\t") for row in (run.dir / "differentials.tsv").read_text().splitlines()]
    assert rows[0][:4] == ["patient", "rank", "name", "id"] and len(rows) == 1 + 3 * 3
    assert rows[1][:4] == ["case-000", "1", "Noonan syndrome 1", "OMIM:3"] and rows[2][3] == ""
    told = {each["case_id"]: each for each in lines(run)}
    assert list(told) == ["case-000", "case-001", "case-002"]
    assert told["case-002"]["findings"] == ["Seizure", "Hypertelorism"] and told["case-002"]["excluded"] == [
        "Scoliosis"
    ]
    assert [c["id"] for c in told["case-000"]["candidates"]] == ["OMIM:3", None, "OMIM:1"]


def test_metrics_are_of_the_labelled_alone_and_count_the_others(tmp_path):
    found = write_outputs(answered(tmp_path))
    assert (found["answered"], found["unlabelled"], found["measured"]) == (3, 2, 1)
    assert (
        found["grounded_top_1"] == 0 and found["grounded_top_3"] == 1 and found["grounded_mrr"] == pytest.approx(1 / 3)
    )


def test_a_phenopacket_has_each_candidate_in_progress_so_that_no_reader_takes_one_for_the_truth(tmp_path):
    run = answered(tmp_path)
    write_outputs(run)
    packet = json.loads((run.dir / "phenopackets" / "case-002.json").read_text())
    assert packet["subject"] == {"id": "case-002", "sex": "MALE"}
    assert [(i["diagnosis"]["disease"]["id"], i["progressStatus"]) for i in packet["interpretations"]] == [
        ("OMIM:3", "IN_PROGRESS"),
        ("OMIM:1", "IN_PROGRESS"),
    ]
    statuses = {
        g["interpretationStatus"] for i in packet["interpretations"] for g in i["diagnosis"]["genomicInterpretations"]
    }
    assert statuses == {"CANDIDATE"}
    row = {"source": "case-002.json", "row": None, "text": json.dumps(packet).encode(), "problem": None}
    assert read_packet(row).reason == "no-diagnosis"


def test_pheval_has_a_file_for_every_case_also_without_an_answer(tmp_path):
    run = answered(tmp_path)
    write_outputs(run)
    files = sorted((run.dir / "pheval" / "aligned" / "pheval_disease_results").glob("*.parquet"))
    assert len(files) == 4
    first = pq.read_table(files[0]).to_pylist()
    assert [(r["rank"], r["disease_identifier"], r["true_positive"]) for r in first] == [
        (1, "OMIM:3", False),
        (3, "OMIM:1", True),
    ]


def test_a_scorer_s_ranking_is_told_with_its_scores(tmp_path):
    run = answered(tmp_path, by="scorer")
    found = write_outputs(run)
    assert found["grounded_top_1"] == 1
    first = lines(run)[0]["candidates"]
    assert [c["id"] for c in first] == [label.id for label in LABELS] and first[1]["score"] == -1.0


def test_what_is_withheld_from_a_model_is_among_no_findings_that_it_used(tmp_path):
    from mint_ray.tasks.rare_disease import RareDisease

    task = RareDisease(kind="rare_disease", answer_size=3, withhold_branches=["HP:0000478"])
    run = answered(tmp_path, task=task)
    write_outputs(run)
    told = lines(run)[2]
    assert told["findings"] == ["Seizure"] and told["withheld"] == ["HP:0000316"]


def test_written_again_everything_comes_out_the_same(tmp_path):
    run = answered(tmp_path)
    write_outputs(run)
    before = {p: p.read_bytes() for p in run.dir.rglob("*") if p.is_file()}
    write_outputs(run)
    assert before == {p: p.read_bytes() for p in run.dir.rglob("*") if p.is_file()}


def test_the_finished_run_s_own_folder_is_refused(tmp_path):
    finished = answered_run(tmp_path / "finished")
    with pytest.raises(RunError, match="folder of its own"):
        AnsweringRun(finished.config, finished, "aligned")


@pytest.mark.parametrize(("years", "text"), [(0, "P0M"), (0.5, "P6M"), (3, "P3Y"), (3.25, "P3Y3M"), (1.999, "P2Y")])
def test_an_age_is_written_to_the_month(years, text):
    assert duration(years) == text
