"""A finished ViLT scorer, ready to score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mint_ray.errors import ModelError
from mint_ray.scorers.files import LABELS, scorer_digest
from mint_ray.scorers.fitting.examples import Example
from mint_ray.scorers.vilt.model import FILES, ViltClassifier, load_inputs, load_vilt, read_config
from mint_ray.tasks.base import View, load_labels

if TYPE_CHECKING:
    from mint_ray.scorers.vilt import Vilt


class ViltScorer:
    """Log-probabilities over all labels for what it sees of a case; see `mint_ray.scorers.base.Scorer`."""

    name = "vilt"
    modalities = ("image", "text")

    def __init__(self, section: Vilt, folder: Path, device: str):
        config = read_config(folder)
        try:
            self.labels = load_labels(folder / LABELS)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: its {LABELS} cannot be read ({type(error).__name__})") from None
        if len(self.labels) != config.num_labels:
            raise ModelError(f"{folder}: {LABELS} has {len(self.labels)} labels, the model's head {config.num_labels}")
        self.digest = scorer_digest(folder, FILES)
        self._inputs = load_inputs(folder, config, section.missing_text)
        self.tokens_cut = self._inputs.tokens_cut
        self._batch, self._device = section.score_batch, device
        self._model = ViltClassifier(load_vilt(folder, config), self._inputs.processor).eval().to(device)

    def scores(self, views: list[View]) -> np.ndarray:
        """Log-probabilities, float32 (len(views), len(labels)).

        Raises:
            ValueError: a view has neither text nor image.
            RowError: an image cannot be decoded.
        """
        return self.score_prepared(self.prepare_all(views))

    def prepare(self, view: View) -> Example:
        """One view decoded, resized and in token ids; raises as `scores`. Threads may call it beside a forward."""
        return self._inputs.example(view)

    def prepare_all(self, views: Sequence[View]) -> list[Example]:
        """As `prepare`, of many at less cost."""
        return self._inputs.examples(views)

    def score_prepared(self, examples: list[Example]) -> np.ndarray:
        """The forwards alone."""
        parts = [examples[i : i + self._batch] for i in range(0, len(examples), self._batch)]
        rows = [np.zeros((0, len(self.labels)), np.float32)]
        with torch.inference_mode():
            for part in parts:
                logits = self._model(self._inputs.batch(part).to(self._device))
                rows.append(logits.float().log_softmax(-1).cpu().numpy())
        return np.concatenate(rows)
