"""A finished CLIP scorer, ready to score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from mint_ray.errors import ModelError
from mint_ray.scorers.clip.model import (
    FILES,
    check_captions,
    image_embeddings,
    label_embeddings,
    load_clip,
    load_inputs,
)
from mint_ray.scorers.files import LABELS, scorer_digest
from mint_ray.tasks.base import View, load_labels

if TYPE_CHECKING:
    from mint_ray.scorers.clip import Clip


class ClipScorer:
    """Log-probabilities over all labels for an image; see `mint_ray.scorers.base.Scorer`.

    Text is not read: a view that has no image gets the same score for every label.
    """

    name = "clip"
    modalities = ("image",)

    def __init__(self, section: Clip, folder: Path, device: str):
        try:
            self.labels = load_labels(folder / LABELS)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: its {LABELS} cannot be read ({type(error).__name__})") from None
        self.digest = scorer_digest(folder, FILES)
        self._clip = cast(Any, load_clip(folder).eval()).to(device)
        self._inputs = load_inputs(folder, self._clip.config)
        self._batch = section.score_batch
        captions = [section.captions(label.name) for label in self.labels]
        check_captions(self._inputs, captions, folder)
        with torch.inference_mode():
            self._embedded = label_embeddings(self._clip, self._inputs, captions)

    def scores(self, views: list[View]) -> np.ndarray:
        """Log-softmax of the scaled cosines, float32 (len(views), len(labels)).

        Raises:
            ValueError: a view has neither text nor image.
            RowError: an image cannot be decoded.
        """
        return self.score_prepared(self.prepare_all(views))

    def prepare(self, view: View) -> np.ndarray | None:
        """The view's pixels, uint8 (3, side, side); None where it has text alone."""
        return self.prepare_all([view])[0]

    def prepare_all(self, views: Sequence[View]) -> list[np.ndarray | None]:
        """As `prepare`, of many at less cost."""
        if not all(view.text or view.image is not None for view in views):
            raise ValueError("a view without text and without image cannot be scored")
        pixels = iter(self._inputs.pixels(view.image for view in views if view.image is not None))
        return [None if view.image is None else next(pixels) for view in views]

    def score_prepared(self, prepared: list[np.ndarray | None]) -> np.ndarray:
        found = np.full((len(prepared), len(self.labels)), -np.log(len(self.labels)), np.float32)
        seen = [(i, pixels) for i, pixels in enumerate(prepared) if pixels is not None]
        for start in range(0, len(seen), self._batch):
            part = seen[start : start + self._batch]
            found[[i for i, _ in part]] = self._score(np.stack([pixels for _, pixels in part]))
        return found

    @torch.inference_mode()
    def _score(self, pixels: np.ndarray) -> np.ndarray:
        normalised = self._inputs.normalised(torch.from_numpy(pixels).to(self._clip.device))
        logits = self._clip.logit_scale.exp() * image_embeddings(self._clip, normalised) @ self._embedded.T
        return logits.float().log_softmax(-1).cpu().numpy()
