"""A finished run answers a table of new patients: by its engine, on Ray, stopped and gone on with, each case once."""

import json

import pytest

from mint_ray.answer.answering import AnsweringRun, answer
from mint_ray.answer.outputs import write_outputs
from mint_ray.answer.source import configuration, kind_of
from mint_ray.errors import ConfigError, RunError
from mint_ray.inference import predict as prediction
from mint_ray.inference.store import answer_table
from tests.aligned_run import aligned_run
from tests.tiny_run import answered_run, tiny_case, write_cases

WORD = "Quokkabert"


def new_patients(path, count: int = 6):
    """Half findings, half notes, none with a label; then a row that is broken and one that is there twice."""
    rows = []
    for i in range(count):
        finding = {"id": "HP:0001250", "name": "Seizure"}
        told = {"text": f"{WORD}: a girl with seizures."} if i % 2 else {"phenotypes": [finding]}
        rows.append({"case_id": f"new-{i}", **told})
    rows += [{"case_id": 5}, rows[0]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = aligned_run(tmp_path_factory.mktemp("finished") / "run", engine="transformers", batch_size=2, max_tokens=4)
    write_cases(run, [tiny_case(0)])
    return run


def answering(finished, source, folder) -> AnsweringRun:
    return AnsweringRun(configuration(finished, source, folder), finished, "aligned")


def test_new_patients_are_answered_once_also_after_a_stop(local_ray, finished, tmp_path, monkeypatch, capfd, caplog):
    source = new_patients(tmp_path / "new.jsonl")
    counted = prediction._count

    def stop(run, model, row):
        counted(run, model, row)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(prediction, "_count", stop)
        answer(answering(finished, source, tmp_path / "to"))
    before = answer_table(answering(finished, source, tmp_path / "to"), "aligned").to_pylist()
    assert 0 < len(before) <= 6
    run = answering(finished, source, tmp_path / "to")
    answer(run)
    after = answer_table(run, "aligned").to_pylist()
    assert sorted(row["case_id"] for row in after) == [f"new-{i}" for i in range(6)]
    assert [row for row in after if row["case_id"] in {b["case_id"] for b in before}] == before
    manifest = run.stage("cases").told
    assert manifest["rows"] == {"in": 8, "out": 6, "refused": 2}
    assert manifest["refused"] == {"duplicate-case-id": 1, "wrong-field": 1}
    found = write_outputs(run)
    assert (found["answered"], found["unlabelled"], found["measured"]) == (6, 6, 0)
    told = {row["case_id"]: row for row in map(json.loads, (run.dir / "differentials.jsonl").read_text().splitlines())}
    assert told["new-0"]["findings"] == told["new-1"]["findings"] == ["Seizure"]
    # The note's words stay in cases; of what others read, only names of findings.
    printed = capfd.readouterr()
    assert WORD not in printed.out + printed.err + caplog.text
    files = [path for path in run.dir.rglob("*") if path.is_file() and WORD.encode() in path.read_bytes()]
    assert {path.relative_to(run.dir).parts[0] for path in files} <= {"cases"}
    answer(run)  # all is done: nothing is asked again
    assert answer_table(run, "aligned").to_pylist() == after


def test_a_folder_of_another_source_is_refused(finished, tmp_path):
    run = answering(finished, new_patients(tmp_path / "new.jsonl", 1), tmp_path / "to")
    run.stage("cases").begin()
    with pytest.raises(RunError, match=r"corpus\.path"):
        answer(answering(finished, new_patients(tmp_path / "other.jsonl", 1), tmp_path / "to"))


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    unfinished = answered_run(tmp_path / "run")
    unfinished.stage("alignment").clear()
    run = AnsweringRun(unfinished.config.moved(tmp_path / "to"), unfinished, "aligned")
    with pytest.raises(RunError, match="alignment"):
        answer(run)


def test_the_reader_is_told_by_the_looks_of_the_source(tmp_path):
    table = new_patients(tmp_path / "new.jsonl")
    (tmp_path / "packet.jsonl").write_text('{"id": "p", "phenotypicFeatures": []}\n')
    (tmp_path / "packets").mkdir()
    (tmp_path / "packets" / "p.json").write_text("{}")
    assert kind_of(table) == "table"
    assert kind_of(tmp_path / "packet.jsonl") == kind_of(tmp_path / "packets") == "phenopackets"
    with pytest.raises(ConfigError, match="no file"):
        kind_of(tmp_path / "nothing")


def test_a_source_of_another_task_is_refused(finished, tmp_path):
    (tmp_path / "packets").mkdir()
    (tmp_path / "packets" / "p.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"task\.kind"):
        configuration(finished, tmp_path / "packets", tmp_path / "to", given=["label=gene"])
