"""Scorers from elsewhere: a published state dict, a Hugging Face folder, a scorer of another run."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from mint_ray.errors import ModelError
from mint_ray.runs import Run
from mint_ray.scorers import load_scorer
from mint_ray.scorers.vilt import Vilt
from mint_ray.scorers.vilt.adopt import adopt_scorer
from mint_ray.tasks.base import Label, View
from tests.scorers.tiny import TEXTS, coloured_run, picture, tiny_scorer, tiny_section, tiny_vilt
from tests.tiny_run import LABELS

VIEWS = [View(text=TEXTS[0], image=picture((200, 90, 30))), View(text=TEXTS[1]), View(image=picture((9, 90, 200)))]
# The published order is its own, the names are written otherwise, and one disease is none of the run's.
PUBLISHED = ["ANGELMAN SYNDROME", "Kabuki syndrome 2", "Marfan syndrome", "Noonan syndrome-1", "Kabuki syndrome 1"]
PUBLISHED += ["Williams Beuren syndrome", "Brachmann-de Lange syndrome"]
PLACES = [4, 1, 3, 6, 5, 0]  # of the run's labels among the published


@pytest.fixture
def published(tmp_path) -> Vilt:
    """A tiny `GestaltMML_model.pt` with its label list, on a base folder for configuration and tokenizer."""
    theirs = [Label(id=str(i), name=name) for i, name in enumerate(PUBLISHED)]
    base = tiny_scorer(tmp_path / "base", labels=theirs)
    vilt, _ = tiny_vilt(labels=theirs)
    state = {f"module.{name}": weight for name, weight in vilt.state_dict().items()}
    state["module.vilt.embeddings.text_embeddings.position_ids"] = torch.arange(24)[None]
    torch.save(state, tmp_path / "published.pt")
    (tmp_path / "dict.json").write_text(json.dumps({str(i): name for i, name in enumerate(PUBLISHED)}))
    return tiny_section(
        state_dict=tmp_path / "published.pt", pretrained=str(base), label_list=tmp_path / "dict.json", missing_text="*"
    )


def adopted(section: Vilt, tmp_path: Path):
    run: Run = coloured_run(tmp_path / "run", section)
    folder = run.stage("scorer").path
    folder.mkdir()
    figures = adopt_scorer(section, run, folder)
    return load_scorer(folder), figures


def test_a_published_state_dict_scores_the_runs_labels_in_the_runs_order(published, tmp_path):
    scorer, figures = adopted(published, tmp_path)
    vilt, inputs = tiny_vilt(
        tiny_section(missing_text="*"), [Label(id=str(i), name=name) for i, name in enumerate(PUBLISHED)]
    )
    from mint_ray.scorers.vilt.model import ViltClassifier

    with torch.inference_mode():
        batch = inputs.batch([inputs.example(view) for view in VIEWS])
        logits = ViltClassifier(vilt, inputs.processor).eval()(batch)[:, PLACES]
    assert scorer.scores(VIEWS) == pytest.approx(logits.log_softmax(-1).numpy(), abs=1e-6)
    assert scorer.labels == LABELS
    assert (figures["labels_known"], figures["labels_used"]) == (7, 6)


def test_a_pickle_that_needs_code_is_refused_and_not_run(published, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    published.state_dict.write_bytes(pickle.dumps({"classifier.3.weight": Payload()}))
    with pytest.raises(ModelError, match="holds more than tensors, which would run code"):
        adopted(published, tmp_path)
    torch.save({"classifier.3.weight": Payload()}, published.state_dict)
    with pytest.raises(ModelError, match="holds more than tensors, which would run code"):
        adopted(published, tmp_path / "again")
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a PyTorch state dict"),
        (None, "cannot be read as a PyTorch state dict"),
        ([torch.ones(2)], "holds a list"),
        ({"epoch": 3}, "expected a state dict of names to tensors"),
        ({"classifier.3.weight": torch.ones(9, 64)}, "scores 9 labels, the label list has 7"),
        ({"encoder.weight": torch.ones(2)}, "does not fit the model: Missing key"),
    ],
)
def test_what_is_no_state_dict_of_this_model_is_refused(published, tmp_path, content, message):
    published.state_dict.unlink()
    if isinstance(content, bytes):
        published.state_dict.write_bytes(content)
    elif content is not None:
        torch.save(content, published.state_dict)
    with pytest.raises(ModelError, match=message):
        adopted(published, tmp_path)


def test_a_weight_of_another_shape_is_named(published, tmp_path):
    state = torch.load(published.state_dict, weights_only=True)
    state["module.classifier.0.weight"] = torch.ones(3, 3)
    torch.save(state, published.state_dict)
    with pytest.raises(ModelError, match=r"classifier\.0\.weight"):
        adopted(published, tmp_path)


def test_a_finished_scorer_of_the_same_labels_scores_as_before(tmp_path):
    theirs = tiny_scorer(tmp_path / "theirs", tiny_section(missing_text="Seizure"))
    scorer, _ = adopted(tiny_section(folder=theirs), tmp_path)
    assert scorer.scores(VIEWS) == pytest.approx(load_scorer(theirs).scores(VIEWS), abs=1e-6)


def test_a_hugging_face_folder_meets_the_run_by_its_label_names(tmp_path):
    folder = tiny_scorer(tmp_path / "hf", labels=LABELS[::-1])
    for name in ("scorer.json", "labels.json"):
        (folder / name).unlink()
    scorer, _ = adopted(tiny_section(folder=folder), tmp_path)
    vilt, inputs = tiny_vilt(labels=LABELS[::-1])
    from mint_ray.scorers.vilt.model import ViltClassifier

    with torch.inference_mode():
        batch = inputs.batch([inputs.example(view) for view in VIEWS])
        logits = ViltClassifier(vilt, inputs.processor).eval()(batch).flip(1)
    assert scorer.scores(VIEWS) == pytest.approx(logits.log_softmax(-1).numpy(), abs=1e-6)


def test_a_scorer_that_lacks_a_label_of_the_run_is_refused(tmp_path):
    theirs = tiny_scorer(tmp_path / "theirs", labels=LABELS[:5])
    with pytest.raises(ModelError, match=r"does not know 1 of the run's 6 labels, e\.g\. OMIM:6"):
        adopted(tiny_section(folder=theirs), tmp_path)


def test_a_label_list_of_another_length_than_the_head_is_refused(tmp_path):
    theirs = tiny_scorer(tmp_path / "theirs")
    (tmp_path / "short.json").write_text('{"0": "Kabuki syndrome 1"}')
    with pytest.raises(ModelError, match="label list has 1 labels, the model's head 6"):
        adopted(tiny_section(folder=theirs, label_list=tmp_path / "short.json"), tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no readable config"):
        adopted(tiny_section(folder=tmp_path / "nowhere"), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "a", "pretrained": "b"}, "three origins"),
        ({"folder": "a", "state_dict": "b"}, "three origins"),
        ({"state_dict": "b", "pretrained": "c"}, "needs pretrained .* and label_list"),
        ({"image_only": 0.7, "text_only": 0.6}, "is 1.3; at most 1"),
        ({"batch_size": 9, "workers": 2}, "multiple of workers, 2"),
        ({"size": {"hidden_size": 30, "heads": 4}}, "multiple of heads, 4"),
        ({"size": {"image_size": 30, "patch_size": 16}}, "multiple of patch_size, 16"),
    ],
)
def test_settings_that_do_not_agree_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Vilt(kind="vilt", **settings)
