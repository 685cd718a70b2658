"""Names to labels: by string similarity as published, and by grounding, which tells `Kabuki syndrome 1` from `2`."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from difflib import SequenceMatcher

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Indel

from mint_ray.tasks.base import Label

_ARABIC = {
    tens + ones: str(10 * i + j)
    for i, tens in enumerate(["", "x", "xx", "xxx"])
    for j, ones in enumerate(["", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"])
    if i + j
}


def normalised(name: str) -> str:
    """A name as the published metrics compare it: lower case, without punctuation."""
    return " ".join(re.sub(r"[^\w\s]", "", name.lower()).split())


def similarity(label_name: str, answer_name: str) -> float:
    """The published similarity of two normalised names, 0 to 1: `difflib`'s ratio of matching blocks."""
    return SequenceMatcher(None, label_name, answer_name).ratio()


def label_names(label: Label) -> list[str]:
    """All names of a label, the main one first: `;` parts several names in one string, synonyms stand beside it."""
    return [part.strip() for name in (label.name, *label.synonyms) for part in name.split(";") if part.strip()]


def spelling(name: str) -> str:
    """A name as grounding compares it: no case, accents, punctuation or `type`, Roman numerals as Arabic ones."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    words = re.sub(r"[\W_]+", " ", re.sub("['’]", "", plain)).split()
    return " ".join(_number(word) for word in words if word.lower() != "type")


# `IIi` is the ninth letter of type 2, not type 3; `Ii`, though, is a 2 in the capitals of a title.
_LETTERED = re.compile(r"([IVX]{2,})([a-z])|([IVX])([a-hj-uwyz])")


def _number(word: str) -> str:
    lettered = _LETTERED.fullmatch(word)
    numeral, letter = [part for part in lettered.groups() if part] if lettered else (word, "")
    if lettered and numeral.lower() not in _ARABIC:
        return word.lower()
    return _ARABIC.get(numeral.lower(), numeral.lower()) + letter


def marks(spelt: str, parting: Set[str] = frozenset()) -> tuple[str, ...]:
    """The words of a spelling that no likeness may gloss over: numbers, letters, and those that part names."""
    return tuple(
        sorted(w for w in spelt.split() if len(w) == 1 or w in parting or any(character.isdigit() for character in w))
    )


class _Alike:
    """Spellings with the same marks, and whose they are, to be asked at once which of them are like another one."""

    def __init__(self, spellings: Iterable[tuple[str, str]]):
        by_length = sorted(spellings, key=lambda pair: len(pair[0]))
        self._spelt = [spelt for spelt, _ in by_length]
        self._sorted = [_in_order(spelt) for spelt in self._spelt]
        self._label_ids = [label_id for _, label_id in by_length]
        self._lengths = np.array([len(spelt) for spelt in self._spelt])

    def likeness(self, spelt: str, least: float) -> dict[str, float]:
        """By label id, how like its likest spelling is, 0 to 1, where that is `least` or so: in order, or whatever the order."""
        # All common characters are the shorter one's, so that of two lengths far apart the likeness is small.
        share = least / (2 - least)
        start, stop = np.searchsorted(self._lengths, [len(spelt) * share - _SLACK, len(spelt) / share + _SLACK])
        if start == stop:
            return {}
        found: dict[str, float] = {}
        as_it_is, in_order = (
            process.cdist(
                [mine], theirs[start:stop], scorer=fuzz.ratio, score_cutoff=100 * least - _SLACK, dtype=np.float64
            )
            for mine, theirs in ((spelt, self._spelt), (_in_order(spelt), self._sorted))
        )
        likeness = np.maximum(as_it_is, in_order)[0] / 100
        for i in np.flatnonzero(likeness):
            label_id = self._label_ids[start + i]
            found[label_id] = max(float(likeness[i]), found.get(label_id, 0.0))
        return found


_SLACK = 1e-6  # for what floating point makes of a threshold; the caller holds the scores against it


def _in_order(spelt: str) -> str:
    return " ".join(sorted(spelt.split()))


class NameIndex:
    """A label list that is asked which labels a name means. What was asked once is remembered.

    Args:
        labels: the label list.
        similar_from: similarity from which two names match in the published metrics.
        ground_from: similarity from which a name that is nowhere exact grounds to its one best label.
        parting: words in which two names must agree, however alike they are otherwise; see `Task.parting_words`.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        similar_from: float = 0.8,
        ground_from: float = 0.9,
        parting: Set[str] = frozenset(),
    ):
        self.similar_from, self.ground_from, self.parting = similar_from, ground_from, parting
        named = [(name, label.id) for label in labels for name in label_names(label)]
        self._normalised = [normalised(name) for name, _ in named]
        self._label_ids = [label_id for _, label_id in named]
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._synonyms: defaultdict[str, set[str]] = defaultdict(set)
        by_marks: defaultdict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
        for label in labels:
            for position, name in enumerate(label_names(label)):
                spelt = spelling(name)
                (self._synonyms if position else self._names)[spelt].add(label.id)
                by_marks[marks(spelt, parting)].append((spelt, label.id))
        self._by_marks = {each: _Alike(spellings) for each, spellings in by_marks.items()}
        self._similar: dict[str, frozenset[str]] = {}
        self._grounded: dict[str, str | None] = {}

    def similar(self, name: str) -> frozenset[str]:
        """The ids of all labels one of whose names matches, as published; none for a name without letters."""
        plain = normalised(name)
        if plain not in self._similar:
            self._similar[plain] = self._search(plain) if plain else frozenset()
        return self._similar[plain]

    def ground(self, name: str) -> str | None:
        """The id of the one label that a name means, else None: exact name, exact synonym, then likest spelling.

        Numbers (Roman or Arabic), single letters and parting words such as `recessive` must agree. A name that is the main one of
        one label and another name of others means the first; a name that labels share otherwise, or resembles equally,
        means none of them. `owners` tells.
        """
        spelt = spelling(name)
        if spelt not in self._grounded:
            self._grounded[spelt] = self._meaning(spelt) if spelt else None
        return self._grounded[spelt]

    def owners(self, name: str) -> frozenset[str]:
        """The ids of all labels that have exactly this name, main or other, as grounding spells it."""
        spelt = spelling(name)
        return frozenset(self._names.get(spelt, ())) | frozenset(self._synonyms.get(spelt, ()))

    def ambiguous(self) -> list[str]:
        """The names, as grounding spells them, that several labels have; in alphabetical order."""
        return sorted(name for name in {*self._names, *self._synonyms} if name and len(self.owners(name)) > 1)

    def _search(self, plain: str) -> frozenset[str]:
        # difflib's matching blocks are one common subsequence, so its ratio is never above that of the longest
        # one: whatever misses the threshold there needs no difflib. The slack is for 32-bit scores.
        bound = process.cdist(
            [plain], self._normalised, scorer=Indel.normalized_similarity, score_cutoff=self.similar_from - 1e-5
        )
        return frozenset(
            self._label_ids[i]
            for i in np.flatnonzero(bound[0])
            if similarity(self._normalised[i], plain) >= self.similar_from
        )

    def _meaning(self, spelt: str) -> str | None:
        for exact in (self._names.get(spelt), self._synonyms.get(spelt)):
            if exact:
                return next(iter(exact)) if len(exact) == 1 else None
        alike = self._by_marks.get(marks(spelt, self.parting))
        best = alike.likeness(spelt, self.ground_from) if alike else {}
        ranked = sorted(best.items(), key=lambda item: -item[1])
        if not ranked or ranked[0][1] < self.ground_from:
            return None
        return ranked[0][0] if len(ranked) == 1 or ranked[0][1] > ranked[1][1] else None
