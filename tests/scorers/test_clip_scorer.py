"""CLIP as a scorer: what CLIPModel says, prompt ensembles, and folders that are none."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from mint_ray.errors import ModelError, RowError
from mint_ray.scorers import load_scorer
from mint_ray.scorers.clip import Clip
from mint_ray.scorers.clip.fitting import starting_point
from mint_ray.scorers.clip.learner import contrastive_loss, turned
from mint_ray.scorers.clip.model import adopt_clip, load_clip, load_inputs, save_scorer
from mint_ray.tasks.base import View
from mint_ray.tasks.rare_disease import RareDisease
from mint_ray.tasks.tissue import Tissue
from tests.scorers.tiny import LABELS, coloured_run, picture

SIZE = {
    **{"hidden_size": 16, "layers": 1, "heads": 2, "image_size": 32, "patch_size": 8},
    **{"text_hidden_size": 16, "text_layers": 1, "projection": 8, "text_tokens": 32},
}


def test_what_is_not_set_is_as_the_task_has_it():
    of_tissue, of_patients = (
        tiny_clip().of_task(task) for task in (Tissue(kind="tissue"), RareDisease(kind="rare_disease"))
    )
    assert of_tissue.turn and of_tissue.captions("Breast")[0] == "H&E image of breast."
    assert not of_patients.turn and of_patients.captions("Sotos syndrome") == ["an image of sotos syndrome."]
    own = tiny_clip(templates=("{}",), turn=False).of_task(Tissue(kind="tissue"))
    assert not own.turn and own.captions("Breast") == ["breast"]


def tiny_clip(**settings) -> Clip:
    return Clip(**({"kind": "clip", "size": SIZE, "epochs": 2, "batch_size": 8, "cpus_per_worker": 1} | settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("clip")
    clip, inputs = starting_point(tiny_clip(), [], LABELS)
    with torch.no_grad():
        for weight in clip.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_scorer(clip, inputs, LABELS, tiny_clip(templates=("a {} face.", "{}")), folder)
    return folder


IMAGES = [picture((220, 40, 40)), picture((40, 220, 40), size=(64, 48))]


def test_scores_are_the_models_own_logits_of_averaged_captions(folder):
    clip, inputs = load_clip(folder), load_inputs(folder, load_clip(folder).config)
    captions = [f(label.name.lower()) for label in LABELS for f in ("a {} face.".format, "{}".format)]
    text = inputs.tokenizer(captions, padding=True, return_tensors="pt")
    pixels = inputs.processor([Image.open(io.BytesIO(data)) for data in IMAGES], return_tensors="pt")
    with torch.no_grad():
        out = clip(input_ids=text["input_ids"], attention_mask=text["attention_mask"], **pixels)
    ensembles = torch.nn.functional.normalize(out.text_embeds.view(len(LABELS), 2, -1).mean(1), dim=-1)
    expected = (clip.logit_scale.exp() * out.image_embeds @ ensembles.T).log_softmax(-1).detach().numpy()
    scores = load_scorer(folder).scores([View(image=data) for data in IMAGES])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # pixels are rounded after resizing


def test_a_case_scores_the_same_alone_and_among_others(folder):
    scorer = load_scorer(folder)
    together = scorer.scores([View(image=data) for data in IMAGES * 40])
    np.testing.assert_allclose(scorer.scores([View(image=IMAGES[1])])[0], together[1], atol=1e-5)


def test_text_alone_tells_nothing_and_nothing_at_all_is_an_error(folder):
    scorer = load_scorer(folder)
    np.testing.assert_allclose(scorer.scores([View(text="a finding")])[0], np.log(1 / len(LABELS)), rtol=1e-6)
    with pytest.raises(ValueError, match="without text and without image"):
        scorer.scores([View()])


def test_a_broken_image_is_the_rows_fault(folder):
    with pytest.raises(RowError, match="not-an-image"):
        load_scorer(folder).scores([View(image=b"broken")])


def test_the_digest_follows_weights_and_templates_and_no_other_file(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "a")
    (tmp_path / "a" / "figures.json").write_text("{}")
    digest = load_scorer(folder).digest
    assert load_scorer(tmp_path / "a").digest == digest
    settings = json.loads((tmp_path / "a" / "scorer.json").read_text())
    (tmp_path / "a" / "scorer.json").write_text(json.dumps(settings | {"templates": ["{}"]}))
    assert load_scorer(tmp_path / "a").digest != digest


def spoiled(folder, tmp_path, file, change):
    copy = tmp_path / "spoiled"
    shutil.copytree(folder, copy)
    settings = json.loads((copy / file).read_text())
    change(settings)
    (copy / file).write_text(json.dumps(settings))
    return copy


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda c: c.update(model_type="vilt"), "type 'vilt'; the scorer `clip` needs"),
        ("config.json", lambda c: c["vision_config"].update(hidden_size=24), "another shape|cannot be loaded"),
        (
            "preprocessor_config.json",
            lambda c: c.update(crop_size={"height": 24, "width": 24}),
            "24 x 24, its model takes 32",
        ),
        ("config.json", lambda c: c["text_config"].update(vocab_size=7), "tokens, its model 7|another shape"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(folder, tmp_path, file, change, message):
    with pytest.raises(ModelError, match=message):
        load_scorer(spoiled(folder, tmp_path, file, change))


def test_a_folder_without_weights_is_no_clip(tmp_path):
    with pytest.raises(ModelError, match="no readable config"):
        load_clip(tmp_path)


def test_any_checkpoint_folder_scores_the_runs_labels_as_it_is(folder, tmp_path):
    plain = tmp_path / "plip"
    shutil.copytree(folder, plain, ignore=shutil.ignore_patterns("scorer.json", "labels.json"))
    section = tiny_clip(checkpoint=str(plain), templates=("a {} face.", "{}"))
    run = coloured_run(tmp_path / "run", section)
    figures = adopt_clip(section, run, tmp_path / "out")
    assert figures == {"origin": str(plain), "labels_used": 6}
    views = [View(image=data) for data in IMAGES]
    np.testing.assert_allclose(load_scorer(tmp_path / "out").scores(views), load_scorer(folder).scores(views))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": "a", "checkpoint": "b"}, "two origins"),
        ({"templates": ["an image"]}, "0 places"),
        ({"size": {"image_size": 33}}, "multiple of patch_size"),
        ({"workers": 3}, "multiple of workers, 3"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        tiny_clip(**settings)


def test_the_loss_counts_every_caption_of_the_same_label_as_right():
    logits = torch.tensor([[5.0, 5.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    soft = contrastive_loss(logits, torch.tensor([0, 0, 1]))
    # Rows 0 and 1: both captions of the label, p = e^5 / (2 e^5 + 1) each; row 2: p = e^5 / (e^5 + 2).
    e5 = np.exp(5)
    expected = -(2 * np.log(e5 / (2 * e5 + 1)) + np.log(e5 / (e5 + 2))) / 3
    assert soft.item() == pytest.approx(expected, rel=1e-5)
    assert contrastive_loss(logits, torch.tensor([0, 1, 2])).item() == pytest.approx(expected, rel=1e-5)


def test_a_wrong_match_costs_more():
    labels = torch.tensor([0, 1])
    right, wrong = torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    assert contrastive_loss(right, labels) < contrastive_loss(wrong, labels) - 2


def test_an_image_has_eight_ways_to_lie():
    pixels = np.arange(12).reshape(3, 2, 2)
    assert len({turned(pixels, way).tobytes() for way in range(8)}) == 8
