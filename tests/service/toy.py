"""A small honest scorer for a service under test, and a builder that hosts it.

It scores by the text's letters and the image's brightness, and can be told by the text to fail at one view ("fail"),
or from there on at all ("break"), as where a GPU's context is lost.
"""

import io
import time
from pathlib import Path

import numpy as np
from PIL import Image
from ray import serve

from mint_ray.errors import ModelError
from mint_ray.service.deployment import application
from mint_ray.service.settings import ServiceSection
from mint_ray.tasks.base import Label, View

LABELS = 12


class ToyScorer:
    name = "toy"
    modalities = ("image", "text")
    labels = [Label(id=f"OMIM:{i}", name=f"Disease {i}", synonyms=(f"D{i}",)) for i in range(LABELS)]

    def __init__(self, digest: str, seconds: float = 0.0):
        self.digest, self._seconds, self._broken = digest, seconds, False

    def scores(self, views: list[View]) -> np.ndarray:
        time.sleep(self._seconds)
        self._broken |= any("break" in (view.text or "") for view in views)
        if self._broken or any(view.text == "fail" for view in views):
            raise RuntimeError(f"a secret text: {[view.text for view in views]}")
        logits = np.stack([self._logits(view) for view in views])
        return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).astype(np.float32)

    def _logits(self, view: View) -> np.ndarray:
        logits = np.zeros(LABELS)
        for letter in view.text or "":
            logits[ord(letter) % LABELS] += 0.1
        if view.image is not None:
            brightness = np.asarray(Image.open(io.BytesIO(view.image)).convert("L")).mean() / 256
            logits[int(brightness * LABELS)] += 1
        return logits


def load_toy(folder: Path, device: str) -> ToyScorer:
    """`folder/digest` is all that a toy has; `folder/seconds` says how long a forward takes."""
    try:
        digest = (folder / "digest").read_text()
    except OSError:
        raise ModelError(f"{folder}: is no scorer's folder") from None
    seconds = folder / "seconds"
    return ToyScorer(digest, float(seconds.read_text()) if seconds.exists() else 0.0)


def build(args: ServiceSection) -> serve.Application:
    return application(args, load_toy)
