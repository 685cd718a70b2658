"""Grounding one name after the other, as it is defined, and names of all kinds to hold the fast form against it."""

from __future__ import annotations

import random
import string
from collections import defaultdict
from collections.abc import Sequence, Set

from rapidfuzz import fuzz

from mint_ray.evaluation.grounding import label_names, marks, spelling
from mint_ray.tasks.base import Label

KINDS = ("exact", "case", "misspelt", "another order", "partial", "another number", "decorated", "unicode", "garbage")


class PlainIndex:
    """`NameIndex.ground` by a loop over all names with the same marks."""

    def __init__(self, labels: Sequence[Label], ground_from: float, parting: Set[str] = frozenset()):
        self.ground_from, self.parting = ground_from, parting
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._synonyms: defaultdict[str, set[str]] = defaultdict(set)
        self._by_marks: defaultdict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
        for label in labels:
            for position, name in enumerate(label_names(label)):
                spelt = spelling(name)
                (self._synonyms if position else self._names)[spelt].add(label.id)
                self._by_marks[marks(spelt, parting)].append((spelt, label.id))

    def ground(self, name: str) -> str | None:
        spelt = spelling(name)
        if not spelt:
            return None
        for exact in (self._names.get(spelt), self._synonyms.get(spelt)):
            if exact:
                return next(iter(exact)) if len(exact) == 1 else None
        best: dict[str, float] = {}
        for candidate, label_id in self._by_marks.get(marks(spelt, self.parting), ()):
            likeness = max(fuzz.ratio(spelt, candidate), fuzz.token_sort_ratio(spelt, candidate)) / 100
            best[label_id] = max(likeness, best.get(label_id, 0.0))
        ranked = sorted(best.items(), key=lambda item: -item[1])
        if not ranked or ranked[0][1] < self.ground_from:
            return None
        return ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else None


def spoilt(generator: random.Random, labels: Sequence[Label], kind: str) -> str:
    """A label's name as somebody may write it, or what is none."""
    name = generator.choice(label_names(generator.choice(labels)))
    match kind:
        case "case":
            return generator.choice([name.upper(), name.lower(), name.title()])
        case "misspelt":
            letters = list(name)
            for _ in range(1 + generator.randrange(1 + len(letters) // 8)):
                at = generator.randrange(len(letters))
                letters[at] = generator.choice(["", letters[at] * 2, generator.choice("aeionrst")])
            return "".join(letters)
        case "another order":
            words = name.split()
            return " ".join(generator.sample(words, len(words)))
        case "partial":
            return name[: max(3, round(len(name) * generator.uniform(0.5, 0.97)))]
        case "another number":
            return f"{name} {generator.randrange(30)}{generator.choice(['', 'A', 'b'])}"
        case "decorated":
            return f"{generator.choice(['', 'a ', 'Possible '])}{name} {generator.choice(['(suspected)', 'type', '.'])}"
        case "unicode":
            return "".join(generator.choice([c, c, c, c + "\u0301", "é", "ß", "中"]) for c in name)
        case "garbage":
            return "".join(generator.choices(string.printable + "αβ中", k=generator.randrange(80)))
        case _:
            return name
