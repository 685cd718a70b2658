"""A scorer of findings over any number of diseases: what is annotated, what training patients showed, weighed together.

No image and no free text is read, but for the names of findings in it. Fitting takes minutes on CPUs:

    annotations without the held-out publications ─┐
    training patients ─────────────────────────────┴─> evidence of each label ─> the best candidates ─> a small network

The network learns how far each piece of evidence is to be believed from training patients whose own publication was
taken out of annotations and patients before, fold by fold; see mint_ray/scorers/phenotype/fitting.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from mint_ray.scorers.base import Scorer, ScorerSection
from mint_ray.sections import hardware

if TYPE_CHECKING:
    from mint_ray.runs import Run


class Phenotype(ScorerSection):
    """Settings of the phenotype scorer."""

    version: ClassVar[int] = 2

    candidates: int = Field(
        default=100, ge=2, description="labels of a case that the network weighs; others keep their order"
    )
    folds: int = Field(
        default=4, ge=2, description="parts of the training publications that take turns in being left out"
    )
    hidden: int = Field(default=16, ge=1, description="units of each network")
    networks: int = Field(default=4, ge=1, description="whose mean is taken")
    epochs: int = Field(default=20, ge=1)
    cpus_per_fold: float = hardware(1.0, gt=0)

    def fit(self, run: Run, folder: Path) -> dict:
        from mint_ray.scorers.phenotype.fitting import adopt, fit_phenotype

        return adopt(self, run, folder) if self.folder else fit_phenotype(self, run, folder)

    def load(self, folder: Path, device: str = "cpu") -> Scorer:
        from mint_ray.scorers.phenotype.scorer import PhenotypeScorer

        return PhenotypeScorer(self, folder)
