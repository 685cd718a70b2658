"""A finished scorer: what it reads, what it says, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, ViltForQuestionAnswering, ViltProcessor

from mint_ray.errors import ModelError, RowError
from mint_ray.scorers import load_scorer
from mint_ray.scorers.fitting.tokens import LEAST_GROUPS, build_tokenizer
from mint_ray.scorers.vilt.fitting import starting_point
from mint_ray.scorers.vilt.model import ViltClassifier
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease
from tests.scorers.tiny import COLOURS, TEXTS, picture, tiny_scorer, tiny_section, tiny_vilt
from tests.tiny_run import LABELS

VIEWS = [
    View(text=TEXTS[0], image=picture(COLOURS[0])),
    View(text=TEXTS[1], image=picture(COLOURS[1], size=(48, 32))),
    View(text=TEXTS[2]),
    View(image=picture(COLOURS[2], size=(32, 40))),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_scorer(tmp_path_factory.mktemp("scorer") / "finished")


@pytest.fixture(scope="module")
def scorer(folder):
    return load_scorer(folder)


def test_scores_are_log_probabilities_over_all_labels(scorer):
    scores = scorer.scores(VIEWS)
    assert scores.dtype == np.float32 and scores.shape == (4, 6)
    assert np.exp(scores.astype(float)).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert scorer.labels == LABELS


def test_a_saved_scorer_scores_as_the_model_that_was_saved(scorer):
    vilt, inputs = tiny_vilt()
    classifier = ViltClassifier(vilt, inputs.processor).eval()
    with torch.inference_mode():
        logits = classifier(inputs.batch([inputs.example(view) for view in VIEWS]))
    assert scorer.scores(VIEWS) == pytest.approx(logits.log_softmax(-1).numpy(), abs=1e-6)


def test_scores_equal_those_of_transformers_own_forward(folder, scorer):
    vilt = ViltForQuestionAnswering.from_pretrained(folder).eval()
    inputs = tiny_vilt()[1]
    processor = ViltProcessor(inputs.processor, inputs.tokenizer)
    from mint_ray.corpora.images import open_image

    for view in VIEWS[:2]:
        encoded = processor(open_image(view.image), view.text, return_tensors="pt")
        with torch.inference_mode():
            expected = vilt(**encoded).logits.log_softmax(-1).numpy()
        assert scorer.scores([view]) == pytest.approx(expected, abs=1e-5)


def test_the_neighbours_in_a_batch_do_not_change_a_cases_scores(scorer):
    together = scorer.scores(VIEWS)
    alone = np.concatenate([scorer.scores([view]) for view in VIEWS])
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_same_views_score_the_same_to_the_last_bit(scorer):
    first = scorer.scores(VIEWS)
    torch.manual_seed(99)
    assert np.array_equal(first, scorer.scores(VIEWS))


def test_batches_larger_than_score_batch_are_cut(folder):
    small = tiny_section(score_batch=3).load(folder)
    assert small.scores(VIEWS) == pytest.approx(load_scorer(folder).scores(VIEWS), abs=1e-5)


def test_no_views_give_no_rows(scorer):
    assert scorer.scores([]).shape == (0, 6)


def test_text_and_image_both_count(scorer):
    whole, text, image = scorer.scores([VIEWS[0], View(text=VIEWS[0].text), View(image=VIEWS[0].image)])
    assert np.abs(whole - text).max() > 0.01
    assert np.abs(whole - image).max() > 0.01


def test_an_empty_text_is_a_missing_text(scorer):
    image = VIEWS[0].image
    assert np.array_equal(scorer.scores([View(text="", image=image)]), scorer.scores([View(image=image)]))


def test_a_missing_text_reads_what_the_settings_say(tmp_path):
    starred = load_scorer(tiny_scorer(tmp_path / "s", tiny_section(missing_text="Seizure")))
    image = VIEWS[0].image
    assert np.array_equal(starred.scores([View(image=image)]), starred.scores([View(text="Seizure", image=image)]))


def test_a_view_of_nothing_is_refused(scorer):
    with pytest.raises(ValueError, match="without text and without image"):
        scorer.scores([VIEWS[0], View()])


def test_a_broken_image_is_refused_by_reason(scorer):
    with pytest.raises(RowError, match="truncated-image"):
        scorer.scores([View(image=VIEWS[0].image[:-200])])


def test_a_long_text_is_cut_to_the_models_positions(scorer):
    long = " ".join([TEXTS[0]] * 20)
    assert np.array_equal(scorer.scores([View(text=long)]), scorer.scores([View(text=long + " Seizure")]))


def test_the_digest_is_of_the_scorers_own_files(folder, tmp_path):
    mine = tiny_scorer(tmp_path / "copy")
    (mine / "manifest.json").write_text("{}")
    assert load_scorer(mine).digest == load_scorer(folder).digest
    labels = json.loads((mine / "labels.json").read_text())
    labels[0]["name"] = "renamed"
    (mine / "labels.json").write_text(json.dumps(labels))
    assert load_scorer(mine).digest != load_scorer(folder).digest


def test_an_unfinished_folder_is_no_scorer(tmp_path):
    (tmp_path / "begun.json").write_text("{}")
    with pytest.raises(ModelError, match="no readable scorer"):
        load_scorer(tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"kind": "none"}',
        '{"kind": "fitting"}',
        '{"kind": ["vilt"]}',
        '{"kind": "vilt", "x": 1}',
    ],
)
def test_a_folder_that_describes_no_scorer_is_refused(tmp_path, written):
    (tmp_path / "scorer.json").write_text(written)
    with pytest.raises(ModelError, match="is no scorer's folder"):
        load_scorer(tmp_path)


def test_another_model_class_is_refused(tmp_path):
    BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ModelError, match="model of type 'bert'"):
        tiny_section().load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no readable config"):
        tiny_section().load(tmp_path)


def test_missing_weights_are_refused(tmp_path):
    mine = tiny_scorer(tmp_path)
    (mine / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights cannot be loaded"):
        load_scorer(mine)


def test_weights_of_another_size_are_refused(tmp_path):
    mine = tiny_scorer(tmp_path)
    config = json.loads((mine / "config.json").read_text())
    (mine / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(ModelError, match="missing or of another shape"):
        load_scorer(mine)


def test_a_label_list_of_another_length_is_refused(tmp_path):
    mine = tiny_scorer(tmp_path)
    labels = json.loads((mine / "labels.json").read_text())
    (mine / "labels.json").write_text(json.dumps(labels[:-1]))
    with pytest.raises(ModelError, match="5 labels, the model's head 6"):
        load_scorer(mine)


def test_a_missing_tokenizer_is_refused(tmp_path):
    mine = tiny_scorer(tmp_path)
    (mine / "tokenizer.json").unlink()
    (mine / "tokenizer_config.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        load_scorer(mine)


def test_the_tokenizer_is_the_same_every_time_and_spells_what_it_never_met():
    first, second = (build_tokenizer(TEXTS * LEAST_GROUPS, 200) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert first.tokenize("hypotonia male") == ["hypotonia", "male"]
    assert first.unk_token not in first.tokenize("ptosis")


def test_a_word_of_few_cases_is_spelled_since_it_may_be_a_name_unless_it_is_published():
    notes = ["Seen in Springfield"] * LEAST_GROUPS + ["Kowalczyk has ptosis. " * 40] * (LEAST_GROUPS - 1)
    known = set(build_tokenizer(notes, 500, public=["Ptosis", "Scoliosis"]).get_vocab())
    assert {"seen", "in", "springfield", "ptosis"} <= known
    assert not known & {"kowalczyk", "has", "scoliosis"}


def test_many_cases_of_one_patient_are_one_for_the_tokenizer():
    notes = ["Kowalczyk has ptosis"] * LEAST_GROUPS
    assert "kowalczyk" in build_tokenizer(notes, 500).get_vocab()
    assert "kowalczyk" not in build_tokenizer(notes, 500, groups=["patient-1"] * LEAST_GROUPS).get_vocab()


def test_the_vocabulary_of_a_new_scorer_has_findings_whole_and_no_word_of_one_note():
    public = RareDisease(kind="rare_disease").vocabulary()
    _, inputs = starting_point(tiny_section(), ["Jane Kowalczyk has arachnodactyly"], LABELS, public=public)
    known = set(inputs.tokenizer.get_vocab())
    assert "arachnodactyly" in known and not known & {"jane", "kowalczyk"}
