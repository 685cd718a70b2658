"""ViLT's forward pass without chance, and its files on disk.

transformers draws the order of the image patches at random (`torch.multinomial`) even where all of them are
kept. Patches carry their positions, so the order changes nothing but the rounding; it is left out here, and a
case's scores depend neither on the random state nor on its neighbours in the batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.nn import functional
from transformers import BertTokenizerFast, ViltConfig, ViltForQuestionAnswering, ViltImageProcessorPil  # pyright: ignore[reportAttributeAccessIssue] transformers makes the name at run time
from transformers.image_utils import SizeDict

from mint_ray.corpora.images import MIN_SIDE
from mint_ray.errors import ModelError
from mint_ray.scorers.files import finished_folder
from mint_ray.scorers.processors import check_tokenizer, normalisation
from mint_ray.scorers.vilt.inputs import Batch, ViltInputs, build_processor
from mint_ray.tasks.base import Label

if TYPE_CHECKING:
    from mint_ray.scorers.vilt import Vilt, ViltSize

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
)


class ViltClassifier(torch.nn.Module):
    """`ViltForQuestionAnswering` from a `Batch` to logits (n, labels)."""

    def __init__(self, vilt: ViltForQuestionAnswering, processor: ViltImageProcessorPil):
        super().__init__()
        self.vilt = vilt
        for name, values in zip(("mean", "std"), normalisation(processor), strict=True):
            self.register_buffer(name, values, persistent=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        pixels = (batch.pixels.float() - self.mean) / self.std
        image_embeds, image_mask = embed_patches(self.vilt, pixels, batch.patch_mask)
        return self.vilt(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            image_embeds=image_embeds,
            pixel_mask=image_mask,
        ).logits


def embed_patches(
    vilt: ViltForQuestionAnswering, pixels: torch.Tensor, patch_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patch embeddings with their positions, in reading order, after the image's class token.

    Args:
        pixels: normalised, (n, 3, height, width).
        patch_mask: (n, rows, columns), 1 where a patch holds photograph; photographs fill the upper left corner.

    Returns:
        Embeddings (n, 1 + rows * columns, hidden) and their mask; the class token is never masked.
    """
    embeddings = vilt.vilt.embeddings
    patches = embeddings.patch_embeddings(pixels)
    n, hidden, rows, columns = patches.shape
    grid = embeddings.config.image_size // embeddings.config.patch_size
    learned = embeddings.position_embeddings[:, 1:].transpose(1, 2).view(1, hidden, grid, grid)
    heights, widths = patch_mask.sum(1).amax(1).tolist(), patch_mask.sum(2).amax(1).tolist()
    sizes = list(zip(heights, widths, strict=True))
    positions = {size: _positions(learned, size, (rows, columns)) for size in set(sizes)}
    placed = patches + torch.cat([positions[size] for size in sizes])
    first = (embeddings.cls_token + embeddings.position_embeddings[:, :1]).expand(n, -1, -1)
    embedded = torch.cat([first, placed.flatten(2).transpose(1, 2)], dim=1)
    return embeddings.dropout(embedded), functional.pad(patch_mask.flatten(1), (1, 0), value=1)


def _positions(learned: torch.Tensor, size: tuple[int, int], whole: tuple[int, int]) -> torch.Tensor:
    """The learned grid of positions stretched over a photograph's patches, zero around it."""
    if 0 in size:
        return learned.new_zeros((1, learned.shape[1], *whole))
    stretched = functional.interpolate(learned, size=size, mode="bilinear", align_corners=True)
    return functional.pad(stretched, (0, whole[1] - size[1], 0, whole[0] - size[0]))


def new_config(size: ViltSize, vocabulary: int, pad_token_id: int) -> ViltConfig:
    """The configuration of a model from scratch."""
    return ViltConfig(
        vocab_size=vocabulary,
        pad_token_id=pad_token_id,
        max_position_embeddings=size.text_tokens,
        hidden_size=size.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden_size,
        image_size=size.image_size,
        patch_size=size.patch_size,
        initializer_range=size.hidden_size**-0.5,
    )


def new_vilt(config: ViltConfig) -> ViltForQuestionAnswering:
    """A model of random weights that can learn from some hundred cases.

    transformers leaves the positions of the patches at zero and takes 0.02 for all else, which suits weights that
    are then loaded; from there a small model learns next to nothing in a thousand steps. Here weights keep their
    input's variance, patches start at places of their own, and words at nearly one place: findings have no order.
    """
    vilt = ViltForQuestionAnswering(config)
    embeddings = vilt.vilt.embeddings
    torch.nn.init.normal_(embeddings.position_embeddings, std=0.3)
    torch.nn.init.normal_(embeddings.cls_token, std=0.02)
    torch.nn.init.normal_(embeddings.text_embeddings.position_embeddings.weight, std=0.01)
    torch.nn.init.normal_(embeddings.text_embeddings.token_type_embeddings.weight, std=0.01)
    return vilt


def labelled(config: ViltConfig, labels: list[Label]) -> ViltConfig:
    """The configuration with a head for these labels, in this order."""
    config.id2label = {i: label.name for i, label in enumerate(labels)}
    config.label2id = {label.id: i for i, label in enumerate(labels)}
    return config


def read_config(folder: Path) -> ViltConfig:
    """The configuration of a ViLT folder.

    Raises:
        ModelError: there is none, or it is another model's.
    """
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise ModelError(f"{folder}: is no model folder (no readable config.json)") from None
    if kind != "vilt":
        raise ModelError(f"{folder}: holds a model of type {kind!r}; the scorer `vilt` needs one of type 'vilt'")
    return ViltConfig.from_pretrained(folder)


def load_vilt(folder: Path, config: ViltConfig, new_head: bool = False) -> ViltForQuestionAnswering:
    """The weights of a folder; with `new_head`, a classifier that is absent or of another size starts at random.

    Raises:
        ModelError: weights are missing, do not fit, or cannot be read.
    """
    try:
        vilt, info = ViltForQuestionAnswering.from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True, local_files_only=True
        )
    except Exception as error:
        raise ModelError(f"{folder}: its weights cannot be loaded ({type(error).__name__}): {error}") from error
    wrong = {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}
    if wrong := sorted(key for key in wrong if not (new_head and key.startswith("classifier."))):
        raise ModelError(
            f"{folder}: is no ViltForQuestionAnswering of this configuration; {len(wrong)} weights are missing or of "
            f"another shape, e.g. {', '.join(wrong[:3])}"
        )
    return vilt


def load_inputs(folder: Path, config: ViltConfig, missing_text: str) -> ViltInputs:
    """The tokenizer and the image processor of a folder.

    Raises:
        ModelError: one of them is missing, or does not fit the model.
    """
    try:
        tokenizer = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
        written, _ = ViltImageProcessorPil.get_image_processor_dict(folder, local_files_only=True)
        processor = ViltImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{folder}: its tokenizer or image processor cannot be read ({type(error).__name__})"
        ) from error
    check_tokenizer(tokenizer, config.vocab_size, folder)
    inputs = inputs_of(config, tokenizer, in_patches(processor, written, config.patch_size), missing_text)
    check_pictures(inputs, folder)
    return inputs


def in_patches(processor: ViltImageProcessorPil, written: dict, patch_size: int) -> ViltImageProcessorPil:
    """The processor, with what ViLT's has to say where its file does not: the shorter side, and multiples of a patch.

    Args:
        written: what the file says, without the defaults that transformers adds.
    """
    size = processor.size
    if size.height and size.height == size.width:
        processor.size = SizeDict(shortest_edge=size.height)
    processor.size_divisor = written.get("size_divisor") or patch_size
    return processor


def check_pictures(inputs: ViltInputs, folder: Path) -> None:
    """See that pictures of usual forms become patches.

    Raises:
        ModelError: they do not.
    """
    for size in ((MIN_SIDE, MIN_SIDE), (128, 64), (64, 128)):
        try:
            _, height, width = inputs.resized([Image.new("RGB", size)])[0].shape
        except Exception as error:
            raise ModelError(f"{folder}: its image processor fails ({type(error).__name__}): {error}") from error
        if min(height, width) < inputs.patch_size:
            raise ModelError(
                f"{folder}: its processor makes a picture of {height} x {width} out of one of {size[1]} x {size[0]}, and "
                f"its model reads patches of {inputs.patch_size}; take the processor that belongs to the model"
            )


def inputs_of(
    config: ViltConfig, tokenizer: BertTokenizerFast, processor: ViltImageProcessorPil | None, missing_text: str
) -> ViltInputs:
    processor = processor or build_processor(config.image_size, config.patch_size)
    return ViltInputs(tokenizer, processor, config.max_position_embeddings, config.patch_size, missing_text)


def save_scorer(
    vilt: ViltForQuestionAnswering, inputs: ViltInputs, labels: list[Label], section: Vilt, folder: Path
) -> None:
    """Leave a finished scorer in the folder."""
    with finished_folder(folder, labels, {"kind": section.kind, "missing_text": inputs.missing_text}) as temporary:
        vilt.save_pretrained(temporary)
        inputs.tokenizer.save_pretrained(temporary)
        inputs.processor.save_pretrained(temporary)
