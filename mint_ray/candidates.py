"""The likeliest labels for the prompt: a retriever's first, each with the findings that speak for it, in training and in asking.

    what the language model sees of a case  ->  the run's phenotype scorer  ->  its first labels  ->  `View.context`

The scorer is shown the very findings that stand in the prompt, and the order of the lines is the case's own chance: a
model can tell the candidates apart by what it reads of them, and by nothing else. The truth is among them where the
retriever found it, and absent where it did not. So that this rate is the natural one in training, too, the scorer is fitted
on cases of its own (`splits.scorer`).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mint_ray.errors import ModelError, RowError
from mint_ray.tasks.base import View

if TYPE_CHECKING:
    from mint_ray.config import CandidatesSection
    from mint_ray.runs import Run
    from mint_ray.scorers.phenotype.scorer import PhenotypeScorer


@dataclass(frozen=True)
class CandidateSource:
    """What an actor opens `Candidates` from: plain data that travels.

    Args:
        scorer: a finished phenotype scorer's folder.
        model: whose tokenizer counts tokens.
    """

    section: CandidatesSection
    scorer: Path
    model: str
    seed: int

    def open(self) -> Candidates:
        from mint_ray.models import load_tokenizer, resolve_model
        from mint_ray.scorers import load_scorer
        from mint_ray.scorers.phenotype.scorer import PhenotypeScorer

        scorer = load_scorer(self.scorer)
        if not isinstance(scorer, PhenotypeScorer):
            raise ModelError(
                f"{self.scorer}: holds a scorer of kind {scorer.name}; candidates come from one of kind phenotype"
            )
        return Candidates(self.section, scorer, load_tokenizer(resolve_model(self.model)), self.seed)


class Candidates:
    """Puts candidates into views."""

    def __init__(self, section: CandidatesSection, scorer: PhenotypeScorer, tokenizer: Any, seed: int):
        self.section, self.scorer, self.tokenizer, self.seed = section, scorer, tokenizer, seed

    def add(self, view: View, case_id: str) -> tuple[View, list[str]]:
        """The view with its candidates as context, and their label ids, the retriever's first before the others.

        Raises:
            RowError: the view has neither findings nor words to look them up by, or no candidate fits into the tokens.
        """
        if not view.findings and not view.text:
            raise RowError(
                "nothing-to-look-up", "findings", "none", "a case with findings, as candidates are asked for"
            )
        seen = View(text=view.text, findings=view.findings)
        order = np.argsort(-self.scorer.scores([seen])[0], kind="stable")[: self.section.count]
        lines = self._fitting([self._line(int(label), seen) for label in order])
        if not lines:
            raise RowError(
                "no-candidate-fits", "candidates", "the first is longer", f"{self.section.tokens} tokens or fewer"
            )
        told = [self.scorer.labels[label].id for label in order[: len(lines)]]
        random.Random(zlib.crc32(f"{self.seed}:{case_id}:candidates".encode())).shuffle(lines)
        return view.model_copy(update={"context": tuple(lines)}), told

    def _line(self, label: int, seen: View) -> str:
        """A label's name, and of the findings seen those that speak most for it."""
        told = self.scorer.telling(seen, label)[: self.section.findings]
        name = self.scorer.labels[label].name
        return f"{name}: {'; '.join(told)}" if told else name

    def _fitting(self, lines: Sequence[str]) -> list[str]:
        """The first lines that fit into the tokens together."""
        lengths = np.cumsum(
            [len(ids) + 2 for ids in self.tokenizer(list(lines), add_special_tokens=False)["input_ids"]]
        )
        return [line for line, length in zip(lines, lengths, strict=True) if length <= self.section.tokens]


def candidate_source(run: Run) -> CandidateSource | None:
    """Where a run's candidates come from; None where its prompts have none.

    Raises:
        RunError: the stage `scorer` is not complete.
    """
    section, config = run.config.candidates, run.config
    if section is None:
        return None
    return CandidateSource(section, run.stage("scorer").require(), config.alignment.model, config.run.seed)
