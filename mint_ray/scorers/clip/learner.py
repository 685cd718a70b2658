"""CLIP in the loop that fits scorers: its contrastive loss, and what training images undergo by chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel

from mint_ray.scorers.clip.inputs import ClipInputs
from mint_ray.scorers.clip.model import image_embeddings, label_embeddings, load_clip, load_inputs, text_embeddings
from mint_ray.scorers.files import LABELS
from mint_ray.scorers.fitting.examples import Example
from mint_ray.tasks.base import load_labels

if TYPE_CHECKING:
    from mint_ray.scorers.clip import Clip

_LARGEST_SCALE = 100.0  # of the cosines, as in CLIP's own training


@dataclass(frozen=True)
class Batch:
    """Tensors of n examples: pixels uint8 (n, 3, side, side), captions (n, tokens) with their mask, labels (n,)."""

    pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class DualEncoder(torch.nn.Module):
    """A `Batch` to cosines times scale, (images, captions)."""

    def __init__(self, clip: CLIPModel, inputs: ClipInputs):
        super().__init__()
        self.clip, self.inputs = clip, inputs

    def forward(self, batch: Batch) -> Tensor:
        images = image_embeddings(self.clip, self.inputs.normalised(batch.pixels))
        captions = text_embeddings(self.clip, batch.input_ids, batch.attention_mask)
        scale = self.clip.logit_scale.exp().clamp(max=_LARGEST_SCALE)
        return scale * images.float() @ captions.float().T


class ClipLearner:
    """See `mint_ray.scorers.fitting.training.Learner`."""

    def __init__(self, section: Clip, start: Path):
        clip = load_clip(start)
        self._section, self._inputs = section, load_inputs(start, clip.config)
        self._captions = [section.captions(label.name) for label in load_labels(start / LABELS)]
        self._caption_ids = [[self._inputs.ids(caption) for caption in of_label] for of_label in self._captions]
        self.module, self.weights = DualEncoder(clip, self._inputs), clip

    def batch(self, examples: list[Example]) -> Batch:
        ids, mask = self._inputs.text([example.input_ids for example in examples])
        pixels = torch.from_numpy(np.stack([example.pixels for example in examples]))
        return Batch(pixels, ids, mask, torch.tensor([example.label for example in examples]))

    def altered(self, example: Example, chance: np.random.Generator) -> Example:
        """The image turned, mirrored and its channels scaled; the label in a template for some of the captions."""
        pixels = example.pixels
        if self._section.turn:
            pixels = turned(pixels, int(chance.integers(8)))
        if self._section.stain:
            share = 1 + self._section.stain * chance.uniform(-1, 1, (3, 1, 1))
            pixels = (255 - np.clip((255 - pixels) * share, 0, 255)).astype(np.uint8)
        ids = example.input_ids
        if chance.random() < self._section.label_captions or not example.has_text:
            templates = self._caption_ids[example.label]
            ids = templates[int(chance.integers(len(templates)))]
        return replace(example, pixels=np.ascontiguousarray(pixels), input_ids=ids)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return contrastive_loss(logits, batch.labels)

    def hits(self, batch: Batch) -> list[bool]:
        labels = label_embeddings(self.weights, self._inputs, self._captions)
        images = image_embeddings(self.weights, self._inputs.normalised(batch.pixels))
        return ((images @ labels.T).argmax(-1) == batch.labels).tolist()


def contrastive_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Images to captions and captions to images, all pairs of one label positive (UniCL: Yang et al. 2022, eq. 3).

    Args:
        logits: (n, n), scaled cosines of image i and caption j.
        labels: (n,), of both.
    """
    same = (labels[:, None] == labels[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def turned(pixels: np.ndarray, way: int) -> np.ndarray:
    """One of the eight ways to lay a square image (3, side, side)."""
    pixels = np.rot90(pixels, way % 4, axes=(1, 2))
    return pixels[:, :, ::-1] if way >= 4 else pixels
