"""What a scorer is: a model that gives every label a score for what it sees of a case."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field, model_validator

from mint_ray.sections import KindSection, Precision, hardware
from mint_ray.storage import Location
from mint_ray.tasks.base import GREY, Label, View

if TYPE_CHECKING:
    import numpy as np

    from mint_ray.runs import Run
    from mint_ray.scorers.fitting.training import Learner

PROBE = View(text="probe", image=GREY)  # which any sound scorer can score


class Scorer(Protocol):
    """A loaded scorer. A missing image or a missing text is an ordinary case; both missing is a ValueError.

    A scorer that cuts long texts may have a method `tokens_cut(view) -> int` that says by how many tokens; then
    the stage `rankings` counts them.
    """

    name: str
    digest: str
    labels: list[Label]
    modalities: tuple[str, ...]

    def scores(self, views: list[View]) -> np.ndarray:
        """Scores over all labels, float32 of shape (len(views), len(labels)): log-probabilities, higher is better."""
        ...


class StagedScorer(Scorer, Protocol):
    """A scorer whose work is two stages: `scores(views)` equals `score_prepared([prepare(v) for v in views])`.

    Whoever scores for many at a time can then decode images in threads, and knows which view cannot be. One that also has
    `prepare_all(views)`, the same as `[prepare(v) for v in views]` at less cost, is asked for it a batch ahead.
    """

    def prepare(self, view: View) -> Any:
        """One view as the model reads it, from any thread; raises RowError where its image cannot be decoded."""

    def score_prepared(self, prepared: list[Any]) -> np.ndarray:
        """As `scores`; one call at a time."""
        ...


class ScorerSection(KindSection):
    """A scorer's settings: fit one on the run's training cases, or take a finished one from `folder`.

    A finished scorer's folder holds the weights as safetensors, its processor, `labels.json` and
    `scorer.json` (`{"kind": ...}`), and is all that `mint_ray.scorers.load_scorer` needs.
    """

    entry_points: ClassVar[str] = "mint_ray.scorers"
    folder: Location | None = None

    @property
    def ready_made(self) -> bool:
        """Whether a finished scorer is taken as it is, so that nothing is fitted."""
        return self.folder is not None

    @abstractmethod
    def fit(self, run: Run, folder: Path) -> dict:
        """Fit on the run's training cases with Ray Train, leave a finished scorer in `folder`, return figures."""

    @abstractmethod
    def load(self, folder: Path, device: str = "cpu") -> Scorer:
        """Load a finished scorer without executing code from its files.

        Raises:
            ModelError: the folder is none, or holds another kind of model.
        """

    def tokens_cut(self, folder: Path) -> Callable[[View], int] | None:
        """As a finished scorer's own method of this name, without loading its weights; None: nothing is cut."""
        return None


class FittedSection(ScorerSection):
    """Settings of a scorer that `mint_ray.scorers.fitting.training` can fit."""

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=1, description="examples a step, over all workers together")
    learning_rate: float = Field(default=1e-3, gt=0, description="peak; warm-up, then cosine to zero")
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.05, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Precision = "fp32"

    in_memory: bool = hardware(True, description="a worker keeps its examples; else every epoch streams them")
    workers: int = hardware(1, ge=1)
    cpus_per_worker: int = hardware(2, ge=1)
    use_gpu: bool = hardware(False)
    score_batch: int = hardware(32, ge=1)
    checkpoint_every: int = hardware(1, ge=1, description="epochs")

    @abstractmethod
    def learner(self, start: Path) -> Learner:
        """What a worker trains, from a scorer's folder with the weights to start from."""

    @model_validator(mode="after")
    def _equal_shares(self):
        if self.batch_size % self.workers:
            raise ValueError(f"batch_size is {self.batch_size}; it must be a multiple of workers, {self.workers}")
        return self
