"""ViLT in the loop that fits scorers: its loss, and what training examples lose by chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from mint_ray.scorers.fitting.examples import Example
from mint_ray.scorers.vilt.inputs import Batch, ViltInputs
from mint_ray.scorers.vilt.model import ViltClassifier, load_inputs, load_vilt, read_config

if TYPE_CHECKING:
    from mint_ray.scorers.vilt import Vilt


class ViltLearner:
    """See `mint_ray.scorers.fitting.training.Learner`."""

    def __init__(self, section: Vilt, start: Path):
        config = read_config(start)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = section.dropout
        self._section, self._inputs = section, load_inputs(start, config, section.missing_text)
        self.module = ViltClassifier(load_vilt(start, config), self._inputs.processor)
        self.weights = self.module.vilt

    def batch(self, examples: list[Example]) -> Batch:
        return self._inputs.batch(examples)

    def altered(self, example: Example, chance: np.random.Generator) -> Example:
        return alter(example, self._inputs, self._section, chance)

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        smoothing = self._section.label_smoothing
        return functional.cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)

    def hits(self, batch: Batch) -> list[bool]:
        return (self.module(batch).argmax(-1) == batch.labels).tolist()


def alter(example: Example, inputs: ViltInputs, section: Vilt, chance: np.random.Generator) -> Example:
    """A training example as this epoch shows it: whole or blinded, its photograph moved and mirrored by chance."""
    draw = chance.random()
    down, right, mirror = chance.random(3)
    if draw < section.image_only:
        example = inputs.blinded(example, "text")
    elif draw < section.image_only + section.text_only:
        example = inputs.blinded(example, "image")
    if example.pixels is None:
        return example
    reach = round(section.shift * min(example.pixels.shape[1:]))
    steps = (int(down * (2 * reach + 1)) - reach, int(right * (2 * reach + 1)) - reach)
    return replace(example, pixels=moved(example.pixels, *steps, section.flip and mirror < 0.5))


def moved(pixels: np.ndarray, down: int, right: int, mirrored: bool) -> np.ndarray:
    """Pixels (3, height, width) moved by whole pixels, the border repeated into the gap, and mirrored."""
    if mirrored:
        pixels = pixels[:, :, ::-1]
    if not (down or right):
        return pixels
    rows = np.clip(np.arange(pixels.shape[1]) - down, 0, pixels.shape[1] - 1)
    columns = np.clip(np.arange(pixels.shape[2]) - right, 0, pixels.shape[2] - 1)
    return pixels[:, rows][:, :, columns]
