"""Pairs are made of stored rankings: whatever is asked of them, nothing is scored again."""

import pytest

from mint_ray.config import PreferencesSection
from mint_ray.errors import CorpusError
from mint_ray.parquet import part_files
from mint_ray.preferences import build
from mint_ray.preferences.build import build_preferences, make_pairs
from mint_ray.preferences.store import pair_dataset
from mint_ray.rankings.parts import Rows
from mint_ray.runs import Run, StageReport
from tests.rankings.test_parts import rank_without_ray
from tests.rankings.toys import WordScorer, hard_cases, toy_cases, toy_run

CHANGES = [
    {"chosen": 2},
    {"rejected": 3},
    {"cut": 2},
    {"truth": "first"},
    {"min_margin": 0.01},
    {"shuffled": True},
    {"pairs_per_case": 2},
]


@pytest.fixture
def ranked(tmp_path):
    """A run whose rankings are made, by a scorer that is gone then."""
    run = toy_run(tmp_path, hard_cases())

    def rank(run):
        rank_without_ray(run)
        return StageReport()

    run.carry_out("rankings", rank)
    return run


def with_pairs(run, **changes) -> Run:
    """The run of other settings of the pairs, in a place of its own, with these rankings."""
    settings = run.config.preferences.model_copy(update=changes)
    config = run.config.model_copy(update={"preferences": settings}).moved(run.dir / "other")
    return Run(config, (run,))


@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_other_pairs_come_from_the_same_rankings(ranked, changes, monkeypatch):
    monkeypatch.setattr(WordScorer, "scores", lambda *_: pytest.fail("scored again"))
    ranked.carry_out("preferences", build_preferences)
    other = with_pairs(ranked, **changes)
    assert other.stage("rankings").run is ranked
    assert other.carry_out("preferences", build_preferences)
    columns = ("chosen", "rejected", "chosen_scores", "case_id")
    before, after = ([{c: row[c] for c in columns} for row in pair_dataset(run, "train")] for run in (ranked, other))
    assert after if "min_margin" in changes else before != after


def test_every_setting_of_the_pairs_is_tried_above():
    named = {name for changes in CHANGES for name in changes}
    assert named == set(PreferencesSection.model_fields) - {"max_refused_share", "sampled"}


def test_a_stage_that_was_killed_goes_on_with_the_parts_that_are_left(ranked, tmp_path, monkeypatch):
    of, reads = Rows.of, []

    def dies_at_the_fifth(self, part):
        reads.append(part.name)
        if len(reads) == 5:
            raise KeyboardInterrupt
        return of(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(Rows, "of", dies_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            make_pairs(ranked)
    folder = ranked.stage("preferences").path / "refused"
    done = {path.name: path.stat().st_mtime_ns for path in part_files(folder)}
    assert len(done) == 4
    ranked.stage("preferences").begin()
    ranked.carry_out("preferences", build_preferences)
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == done
    undisturbed = with_pairs(ranked, min_margin=1e-9)  # another stage, and the same pairs
    undisturbed.carry_out("preferences", build_preferences)
    for split in ("train", "validation"):
        pairs = [pair_dataset(run, split).remove_columns("policy").to_list() for run in (ranked, undisturbed)]
        assert pairs[0] == pairs[1] and pairs[0]


def test_a_case_without_a_ranking_makes_no_pair_and_is_no_donor(ranked):
    shuffled = with_pairs(ranked, shuffled=True)
    shuffled.carry_out("preferences", build_preferences)
    made = {row["case_id"] for split in ("train", "validation") for row in pair_dataset(shuffled, split)}
    assert len(made) == 47 and "p007" not in made  # p007 cannot be read; of 60 cases 12 are for testing


def test_too_many_cases_without_a_pair_stop_the_stage_with_their_reasons(tmp_path):
    run = toy_run(tmp_path, toy_cases(10), truth="skip", max_refused_share=0.2)
    rank_without_ray(run)
    make_pairs(run)
    with pytest.raises(CorpusError, match=r"truth-not-chosen \d.*preferences\.max_refused_share 0\.2"):
        build.account(run)
