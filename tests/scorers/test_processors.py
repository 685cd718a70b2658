"""What image processors of published folders leave open, and tokenizers that are not there."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from mint_ray.errors import ModelError, RowError
from mint_ray.scorers import load_scorer, scorer_section
from mint_ray.scorers.clip.fitting import starting_point
from mint_ray.scorers.clip.model import adopt_clip, load_clip, load_inputs, save_scorer
from mint_ray.scorers.fitting.examples import Example
from mint_ray.scorers.processors import cut_ids
from mint_ray.scorers.vilt.adopt import adopt_scorer
from mint_ray.tasks.base import View
from tests.scorers.test_clip_scorer import tiny_clip
from tests.scorers.tiny import COLOURS, LABELS, TEXTS, coloured_run, picture, tiny_scorer, tiny_section, tiny_vilt

# A public CLIP's preprocessor_config.json without a crop, at the size of the tiny model.
WITHOUT_CROP = {
    "crop_size": None,
    "do_center_crop": False,
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.48, 0.45, 0.4],
    "image_std": [0.26, 0.26, 0.27],
    "image_processor_type": "CLIPImageProcessor",
    "resample": 3,
    "size": {"height": 32, "width": 32},
}
WIDE, TALL = (View(image=picture(COLOURS[0], size=size)) for size in ((96, 40), (40, 96)))


def without(settings, *names):
    return {name: value for name, value in settings.items() if name not in names}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(5)
    model, inputs = starting_point(tiny_clip(), [], LABELS)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    save_scorer(model, inputs, LABELS, tiny_clip(), folder)
    return folder


def with_processor(folder, tmp_path, settings):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path / "copy"


SHORTEST = {"size": {"shortest_edge": 32}}


@pytest.mark.parametrize(
    "settings",
    [
        WITHOUT_CROP,
        without(WITHOUT_CROP, "crop_size"),
        without(WITHOUT_CROP, "crop_size", "do_center_crop"),
        WITHOUT_CROP | {"do_center_crop": True},
        WITHOUT_CROP | {"crop_size": {"height": 224, "width": 224}},  # which is not done
        WITHOUT_CROP | SHORTEST,
        without(WITHOUT_CROP | SHORTEST, "crop_size", "do_center_crop"),
        WITHOUT_CROP | {"size": 32},
        WITHOUT_CROP | {"size": 32, "crop_size": 32, "do_center_crop": True},
        WITHOUT_CROP | {"do_resize": False},
        without(WITHOUT_CROP, "do_normalize", "do_resize"),
    ],
)
def test_a_clip_scores_pictures_that_are_not_square_whatever_its_processor_says_of_a_crop(clip, tmp_path, settings):
    folder = with_processor(clip, tmp_path, settings)
    inputs = load_inputs(folder, load_clip(folder).config)
    assert [pixels.shape for pixels in inputs.pixels([WIDE.image, TALL.image])] == [(3, 32, 32)] * 2
    scores = load_scorer(folder).scores([WIDE, TALL, View(image=picture(COLOURS[1]))])
    assert scores.shape == (3, 6)
    assert np.ptp(scores, axis=1).min() > 1e-3
    adopt_clip(tiny_clip(checkpoint=str(folder)), coloured_run(tmp_path / "run", tiny_clip()), tmp_path / "out")
    np.testing.assert_array_equal(load_scorer(tmp_path / "out").scores([WIDE]), load_scorer(folder).scores([WIDE]))


def black_on_the_left():
    """A third of 96 x 32 pixels."""
    image = Image.new("RGB", (96, 32), "white")
    image.paste("black", (0, 0, 32, 32))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


@pytest.mark.parametrize(("settings", "darkest_on_the_left"), [(WITHOUT_CROP | SHORTEST, 255), (WITHOUT_CROP, 0)])
def test_a_size_of_one_side_takes_the_middle_and_a_size_of_both_presses(clip, tmp_path, settings, darkest_on_the_left):
    folder = with_processor(clip, tmp_path, settings)
    (pixels,) = load_inputs(folder, load_clip(folder).config).pixels([black_on_the_left()])
    assert set(pixels[:, :, :8].ravel().tolist()) == {darkest_on_the_left}


def test_scores_are_those_of_transformers_where_a_file_says_all(clip, tmp_path):
    folder = with_processor(clip, tmp_path, WITHOUT_CROP)
    model, inputs = CLIPModel.from_pretrained(folder), load_inputs(folder, load_clip(folder).config)
    from transformers import CLIPImageProcessorPil

    own = CLIPImageProcessorPil.from_pretrained(folder)([Image.open(io.BytesIO(WIDE.image))], return_tensors="pt")
    with torch.no_grad():
        expected = model.get_image_features(**own).pooler_output
        seen = inputs.normalised(torch.from_numpy(inputs.pixels([WIDE.image])[0])[None])
        found = model.get_image_features(pixel_values=seen).pooler_output
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "mean", "std"),
    [
        ({}, 0.48 * 255, 0.26 * 255),
        ({"do_normalize": False, "image_mean": None, "image_std": None}, 0, 255),
        ({"do_rescale": False}, 0.48, 0.26),
        ({"do_rescale": False, "do_normalize": False}, 0, 1),
    ],
)
def test_pixels_are_normalised_as_the_file_says(clip, tmp_path, changes, mean, std):
    folder = with_processor(clip, tmp_path, WITHOUT_CROP | changes)
    inputs = load_inputs(folder, load_clip(folder).config)
    pixels = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    assert inputs.normalised(pixels)[0, 0, 0, 0].item() == pytest.approx((100 - mean) / std, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"size": {"height": 24, "width": 24}, "crop_size": 24, "do_center_crop": True},
            "24 x 24, its model takes 32 x 32",
        ),
        ({"size": {"longest_edge": 32}}, r"image processor fails \(ValueError\)"),
    ],
)
def test_a_processor_of_another_model_is_refused_when_it_is_loaded(clip, tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        load_scorer(with_processor(clip, tmp_path, WITHOUT_CROP | changes))


@pytest.mark.parametrize("kind", ["clip", "vilt"])
def test_a_folder_without_a_tokenizer_is_refused_when_it_is_loaded_and_when_it_is_adopted(clip, tmp_path, kind):
    folder = tmp_path / "alone"
    shutil.copytree(clip, folder) if kind == "clip" else tiny_scorer(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"has no tokenizer .*copy the files of the tokenizer"):
        load_scorer(folder)
    section = tiny_clip(checkpoint=str(folder)) if kind == "clip" else tiny_section(folder=folder)
    run = coloured_run(tmp_path / "run", section)
    with pytest.raises(ModelError, match="has no tokenizer"):
        (adopt_clip if kind == "clip" else adopt_scorer)(section, run, tmp_path / "out")


def test_a_tokenizer_that_reads_all_labels_alike_is_refused(clip, tmp_path):
    shutil.copytree(clip, tmp_path / "copy")
    long = " ".join(["nuclei"] * 40) + " {}"  # the tiny model has 32 positions: the label's name is cut off
    (tmp_path / "copy" / "scorer.json").write_text(json.dumps({"kind": "clip", "templates": [long]}))
    with pytest.raises(ModelError, match="reads the captions of all 6 labels alike"):
        load_scorer(tmp_path / "copy")


VILT = {"image_processor_type": "ViltImageProcessor", "size": {"shortest_edge": 32}, "size_divisor": 8}


@pytest.mark.parametrize(
    "settings",
    [
        VILT,
        VILT | {"size": 32},
        VILT | {"size": {"height": 32, "width": 32}},
        VILT | {"size": {"shortest_edge": 32, "longest_edge": 60}},
        without(VILT, "size_divisor"),
        VILT | {"size_divisor": None},
        VILT | {"image_processor_type": "ViltFeatureExtractor"},
    ],
)
def test_a_vilt_scores_pictures_that_are_not_square_whatever_form_its_size_has(tmp_path, settings):
    plain = tiny_scorer(tmp_path / "plain")
    folder = with_processor(plain, tmp_path, settings)
    np.testing.assert_array_equal(load_scorer(folder).scores([WIDE, TALL]), load_scorer(plain).scores([WIDE, TALL]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (VILT | {"size": {"height": 32, "width": 48}}, r"image processor fails \(ValueError\)"),
        (VILT | {"size": {"longest_edge": 60}}, r"image processor fails \(ValueError\)"),
        (VILT | {"size": 4, "size_divisor": 2}, "its model reads patches of 8"),
    ],
)
def test_a_vilt_whose_processor_makes_no_patches_is_refused_when_it_is_loaded(tmp_path, settings, message):
    with pytest.raises(ModelError, match=message):
        load_scorer(with_processor(tiny_scorer(tmp_path / "plain"), tmp_path, settings))


def test_a_sliver_that_a_small_model_has_no_patch_for_is_the_rows_fault(tmp_path):
    scorer = load_scorer(tiny_scorer(tmp_path))
    with pytest.raises(RowError, match="image-too-narrow"):
        scorer.scores([View(image=picture(COLOURS[0], size=(160, 20)))])


def test_ids_are_cut_at_the_limit_and_what_is_cut_is_counted(tmp_path):
    tokenizer = tiny_vilt()[1].tokenizer
    whole, short = tokenizer(TEXTS[0])["input_ids"], tokenizer(TEXTS[0][:5])["input_ids"]
    assert cut_ids(tokenizer, [TEXTS[0]], len(whole)) == [(whole, 0)] and cut_ids(tokenizer, [], 3) == []
    before, (ids, cut), after = cut_ids(tokenizer, [TEXTS[0][:5], TEXTS[0], TEXTS[0][:5]], len(whole) - 3)
    assert before == after == (short, 0)
    assert (len(ids), cut) == (len(whole) - 3, 3)
    assert (ids[:-1], ids[-1]) == (whole[: len(ids) - 1], whole[-1])  # the last token stays the tokenizer's own end


def same(prepared, other) -> bool:
    """Whether two prepared views are alike, of whichever scorer."""
    if isinstance(prepared, Example):
        return vars(prepared) | {"pixels": None} == vars(other) | {"pixels": None} and same(
            prepared.pixels, other.pixels
        )
    return prepared is other if prepared is None else np.array_equal(prepared, other)


def test_many_views_are_read_as_each_alone(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("mint_ray.scorers.processors._PIXELS", 9000)  # two or three pictures at a time
    long = " ".join(TEXTS * 20)
    images = [WIDE.image, TALL.image, picture(COLOURS[1]), WIDE.image, picture(COLOURS[2], size=(33, 47))]
    views = [View(text=text, image=image) for text in (None, TEXTS[0], long) for image in (*images, None)][:-6]
    views += [View(text=TEXTS[1]), *views]
    views = [view for view in views if view.text or view.image]
    for folder in (tiny_scorer(tmp_path), clip):
        scorer, again = load_scorer(folder), load_scorer(folder)
        together, alone = scorer.prepare_all(views), [again.prepare(view) for view in views]
        assert len(together) == len(views) and all(map(same, together, alone))
        assert scorer.prepare_all([]) == []
        with pytest.raises(ValueError, match="without text and without image"):
            scorer.prepare_all([*views, View()])
        with pytest.raises(RowError, match="not-an-image"):
            scorer.prepare_all([*views, View(image=b"broken")])


def test_a_vilt_tells_by_how_much_it_cuts_a_text(tmp_path):
    section, folder = scorer_section(tiny_scorer(tmp_path))
    for tokens_cut in (load_scorer(folder).tokens_cut, section.tokens_cut(folder)):
        check_tokens_cut(tokens_cut)


def check_tokens_cut(tokens_cut):
    length = len(tiny_vilt()[1].tokenizer(TEXTS[0])["input_ids"])
    assert tokens_cut(View(text=TEXTS[0])) == 0
    assert tokens_cut(View(image=b"any")) == 0
    assert tokens_cut(View(text=" ".join([TEXTS[0]] * 5))) == 5 * (length - 2) + 2 - 24  # positions of the tiny model
