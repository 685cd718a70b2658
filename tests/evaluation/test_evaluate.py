import json
import warnings

import pyarrow.parquet as pq
import pytest

from mint_ray.errors import EvaluationError
from mint_ray.evaluation.inputs import read_inputs, read_known
from mint_ray.evaluation.measure import measure, swapped
from mint_ray.evaluation.results import Reply
from mint_ray.inference.store import answer_folder, refusal_folder
from mint_ray.parquet import write_part
from mint_ray.records import Answer, GradedAnswer, Refusal, from_table, to_table
from mint_ray.reports.evaluate import evaluate
from mint_ray.tasks.base import Label, save_labels
from mint_ray.tasks.rare_disease import RareDisease
from tests.tiny_run import (
    LABELS,
    answered_run,
    tiny_case,
    truth_first,
    truth_second,
    write_answers,
    write_cases,
    write_rankings,
)


def test_figures_of_a_run_by_hand(tmp_path):
    run = answered_run(tmp_path)
    report = evaluate(run)
    metrics = json.loads((run.stage("evaluation").path / "metrics.json").read_text())
    values = {name: {key: x["value"] for key, x in figures.items()} for name, figures in metrics["models"].items()}
    assert (report.rows_in, report.rows_out) == (24, 24)
    assert (metrics["cases"], metrics["groups"], metrics["labels"]) == (12, 12, 6)
    aligned = values["aligned"]
    assert (aligned["e1"], aligned["e2"], aligned["e3"]) == (1, 1, 0)
    assert (aligned["grounded_top_1"], aligned["grounded_top_3"], aligned["grounded_mrr"]) == (0, 1, 0.5)
    assert (values["base"]["e1"], values["base"]["ungrounded_names"]) == (0, 1)
    assert values["scorer"]["grounded_top_1"] == 1
    # All training cases have the first disease, and two of twelve test cases.
    assert values["prior"]["grounded_top_1"] == pytest.approx(2 / 12)
    assert metrics["aligned_minus_base"]["e2"] == {"value": 1, "low": 1, "high": 1}


def test_the_most_frequent_labels_are_counted_over_training_cases_alone(tmp_path):
    known = read_known(answered_run(tmp_path))
    assert set(known.trained) == {"OMIM:1"}
    assert set(known.asked["label_id"].to_pylist()) > {"OMIM:1"}


def test_swapped_cases_each_have_the_answer_to_another(tmp_path):
    run = answered_run(tmp_path)
    known = read_known(run)
    truths = known.truths({f"case-{i:03}" for i in range(12)})
    own = {truth.case_id: Reply([truth.case_id], [truth.label_id]) for truth in truths}
    given = {case_id: reply.names[0] for case_id, reply in swapped(known.rules, truths, own).items()}
    assert sorted(given) == sorted(given.values()) == sorted(own)
    assert all(case_id != other for case_id, other in given.items())
    assert swapped(known.rules, truths[::-1], own) == swapped(known.rules, truths, own)


def test_names_that_several_labels_have_are_counted_where_they_are_answered(tmp_path, caplog):
    """Two of three names are shared: one is the main name of one label, the other is of none."""
    run = answered_run(tmp_path)
    labels = [label.model_copy(update={"synonyms": ("Elfin face", "Kabuki syndrome 1")}) for label in LABELS[:2]]
    save_labels(labels + LABELS[2:], run.stage("cases").path / "labels.json")
    cases = [tiny_case(i) for i in range(12)]
    answer = run.config.task.answer(["Kabuki syndrome 1", "Elfin face", "Angelman syndrome"])
    write_answers(run, "base", {case.case_id: answer for case in cases}, cases)
    report = evaluate(run)
    counted = {"base": {"to_none": 12, "to_main_name": 12}, "aligned": {"to_none": 0, "to_main_name": 2}}
    assert report.figures["ambiguous_names"] == {"names": 2, "answered": counted}
    folder = run.stage("evaluation").path
    assert json.loads((folder / "metrics.json").read_text())["ambiguous_names"] == report.figures["ambiguous_names"]
    assert "Base 12 by main name, 12 none; Aligned 2 by main name, 0 none." in (folder / "report.html").read_text()
    assert "2 names stand for several labels" in caplog.text


def test_graded_answers_carry_names_and_labels(tmp_path):
    run = answered_run(tmp_path)
    evaluate(run)
    folder = run.stage("evaluation").path / "graded"
    graded = next(from_table(pq.read_table(folder / "aligned" / "part-00000.parquet"), GradedAnswer))
    assert graded.names == ["Angelman syndrome", "Kabuki syndrome 1", "Cornelia de Lange syndrome 1"]
    assert graded.grounded_label_ids == ["OMIM:6", "OMIM:1", "OMIM:4"]


def test_answers_of_other_cases_are_refused(tmp_path):
    run = answered_run(tmp_path)
    write_answers(run, "aligned", {"case-099": ""}, [tiny_case(99)])
    with pytest.raises(EvaluationError, match=r"1 answered cases are not among .* 'case-099'"):
        measure(read_inputs(run))


def test_answers_of_another_data_set_with_the_same_ids_are_refused(tmp_path):
    run = answered_run(tmp_path)
    cases = [tiny_case(i, group_id="another publication" if i == 4 else f"group-{i:03}") for i in range(12)]
    write_answers(run, "aligned", {case.case_id: "" for case in cases}, cases)
    with pytest.raises(EvaluationError, match=r"1 answered cases have another group or truth .* 'case-004'"):
        measure(read_inputs(run))


def test_a_case_without_an_answer_is_refused(tmp_path):
    run = answered_run(tmp_path)
    write_answers(run, "aligned", {"case-003": ""}, [tiny_case(3)])
    with pytest.raises(EvaluationError, match="11 cases have no answer, the first 'case-000'"):
        measure(read_inputs(run))


def test_a_case_answered_twice_is_refused(tmp_path):
    run = answered_run(tmp_path)
    part = answer_folder(run, "base") / "part-0.parquet"
    part.with_name("part-1.parquet").write_bytes(part.read_bytes())
    with pytest.raises(EvaluationError, match="12 cases are answered twice"):
        measure(read_inputs(run))


def test_a_case_that_one_model_was_not_asked_about_counts_for_none(tmp_path):
    run = answered_run(tmp_path)
    write_answers(run, "base", {f"case-{i:03}": "" for i in range(1, 12)}, [tiny_case(i) for i in range(1, 12)])
    refusal = Refusal(source="tiny:0", case_id="case-000", reason="prompt-too-long")
    write_part(to_table([refusal], Refusal), refusal_folder(run, "base") / "part-0.parquet")
    result = measure(read_inputs(run))
    assert [truth.case_id for truth in result.truths] == [f"case-{i:03}" for i in range(1, 12)]


def test_fewer_groups_than_an_interval_needs_are_refused(tmp_path):
    run = answered_run(tmp_path)
    cases = [tiny_case(i, group_id="one family") for i in range(12)]
    write_cases(run, cases)
    write_rankings(run, {case.case_id: [case.label_id] for case in cases}, cases)
    for model in ("base", "aligned"):
        write_answers(run, model, {case.case_id: "" for case in cases}, cases)
    with pytest.raises(EvaluationError, match="1 groups answered"):
        measure(read_inputs(run))


def test_where_no_case_was_answered_by_every_model_it_is_said_how_many_each_answered(tmp_path):
    run = answered_run(tmp_path)
    cases = [tiny_case(i) for i in range(12)]
    for model, asked in (("base", cases[:5]), ("aligned", cases[5:])):
        write_answers(run, model, {case.case_id: "" for case in asked}, asked)
        rest = [case for case in cases if case not in asked]
        refusals = [Refusal(source=c.source, case_id=c.case_id, reason="prompt-too-long") for c in rest]
        write_part(to_table(refusals, Refusal), refusal_folder(run, model) / "part-0.parquet")
    with pytest.raises(EvaluationError, match=r"no test case .*base: 5 answered, 7 refused; aligned: 7 answered, 5"):
        measure(read_inputs(run))


def test_rankings_of_labels_that_are_not_in_the_list_are_refused(tmp_path):
    run = answered_run(tmp_path)
    save_labels(LABELS[:4], run.stage("cases").path / "labels.json")
    with pytest.raises(EvaluationError, match=r"labels.json: 2 labels that are ranked .* the first 'OMIM:5'"):
        measure(read_inputs(run))


@pytest.mark.parametrize("known", [0, 6])
def test_cases_without_a_truth_are_measured_by_what_needs_none(known, tmp_path):
    """One name an answer, so that tables and plots have the fewest figures; nothing warns."""
    run = answered_run(tmp_path, task=RareDisease(kind="rare_disease", answer_size=1), preferences={"chosen": 1})
    unknown = {"label_id": None, "label_name": None}
    cases = [tiny_case(i, **({} if i < known else unknown)) for i in range(12)]
    write_cases(run, cases)
    write_rankings(run, {case.case_id: truth_first("OMIM:1") for case in cases}, cases)
    for model in ("base", "aligned"):
        write_answers(run, model, {case.case_id: "1. 'Kabuki syndrome 1'" for case in cases}, cases)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(run)
    metrics = json.loads((run.stage("evaluation").path / "metrics.json").read_text())["models"]["base"]
    assert (metrics["e1"]["value"], metrics["coverage"]["value"]) == (1, 1)
    assert metrics["grounded_top_1"]["value"] == (pytest.approx(1 / 6) if known else None)


def test_cases_without_a_label_are_counted_and_in_no_metric(tmp_path):
    """Two of the test cases lose their label and are answered as well as can be: nothing changes but the count."""
    found = {}
    for name, extra in (("without", 0), ("with", 2)):
        run = answered_run(tmp_path / name)
        test = [tiny_case(i) for i in range(12)]
        bare = {"label_id": None, "label_name": None}
        more = [tiny_case(i, case_id=f"new-{i}", group_id=f"new-{i}", **bare) for i in range(extra)]
        train = [tiny_case(6 * i, case_id=f"train-{i}", split="train") for i in range(20, 26)]
        write_cases(run, test + more + train)
        rankings = {c.case_id: truth_first(c.label_id or "OMIM:1") for c in test + more}
        write_rankings(run, rankings, test + more)
        task = run.config.task
        for model in ("base", "aligned"):
            said = {c.case_id: task.answer(truth_second(c.label_id or "OMIM:1")) for c in test + more}
            write_answers(run, model, said, test + more)
        evaluate(run)
        found[name] = json.loads((run.dir / "evaluation" / "metrics.json").read_text())
        page = (run.dir / "evaluation" / "report.html").read_text()
        assert ("2 more answered that have no label" in page) == bool(extra)
    assert (found["without"].pop("unlabelled"), found["with"].pop("unlabelled")) == (0, 2)
    assert found["with"]["models"] == found["without"]["models"] and found["with"]["cases"] == 12


def test_candidates_are_ranked_by_how_likely_a_model_is_to_name_each_first(tmp_path):
    run = answered_run(tmp_path)
    path = answer_folder(run, "aligned") / "part-0.parquet"
    answers = list(from_table(pq.read_table(path), Answer))
    others = [next(label.id for label in LABELS if label.id != answer.label_id) for answer in answers]
    asked = [
        answer.model_copy(
            update={"retrieved": [other, answer.label_id], "log_probabilities": [-2.0, -1.0 - (i == 0) * 2]}
        )
        for i, (answer, other) in enumerate(zip(answers, others, strict=True))
    ]
    write_part(to_table(asked, Answer), path)
    evaluate(run)
    figures = json.loads((run.stage("evaluation").path / "metrics.json").read_text())["models"]
    assert figures["aligned_likelihood"]["grounded_top_1"]["value"] == pytest.approx(11 / 12)
    assert figures["aligned_likelihood"]["grounded_top_3"]["value"] == 1
    assert figures["aligned"]["grounded_top_1"]["value"] == 0  # what it wrote stays what it was
    assert "base_likelihood" not in figures
    assert "candidates by likelihood" in (run.stage("evaluation").path / "report.html").read_text()


def test_thousands_of_labels_are_in_the_figures_and_on_no_page_one_by_one(tmp_path):
    run = answered_run(tmp_path)
    others = [Label(id=f"OMIM:{number}", name=f"Rare disorder {number}") for number in range(100_000, 108_346)]
    save_labels([*LABELS, *others], run.stage("cases").path / "labels.json")
    evaluate(run)
    folder = run.stage("evaluation").path
    metrics, page = json.loads((folder / "metrics.json").read_text()), (folder / "report.html").read_text()
    assert metrics["labels"] == 8352 and metrics["by_label"] is None
    assert metrics["models"]["aligned"]["grounded_top_3"]["value"] == 1
    assert "Rare disorder" not in page
