"""Rankings that say nothing stop the stage, whatever scored them; a few such cases are counted."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from mint_ray.errors import ModelError
from mint_ray.preferences import build as pairing
from mint_ray.preferences.card import write_card
from mint_ray.preferences.contents import truth_ranks
from mint_ray.preferences.store import pair_dataset, refusal_table
from mint_ray.rankings.build import account
from mint_ray.tasks.base import Label
from tests.rankings.test_parts import EyeScorer, build_without_ray
from tests.rankings.toys import WordScorer, toy_cases, toy_run


class Blind(WordScorer):
    """Scores all labels alike, but for the cases that it `sees`."""

    sees: tuple[str, ...] = ()

    def scores(self, views):
        told = np.array([[view.text.split()[0] in self.sees] for view in views])
        return np.where(told, super().scores(views), np.float32(-np.log(len(self.labels))))


class Trembling(Blind):
    """The same from a forward that rounds otherwise at some labels."""

    def scores(self, views):
        scores = super().scores(views)
        return np.where(np.arange(len(self.labels)) % 2, scores, np.nextafter(scores, np.float32(0)))


class Stubborn(WordScorer):
    """Says the same of whatever it is shown."""

    def scores(self, views):
        return np.repeat(np.linspace(-9, -1, len(self.labels), dtype=np.float32)[None], len(views), axis=0)


def accounted(folder, scorer, cases=20, **settings):
    run = toy_run(folder, toy_cases(cases) if isinstance(cases, int) else cases, files=1, **settings)
    build_without_ray(run, scorer)
    report = account(run, len(cases) if isinstance(cases, list) else cases)
    run.stage("rankings").finish(report, 1.0)
    return run, report


@pytest.mark.parametrize("scorer", [Blind, Trembling])
def test_a_scorer_that_scores_all_labels_alike_stops_the_stage(tmp_path, scorer):
    with pytest.raises(ModelError, match=r"the scorer gives all labels the same score for 20 of 20 cases"):
        accounted(tmp_path, scorer)
    run = toy_run(tmp_path, toy_cases(20), files=1)
    assert not list((run.stage("preferences").path / "pairs").rglob("*.parquet"))
    assert set(refusal_table(run)["reason"].to_pylist()) == {"scores-alike"}


def test_one_case_in_twenty_does_not_save_it_and_two_do(tmp_path):
    class One(Blind):
        sees = ("p000",)

    class Two(Blind):
        sees = ("p000", "p001")

    with pytest.raises(ModelError, match="19 of 20"):
        accounted(tmp_path / "one", One)
    run, report = accounted(tmp_path / "two", Two, max_refused_share=1)
    assert pair_dataset(run, "train")["case_id"] == ["p000", "p001"]
    assert pairing.account(run).refused == {"scores-alike": 14}  # of 16 cases to make pairs of
    assert report.figures == {"scores_alike": 18}  # of all


@pytest.mark.parametrize("scorer_sees", ["all", "downstream"])
def test_a_scorer_that_says_the_same_of_every_case_stops_the_stage(tmp_path, scorer_sees):
    with pytest.raises(ModelError, match=r"gives 20 of 20 cases the same scores, although it is shown different ones"):
        accounted(tmp_path, Stubborn, scorer_sees=scorer_sees)


def test_cases_that_look_the_same_may_score_the_same(tmp_path):
    alike = toy_cases(10, **{f"p{i:03d}": {"text": "one text", "image": None} for i in range(10)})
    _, report = accounted(tmp_path, WordScorer, alike)
    assert report.figures == {}


def test_a_case_by_itself_is_no_sign_of_anything(tmp_path):
    _, report = accounted(tmp_path, Stubborn, 1)
    assert report.rows_out == 1


def test_an_image_scorer_is_looked_at_in_the_same_way(tmp_path):
    cases = toy_cases(10, **{f"p{i:03d}": {"image": bytes(5 + i % 2)} for i in range(10)})
    _, report = accounted(tmp_path / "two", EyeScorer, cases, task="tissue")
    assert report.figures == {}
    with pytest.raises(ModelError, match="10 of 10 cases the same scores"):
        accounted(
            tmp_path / "one",
            EyeScorer,
            toy_cases(10, **{f"p{i:03d}": {"image": bytes([i])} for i in range(10)}),
            task="tissue",
        )


class Cutting(WordScorer):
    def tokens_cut(self, view):
        return max(0, len(view.text.split()) - 5)


def test_cases_whose_text_is_cut_are_counted_with_their_tokens_in_figures_and_card(tmp_path):
    run, report = accounted(
        tmp_path, Cutting, toy_cases(10, p001={"text": "a b c d e f g"}, p004={"text": "a b c d e f"})
    )
    assert report.figures == {"text_cut": {"cases": 2, "tokens": 3}}
    write_card(run, pairing.account(run))
    card = (run.stage("preferences").path / "README.md").read_text()
    assert "| cases whose text the scorer cut | 2 |" in card
    assert "| tokens cut | 3 |" in card


def test_labels_that_score_as_the_truth_does_stand_before_it_in_the_card_s_ranks():
    columns = [["c", "a", "b"], ["a", "b", "c"], ["a", "b"], ["a", "b"]], [[3.0, 2, 1], [1.0, 1, 0], [2.0, 1], [2.0, 1]]
    label_ids, scores = (pa.array(column) for column in columns)
    assert truth_ranks(label_ids, scores, pa.array(["c", "a", None, "z"])) == {0: 1, 1: 2}


HOSTILE = ["$x^$", "_x", "$", "a | b", "`code`", "\\frac{", "N" * 10_000, "Ünïcode 症候群", "{x:.0f}", "%s"]


def test_no_name_of_a_label_stops_the_card_or_its_plots(tmp_path):
    labels = [Label(id=f"{name[:40]}{i}", name=name) for i, name in enumerate(HOSTILE * 3)]
    run = toy_run(tmp_path, toy_cases(10, p001={"label_id": labels[3].id, "label_name": labels[3].name}), files=1)
    build_without_ray(run, partial(WordScorer, labels))
    run.stage("rankings").finish(account(run, 10), 1.0)
    write_card(run, pairing.account(run))
    for name in ("scores", "coverage", "lengths", "truth_rank"):
        assert (run.stage("preferences").path / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
