"""What becomes of one part, without Ray: reading, scoring, refusing, pairing."""

import io
import itertools
import json
import threading
from functools import partial

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mint_ray.corpora.store import case_files
from mint_ray.errors import ConfigError, ModelError, RowError
from mint_ray.parquet import part_files
from mint_ray.preferences import store as pairs
from mint_ray.preferences.build import make_pairs
from mint_ray.preferences.store import pair_dataset, pair_schema
from mint_ray.rankings import store as rankings
from mint_ray.rankings.parts import PartScorer, Rows, case_parts, score_views
from mint_ray.rankings.store import ranking_table, refusal_table
from mint_ray.records import PreferencePair, Ranking, arrow_schema
from mint_ray.scorers.scoring import Ahead, batches_of
from mint_ray.tasks.base import View
from mint_ray.tasks.tissue import Tissue
from tests.rankings.toys import LABELS, WordScorer, toy_cases, toy_run


def build_without_ray(run, load=WordScorer):
    """What the actors do, one part after the other, and then the pairs."""
    rank_without_ray(run, load)
    make_pairs(run)


def rank_without_ray(run, load=WordScorer):
    scorer = PartScorer(load, run.config.task, run.config.rankings, run.stage("rankings").path)
    for part in case_parts(case_files(run), run.config.rankings.part_rows):
        scorer.score(part)


def test_parts_cover_every_row_once_and_none_crosses_a_file(tmp_path):
    run = toy_run(tmp_path, toy_cases(60), files=3)
    parts = case_parts(case_files(run), 8)
    assert [(part.start, part.stop) for part in parts] == [(0, 8), (8, 16), (16, 20)] * 3
    assert parts[4].name == "part-00004.parquet"
    ids, rows = [f"p{i:03d}" for i in range(60)], Rows()
    for each in (lambda part: Rows().of(part), rows.of):  # each part by itself, and all by one reader
        assert [case_id for part in parts for case_id in each(part)["case_id"].to_pylist()] == ids
    backwards = [rows.of(part)["case_id"].to_pylist() for part in reversed(parts)]
    assert [case_id for part in reversed(backwards) for case_id in part] == ids


def test_every_split_is_ranked_and_only_training_and_validation_cases_make_pairs(tmp_path):
    run = toy_run(tmp_path, toy_cases(20))
    build_without_ray(run)
    assert ranking_table(run).schema == arrow_schema(Ranking)
    assert ranking_table(run)["case_id"].to_pylist() == [f"p{i:03d}" for i in range(20)]
    assert ranking_table(run, splits=["test"])["case_id"].to_pylist() == ["p004", "p009", "p014", "p019"]
    assert pair_dataset(run, "train")["case_id"] == [f"p{i:03d}" for i in range(20) if i % 5 < 3]
    assert pair_dataset(run, "validation")["case_id"] == ["p003", "p008", "p013", "p018"]


def test_a_ranking_holds_the_scores_of_the_scorer_best_first(tmp_path):
    run = toy_run(tmp_path, toy_cases(1), files=1)
    build_without_ray(run)
    (row,) = ranking_table(run).to_pylist()
    scores = dict(
        zip([each.id for each in LABELS], WordScorer().scores([View(text="p000 is patient 0")])[0], strict=True)
    )
    assert row["scores"] == sorted((float(score) for score in scores.values()), reverse=True)
    assert [float(scores[label]) for label in row["label_ids"]] == row["scores"]


def test_a_pair_carries_prompt_answers_and_where_it_came_from(tmp_path):
    run = toy_run(tmp_path, toy_cases(1, p000={"sex": "female", "age_years": 4.0}), files=1)
    build_without_ray(run)
    (pair,) = pair_dataset(run, "train")
    names = {label.id: label.name for label in LABELS}
    chosen = "\n".join(f"{i}. '{names[label]}'" for i, label in enumerate(pair["chosen_label_ids"], 1))
    assert pair["prompt"][0]["role"] == "user"
    assert pair["prompt"][0]["content"].endswith("\n\nPatient: female, 4 years\nNote: p000 is patient 0")
    assert pair["chosen"] == [{"role": "assistant", "content": f"POTENTIAL_DISEASES:\n{chosen}"}]
    assert len(pair["rejected_label_ids"]) == 4
    assert pair["withheld"] == ["image"]
    assert (pair["group_id"], pair["label_id"], pair["scorer_digest"]) == ("g000", "OMIM:100", "0123abcd")
    policy = {"chosen": 3, "rejected": 10, "cut": 4, "truth": "as_ranked", "min_margin": 0.0, "pairs_per_case": 1}
    policy |= {"scorer_sees": "all", "shuffled": False}
    assert json.loads(pair["policy"]) == policy


def test_a_case_that_cannot_be_scored_is_refused_without_its_text_and_the_others_of_its_batch_are_not(tmp_path):
    run = toy_run(tmp_path, toy_cases(8, p002={"text": "unreadable"}), files=1)
    build_without_ray(run)
    (refused,) = refusal_table(run).to_pylist()
    assert (refused["case_id"], refused["source"]) == ("p002", "toy.jsonl:3")
    assert (refused["reason"], refused["seen"]) == ("not-scorable", "ValueError")
    assert "Jane" not in str(refused)
    assert ranking_table(run)["case_id"].to_pylist() == ["p000", "p001", "p003", "p004", "p005", "p006", "p007"]


def test_a_case_that_the_policy_skips_is_refused_by_reason_and_keeps_its_ranking(tmp_path):
    run = toy_run(tmp_path, toy_cases(8), files=1, min_margin=100)
    build_without_ray(run)
    assert pairs.refusal_table(run)["reason"].to_pylist() == ["margin-too-small"] * 7  # p004 is a test case: no pair
    assert len(ranking_table(run)) == 8


def test_scores_that_are_not_finite_refuse_their_case_alone():
    class Torn(WordScorer):
        def scores(self, views):
            return np.where([[view.text == "torn"] for view in views], np.nan, super().scores(views))

    outcomes = score_views(batches_of(Torn()), [View(text="whole"), View(text="torn")], 2)
    assert outcomes[0].shape == (30,)
    assert (outcomes[1].reason, outcomes[1].seen) == ("score-not-finite", "30 of 30")


def test_views_are_read_a_batch_ahead_and_one_that_cannot_be_is_refused_alone():
    read, scored = [], []

    class Staged(WordScorer):
        def prepare(self, view):
            if view.text == "broken":
                raise RowError("broken-image", "image", "OSError", "an image")
            return view

        def prepare_all(self, views):
            read.append((threading.current_thread() is threading.main_thread(), [view.text for view in views]))
            return [self.prepare(view) for view in views]

        def score_prepared(self, prepared):
            scored.append([view.text for view in prepared])
            return super().scores(prepared)

        def scores(self, views):
            return self.score_prepared([self.prepare(view) for view in views])

    words = ["a", "b", "c", "broken", "d", "e", "f"]
    views, ahead = [View(text=word) for word in words], Ahead(Staged())
    outcomes = score_views(batches_of(ahead), views, 2, ahead.expect)
    plain = score_views(batches_of(Staged()), views, 2)
    assert [outcomes[3].reason, plain[3].reason] == ["broken-image"] * 2
    assert all(np.array_equal(a, b) for a, b in zip(outcomes[:3] + outcomes[4:], plain[:3] + plain[4:], strict=True))
    assert read == [(False, ["c", "broken"]), (False, ["d", "e"]), (False, ["f"])]
    assert scored[:5] == [["a", "b"], ["c"], ["d", "e"], ["f"], ["a", "b"]]


def test_a_scorer_that_is_gone_ends_the_part_instead_of_refusing_its_cases():
    class Gone(WordScorer):
        def scores(self, views):
            raise ConnectionError("no replica answers")

    with pytest.raises(ConnectionError):
        score_views(batches_of(Gone()), [View(text="a")], 2)


def test_a_reason_that_the_scorer_gives_is_kept():
    class Strict(WordScorer):
        def scores(self, views):
            raise RowError("image-too-large", "image", "40000 x 40000", "at most 64 megapixels")

    (outcome,) = score_views(batches_of(Strict()), [View(text="a")], 2)
    assert (outcome.reason, outcome.seen) == ("image-too-large", "40000 x 40000")


def test_a_policy_that_needs_more_labels_than_the_scorer_has_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"corpus of 12 labels"):
        build_without_ray(toy_run(tmp_path, toy_cases(8)), partial(WordScorer, LABELS[:12]))


class EyeScorer(WordScorer):
    """Scores images by their size, which is enough to be a scorer."""

    def scores(self, views):
        return super().scores([View(text=str(len(view.image))) for view in views])


def test_an_image_task_keeps_the_encoded_image_and_a_text_task_has_no_image_column(tmp_path):
    shown = toy_run(tmp_path / "shown", toy_cases(2), files=1, task="tissue")
    hidden = toy_run(tmp_path / "hidden", toy_cases(2), files=1)
    build_without_ray(shown, EyeScorer)
    build_without_ray(hidden)
    assert pair_dataset(shown, "train")["images"][0] == [{"bytes": b"not shown", "path": None}]
    assert "images" not in pair_dataset(hidden, "train").column_names


def test_datasets_decodes_the_images_of_the_written_pairs(tmp_path):
    encoded = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(encoded, "PNG")
    cases = toy_cases(2, p000={"image": encoded.getvalue()}, p001={"image": encoded.getvalue()})
    run = toy_run(tmp_path / "run", cases, files=1, task="tissue")
    build_without_ray(run, EyeScorer)
    folder = run.stage("preferences").path / "pairs"
    (image,) = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))[0]["images"]
    assert (image.size, image.getpixel((0, 0))) == ((6, 4), (255, 0, 0))


def test_an_image_task_makes_no_pair_of_a_case_whose_image_is_missing(tmp_path):
    run = toy_run(tmp_path, toy_cases(3, p001={"image": None}), files=1, task="tissue")
    build_without_ray(run, EyeScorer)
    assert refusal_table(run)["case_id"].to_pylist() == ["p001"]  # this scorer reads images alone
    assert pair_dataset(run, "train")["case_id"] == ["p000", "p002"]


def test_the_schema_of_pairs_is_the_record_s(tmp_path):
    assert Tissue(kind="tissue").header == "MOST_LIKELY_TISSUE:"
    assert pair_schema(images=True) == arrow_schema(PreferencePair)
    assert set(arrow_schema(PreferencePair).names) - set(pair_schema(images=False).names) == {"images"}


def test_a_part_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    run = toy_run(tmp_path, toy_cases(8), files=1)
    monkeypatch.setattr(pq, "write_table", full_disk_from_write(1))
    with pytest.raises(OSError, match="No space left"):
        build_without_ray(run)
    assert not list(run.dir.rglob("rankings/**/part-*.parquet"))


@pytest.mark.parametrize("write", [2, 3, 4, 5])
def test_a_part_that_ends_in_the_middle_is_not_done_and_is_done_anew_over_its_traces(tmp_path, monkeypatch, write):
    cases = toy_cases(8, p002={"text": "unreadable"})  # written: refused, rankings; train, validation, none refused
    whole, torn = toy_run(tmp_path / "whole", cases, files=1), toy_run(tmp_path / "torn", cases, files=1)
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full_disk_from_write(write))
        with pytest.raises(OSError, match="No space left"):
            build_without_ray(torn)
    done = {name: len(part_files(torn.stage(name).path / place)) for name, place in DONE_BY.items()}
    assert done == {"rankings": int(write > 2), "preferences": 0}
    for run in (whole, torn):
        build_without_ray(run)
    assert everything(torn) == everything(whole)


DONE_BY = {"rankings": ".", "preferences": "refused"}  # the parts whose writing says that one is done


def everything(run):
    made = [pair_dataset(run, split).to_list() for split in ("train", "validation")]
    return ranking_table(run).to_pylist(), [each.refusal_table(run).to_pylist() for each in (rankings, pairs)], made


def full_disk_from_write(number):
    """Writing as it is, until the disk is full and the write of that number stays half."""
    write_table, writes = pq.write_table, itertools.count(1)

    def write(table, file, **options):
        if next(writes) < number:
            return write_table(table, file, **options)
        file.write(b"PAR1 half of a")
        raise OSError(28, "No space left on device")

    return write


class Nowhere(WordScorer):
    """Gives no finite score, whatever it is shown."""

    def scores(self, views):
        return np.full((len(views), len(self.labels)), np.nan, np.float32)


class Misshapen(WordScorer):
    def scores(self, views):
        return super().scores(views)[:, :-1]


class Short(WordScorer):
    def scores(self, views):
        return super().scores(views)[:-1]


class Lost(WordScorer):
    """A GPU that lost its context after some batches."""

    def scores(self, views):
        self.batches += 1
        if self.batches > 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered by Jane Doe")
        return super().scores(views)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (Nowhere, r"the scorer is broken: it fails at every row, score-not-finite \(30 of 30\)"),
        (Misshapen, r"the scorer 'words' gives scores of shape \(4, 29\); expected \(4, 30\)"),
        (Short, r"of shape \(3, 30\); expected \(4, 30\)"),
        (Lost, r"the scorer is broken: .*RuntimeError at test_parts\.py:\d+"),
    ],
)
def test_a_scorer_that_is_broken_writes_nothing_of_a_part_and_refuses_no_case(tmp_path, scorer, message):
    run = toy_run(tmp_path, toy_cases(8), files=1)
    with pytest.raises(ModelError, match=message) as raised:
        build_without_ray(run, scorer)
    assert "Jane" not in str(raised.value)
    assert not list(run.stage("rankings").path.rglob("*.parquet"))
    build_without_ray(run)
    assert ranking_table(run)["case_id"].to_pylist() == [f"p{i:03d}" for i in range(8)]


def test_a_part_of_one_case_that_cannot_be_scored_is_refused_by_an_actor_that_has_scored_nothing_yet(tmp_path):
    run = toy_run(tmp_path, toy_cases(1, p000={"text": "unreadable"}), files=1)
    build_without_ray(run)
    assert refusal_table(run)["seen"].to_pylist() == ["ValueError"]


def test_a_case_with_nothing_to_see_reaches_no_scorer(tmp_path):
    class Strict(WordScorer):
        def scores(self, views):
            assert all(view.text or view.image for view in views)
            return super().scores(views)

    run = toy_run(tmp_path, toy_cases(8, p001={"text": None, "image": None}), files=1)
    build_without_ray(run, Strict)
    assert refusal_table(run)["reason"].to_pylist() == ["nothing-to-see"]
    assert len(ranking_table(run)) == 7
