"""Fitting on Ray Train: it learns, it resumes, and its figures are those of cases it has not seen."""

import numpy as np
import pytest

from mint_ray.errors import CorpusError, TrainingError
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.fit import fit_scorer, truth_ranks
from mint_ray.scorers.fitting.training import Fitting, train_worker
from mint_ray.tasks.base import View
from tests.scorers.tiny import COLOURS, coloured_case, coloured_run, picture, tiny_section

LEARNS = {"epochs": 20, "learning_rate": 3e-3, "batch_size": 8, "image_only": 0.25, "text_only": 0.25}


@pytest.fixture(scope="module")
def fitted(local_ray, tmp_path_factory):
    run = coloured_run(
        tmp_path_factory.mktemp("fitted"),
        tiny_section(**LEARNS, workers=2, in_memory=False, checkpoint_every=10),
        extra=(
            coloured_case(100, "train", label_id=None, label_name=None),
            coloured_case(101, "train", label_id="OMIM:999"),
            coloured_case(102, "train", image=None, phenotypes=[], sex=None),
            coloured_case(103, "train", image=None),
            coloured_case(104, "train", image=b"a photograph that was cut"),
            coloured_case(105, "train", text="word " * 30),
            coloured_case(106, "test", image=b"another"),
        ),
    )
    run.carry_out("scorer", fit_scorer)
    return run


def test_diseases_that_show_in_the_picture_alone_are_learned(fitted):
    held_out = fitted.stage("scorer").manifest["figures"]["held_out"]
    assert held_out["all"]["cases"] == 30
    assert held_out["all"]["top1"] > 0.9
    assert held_out["image_only"]["top1"] > 0.9
    assert held_out["text_only"]["top1"] < 0.5
    assert held_out["chance"] == {"top1": 0.1667, "top3": 0.5, "top10": 1.0}


def test_the_loss_falls_and_validation_rises(fitted):
    curve = fitted.stage("scorer").manifest["figures"]["curve"]
    assert [point["epoch"] for point in curve] == list(range(1, 21))
    assert curve[-1]["loss"] < 0.7 * curve[0]["loss"]
    assert curve[-1]["validation_top1"] > 0.9


def test_rows_in_are_rows_used_and_rows_refused_by_reason(fitted):
    manifest = fitted.stage("scorer").manifest
    assert manifest["rows"] == {"in": 54, "out": 50, "refused": 4}
    assert manifest["refused"] == {"no-label": 2, "nothing-to-see": 1, "not-an-image": 1}
    assert manifest["figures"]["training_cases"] == 50


def test_a_photograph_that_cannot_be_decoded_is_counted_where_the_scorer_is_measured(fitted):
    held_out = fitted.stage("scorer").manifest["figures"]["held_out"]
    assert held_out["refused"] == {"not-an-image": 1}
    assert held_out["text_only"]["cases"] == held_out["all"]["cases"] + 1


def test_texts_that_are_cut_are_counted_with_their_tokens(fitted):
    # [CLS] sex female or male hypotonia, 30 words, [SEP]: of 35 tokens the tiny model has room for 24
    assert fitted.stage("scorer").manifest["figures"]["text_cut"] == {"cases": 1, "tokens": 11}


def test_a_finished_stage_holds_the_scorer_and_no_training_state(fitted):
    names = {path.name for path in fitted.stage("scorer").path.iterdir()}
    assert names == {
        *("begun.json", "manifest.json", "figures.json", "scorer.json", "labels.json", "config.json"),
        *("model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"),
    }


def test_the_stages_folder_loads_as_a_scorer(fitted):
    scorer = load_scorer(fitted.stage("scorer").path)
    scores = scorer.scores([View(image=picture(colour, 77)) for colour in COLOURS])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_killed_fit_goes_on_after_its_last_epoch_and_ends_as_the_undisturbed_one(local_ray, tmp_path, monkeypatch):
    whole, cut = (coloured_run(tmp_path / name, tiny_section(epochs=3)) for name in ("whole", "cut"))
    whole.carry_out("scorer", fit_scorer)

    def dies_in_the_second_epoch(config):
        fitting = Fitting(config["plan"])
        fitting.train_epoch()
        fitting.validate()
        fitting.report()
        raise MemoryError("a worker's end")

    with monkeypatch.context() as patch, pytest.raises(TrainingError, match="a worker's end"):
        patch.setattr("mint_ray.scorers.fitting.workers.train_worker", dies_in_the_second_epoch)
        patch.setattr("mint_ray.training.RESTARTS", 0)
        cut.carry_out("scorer", fit_scorer)
    assert not cut.stage("scorer").complete
    journal = tmp_path / "journal"

    def goes_on(config):
        fitting_train_epoch = Fitting.train_epoch

        def noted(self):
            with journal.open("a") as lines:
                lines.write(f"{self.epoch + 1}\n")
            fitting_train_epoch(self)

        Fitting.train_epoch = noted
        train_worker(config)

    monkeypatch.setattr("mint_ray.scorers.fitting.workers.train_worker", goes_on)
    cut.carry_out("scorer", fit_scorer)
    assert journal.read_text().split() == ["2", "3"]
    figures = [run.stage("scorer").manifest["figures"] for run in (whole, cut)]
    assert figures[0] == figures[1]
    digests = [load_scorer(run.stage("scorer").path).digest for run in (whole, cut)]
    assert digests[0] == digests[1]


def test_a_loss_that_is_not_finite_ends_the_fit_at_once_as_it_does_in_alignment(local_ray, tmp_path, monkeypatch):
    run, starts = coloured_run(tmp_path / "run", tiny_section(workers=2, learning_rate=1e30)), tmp_path / "starts"

    def noted(config):
        with starts.open("a") as lines:
            lines.write("started\n")
        return train_worker(config)

    monkeypatch.setattr("mint_ray.scorers.fitting.workers.train_worker", noted)
    with pytest.raises(
        TrainingError, match=r"not finite in epoch 1; nothing was updated\. Lower scorer\.learning_rate"
    ):
        run.carry_out("scorer", fit_scorer)
    assert starts.read_text().split() == ["started"] * 2  # once on each worker
    assert not run.stage("scorer").complete


def test_without_validation_cases_the_curve_has_losses_alone(local_ray, tmp_path):
    run = coloured_run(tmp_path, tiny_section(epochs=1), validation=0)
    run.carry_out("scorer", fit_scorer)
    figures = run.stage("scorer").manifest["figures"]
    assert [set(point) for point in figures["curve"]] == [{"epoch", "loss"}]
    assert figures["held_out"]["all"]["cases"] == 18


def test_a_scorer_with_cases_of_its_own_sees_no_training_case(local_ray, tmp_path):
    own = tuple(coloured_case(i, "scorer", sex=None) for i in range(12))
    run = coloured_run(tmp_path, tiny_section(epochs=1), extra=own)
    run.carry_out("scorer", fit_scorer)
    manifest = run.stage("scorer").manifest
    assert manifest["rows"] == {"in": 12, "out": 12, "refused": 0}
    assert manifest["figures"]["training_cases"] == 12
    words = (run.stage("scorer").path / "tokenizer.json").read_text()
    assert '"hypotonia"' in words
    assert '"female"' not in words  # which stands in training cases alone


def test_without_training_cases_nothing_is_fitted(tmp_path):
    run = coloured_run(tmp_path, tiny_section(), train=0)
    with pytest.raises(CorpusError, match="0 training cases"):
        run.carry_out("scorer", fit_scorer)


def test_a_corpus_of_photographs_that_none_can_decode_ends_in_one_message(local_ray, tmp_path):
    blank = {"image": b"cut off", "phenotypes": [], "sex": None}
    cases = tuple(coloured_case(i, "train", **blank) for i in range(4))
    run = coloured_run(tmp_path, tiny_section(), train=0, extra=cases)
    with pytest.raises(
        CorpusError, match=r"0 training cases can be read as examples, 1 are needed; refused: not-an-image 4"
    ):
        run.carry_out("scorer", fit_scorer)


def test_the_rank_of_the_truth_counts_ties_against_it():
    scores = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.5, 0.3, 0.2]])
    assert truth_ranks(scores, [1, 0, 2]).tolist() == [1, 2, 3]
