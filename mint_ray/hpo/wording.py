"""How the ontology words its terms: their synonyms, and the English of their definitions and comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from mint_ray.hpo.ontology import curie
from mint_ray.hpo.release import ONTOLOGY, data_file, remembered


class Synonym(NamedTuple):
    text: str
    scope: str  # EXACT, NARROW, RELATED or BROAD


class Worded(NamedTuple):
    term_id: str
    synonyms: tuple[Synonym, ...]
    prose: str


@remembered()
def names() -> dict[str, tuple[Synonym, ...]]:
    """The synonyms of the living terms, by id, in the order of the file."""
    return {each.term_id: each.synonyms for each in _worded() if each.synonyms}


def definitions() -> str:
    """The English in which the ontology's terms are defined and commented."""
    return "\n".join(each.prose for each in _worded() if each.prose)


def _worded() -> Iterator[Worded]:
    file = data_file(*ONTOLOGY)
    text = file.read_text(encoding="utf-8")
    return _of_graphs(json.loads(text)) if file.suffix == ".json" else _of_obo(text)


def _of_obo(text: str) -> Iterator[Worded]:
    for stanza in text.split("\n[Term]\n")[1:]:
        if "\nis_obsolete: true" not in stanza:
            synonyms = re.findall(r'^synonym: "(.*?)" ([A-Z]+)', stanza, re.MULTILINE)
            prose = re.findall(r'^(?:def|comment): "?(.*?)(?:" \[.*)?$', stanza, re.MULTILINE)
            yield Worded(stanza[4 : stanza.index("\n")], tuple(Synonym(*each) for each in synonyms), "\n".join(prose))


def _of_graphs(document: dict[str, Any]) -> Iterator[Worded]:
    for node in document["graphs"][0]["nodes"]:
        meta = node.get("meta", {})
        if not meta.get("deprecated"):
            synonyms = (
                Synonym(each["val"], each["pred"].removeprefix("has").removesuffix("Synonym").upper())
                for each in meta.get("synonyms", ())
            )
            prose = [meta.get("definition", {}).get("val", ""), *meta.get("comments", ())]
            yield Worded(curie(node["id"]), tuple(synonyms), "\n".join(filter(None, prose)))
