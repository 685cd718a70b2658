"""The two ablations: a scorer blinded to what the language model lacks, and answers of other cases."""

import numpy as np
import pytest

from mint_ray.preferences.build import make_pairs
from mint_ray.preferences.policy import choose
from mint_ray.preferences.shuffling import draw_donors
from mint_ray.preferences.store import pair_dataset
from mint_ray.rankings.ranking import Ranked
from mint_ray.rankings.store import ranking_table
from mint_ray.records import Phenotype
from mint_ray.runs import Run
from mint_ray.tasks.rare_disease import RareDisease
from tests.rankings.test_parts import rank_without_ray
from tests.rankings.toys import WordScorer, toy_cases, toy_run, weight

TASK = RareDisease(kind="rare_disease", answer_size=3, withhold_branches=["HP:0000271"])
FACE, BODY = Phenotype(id="HP:0000322", name="Short philtrum"), Phenotype(id="HP:0001252", name="Hypotonia")


class SeeingScorer(WordScorer):
    """Words, and an image, which moves every score."""

    def scores(self, views):
        seen = np.array([[weight("image", each.id) if v.image else 0.0 for each in self.labels] for v in views])
        return super().scores(views) + seen.astype(np.float32)


def built(folder, cases, **settings):
    run = toy_run(folder, cases, **settings)
    run = Run(run.config.model_copy(update={"task": TASK}))
    rank_without_ray(run, SeeingScorer)
    make_pairs(run)
    return run


def answers(run) -> list[tuple]:
    names = ("case_id", "chosen_label_ids", "rejected_label_ids", "chosen_scores", "prompt")
    return [
        tuple(str(row[name]) for name in names) for split in ("train", "validation") for row in pair_dataset(run, split)
    ]


def test_blinded_pairs_are_those_of_a_scorer_that_is_given_no_more_than_the_model(tmp_path):
    findings = [{"phenotypes": [FACE, BODY]}, {"phenotypes": [BODY]}, {"phenotypes": [FACE], "image": None}]
    cases = toy_cases(20, **{f"p{i:03d}": findings[i % 3] for i in range(20)})
    blinded = built(tmp_path / "blinded", cases, scorer_sees="downstream")
    stripped = [
        c.model_copy(update={"image": None, "phenotypes": [p for p in c.phenotypes if p != FACE]}) for c in cases
    ]
    assert answers(blinded) == answers(built(tmp_path / "stripped", stripped))
    seeing = answers(built(tmp_path / "seeing", cases))
    assert [row[-1] for row in seeing] == [row[-1] for row in answers(blinded)]
    assert all(one[1] != other[1] or one[3] != other[3] for one, other in zip(seeing, answers(blinded), strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("shuffled"), toy_cases(30)
    return [built(folder / str(i), cases, shuffled=i > 0, truth="first") for i in range(3)]


def test_shuffling_leaves_the_rankings_as_they_are_and_gives_every_case_anothers(runs):
    plain, shuffled = (ranking_table(run).to_pylist() for run in runs[:2])
    assert plain == shuffled
    donors = donors_of(runs[1])
    assert all(case_id != donor for case_id, donor in donors.items())
    for split in ("train", "validation", "test"):
        members = {row["case_id"] for row in plain if row["split"] == split}
        assert {donors[case_id] for case_id in members} == members


def donors_of(run):
    return draw_donors(ranking_table(run, columns=["case_id", "split"]), run.config.run.seed)


def test_shuffled_pairs_are_the_same_however_many_parts_are_looked_up_at_once(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("mint_ray.preferences.build.BLOCK", 1)
    assert answers(built(tmp_path, toy_cases(30), shuffled=True, truth="first")) == answers(runs[1])


def test_shuffling_is_fixed_by_the_seed(runs):
    assert answers(runs[1]) == answers(runs[2])


def test_a_shuffled_pair_holds_the_answers_of_the_case_that_was_ranked_its_truth_included(runs):
    donors, cases = donors_of(runs[1]), {case.case_id: case for case in toy_cases(30)}
    plain = {row["case_id"]: row for row in ranking_table(runs[0]).to_pylist()}
    pairs = pair_dataset(runs[1], "train")
    assert len(pairs) == 18
    for pair in pairs:
        donor = donors[pair["case_id"]]
        ranked = Ranked(plain[donor]["label_ids"], plain[donor]["scores"])
        (expected,) = choose(ranked, cases[donor].label_id, runs[1].config.preferences)
        assert (pair["chosen_label_ids"], pair["rejected_label_ids"]) == (expected.chosen, expected.rejected)
        assert pair["label_id"] == cases[pair["case_id"]].label_id
        assert cases[pair["case_id"]].text in pair["prompt"][0]["content"]
