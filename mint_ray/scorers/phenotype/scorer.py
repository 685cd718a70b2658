"""A finished phenotype scorer, ready to score."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mint_ray.errors import ModelError
from mint_ray.records import Phenotype
from mint_ray.scorers.files import LABELS, scorer_digest
from mint_ray.scorers.phenotype.evidence import Evidence, Finding
from mint_ray.scorers.phenotype.knowledge import TABLES, TERMS, Knowledge
from mint_ray.scorers.phenotype.network import WEIGHTS, Networks, log_softmax
from mint_ray.tasks.base import View, load_labels

if TYPE_CHECKING:
    from mint_ray.scorers.phenotype import Phenotype as PhenotypeSection

FILES = (TABLES, TERMS, WEIGHTS)
BATCH = 64  # cases whose evidence of all labels is held at a time: 15 MB for 8,352 labels
_ID = re.compile(r"HP:\d{7}")
_NOT_FOUND = re.compile(r"^\s*(?:excluded|absent)\s*:", re.IGNORECASE)


class PhenotypeScorer:
    """Log-probabilities over all labels by a case's findings; see `mint_ray.scorers.base.Scorer`.

    A view without structured findings is read for their ids and names, line by line; what a line that begins with
    `Excluded:` names is excluded. A view without any known finding gets what is known before: how often each label is
    published.
    """

    name = "phenotype"
    modalities: tuple[str, ...] = ("text",)

    def __init__(self, section: PhenotypeSection, folder: Path):
        try:
            self.labels = load_labels(folder / LABELS)
            knowledge, self.networks = Knowledge.load(folder), Networks.load(folder)
        except Exception as error:
            raise ModelError(
                f"{folder}: is no phenotype scorer ({type(error).__name__}); fit one, or name another"
            ) from None
        if knowledge.annotated.shape[1] != len(self.labels):
            raise ModelError(
                f"{folder}: its tables have {knowledge.annotated.shape[1]} labels, its list {len(self.labels)}"
            )
        self.digest = scorer_digest(folder, FILES)
        self.evidence = Evidence(knowledge, section.candidates)

    def scores(self, views: list[View]) -> np.ndarray:
        """Log-probabilities, float32 (len(views), len(labels)).

        Raises:
            ValueError: a view has neither text nor findings nor image.
        """
        found = [self.findings(view) for view in views]
        return np.concatenate(
            [self._scored(found[start : start + BATCH]) for start in range(0, len(found), BATCH)]
            or [np.zeros((0, len(self.labels)), np.float32)]
        )

    def findings(self, view: View) -> Finding:
        """The rows of the terms that a view tells, observed and excluded."""
        if not view.text and view.image is None and not view.findings:
            raise ValueError("a view without text, findings and image cannot be scored")
        told = view.findings or tuple(self._read(view.text or ""))
        rows = self.evidence.known.terms.rows
        observed = rows(f.id for f in told if not f.excluded)
        shown = set(observed)
        return observed, [row for row in rows(f.id for f in told if f.excluded) if row not in shown]

    def telling(self, view: View, label: int) -> list[str]:
        """The names of the observed findings that speak for a label, those first that speak most."""
        observed, _ = self.findings(view)
        spoken = {term: float(self.evidence.observed(term)[1, label]) for term in observed}
        often = sorted((term for term, log_ratio in spoken.items() if log_ratio > 0), key=lambda term: -spoken[term])
        return [self.evidence.known.terms.names[term] for term in often]

    def _scored(self, cases: list[Finding]) -> np.ndarray:
        """Each candidate has its share of how likely the truth is to be among them, the other labels theirs of the rest."""
        found = self.evidence.candidates(cases)
        logits, others = self.networks.logits(found.features), found.first / self.networks.spread
        covered = self.networks.among(logits)[:, None]
        if found.labels.shape[1] == len(self.labels):
            scores, covered = others, np.ones_like(covered)
        else:
            np.put_along_axis(others, found.labels, -np.inf, 1)
            scores = log_softmax(others) + np.log(1 - covered)
        np.put_along_axis(scores, found.labels, log_softmax(logits) + np.log(covered), 1)
        return scores.astype(np.float32)

    def _read(self, text: str) -> Iterable[Phenotype]:
        for line in text.splitlines():
            excluded = bool(_NOT_FOUND.match(line))
            for term_id in [*_ID.findall(line), *self._named(line)]:
                yield Phenotype(id=term_id, name=term_id, excluded=excluded)

    def _named(self, line: str) -> Iterable[str]:
        """The ids of the terms whose names stand in a line, the longest first at each place."""
        words, at = _words(line), 0
        while at < len(words):
            length = next((n for n in range(self._longest, 0, -1) if tuple(words[at : at + n]) in self._by_name), 0)
            if length:
                yield self._by_name[tuple(words[at : at + length])]
            at += length or 1

    @cached_property
    def _by_name(self) -> dict[tuple[str, ...], str]:
        terms = self.evidence.known.terms
        return {tuple(_words(name)): term_id for term_id, name in zip(terms.ids, terms.names, strict=True)}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_name))


def _words(text: str) -> list[str]:
    """In lower case, without the marks that the published text form leaves out."""
    return re.sub(r"[,.();:]", " ", text.lower()).split()
