"""The run directory: complete when the manifest exists, refused to strangers, resumed by its owner."""

import json

import pytest

from mint_ray.config import load_config
from mint_ray.errors import RunError
from mint_ray.runs import STAGES, Run, StageReport, digest_files
from tests.conftest import REPOSITORY


def a_run(tmp_path, *overrides) -> Run:
    return Run(load_config(REPOSITORY / "configs" / "demo.yaml", [f"run.dir={tmp_path / 'run'}", *overrides]))


def some_work(run: Run) -> StageReport:
    return StageReport(rows_in=3, rows_out=2, refused={"no-terms": 1})


def test_a_stage_is_done_once(tmp_path):
    run = a_run(tmp_path)
    assert run.carry_out("cases", some_work)
    assert not a_run(tmp_path).carry_out("cases", some_work)
    assert json.loads((run.dir / "cases" / "manifest.json").read_text())["rows"] == {"in": 3, "out": 2, "refused": 1}


def test_a_stage_says_which_nodes_it_lost_and_no_stage_before_or_after_does(tmp_path, monkeypatch, caplog):
    run, lost = a_run(tmp_path), [{"node": "a1", "address": "10.0.0.3", "why": "before"}]
    monkeypatch.setattr("mint_ray.runs.lost_nodes", lambda: list(lost))
    second = {"node": "b2", "address": "10.0.0.4", "why": "health check failed"}

    def losing(run: Run) -> StageReport:
        lost.append(second)
        return some_work(run)

    for stage, work in (("cases", some_work), ("scorer", losing), ("preferences", some_work)):
        run.carry_out(stage, work)
    told = {stage: run.stage(stage).manifest["lost_nodes"] for stage in ("cases", "scorer", "preferences")}
    assert told == {"cases": [], "scorer": [second], "preferences": []}
    assert "scorer: went on without the node 10.0.0.4: health check failed" in caplog.text


def test_a_stage_that_failed_is_not_complete_and_is_resumed(tmp_path):
    def failing(run):
        raise OSError("a bad day")

    with pytest.raises(OSError):
        a_run(tmp_path).carry_out("cases", failing)
    run = a_run(tmp_path)
    assert not run.stage("cases").complete
    assert run.carry_out("cases", some_work)


def test_another_configuration_is_refused_by_the_settings_that_differ(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    with pytest.raises(RunError, match=r"splits\.min_cases_per_label: was 1, is now 2"):
        a_run(tmp_path, "splits.min_cases_per_label=2").carry_out("cases", some_work)


def test_a_change_upstream_is_refused_downstream(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    a_run(tmp_path).carry_out("scorer", some_work)
    with pytest.raises(RunError, match="seed: was 7, is now 8"):
        a_run(tmp_path, "run.seed=8").carry_out("preferences", some_work)


def test_hardware_may_change_between_start_and_resume(tmp_path):
    a_run(tmp_path).carry_out("cases", some_work)
    assert not a_run(tmp_path, "preferences.actors=7", "cluster.cpus=9").carry_out("cases", some_work)
    fingerprints = [a_run(tmp_path, f"preferences.actors={n}").stage("preferences").fingerprint for n in (1, 7)]
    assert fingerprints[0] == fingerprints[1]


def test_a_stage_without_the_one_before_is_refused(tmp_path):
    with pytest.raises(RunError, match="run the stage `cases` first"):
        a_run(tmp_path).carry_out("scorer", some_work)


def test_starting_over_removes_a_stage_and_what_was_made_from_it_alone(tmp_path):
    run = a_run(tmp_path)
    for name in STAGES:
        run.carry_out(name, some_work)
    run.clear_from("alignment")
    assert [run.stage(name).complete for name in STAGES] == [True, True, True, False, False, False]


def finished(run: Run) -> Run:
    for name in STAGES:
        run.carry_out(name, some_work)
    return run


def test_a_run_borrows_the_stages_that_would_come_out_the_same(tmp_path):
    lender = finished(a_run(tmp_path))
    config = a_run(tmp_path, f"run.dir={tmp_path / 'other'}", "alignment.learning_rate=2e-3").config
    borrower = Run(config, (lender,))
    owners = {name: borrower.stage(name).run is lender for name in STAGES}
    assert owners == dict.fromkeys(STAGES, True) | dict.fromkeys(("alignment", "answers", "evaluation"), False)
    assert not borrower.carry_out("preferences", some_work)
    assert borrower.carry_out("alignment", some_work)
    assert borrower.stage("alignment").path == tmp_path / "other" / "alignment"


def test_the_first_lender_that_has_the_stage_lends_it(tmp_path):
    plain, tuned = a_run(tmp_path), a_run(tmp_path, f"run.dir={tmp_path / 'tuned'}", "alignment.learning_rate=2e-3")
    config = tuned.config.model_copy(update={"run": tuned.config.run.model_copy(update={"dir": tmp_path / "third"})})
    borrower = Run(config, (plain, tuned))
    assert borrower.stage("cases").run is plain
    assert borrower.stage("alignment").run is tuned
    assert Run(config, (borrower,)).stage("alignment").run is tuned


def test_starting_over_leaves_what_is_borrowed_to_its_owner(tmp_path):
    lender = finished(a_run(tmp_path))
    config = a_run(tmp_path, f"run.dir={tmp_path / 'other'}", "alignment.learning_rate=2e-3").config
    borrower = finished(Run(config, (lender,)))
    borrower.clear_from("cases")
    assert all(lender.stage(name).complete for name in STAGES)
    assert not (tmp_path / "other" / "alignment").exists()


def test_answers_of_the_base_model_need_no_adapter_and_do_not_hang_on_its_training(tmp_path):
    runs = [a_run(tmp_path, "inference.models=[base]", f"alignment.learning_rate={rate}") for rate in (1e-3, 1e-4)]
    assert runs[0].stage("answers").fingerprint == runs[1].stage("answers").fingerprint
    both = [a_run(tmp_path, f"alignment.learning_rate={rate}") for rate in (1e-3, 1e-4)]
    assert both[0].stage("answers").fingerprint != both[1].stage("answers").fingerprint
    runs[0].carry_out("cases", some_work)
    assert runs[0].carry_out("answers", some_work)


def test_the_digest_of_a_folder_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").write_text("1")
    first = digest_files(tmp_path)
    (tmp_path / "a").write_text("2")
    second = digest_files(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest_files(tmp_path)}) == 3
