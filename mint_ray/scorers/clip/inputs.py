"""From images and captions to what CLIP reads: resized pixels and token ids of one, padded tensors of many."""

from __future__ import annotations

import numpy as np
import torch
from transformers import CLIPConfig, CLIPImageProcessorPil, PreTrainedTokenizerBase

from mint_ray.corpora.images import open_image
from mint_ray.scorers.fitting.examples import Example
from mint_ray.tasks.base import View


class ClipInputs:
    """The tokenizer and image processor of one model."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, processor: CLIPImageProcessorPil, config: CLIPConfig):
        self.tokenizer, self.processor = tokenizer, processor
        self.text_tokens, self.side = config.text_config.max_position_embeddings, config.vision_config.image_size

    def example(self, view: View, label: int = -1) -> Example:
        """An image with its caption as numbers, ids of nothing where it has none.

        Raises:
            RowError: the image cannot be decoded.
        """
        return Example(self.ids(view.text or ""), self.pixels(view.image), bool(view.text), label)

    def pixels(self, image: bytes) -> np.ndarray:
        """An encoded image resized and cropped, uint8 (3, side, side).

        Raises:
            RowError: it cannot be decoded.
        """
        done = self.processor([open_image(image)], do_rescale=False, do_normalize=False, return_tensors=None)
        return np.asarray(done["pixel_values"][0], np.uint8)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels uint8 (n, 3, side, side) as the model wants them."""
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1) / self.processor.rescale_factor
            for values in (self.processor.image_mean, self.processor.image_std)
        )
        return (pixels.float() - mean) / std

    def ids(self, caption: str) -> list[int]:
        return self.tokenizer(caption, truncation=True, max_length=self.text_tokens)["input_ids"]

    def text(self, captions: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask of captions, both int64 (n, tokens), padded to the longest."""
        width = max(map(len, captions))
        ids = np.full((len(captions), width), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for i, caption in enumerate(captions):
            ids[i, : len(caption)], mask[i, : len(caption)] = caption, 1
        return torch.from_numpy(ids), torch.from_numpy(mask)
