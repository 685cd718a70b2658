import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from mint_ray.comparison.measure import measure_arms
from mint_ray.comparison.outcomes import read_comparison
from mint_ray.errors import EvaluationError
from mint_ray.inference.store import answer_folder
from mint_ray.records import GradedAnswer, Phenotype, from_table
from mint_ray.reports.compare import compare
from mint_ray.reports.comparison_plots import searched
from mint_ray.runs import Run, StageReport
from tests.reports.test_report import Collected
from tests.tiny_run import (
    NAMES,
    finish_stage,
    tiny_case,
    tiny_config,
    truth_first,
    write_answers,
    write_cases,
    write_curve,
    write_rankings,
)

TRUTHS = 24  # test cases, four of each of the six diseases


def cases(count: int = TRUTHS, **fields):
    """Test cases with one to three findings, and training cases: more of a disease the higher its number."""
    finding = [Phenotype(id="HP:0001252", name="Hypotonia"), Phenotype(id="HP:0001250", name="Seizure")]
    finding.append(Phenotype(id="HP:0004322", name="Short stature"))
    test = [tiny_case(i, phenotypes=finding[: 1 + i % 3], **fields) for i in range(count)]
    train = [
        tiny_case(label + 6 * i, case_id=f"train-{label}-{i}", split="train", group_id=f"train-{label}-{i}")
        for label in range(6)
        for i in range(10, 11 + label)
    ]
    return test, train


def whole_run(folder, test, train, models=("aligned",)) -> Run:
    run = Run(tiny_config(folder, inference={"models": list(models)}))
    write_cases(run, test + train)
    write_rankings(run, {case.case_id: truth_first(case.label_id) for case in test}, test)
    return run


def arm(folder, name: str, hits: int, test=None, train=None, answered=None) -> Run:
    """A completed arm that names the truth of its first `hits` cases first, and of no other."""
    if test is None:
        test, train = cases()
    model = "base" if name in ("base", "rag") else "aligned"
    run = whole_run(folder / name, test, train, [model])
    names = {c.case_id: NAMES[c.label_id] if i < hits else "Hypotonia" for i, c in enumerate(test)}
    answered = test if answered is None else answered
    write_answers(run, model, {c.case_id: run.config.task.answer([names[c.case_id]]) for c in answered}, answered)
    if model == "aligned":
        write_curve(run)
        finish_stage(run, "alignment", {"train_pairs": 21})
    stage = run.stage("answers")
    stage.begin()
    tokens = {"prompt_tokens": 1200, "completion_tokens": 720}
    stage.finish(StageReport(24, 24, {}, {model: tokens}), 9.0)
    return run


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared")
    run = whole_run(folder / "run", *cases())
    arms = {name: arm(folder, name, hits) for name, hits in {"base": 0, "sft": 22, "mint": 24}.items()}
    return run, compare(run, arms)


def read(run) -> dict:
    return json.loads((run.dir / "comparison" / "comparison.json").read_text(), parse_constant=pytest.fail)


def test_what_a_curve_has_that_is_not_finite_is_null(tmp_path):
    run = whole_run(tmp_path / "run", *cases())
    arms = {"mint": arm(tmp_path, "mint", 24)}
    (arms["mint"].stage("alignment").path / "curve.jsonl").write_text('{"step": 1, "loss": 1.0, "entropy": NaN}\n')
    compare(run, arms)
    assert read(run)["arms"]["mint"]["curve"] == [{"step": 1, "loss": 1.0, "entropy": None}]


def test_every_arm_and_reference_has_its_figures(compared):
    run, report = compared
    rows = {name: {key: x["value"] for key, x in figures.items()} for name, figures in read(run)["rows"].items()}
    assert list(rows) == [
        *("base", "sft", "mint", "scorer", "prior"),
        *("likelihood ratio, all findings", "likelihood ratio, findings shown"),
    ]
    assert [rows[name]["grounded_top_1"] for name in ("base", "sft", "mint")] == [0, pytest.approx(22 / 24), 1]
    assert (rows["base"]["e1"], rows["mint"]["e1"], rows["scorer"]["grounded_top_1"]) == (0, 1, 1)
    # Training knows most cases of the last three diseases: half of the test cases.
    assert rows["prior"]["grounded_top_3"] == 0.5
    assert report.rows_in == report.rows_out == 72


def test_differences_are_paired_and_corrected_for_being_many(compared):
    minus = read(compared[0])["minus_mint"]
    assert set(minus) == {"base", "sft"}
    base, sft = minus["base"]["grounded_top_1"], minus["sft"]["grounded_top_1"]
    assert (base["value"], base["low"], base["high"]) == (-1, -1, -1)
    assert sft["value"] == pytest.approx(-2 / 24) and sft["low"] < sft["high"] <= 0
    assert base["p"] == pytest.approx(2 / 2001) and base["p_holm"] == pytest.approx(4 * base["p"])
    assert sft["p"] > 0.05 and minus["base"]["e1"]["p_holm"] is None


def test_strata_hold_every_case_once(compared):
    strata = read(compared[0])["strata"]
    assert {title: sum(part["cases"] for part in parts) for title, parts in strata.items()} == {
        "training cases of the truth": 24,
        "findings observed": 24,
    }
    findings = strata["findings observed"]
    assert [part["range"] for part in findings] == ["1", "2", "3"]
    # The last two cases, which sft does not know, have two and three findings.
    shares = [part["rows"]["sft"]["grounded_top_1"]["value"] for part in findings]
    assert shares == [1, pytest.approx(7 / 8), pytest.approx(7 / 8)]


def test_cost_and_curve_stand_beside_each_arm(compared):
    arms = read(compared[0])["arms"]
    assert arms["mint"]["cost"] == {
        "training_seconds": 3.0,
        "pairs_seen": None,
        "training_tokens": None,
        "search_seconds": None,
        "answering_seconds": 9.0,
        "prompt_tokens": 1200,
        "completion_tokens": 720,
    }
    assert arms["base"]["cost"]["training_seconds"] is None and arms["base"]["curve"] == []
    assert len(arms["mint"]["curve"]) == 5


def test_graded_answers_are_kept(compared):
    path = compared[0].dir / "comparison" / "graded" / "mint" / "part-00000.parquet"
    assert next(from_table(pq.read_table(path), GradedAnswer)).grounded_label_ids == ["OMIM:1"]


def test_the_page_stands_alone_and_tells_what_came_out(compared):
    text = (compared[0].dir / "comparison" / "report.html").read_text()
    parsed = Collected(text)
    assert parsed.open == [] and not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    assert "http:" not in text and "https:" not in text
    for told in (
        "MINT (ORPO)",
        "24 test cases in 24 groups",
        "−100.0",
        "p, Holm",
        "findings observed",
        "Synthetic data",
    ):
        assert told in text
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 0


def test_what_an_arm_tells_of_its_cost_and_its_search_is_shown(tmp_path):
    one = arm(tmp_path, "mint", 24)
    trained = {"steps": 6, "pairs_seen": 42, "training_seconds": 80.0, "training_tokens": 9000}
    answers = {"seconds": 9.0, "prompt_tokens": 1200, "completion_tokens": 720}
    run = whole_run(tmp_path / "run", *cases())
    told_in = run.dir / "arms" / "mint"
    told_in.mkdir(parents=True)
    (told_in / "cost.json").write_text(json.dumps({"trained": trained, "search_seconds": 200.0, "answers": answers}))
    points = [{"learning_rate": r, "epochs": e, "top": e / 4 - r, "mrr": 0.1} for r in (0.1, 0.2) for e in (1, 2)]
    (told_in / "search.json").write_text(json.dumps({"chosen": points[1], "points": points}))
    compare(run, {"mint": one})
    told = read(run)["arms"]["mint"]
    assert (told["cost"]["pairs_seen"], told["cost"]["search_seconds"], len(told["search"])) == (42, 200.0, 4)
    assert searched(points) == [(1, pytest.approx(15)), (2, pytest.approx(40))]
    assert "Truths named among validation cases" in (run.dir / "comparison" / "report.html").read_text()


def test_a_case_that_one_arm_could_not_answer_counts_for_none(tmp_path):
    from mint_ray.inference.store import refusal_folder
    from mint_ray.parquet import write_part
    from mint_ray.records import Refusal, to_table

    test, train = cases()
    short = arm(tmp_path, "rag", 0, test, train, answered=test[1:])
    refusal = Refusal(source="tiny:0", case_id=test[0].case_id, reason="prompt-too-long")
    write_part(to_table([refusal], Refusal), refusal_folder(short, "base") / "part-0.parquet")
    result = measure_arms(
        *read_comparison(whole_run(tmp_path / "run", test, train), {"rag": short, "mint": arm(tmp_path, "mint", 24)})
    )
    assert len(result.truths) == 23
    assert {a.name: a.refused for a in result.arms} == {"rag": 1, "mint": 0}


def test_arms_that_do_not_share_the_split_are_refused(tmp_path):
    test, train = cases()
    moved = [case.model_copy(update={"split": "validation"}) if i == 5 else case for i, case in enumerate(test)]
    others = [case for case in moved if case.split == "test"]
    arms = {"mint": arm(tmp_path, "mint", 24), "sft": arm(tmp_path, "sft", 0, moved, train, answered=others)}
    with pytest.raises(EvaluationError, match=r"arms mint and sft do not share the split: 1 cases .*'case-005'"):
        measure_arms(*read_comparison(whole_run(tmp_path / "run", test, train), arms))


def test_a_group_that_is_trained_on_and_asked_about_is_refused(tmp_path):
    test, train = cases()
    train[0] = train[0].model_copy(update={"group_id": test[7].group_id})
    with pytest.raises(
        EvaluationError, match=r"arm mint: 1 groups are in training and among the test cases, 'group-007'"
    ):
        measure_arms(
            *read_comparison(whole_run(tmp_path / "run", test, train), {"mint": arm(tmp_path, "mint", 24, test, train)})
        )


def test_answers_of_another_data_set_are_refused(tmp_path):
    other = arm(tmp_path, "mint", 24)
    write_answers(other, "aligned", {"case-099": ""}, [tiny_case(99)])
    with pytest.raises(EvaluationError, match=r"1 answered cases are not among this run's cases, the first 'case-099'"):
        measure_arms(*read_comparison(whole_run(tmp_path / "run", *cases()), {"mint": other}))


def test_arms_of_another_data_set_than_the_run_are_refused(tmp_path):
    test, train = cases()
    with pytest.raises(EvaluationError, match=r"24 cases were answered by all arms .* 12 of them"):
        measure_arms(
            *read_comparison(whole_run(tmp_path / "run", test[:12], train), {"mint": arm(tmp_path, "mint", 24)})
        )


def test_an_arm_with_the_answers_of_two_models_is_refused(tmp_path):
    both = whole_run(tmp_path / "both", *cases(), models=("base", "aligned"))
    with pytest.raises(EvaluationError, match=r"arm mint: inference.models is .*'base', 'aligned'"):
        measure_arms(*read_comparison(both, {"mint": both}))


def test_fewer_groups_than_the_bootstrap_needs_are_refused(tmp_path):
    test, train = cases(group_id="one family")
    with pytest.raises(EvaluationError, match=r"1 groups answered; an interval over groups needs at least 5"):
        measure_arms(
            *read_comparison(whole_run(tmp_path / "run", test, train), {"mint": arm(tmp_path, "mint", 24, test, train)})
        )


def test_nothing_is_written_where_the_arms_cannot_be_compared(tmp_path):
    one = arm(tmp_path, "mint", 24)
    next(answer_folder(one, "aligned").glob("*")).unlink()
    run = whole_run(tmp_path / "run", *cases())
    with pytest.raises(EvaluationError, match=r"24 cases have no answer"):
        compare(run, {"mint": one})
    assert not (run.dir / "comparison").exists()


def test_a_comparison_that_stops_while_it_is_written_no_longer_says_that_it_is_whole(tmp_path, monkeypatch):
    run, arms = whole_run(tmp_path / "run", *cases()), {"mint": arm(tmp_path, "mint", 24)}
    compare(run, arms)
    kept = run.dir / "comparison" / "config.yaml"
    assert kept.read_text() == run.config.as_yaml()
    monkeypatch.setattr("mint_ray.reports.comparison_page.write_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compare(run, arms)
    assert not kept.exists()


def test_without_mint_there_are_figures_and_no_differences(tmp_path):
    result = measure_arms(*read_comparison(whole_run(tmp_path / "run", *cases()), {"sft": arm(tmp_path, "sft", 3)}))
    assert result.differences == {} and not np.isnan(result.intervals["sft"][0].value)
