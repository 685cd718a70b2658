"""CLIP's embeddings, and its files on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.nn import functional
from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel
from transformers.image_utils import SizeDict

from mint_ray.corpora.store import run_labels
from mint_ray.errors import ModelError
from mint_ray.models import resolve_model
from mint_ray.scorers.clip.inputs import ClipInputs
from mint_ray.scorers.files import finished_folder
from mint_ray.scorers.processors import check_tokenizer
from mint_ray.storage import local_copy
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.clip import Clip, ClipSize

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")


def image_embeddings(clip: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    """Unit vectors (n, projection) of normalised pixels (n, 3, side, side)."""
    return functional.normalize(clip.visual_projection(clip.vision_model(pixels).pooler_output), dim=-1)


def text_embeddings(clip: CLIPModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Unit vectors (n, projection) of padded captions."""
    return functional.normalize(clip.text_projection(clip.text_model(ids, mask).pooler_output), dim=-1)


def label_embeddings(clip: CLIPModel, inputs: ClipInputs, captions: list[list[str]]) -> torch.Tensor:
    """A prompt ensemble (Radford et al. 2021, section 3.1.4): each label's captions averaged, a unit vector again.

    Args:
        captions: the captions of each label.

    Returns:
        (labels, projection).
    """
    rows = []
    for of_label in captions:
        ids, mask = (part.to(clip.device) for part in inputs.text([inputs.ids(caption) for caption in of_label]))
        rows.append(text_embeddings(clip, ids, mask).mean(0))
    return functional.normalize(torch.stack(rows), dim=-1)


def new_config(size: ClipSize, vocabulary: int, pad: int, bos: int, eos: int) -> CLIPConfig:
    """The configuration of a model from scratch.

    CLIP pools a caption where its end token stands; `eos` 2 would mean the highest id instead (transformers #24773).
    """
    text = {
        "vocab_size": vocabulary,
        "hidden_size": size.text_hidden_size,
        "intermediate_size": 4 * size.text_hidden_size,
        "num_hidden_layers": size.text_layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": size.text_tokens,
        "projection_dim": size.projection,
        "pad_token_id": pad,
        "bos_token_id": bos,
        "eos_token_id": eos,
    }
    vision = {
        "hidden_size": size.hidden_size,
        "intermediate_size": 4 * size.hidden_size,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "image_size": size.image_size,
        "patch_size": size.patch_size,
        "projection_dim": size.projection,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=size.projection)


def new_processor(side: int) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def read_config(folder: Path) -> CLIPConfig:
    """The configuration of a CLIP folder.

    Raises:
        ModelError: there is none, or it is another model's.
    """
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise ModelError(f"{folder}: is no model folder (no readable config.json)") from None
    if kind != "clip":
        raise ModelError(f"{folder}: holds a model of type {kind!r}; the scorer `clip` needs one of type 'clip'")
    return CLIPConfig.from_pretrained(folder)


def load_clip(folder: Path) -> CLIPModel:
    """The weights of a folder.

    Raises:
        ModelError: weights are missing, do not fit, or cannot be read.
    """
    config = read_config(folder)
    try:
        clip, info = CLIPModel.from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
        )
    except Exception as error:
        raise ModelError(f"{folder}: its weights cannot be loaded ({type(error).__name__}): {error}") from error
    if wrong := sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}):
        raise ModelError(
            f"{folder}: is no CLIPModel of this configuration; {len(wrong)} weights are missing or of another shape, "
            f"e.g. {', '.join(wrong[:3])}"
        )
    return clip


def load_inputs(folder: Path, config: CLIPConfig) -> ClipInputs:
    """The tokenizer and the image processor of a folder.

    Raises:
        ModelError: one of them is missing, or does not fit the model.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        written, _ = CLIPImageProcessorPil.get_image_processor_dict(folder, local_files_only=True)
        processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{folder}: its tokenizer or image processor cannot be read ({type(error).__name__})"
        ) from error
    check_tokenizer(tokenizer, config.text_config.vocab_size, folder)
    inputs = ClipInputs(tokenizer, squared(processor, written, config.vision_config.image_size), config)
    check_pictures(inputs, folder)
    return inputs


def squared(processor: CLIPImageProcessorPil, written: dict, side: int) -> CLIPImageProcessorPil:
    """The processor, made to leave squares where its file does not say how.

    A model takes squares of one size. A file without a crop gets CLIP's own, out of the middle, unless it resizes
    both sides itself.

    Args:
        written: what the file says, without the defaults that transformers adds.
    """
    if processor.do_center_crop and written.get("crop_size"):
        return processor
    size = processor.size
    processor.do_center_crop = not (processor.do_resize and size.height == size.width == side)
    processor.crop_size = SizeDict(height=side, width=side)
    return processor


def check_captions(inputs: ClipInputs, captions: list[list[str]], folder: Path) -> None:
    """See that the tokenizer tells labels apart by their captions.

    Raises:
        ModelError: it reads the captions of all labels alike.
    """
    read = {tuple(tuple(inputs.ids(caption)) for caption in of_label) for of_label in captions}
    if len(read) == 1 < len(captions):
        raise ModelError(
            f"{folder}: its tokenizer reads the captions of all {len(captions)} labels alike, so that all would score the "
            "same; take the tokenizer that belongs to the model, or templates that leave room for the label's name"
        )


def check_pictures(inputs: ClipInputs, folder: Path) -> None:
    """See that pictures of every form become what the model takes.

    Raises:
        ModelError: they do not.
    """
    for size in ((64, 64), (128, 32), (32, 128)):
        try:
            seen = inputs.resized([Image.new("RGB", size)])[0].shape
        except Exception as error:
            raise ModelError(f"{folder}: its image processor fails ({type(error).__name__}): {error}") from error
        if seen != (3, inputs.side, inputs.side):
            raise ModelError(
                f"{folder}: its processor makes images of {seen[1]} x {seen[2]}, its model takes {inputs.side} x "
                f"{inputs.side}; take the processor that belongs to the model"
            )


def save_scorer(clip: CLIPModel, inputs: ClipInputs, labels: list[Label], section: Clip, folder: Path) -> None:
    """Leave a finished scorer in the folder."""
    with finished_folder(folder, labels, {"kind": section.kind, "templates": section.templates}) as temporary:
        clip.save_pretrained(temporary)
        inputs.tokenizer.save_pretrained(temporary)
        inputs.processor.save_pretrained(temporary)


def adopt_clip(section: Clip, run: Run, folder: Path) -> dict:
    """Leave a finished scorer's model, or a checkpoint, in `folder`, to score the run's labels by their captions.

    Raises:
        ModelError: it is no CLIP, cannot be read, or its processor does not fit it.
    """
    origin = local_copy(section.folder) if section.folder else resolve_model(section.checkpoint)
    clip, labels = load_clip(origin), run_labels(run)
    save_scorer(clip, load_inputs(origin, clip.config), labels, section, folder)
    return {"origin": str(section.folder or section.checkpoint), "labels_used": len(labels)}
