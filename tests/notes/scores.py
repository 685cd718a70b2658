"""How well a reader of notes does on gold notes, and the plain reader that ours is held against."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

from mint_ray.hpo import names, ontology
from mint_ray.notes.reading import read_note
from tests.notes.gold import GoldNote

Reader = Callable[[str], tuple[set[str], set[str]]]  # a note to the ids observed and those excluded


def ours(text: str) -> tuple[set[str], set[str]]:
    found = read_note(text).findings
    return {f.id for f in found if not f.excluded}, {f.id for f in found if f.excluded}


_WORD = re.compile(r"[\w'-]+")
_NO = re.compile(r"\b(?:no|not|without|denie[sd]|absent|absence of|negative for)\b[^.;]{0,40}$", re.IGNORECASE)


@lru_cache(maxsize=1)
def _dictionary() -> dict[str, str]:
    known = ontology()
    found = {known.terms[i].name.lower(): i for i in known.phenotypes if not known.terms[i].obsolete}
    for term_id, synonyms in names().items():
        if term_id in known.phenotypes:
            for synonym in synonyms:
                found.setdefault(synonym.text.lower(), term_id)
    return {" ".join(_WORD.findall(name)): term_id for name, term_id in found.items()}


def plain_reader(text: str) -> tuple[set[str], set[str]]:
    """A dictionary of names and synonyms, the longest first, and a negation within 40 characters before."""
    places = [(m[0].lower(), m.start()) for m in _WORD.finditer(text)]
    observed, excluded, at = set[str](), set[str](), 0
    while at < len(places):
        for size in range(min(10, len(places) - at), 0, -1):
            if term := _dictionary().get(" ".join(word for word, _ in places[at : at + size])):
                (excluded if _NO.search(text[: places[at][1]][-60:]) else observed).add(term)
                at += size - 1
                break
        at += 1
    return observed, excluded - observed


def scores(notes: Iterable[GoldNote], reader: Reader) -> dict[str, float]:
    """Precision and recall over all terms, and how many of each kind were taken for observed.

    A term that is above another observed one says nothing beside it, and counts neither way.
    """
    counts: Counter[str] = Counter()
    for note in notes:
        observed, excluded = reader(note.text)
        told = _most_specific(note.observed)
        counts += Counter(hits=len(observed & told), wrong=len(observed - note.observed), missed=len(told - observed))
        counts += Counter(no_hits=len(excluded & note.excluded), no_wrong=len(excluded - note.excluded))
        counts += Counter(no_missed=len(note.excluded - excluded))
        for kind in ("excluded", "family", "uncertain"):
            terms = getattr(note, kind) - note.observed
            counts += Counter({kind: len(terms), f"{kind} taken for observed": len(terms & observed)})
    return {
        "precision": counts["hits"] / max(1, counts["hits"] + counts["wrong"]),
        "recall": counts["hits"] / max(1, counts["hits"] + counts["missed"]),
        "precision of excluded": counts["no_hits"] / max(1, counts["no_hits"] + counts["no_wrong"]),
        "recall of excluded": counts["no_hits"] / max(1, counts["no_hits"] + counts["no_missed"]),
        **{name: counts[name] for kind in ("excluded", "family", "uncertain") for name in (kind, f"{kind} taken for observed")},
    }  # fmt: skip


def _most_specific(terms: set[str]) -> set[str]:
    known = ontology()
    return {t for t in terms if not any(t != o and t in known.ancestors(o) for o in terms)}
