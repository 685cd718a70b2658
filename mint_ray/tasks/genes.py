"""The gene behind a rare disease, from the same patients and the same text as the disease itself."""

from __future__ import annotations

from typing import ClassVar

from mint_ray.hpo import gene_diseases
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import RareDisease


class Genes(RareDisease):
    """Labels are genes: HGNC ids with their symbols, which differ in one letter and ground exactly or not at all."""

    header: ClassVar[str] = "POTENTIAL_GENES:"
    entity: ClassVar[str | None] = "gene"
    asked: ClassVar[tuple[str, str]] = ("causal gene (HGNC symbol)", "causal genes (HGNC symbols)")
    exact_names: ClassVar[bool] = True

    def diseases_of(self, label: Label) -> tuple[str, ...]:
        return gene_diseases().get(label.name, ())
