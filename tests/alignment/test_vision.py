"""ORPO with images: four families see them, each token as in a sequence of its own, and learn from nothing else."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import TrainingArguments

from mint_ray.alignment.collation import Collator, encode_pair, encode_pairs
from mint_ray.alignment.methods import build_trainer, training_options
from mint_ray.alignment.trainer import OrpoTrainer
from mint_ray.alignment.vision import VisionInputs, adapted_modules, part_of, vision_inputs, with_image
from mint_ray.config import AlignmentSection, LoraSection
from mint_ray.errors import ModelError, RowError
from tests.alignment.conftest import pair as text_pair
from tests.alignment.seeing import FAMILIES, picture, seen_pair
from tests.alignment.test_trainer import at_once

RED, GREEN, BLUE = (220, 40, 40), (40, 220, 40), (40, 40, 220)
SECTION = AlignmentSection(model="tiny", precision="fp32", batch_size=8, learning_rate=1e-2, max_length=256)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory, packaged_model):
    folder = tmp_path_factory.mktemp(request.param)
    model, processor = FAMILIES[request.param](folder, packaged_model)
    model.requires_grad_(False)
    return folder, model, VisionInputs(processor, model.config, getattr(model.model, "get_rope_index", None))


def trainer_of(model, tmp_path: Path) -> OrpoTrainer:
    arguments = TrainingArguments(**training_options(SECTION, 0, tmp_path, validate=False))
    return OrpoTrainer(beta=0.1, model=model, args=arguments, data_collator=None, train_dataset=[])


def terms(family, images, tmp_path):
    _, model, vision = family
    pairs = [encode_pair(seen_pair(i, image), vision.tokenizer, 512, vision) for i, image in enumerate(images)]
    with torch.no_grad():
        return trainer_of(model, tmp_path).terms(model, at_once(Collator(2, False, vision), pairs))


def likelihood(family, pair, side) -> float:
    """Mean log-probability of an answer in a sequence of its own, as the processor and the model make it."""
    _, model, vision = family
    picture = [[Image.open(io.BytesIO(pair["images"][0]["bytes"])).convert("RGB")]]
    prompt = vision.render(pair["prompt"], add_generation_prompt=True)
    answer = pair[side][0]["content"] + "<|im_end|>"
    full = vision.processor(text=[prompt + answer], images=picture, add_special_tokens=False, return_tensors="pt")
    inputs = {
        name: value for name, value in full.items() if name in ("input_ids", "attention_mask", "cross_attention_mask")
    }
    seen = vision.tensors([pair["images"][0]["bytes"]], inputs["input_ids"])
    if "image_grid_thw" in seen:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == vision.image_token_id).int()
    with torch.no_grad():
        logits = model(**{**seen, **inputs}).logits[0].log_softmax(-1)
    tokens = vision.tokenizer(answer, add_special_tokens=False)["input_ids"]
    at = range(logits.shape[0] - len(tokens) - 1, logits.shape[0] - 1)
    return sum(logits[p, t].item() for p, t in zip(at, tokens, strict=True)) / len(tokens)


def test_answers_score_as_in_sequences_of_their_own(family, tmp_path):
    images = [picture(RED), picture(GREEN)]
    found = terms(family, images, tmp_path)
    for i, image in enumerate(images):
        pair = seen_pair(i, image)
        chosen, rejected = (likelihood(family, pair, side) for side in ("chosen", "rejected"))
        assert found.nll[i].item() == pytest.approx(-chosen, rel=1e-3)
        odds = [p - torch.log(-torch.expm1(torch.tensor(p))).item() for p in (chosen, rejected)]
        assert found.log_odds_ratio[i].item() == pytest.approx(odds[0] - odds[1], rel=1e-2, abs=1e-3)


def test_the_loss_changes_when_images_are_swapped(family, tmp_path):
    first, second = picture(RED), picture(BLUE)
    straight, swapped = (terms(family, images, tmp_path).loss for images in ([first, second], [second, first]))
    assert (straight - swapped).abs().min() > 1e-4
    torch.testing.assert_close(straight, swapped.flip(0), rtol=1e-4, atol=1e-5)


def test_an_image_counts_once_a_pair_and_is_never_a_target(family):
    _, _, vision = family
    encoded = encode_pair(seen_pair(0, picture(RED)), vision.tokenizer, 512, vision)
    tokens = encoded.prompt.count(vision.image_token_id)
    batch = Collator(2, True, vision)([encoded])
    assert tokens >= 1
    assert (batch["input_ids"] == vision.image_token_id).sum() == tokens
    assert vision.image_token_id not in batch["targets"].tolist()
    assert len(batch["targets"]) == len(encoded.prompt) - 1 - tokens + len(encoded.chosen) + len(encoded.rejected)


def test_both_answers_go_on_where_the_prompt_ends(family):
    _, _, vision = family
    encoded = encode_pair(seen_pair(0, picture(RED)), vision.tokenizer, 512, vision)
    encoded = encoded._replace(chosen=encoded.chosen[::-1])  # answers that begin alike share tokens
    positions = Collator(2, False, vision)([encoded])["position_ids"].reshape(
        -1, len(encoded.prompt + encoded.chosen + encoded.rejected)
    )
    start, second = len(encoded.prompt), len(encoded.prompt + encoded.chosen)
    assert (positions[:, start] == positions[:, second]).all()
    assert (positions[:, start] == positions[:, :start].max() + 1).all()


def test_parts_are_told_by_the_names_of_modules(family):
    _, model, _ = family
    parts = {part_of(name) for name, _ in model.named_parameters()}
    assert parts == {"vision", "projector", "language"}
    heads = [name for name, module in model.named_modules() if module is model.get_output_embeddings()]
    assert [part_of(name) for name in heads] == ["language"]


def test_what_is_trained_is_a_setting(family):
    _, model, _ = family
    chosen = adapted_modules(model, LoraSection(parts=("language",), whole=("projector",)))
    assert {part_of(name) for name in chosen["target_modules"]} == {"language"}
    assert {part_of(name) for name in chosen["modules_to_save"]} == {"projector"}
    assert not any(
        module is model.get_output_embeddings()
        for name, module in model.named_modules()
        if name in chosen["target_modules"]
    )
    assert adapted_modules(model, LoraSection()) == {"target_modules": "all-linear", "modules_to_save": None}


@pytest.fixture(scope="module")
def idefics3(tmp_path_factory, packaged_model):
    folder = tmp_path_factory.mktemp("seeing")
    torch.manual_seed(3)
    FAMILIES["idefics3"](folder, packaged_model)
    return folder


ANSWERS = {RED: ("Breast", "Colon"), BLUE: ("Skin", "Lung")}


def coloured_pairs(count: int, seed: int, shown=None) -> list[dict]:
    """Pairs whose answer can be read from the image's colour alone; `shown` tells which image each case shows."""
    colours = [RED if i % 2 else BLUE for i in range(count)]
    images = [picture(colour, seed=seed + i) for i, colour in enumerate(colours)]
    other = {RED: BLUE, BLUE: RED}
    return [
        seen_pair(i, images[shown[i] if shown else i], ANSWERS[colour], ANSWERS[other[colour]])
        for i, colour in enumerate(colours)
    ]


def preferred(trainer, vision, pairs) -> float:
    encoded, refused = encode_pairs(pairs, vision.tokenizer, 512, vision)
    assert not refused
    with torch.no_grad():
        return (
            (trainer.terms(trainer.model, Collator(2, False, vision)(encoded)).log_odds_ratio > 0).float().mean().item()
        )


def test_what_only_the_image_tells_is_learned_and_lost_when_images_are_shuffled(idefics3, tmp_path):
    vision = vision_inputs(idefics3)
    train, _ = encode_pairs(coloured_pairs(64, 0), vision.tokenizer, 512, vision)
    lora = LoraSection(rank=8, alpha=16, dropout=0, parts=("language",), whole=("vision", "projector"))
    section = SECTION.model_copy(update={"lora": lora, "epochs": 4.0, "learning_rate": 3e-3, "beta": 1.0})
    trainer = build_trainer(section, idefics3, {"train": train}, 0, tmp_path)
    trainer.train()
    trainer.model.eval()
    assert preferred(trainer, vision, coloured_pairs(40, 1000)) > 0.9
    # Every other case shows the other colour: half of the answers are then right by chance.
    shown = [i if i % 4 < 2 else i ^ 1 for i in range(40)]
    assert 0.4 <= preferred(trainer, vision, coloured_pairs(40, 1000, shown)) <= 0.6


def test_an_image_stands_before_the_first_users_text():
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "user", "content": "v"}]
    parts = [[part["type"] for part in message["content"]] for message in with_image(messages)]
    assert parts == [["text"], ["image", "text"], ["text"]]


def test_pairs_and_models_must_agree_on_images(idefics3, tokenizer):
    vision = vision_inputs(idefics3)
    blind = seen_pair(0, picture(RED)) | {"images": []}
    with pytest.raises(RowError, match="0 images; expected one image"):
        encode_pair(blind, vision.tokenizer, 512, vision)
    with pytest.raises(RowError, match="1 images; expected none"):
        encode_pair(text_pair(0) | {"images": [{"bytes": b"x"}]}, tokenizer, 512)
    with pytest.raises(RowError, match="not-an-image"):
        encode_pair(seen_pair(0, b"broken"), vision.tokenizer, 512, vision)


def test_a_text_models_folder_has_no_eyes(tiny_model):
    assert vision_inputs(tiny_model) is None


def test_a_processor_of_another_model_is_refused(idefics3, packaged_model, tmp_path):
    model, _ = FAMILIES["llava"](tmp_path, packaged_model)
    with pytest.raises(ModelError, match=r"image token has id \d+, the model's \d+"):
        VisionInputs(vision_inputs(idefics3).processor, model.config)


def test_a_vision_model_without_its_processor_is_refused(idefics3, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((idefics3 / name).read_bytes())
    with pytest.raises(ModelError, match="processor"):
        vision_inputs(tmp_path)
