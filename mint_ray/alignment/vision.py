"""Pairs whose prompt holds an image: what a model's processor adds to tokens and batches, and its parts.

The image stands in the prompt, before the first user message's text. A row of a batch holds a prompt once with
both answers behind it, so each image is computed once a pair, not once an answer, and both see the same pixels.
Families tested: Idefics3 / SmolVLM, LLaVA, Qwen2.5-VL (positions of three axes), Mllama (cross-attention).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from mint_ray.corpora.images import open_image
from mint_ray.errors import ModelError
from mint_ray.models import sees_images

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

    from mint_ray.config import LoraSection, Part

_PARTS: tuple[tuple[Part, str], ...] = (
    ("projector", r"\b(connector|multi_modal_projector|visual\.merger)\b"),
    ("vision", r"\b(vision_model|vision_tower|visual)\b"),
)
# What an image processor returns and no model takes.
_NOT_FOR_MODELS = ("rows", "cols", "num_tiles", "num_image_tokens")


class VisionInputs:
    """The processor of a vision-language model, and what its family wants beside the tokens.

    Args:
        positions: the model's `get_rope_index`, where its positions have three axes.

    Raises:
        ModelError: the processor does not fit the model.
    """

    def __init__(self, processor: ProcessorMixin, config: PretrainedConfig, positions: Callable | None = None):
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.image_token_id = _image_token_id(config, processor)
        self._positions, self._crosses = positions, config.model_type == "mllama"
        self._expanded: dict[tuple[str, tuple[int, int]], list[int]] = {}

    def expanded(self, messages: list[dict[str, Any]], image: bytes) -> list[int]:
        """Token ids of a prompt with its image, up to where the answer begins.

        Raises:
            RowError: the image cannot be decoded.
        """
        picture = open_image(image)
        text = self.render(messages, add_generation_prompt=True)
        key = (text, picture.size)  # as many image tokens as the size asks for: the same for all images of a size
        if key not in self._expanded:
            inputs = self.processor(text=[text], images=[[picture]], add_special_tokens=False)
            self._expanded[key] = list(inputs["input_ids"][0])
        return self._expanded[key]

    def render(self, messages: list[dict[str, Any]], **options: Any) -> str:
        """Messages in the model's chat template, an image token at the start of the first user message."""
        return self.processor.apply_chat_template(with_image(messages), tokenize=False, **options)

    def tensors(self, images: Sequence[bytes], input_ids: Tensor) -> dict[str, Tensor]:
        """What the model's forward takes beside the tokens (rows, time), for one image a row."""
        pictures: list[list[Image.Image]] = [[open_image(image)] for image in images]
        done = self.processor.image_processor(pictures, return_tensors="pt")
        tensors = {name: value for name, value in done.items() if name not in _NOT_FOR_MODELS}
        if self._crosses:
            tensors["cross_attention_mask"] = self._cross_attention(input_ids, tensors["aspect_ratio_mask"])
        return tensors

    def positions(
        self, input_ids: Tensor, position_ids: Tensor, prompts: list[int], pixels: dict[str, Tensor]
    ) -> Tensor:
        """Position ids of packed rows; of three axes, (3, rows, time), where the model has such.

        Args:
            input_ids, position_ids: (rows, time), the latter along the sequence.
            prompts: tokens of each row's prompt; both answers go on from its last position.
        """
        if self._positions is None:
            return position_ids
        placed = position_ids.expand(3, -1, -1).clone()
        for row, length in enumerate(prompts):
            ids = input_ids[row : row + 1, :length]
            seen, shift = self._positions(
                input_ids=ids,
                mm_token_type_ids=(ids == self.image_token_id).int(),
                image_grid_thw=pixels["image_grid_thw"][row : row + 1],
            )
            placed[:, row, :length] = seen[:, 0]
            placed[:, row, length:] += shift.item()
        return placed

    def _cross_attention(self, input_ids: Tensor, tiles: Tensor) -> Tensor:
        """Mllama's mask (rows, time, 1, tiles): from the image token on, a row's tokens see the tiles of its image."""
        begun = (input_ids == self.image_token_id).cumsum(1) > 0
        return (begun[:, :, None, None] & tiles[:, None].bool()).long()


def with_image(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose contents are lists of parts, with an image before the first user message's text."""
    parts = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    first = next(message for message in parts if message["role"] == "user")
    first["content"].insert(0, {"type": "image"})
    return parts


def vision_inputs(folder: Path, model: PreTrainedModel | None = None) -> VisionInputs | None:
    """What the folder's model needs to see images; None where it is a text model.

    Args:
        model: the loaded model, once batches are made for it.

    Raises:
        ModelError: its processor is missing, has no chat template, or does not fit the model.
    """
    from transformers import AutoConfig

    if not sees_images(folder):
        return None
    positions = getattr(getattr(model, "model", None), "get_rope_index", None)
    return VisionInputs(load_processor(folder), AutoConfig.from_pretrained(folder), positions)


def load_processor(folder: Path) -> ProcessorMixin:
    """The processor of a vision-language model's folder.

    Raises:
        ModelError: there is none, or it has no chat template.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"{folder}: its processor cannot be loaded ({type(error).__name__}): {error}") from error
    if not hasattr(processor, "image_processor"):
        raise ModelError(
            f"{folder}: has a tokenizer and no image processor; take the processor that belongs to the model"
        )
    if processor.chat_template is None:
        raise ModelError(f"{folder}: its processor has no chat template; take an instruct model")
    return processor


def part_of(name: str) -> Part:
    """The part of a vision-language model that a module or weight of this name belongs to."""
    return next((part for part, pattern in _PARTS if re.search(pattern, name)), "language")


def _image_token_id(config: PretrainedConfig, processor: ProcessorMixin) -> int:
    known = getattr(config, "image_token_id", None) or getattr(config, "image_token_index", None)
    token = processor.image_token
    given = processor.tokenizer.convert_tokens_to_ids(token if isinstance(token, str) else token.content)
    if known != given:
        raise ModelError(
            f"the processor's image token has id {given}, the model's {known}: take the processor that belongs to the model"
        )
    return known


def adapted_modules(model: nn.Module, lora: LoraSection) -> dict[str, Any]:
    """PEFT's settings for what is trained: layers that get an adapter, and modules trained whole.

    A text model has one part, `language`.

    Raises:
        ModelError: the settings leave nothing to train.
    """
    names = {name: part_of(name) for name, _ in model.named_modules() if name}
    whole = _outermost(name for name, part in names.items() if part in lora.whole)
    everywhere = set(names.values()) <= set(lora.parts) - set(lora.whole)
    if lora.target_modules != "all-linear" or everywhere:
        return {"target_modules": lora.target_modules, "modules_to_save": whole or None}
    head = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and names[name] in lora.parts
        and names[name] not in lora.whole
    ]
    if not linear:
        raise ModelError(f"alignment.lora.parts {', '.join(lora.parts)}: the model has no linear layer there to adapt")
    return {"target_modules": linear, "modules_to_save": whole or None}


def _outermost(names: Iterable[str]) -> list[str]:
    """Names that lie in no other of them."""
    found: list[str] = []
    for name in sorted(names):
        if not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return found
