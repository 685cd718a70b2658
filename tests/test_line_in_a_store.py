"""Stages and the whole line with their run directory in an object store, killed and refused on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mint_ray.errors import StorageError
from mint_ray.parquet import part_files, read_table
from mint_ray.reports.evaluate import evaluate
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.fit import fit_scorer
from mint_ray.storage import files_below
from mint_ray.tasks.base import View
from tests.conftest import REPOSITORY
from tests.object_store import SECRET
from tests.rankings.test_build import build, rows
from tests.rankings.toys import hard_cases, toy_run
from tests.scorers.tiny import COLOURS, coloured_run, picture, tiny_section
from tests.tiny_run import SMALL_LINE, answered_run


@pytest.fixture(scope="module", autouse=True)
def ray_that_reaches_the_store(object_store, local_ray):
    pass


# preferences


@pytest.fixture(scope="module")
def undisturbed(local_ray, tmp_path_factory):
    return build(toy_run(tmp_path_factory.mktemp("undisturbed"), hard_cases(), actors=2))


def test_pairs_are_those_of_a_run_on_a_disk(undisturbed, bucket):
    run = build(toy_run(bucket / "run", hard_cases(), actors=2))
    assert rows(run) == rows(undisturbed)
    folder = run.stage("preferences").path
    assert (folder / "plots" / "scores.png").read_bytes().startswith(b"\x89PNG")
    assert "| cases in | 59 |" in (folder / "README.md").read_text()


def test_shuffled_pairs_are_those_of_a_run_on_a_disk(bucket, tmp_path):
    local = build(toy_run(tmp_path, hard_cases(), shuffled=True))
    assert rows(build(toy_run(bucket / "run", hard_cases(), shuffled=True))) == rows(local)


def test_a_driver_killed_in_the_middle_loses_no_part_and_scores_none_again(undisturbed, bucket, tmp_path):
    journal, rankings = tmp_path / "journal", bucket / "run" / "rankings"
    command = [sys.executable, "-m", "tests.rankings.driver", str(bucket / "run"), str(journal)]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
    while len(part_files(rankings)) < 3 and driver.poll() is None:
        time.sleep(0.1)
    os.kill(driver.pid, signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    size = -1
    while size != (size := journal.stat().st_size):
        time.sleep(1.5)  # the killed driver's actors end by themselves, a moment later
    done = {path.name: path.stat().st_mtime for path in part_files(rankings)}
    finished = {row["case_id"] for name in done for row in read_table(rankings / name).to_pylist()}
    before = journal.read_text().splitlines()
    assert 3 <= len(done) < 9

    run = build(toy_run(bucket / "run", hard_cases()), journal=journal)

    assert rows(run) == rows(undisturbed)
    assert {name: (rankings / name).stat().st_mtime for name in done} == done
    again = journal.read_text().splitlines()[len(before) :]
    assert again and not {line.split()[0] for line in again} & finished


def test_credentials_that_expire_in_the_middle_end_the_stage_in_one_sentence_and_it_goes_on_after(
    undisturbed, bucket, object_store
):
    written = []

    def refused(method: str, path: str) -> str | None:
        written.extend([path] if method == "PUT" and "/rankings/part-" in path else [])
        return "ExpiredToken" if len(written) > 3 else None

    run = toy_run(bucket / "run", hard_cases())
    object_store.refuse(refused)
    with pytest.raises(
        StorageError, match=r"s3://bucket/.*the credentials have expired.*run the same command again"
    ) as said:
        build(run)
    object_store.refuse(lambda method, path: None)
    assert SECRET not in str(said.value)
    assert len(part_files(run.stage("rankings").path)) == 3 and not run.stage("rankings").complete
    assert rows(build(toy_run(bucket / "run", hard_cases()))) == rows(undisturbed)


# scorer


def test_a_scorer_is_fitted_in_a_store_measured_and_loaded_from_there(bucket):
    learns = {"epochs": 1, "batch_size": 8}
    run = coloured_run(bucket / "run", tiny_section(**learns))
    run.carry_out("scorer", fit_scorer)
    folder = run.stage("scorer").path
    assert {path.relative_to(folder).as_posix() for path in files_below(folder)} == {
        *("begun.json", "manifest.json", "figures.json", "scorer.json", "labels.json", "config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"),
    }
    assert run.stage("scorer").manifest["figures"]["held_out"]["all"]["cases"] == 30
    scorer = load_scorer(folder)
    assert scorer.scores([View(image=picture(COLOURS[0]), text="Hypotonia")]).shape == (1, 6)
    adopting = coloured_run(bucket / "adopting", tiny_section(folder=folder))
    adopting.config.scorer.fit(adopting, adopting.stage("scorer").path)
    assert load_scorer(adopting.stage("scorer").path).scores([View(text="Hypotonia")]) == pytest.approx(
        scorer.scores([View(text="Hypotonia")]), abs=1e-5
    )


# evaluation


def test_figures_and_pages_are_those_of_a_run_on_a_disk(bucket, tmp_path):
    for folder in (tmp_path, bucket / "run"):
        evaluate(answered_run(folder))
    names = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)]
    assert [path.relative_to(bucket / "run").as_posix() for path in files_below(bucket / "run")] == names
    metrics = "evaluation/metrics.json"
    assert json.loads((bucket / "run" / metrics).read_text()) == json.loads((tmp_path / metrics).read_text())
    assert (bucket / "run" / "evaluation" / "report.html").read_text().startswith("<!doctype html>")


# the whole line


def line(run_dir: Path) -> list[str]:
    overrides = [
        part for key, value in {"run.dir": run_dir, **SMALL_LINE}.items() for part in ("--set", f"{key}={value}")
    ]
    return [sys.executable, "jobs/run_line.py", "configs/demo.yaml", *overrides]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_line_runs_with_its_run_directory_in_a_store_and_is_not_done_again(bucket):
    done = subprocess.run(line(bucket / "demo"), cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Report: {bucket}/demo/evaluation/report.html" in done.stdout
    stages = ("cases", "scorer", "rankings", "preferences", "alignment", "answers", "evaluation")
    manifests = {name: json.loads((bucket / "demo" / name / "manifest.json").read_text()) for name in stages}
    assert manifests["answers"]["rows"]["refused"] == 0 < manifests["answers"]["rows"]["out"]
    assert (bucket / "demo" / "evaluation" / "report.html").read_text().startswith("<!doctype html>")
    assert not files_below(bucket / "demo" / "answers" / "merged")
    for path in files_below(bucket / "demo"):
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in done.stdout + done.stderr
    again = subprocess.run(line(bucket / "demo"), cwd=REPOSITORY, capture_output=True, text=True)
    assert again.returncode == 0 and f"complete in {bucket}/demo" in again.stdout
