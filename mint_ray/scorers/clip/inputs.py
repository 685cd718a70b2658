"""From images and captions to what CLIP reads: resized pixels and token ids of one, padded tensors of many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, PreTrainedTokenizerBase

from mint_ray.scorers.fitting.examples import Example
from mint_ray.scorers.processors import cut_ids, decoded, normalisation
from mint_ray.tasks.base import View


class ClipInputs:
    """The tokenizer and image processor of one model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, processor: CLIPImageProcessorPil, config: CLIPConfig):
        self.tokenizer, self.processor = tokenizer, processor
        self.text_tokens, self.side = config.text_config.max_position_embeddings, config.vision_config.image_size

    def example(self, view: View) -> Example:
        """An image with its caption as numbers, ids of nothing where it has none.

        Raises:
            RowError: the image cannot be decoded.
        """
        ((ids, cut),) = cut_ids(self.tokenizer, [view.text or ""], self.text_tokens)
        (pixels,) = self.pixels([view.image])
        return Example(ids, pixels, bool(view.text), cut=cut)

    def pixels(self, images: Iterable[bytes]) -> list[np.ndarray]:
        """Encoded images resized and cropped, each uint8 (3, side, side).

        Raises:
            RowError: one cannot be decoded.
        """
        return [pixels for some in decoded(images) for pixels in self.resized(some)]

    def resized(self, images: list[Image.Image]) -> list[np.ndarray]:
        """Pictures as `pixels`."""
        done = self.processor(images, do_rescale=False, do_normalize=False, return_tensors=None)
        return [np.asarray(pixels, np.uint8) for pixels in done["pixel_values"]]

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 (n, 3, side, side) as the model wants them."""
        mean, std = (values.to(pixels.device) for values in normalisation(self.processor))
        return (pixels.float() - mean) / std

    def ids(self, caption: str) -> list[int]:
        return cut_ids(self.tokenizer, [caption], self.text_tokens)[0][0]

    def text(self, captions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask of captions, both int64 (n, tokens), padded to the longest."""
        width = max(map(len, captions))
        ids = np.full((len(captions), width), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for i, caption in enumerate(captions):
            ids[i, : len(caption)], mask[i, : len(caption)] = caption, 1
        return torch.from_numpy(ids), torch.from_numpy(mask)
