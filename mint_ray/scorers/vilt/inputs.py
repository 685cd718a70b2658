"""From a view to what ViLT reads: token ids and resized pixels of one example, padded tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from transformers import BertTokenizerFast, ViltImageProcessorPil  # pyright: ignore[reportAttributeAccessIssue] transformers makes the name at run time

from mint_ray.errors import RowError
from mint_ray.scorers.fitting.examples import Example
from mint_ray.scorers.processors import cut_ids, decoded
from mint_ray.tasks.base import View

_REMEMBERED = 1024  # texts


@dataclass(frozen=True)
class Batch:
    """Padded tensors of n examples; `patch_mask` is 1 where a patch holds photograph, 0 where padding or nothing."""

    input_ids: torch.Tensor  # (n, tokens), int64
    attention_mask: torch.Tensor  # (n, tokens), int64
    pixels: torch.Tensor  # (n, 3, height, width), uint8
    patch_mask: torch.Tensor  # (n, rows, columns), int64
    labels: torch.Tensor  # (n,), int64

    def to(self, device: torch.device | str) -> Batch:
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class ViltInputs:
    """The tokenizer and image processor of one model, and the sizes that they must agree with."""

    def __init__(
        self,
        tokenizer: BertTokenizerFast,
        processor: ViltImageProcessorPil,
        text_tokens: int,
        patch_size: int,
        missing_text: str,
    ):
        self.tokenizer, self.processor = tokenizer, processor
        self.text_tokens, self.patch_size = text_tokens, patch_size
        self._known: dict[str, tuple[list[int], int]] = {}
        self.missing_text, ((self.blank_ids, _),) = missing_text, self.ids([missing_text])

    def ids(self, texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """Of each text the token ids that the model has room for, and how many it has none for.

        The last texts are remembered, since whoever scores a view asks for them again to count what was cut.
        """
        known = self._known
        new = [text for text in dict.fromkeys(texts) if text not in known]
        read = dict(zip(new, cut_ids(self.tokenizer, new, self.text_tokens), strict=True))
        found = [read.get(text) or known[text] for text in texts]
        self._known = (known if len(known) < _REMEMBERED else {}) | read
        return found

    def tokens_cut(self, view: View) -> int:
        """How many tokens of a view's text the model has no room for."""
        return self.ids([view.text])[0][1] if view.text else 0

    def example(self, view: View) -> Example:
        """One view as numbers; raises as `examples`."""
        return self.examples([view])[0]

    def examples(self, views: Sequence[View]) -> list[Example]:
        """Views as numbers.

        Raises:
            ValueError: a view has neither text nor image.
            RowError: an image cannot be decoded.
        """
        if not all(view.text or view.image is not None for view in views):
            raise ValueError("a view without text and without image cannot be scored")
        ids = iter(self.ids([view.text for view in views if view.text]))
        images = (view.image for view in views if view.image is not None)
        pixels = (each for some in decoded(images) for each in self._pixels(some))
        found: list[Example] = []
        for view in views:
            tokens, cut = next(ids) if view.text else (self.blank_ids, 0)
            seen = None if view.image is None else next(pixels)
            found.append(Example(tokens, seen, bool(view.text), cut=cut))
        return found

    def _pixels(self, images: list[Image.Image]) -> list[np.ndarray]:
        try:
            return self.resized(images)
        except ValueError:  # the longer side is bounded, so a small model has no patch for a sliver
            if len(images) > 1:
                return [pixels for image in images for pixels in self._pixels([image])]
            seen = f"{images[0].width} x {images[0].height}"
            rule = f"a picture that holds patches of {self.patch_size} pixels"
            raise RowError("image-too-narrow", "image", seen, rule) from None

    def resized(self, images: list[Image.Image]) -> list[np.ndarray]:
        """The pixels of each picture, uint8 (3, height, width), both sides multiples of a patch."""
        done = self.processor(images, do_rescale=False, do_normalize=False, do_pad=False, return_tensors=None)
        return list(done["pixel_values"])

    def blinded(self, example: Example, to: str) -> Example:
        """The example without its `text` or `image`; unchanged where nothing else would be left."""
        if to == "image" and example.has_text:
            return replace(example, pixels=None)
        if to == "text" and example.pixels is not None:
            return replace(example, input_ids=self.blank_ids, has_text=False)
        return example

    def batch(self, examples: list[Example]) -> Batch:
        """Pad to the longest text and the largest photograph of the batch."""
        n, patch = len(examples), self.patch_size
        tokens = max(len(e.input_ids) for e in examples)
        shapes = [e.pixels.shape[1:] for e in examples if e.pixels is not None] or [(patch, patch)]
        height, width = (max(shape[axis] for shape in shapes) for axis in (0, 1))
        ids = np.full((n, tokens), self.tokenizer.pad_token_id, np.int64)
        attention = np.zeros((n, tokens), np.int64)
        pixels = np.zeros((n, 3, height, width), np.uint8)
        patches = np.zeros((n, height // patch, width // patch), np.int64)
        for i, e in enumerate(examples):
            ids[i, : len(e.input_ids)] = e.input_ids
            attention[i, : len(e.input_ids)] = 1
            if e.pixels is not None:
                _, rows, columns = e.pixels.shape
                pixels[i, :, :rows, :columns] = e.pixels
                patches[i, : rows // patch, : columns // patch] = 1
        labels = np.array([e.label for e in examples], np.int64)
        return Batch(*map(torch.from_numpy, (ids, attention, pixels, patches, labels)))


def build_processor(image_size: int, patch_size: int) -> ViltImageProcessorPil:
    """Resize the shorter side to `image_size`, both to multiples of `patch_size`."""
    return ViltImageProcessorPil(size={"shortest_edge": image_size}, size_divisor=patch_size)
