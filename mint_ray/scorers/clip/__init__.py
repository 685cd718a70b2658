"""CLIP over images and label captions, as PLIP (Huang et al. 2023): zero-shot, a label scores by its captions.

Where the weights come from, at most one of:

| setting      | what happens                                                                        |
|--------------|-------------------------------------------------------------------------------------|
| `folder`     | a finished scorer is used as it is                                                  |
| `checkpoint` | a Hugging Face `CLIPModel`, id or folder (`vinid/plip`), is used as it is           |
| `pretrained` | fitting starts from this id or folder                                               |
| none of them | fitting starts from random weights of the given `size`                              |

The captions of a label are its name in each of `templates`; their embeddings are averaged and computed once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator, model_validator

from mint_ray.scorers.base import FittedSection, Scorer
from mint_ray.sections import Section
from mint_ray.tasks.base import Task

if TYPE_CHECKING:
    from mint_ray.runs import Run
    from mint_ray.scorers.fitting.training import Learner


class ClipSize(Section):
    """A model from scratch. ViT-B/32 has hidden 768, 12 layers, 12 heads, image 224, patch 32, projection 512."""

    hidden_size: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    image_size: int = Field(default=96, ge=8)
    patch_size: int = Field(default=12, ge=2)
    text_hidden_size: int = Field(default=64, ge=8)
    text_layers: int = Field(default=2, ge=1)
    projection: int = Field(default=64, ge=4)
    text_tokens: int = Field(default=64, ge=8, le=77, description="longer captions are cut")
    vocabulary: int = Field(default=2000, ge=100, description="at most so many word pieces, from the training captions")

    @model_validator(mode="after")
    def _divisible(self):
        for name in ("hidden_size", "text_hidden_size"):
            if getattr(self, name) % self.heads:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a multiple of heads, {self.heads}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size is {self.image_size}; it must be a multiple of patch_size, {self.patch_size}")
        return self


class Clip(FittedSection):
    """Settings of the CLIP scorer.

    Fitting pulls an image towards its caption (the case's text, else its label in a template drawn by chance)
    and away from captions of other labels in the batch.
    """

    checkpoint: str | None = None
    pretrained: str | None = None
    templates: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="captions with a place for the label's name; not set: the task's"
    )
    size: ClipSize = ClipSize()

    batch_size: int = Field(
        default=64, ge=2, description="examples a step, over all workers; a worker contrasts its own"
    )
    turn: bool | None = Field(
        default=None,
        description="training images are turned and mirrored; not set: where the task's have no up or down",
    )
    stain: float = Field(
        default=0.1, ge=0, lt=1, description="training images' channels are scaled by up to this share"
    )
    label_captions: float = Field(
        default=0.5, ge=0, le=1, description="share of captions that are the label in a template"
    )

    @field_validator("templates")
    @classmethod
    def _one_place(cls, templates: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for template in templates or ():
            if template.count("{}") != 1:
                raise ValueError(f"{template!r} has {template.count('{}')} places for the label's name; write one {{}}")
        return templates

    @model_validator(mode="after")
    def _one_origin(self):
        given = [name for name in ("folder", "checkpoint", "pretrained") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} name two origins of the weights; keep one")
        return self

    def of_task(self, task: Task) -> Clip:
        """The same, with what is not set as the task has it."""
        task_has = {"templates": task.captions, "turn": not task.upright}
        return self.model_copy(update={name: v for name, v in task_has.items() if getattr(self, name) is None})

    def captions(self, name: str) -> list[str]:
        """A label's name in each of the templates."""
        return [template.format(name.lower()) for template in self.templates or Task.captions]

    @property
    def ready_made(self) -> bool:
        return bool(self.folder or self.checkpoint)

    def learner(self, start: Path) -> Learner:
        from mint_ray.scorers.clip.learner import ClipLearner

        return ClipLearner(self, start)

    def fit(self, run: Run, folder: Path) -> dict:
        if self.ready_made:
            from mint_ray.scorers.clip.model import adopt_clip

            return adopt_clip(self.of_task(run.config.task), run, folder)
        from mint_ray.scorers.clip.fitting import fit_clip

        return fit_clip(self.of_task(run.config.task), run, folder)

    def load(self, folder: Path, device: str = "cpu") -> Scorer:
        from mint_ray.scorers.clip.scorer import ClipScorer

        return ClipScorer(self, folder, device)
