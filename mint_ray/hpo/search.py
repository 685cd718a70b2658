"""Terms by the beginnings of words: what a form offers while a person types."""

from __future__ import annotations

import re
from typing import NamedTuple

from mint_ray.hpo.ontology import ontology
from mint_ray.hpo.release import remembered
from mint_ray.hpo.wording import names


class Found(NamedTuple):
    """A term, and which of its names was found: its own, or an exact synonym."""

    id: str
    name: str
    wording: str


def search(words: str, most: int = 10) -> list[Found]:
    """The findings of which a name holds every word, or a word's beginning, and those whose id begins so.

    First are the names that begin as the words do, then the shorter ones; of a term's names the best one counts.
    """
    asked = _plain(words)
    if not asked:
        return []
    each = [f" {word}" for word in asked.split()]
    fitting = [(*_order(asked, spelt, found), found) for spelt, found in _spelt() if all(w in spelt for w in each)]
    fitting += [(False, False, 0, found.id, found) for found in _by_id(words.strip().upper())]
    best: dict[str, Found] = {}
    for *_, found in sorted(fitting):
        best.setdefault(found.id, found)
    return list(best.values())[:most]


def _order(asked: str, spelt: str, found: Found) -> tuple[bool, bool, int, str]:
    return not spelt.startswith(f" {asked}"), found.wording != found.name, len(spelt), found.id


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


@remembered()
def _spelt() -> list[tuple[str, Found]]:
    """All names, plainly spelt after a space, with the terms that they are of."""
    terms, found = ontology(), list[tuple[str, Found]]()
    for term_id in terms.phenotypes:
        name = terms.terms[term_id].name
        wordings = [name, *(each.text for each in names().get(term_id, ()) if each.scope == "EXACT")]
        found += [(f" {_plain(wording)}", Found(term_id, name, wording)) for wording in wordings]
    return found


def _by_id(start: str) -> list[Found]:
    if not re.fullmatch(r"HP:\d{3,7}", start):
        return []
    terms = ontology()
    return [Found(i, terms.terms[i].name, terms.terms[i].name) for i in terms.phenotypes if i.startswith(start)]
