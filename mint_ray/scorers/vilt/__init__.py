"""ViLT over photograph and text, as GestaltMML: one transformer reads words and image patches together.

Where the weights come from, at most one of:

| setting      | what happens                                                                            |
|--------------|-----------------------------------------------------------------------------------------|
| `folder`     | a finished scorer, or a Hugging Face `ViltForQuestionAnswering` folder, is used as it is |
| `state_dict` | a published torch state dict is loaded on the configuration of `pretrained`              |
| `pretrained` | fitting starts from this Hugging Face id or folder                                       |
| none of them | fitting starts from random weights of the given `size`                                   |

A scorer that is used as it is must know every label of the run; those it knows beside them are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from mint_ray.scorers.base import FittedSection, Scorer
from mint_ray.sections import Section
from mint_ray.storage import Location
from mint_ray.tasks.base import View

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.fitting.training import Learner


class ViltSize(Section):
    """A model from scratch. ViLT-B/32 has hidden 768, 12 layers, 12 heads, image 384, patch 32, 40 tokens."""

    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    image_size: int = Field(default=96, ge=8, description="pixels of the shorter side after resizing")
    patch_size: int = Field(default=16, ge=2)
    text_tokens: int = Field(default=64, ge=8, description="longer texts are cut")
    vocabulary: int = Field(default=4000, ge=100, description="at most so many word pieces, from the training texts")

    @model_validator(mode="after")
    def _divisible(self):
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size is {self.hidden_size}; it must be a multiple of heads, {self.heads}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size is {self.image_size}; it must be a multiple of patch_size, {self.patch_size}")
        return self


class Vilt(FittedSection):
    """Settings of the ViLT scorer.

    `image_only` and `text_only` are the shares of training examples that lose their text or their photograph,
    drawn anew in every epoch. (GestaltMML repeats each example once whole, once with the text `*` and once with a
    fixed photograph: shares of 1/3 each over three times as many epochs.) A missing photograph is masked out of the
    attention; a missing text reads `missing_text`.
    """

    state_dict: Location | None = None
    pretrained: str | None = None
    label_list: Location | None = Field(
        default=None, description="JSON: {index: name} as disease_dict.json, or a list of labels"
    )
    size: ViltSize = ViltSize()
    missing_text: str = ""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    image_only: float = Field(default=1 / 3, ge=0, le=1)
    text_only: float = Field(default=1 / 3, ge=0, le=1)
    shift: float = Field(
        default=0.0, ge=0, lt=0.5, description="training photographs move by up to this share of their side"
    )
    flip: bool = Field(default=False, description="half of the training photographs are mirrored")

    @model_validator(mode="after")
    def _one_origin(self):
        given = [name for name in ("folder", "state_dict") if getattr(self, name)]
        if len(given) > 1 or (self.folder and self.pretrained):
            raise ValueError("folder, state_dict and pretrained name three origins of the weights; keep one")
        if self.state_dict and not (self.pretrained and self.label_list):
            raise ValueError("state_dict needs pretrained (its configuration and tokenizer) and label_list")
        if self.image_only + self.text_only > 1:
            raise ValueError(
                f"image_only + text_only is {self.image_only + self.text_only:g}; at most 1 can be blinded"
            )
        return self

    @property
    def ready_made(self) -> bool:
        return bool(self.folder or self.state_dict)

    def learner(self, start: Path) -> Learner:
        from mint_ray.scorers.vilt.learner import ViltLearner

        return ViltLearner(self, start)

    def fit(self, run: Run, folder: Path) -> dict:
        if self.ready_made:
            from mint_ray.scorers.vilt.adopt import adopt_scorer

            return adopt_scorer(self, run, folder)
        from mint_ray.scorers.vilt.fitting import fit_vilt

        return fit_vilt(self, run, folder)

    def load(self, folder: Path, device: str = "cpu") -> Scorer:
        from mint_ray.scorers.vilt.scorer import ViltScorer

        return ViltScorer(self, folder, device)

    def tokens_cut(self, folder: Path) -> Callable[[View], int]:
        from mint_ray.scorers.vilt.model import load_inputs, read_config

        return load_inputs(folder, read_config(folder), self.missing_text).tokens_cut
