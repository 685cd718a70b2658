import json
import subprocess
import sys

import pytest

from mint_ray.comparison.pooling import spread
from mint_ray.comparison.repetitions import open_comparisons
from mint_ray.config import load_config
from mint_ray.errors import EvaluationError, RunError
from mint_ray.evaluation.intervals import Interval
from mint_ray.reports.compare import compare
from mint_ray.reports.pool import pool
from mint_ray.runs import Run
from tests.comparison.test_comparison import arm, cases
from tests.conftest import REPOSITORY
from tests.reports.test_report import Collected
from tests.tiny_run import truth_first, write_cases, write_rankings

HITS = {3: {"base": 0, "sft": 20, "mint": 24}, 4: {"sft": 24, "mint": 22}}  # cases of 24 named first, by seed
SMALL = ("task.answer_size=3", "preferences.chosen=3", "preferences.rejected=2", "preferences.cut=2")


def compared(folder, seed: int, hits: dict[str, int], *settings: str):
    """A finished comparison of a configuration that can be read back, and its folder."""
    overrides = [f"run.dir={folder}", f"run.seed={seed}", *SMALL, *settings]
    run = Run(load_config(REPOSITORY / "configs/demo.yaml", overrides))
    test, train = cases()
    write_cases(run, test + train)
    write_rankings(run, {case.case_id: truth_first(case.label_id) for case in test}, test)
    compare(run, {name: arm(folder / "arms", name, count) for name, count in hits.items()})
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return [compared(folder / str(seed), seed, hits) for seed, hits in HITS.items()]


@pytest.fixture(scope="module")
def pooled(folders, tmp_path_factory):
    to = tmp_path_factory.mktemp("pooled")
    pool(folders, to)
    return to


def test_seeds_are_pooled_over_their_cases_and_held_side_by_side(pooled):
    told = json.loads((pooled / "pooled.json").read_text())
    assert (told["seeds"], told["cases"], told["groups"]) == ([3, 4], 48, 24)  # a group of both seeds counts as one
    assert told["rows"]["mint"]["grounded_top_1"]["value"] == pytest.approx(46 / 48)
    assert "likelihood ratio, findings shown" in told["rows"]
    gap = told["minus_mint"]["sft"]["grounded_top_1"]
    assert gap["value"] == pytest.approx(-2 / 48) and gap["low"] < gap["value"] < gap["high"]
    assert {seed: found["value"] for seed, found in gap["seeds"].items()} == {
        "3": pytest.approx(-4 / 24),
        "4": pytest.approx(2 / 24),
    }
    # Two seeds, six 24ths apart: three 24ths of standard error, times t of one degree of freedom.
    reach = 12.7062 * 3 / 24
    over = gap["over_trainings"]
    assert (over["low"], over["high"]) == (pytest.approx(-1 / 24 - reach), pytest.approx(-1 / 24 + reach))


def test_an_arm_that_not_all_seeds_have_is_left_out_and_said_to_be(pooled):
    told = json.loads((pooled / "pooled.json").read_text())
    assert list(told["minus_mint"]) == ["sft"] and told["left_out"] == {"3": ["base"]}
    assert "Left out, since not all seeds have them: Base (seed 3)." in (pooled / "report.html").read_text()


def test_the_page_stands_alone_and_tells_what_came_out(pooled):
    text = (pooled / "report.html").read_text()
    parsed = Collected(text)
    assert parsed.open == [] and not {"script", "link", "iframe"} & {tag for tag, _ in parsed.tags}
    assert "http:" not in text and "https:" not in text
    for told in ("48 test cases in 24 groups, seeds 3, 4", "Over trainings", "−16.7", "+8.3", "Seed 4"):
        assert told in text


def test_the_job_prints_the_differences_and_refuses_in_one_sentence(folders, tmp_path):
    command = [sys.executable, "jobs/pool.py", "--to", tmp_path / "to"]
    done = subprocess.run([*command, *folders], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "48 cases in 24 groups, seeds 3, 4" in done.stdout and "Top-1: SFT" in done.stdout
    assert (tmp_path / "to" / "report.html").exists()
    refused = subprocess.run([*command, folders[0], folders[0]], cwd=REPOSITORY, capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith("EvaluationError: run.seed is 3 in ")


def test_what_is_no_repetition_is_refused(folders, tmp_path):
    with pytest.raises(EvaluationError, match=r"name the run.dir of two or more"):
        open_comparisons(folders[:1])
    other = compared(tmp_path / "other", 5, {"sft": 20, "mint": 24}, "alignment.epochs=2", "comparison.arms=[sft,mint]")
    with pytest.raises(
        EvaluationError, match=r"no repetitions of one comparison:\n  alignment.epochs: .* and 2.0\nPool"
    ):
        open_comparisons([folders[0], other])
    with pytest.raises(RunError, match=r"holds no finished comparison .*run jobs/compare.py"):
        open_comparisons([folders[0], tmp_path])


def test_a_comparison_whose_cases_were_made_anew_is_refused(folders, tmp_path):
    stale = compared(tmp_path / "stale", 5, {"sft": 20, "mint": 24})
    begun = stale / "cases" / "begun.json"
    begun.write_text(begun.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(RunError, match=r"seed: was 6, is now 5"):
        open_comparisons([folders[0], stale])


def test_seeds_without_an_arm_to_hold_against_mint_are_refused(folders, tmp_path):
    alone = compared(tmp_path / "alone", 5, {"mint": 24})
    with pytest.raises(EvaluationError, match=r"share no arm beside mint .*seed 5: mint\)"):
        pool([folders[0], alone], tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_interval_over_trainings_is_that_of_a_mean_by_students_t():
    seeds = [[Interval(value, value - 0.01, value + 0.01)] for value in (0.1, 0.2, 0.3)]
    (found,) = spread(seeds)
    # t(0.975, 2 degrees of freedom) = 4.3027 (any table); the standard error is 0.1 / sqrt(3).
    reach = 4.3027 * 0.1 / 3**0.5
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.2 - reach, 0.2 + reach), abs=1e-4)
    assert spread([[Interval(None, None, None)], seeds[0]]) == [Interval(None, None, None)]


def test_seeds_that_agree_by_luck_make_the_interval_no_surer_than_their_cases_do():
    (found,) = spread([[Interval(-0.02, -0.02 - 0.0392, -0.02 + 0.0392)]] * 2)
    # Each has a standard error of 0.02 by 1.96 of them to each side; their mean 0.02 / sqrt(2).
    reach = 12.7062 * 0.02 / 2**0.5
    assert (found.low, found.high) == pytest.approx((-0.02 - reach, -0.02 + reach), abs=1e-4)
