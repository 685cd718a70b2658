"""The ontology: terms, what is above and below them, and what became of the ids that are primary no longer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from mint_ray.hpo.release import ONTOLOGY, data_file, remembered

PHENOTYPIC_ABNORMALITY = "HP:0000118"
FACE = "HP:0000271"


@dataclass(frozen=True)
class Term:
    id: str
    name: str
    parents: tuple[str, ...]
    obsolete: bool = False


@dataclass
class Ontology:
    """Terms by primary id, and what became of the ids that are primary no longer."""

    release: str
    terms: dict[str, Term]
    replacements: dict[str, tuple[str, ...]]

    def resolve(self, term_id: str) -> Term | None:
        """The living term of an id: primary, alternative, or obsolete with a replacement (the first); else None."""
        return next(iter(self.successors(term_id)), None)

    def successors(self, term_id: str) -> list[Term]:
        """The living terms that an id stands for: more than one where a term was split, none where it has no heir."""
        found = (self.terms.get(each) for each in self.replacements.get(term_id, (term_id,)))
        return [term for term in found if term is not None and not term.obsolete]

    @cached_property
    def phenotypes(self) -> frozenset[str]:
        """The ids that can be findings: no modes of inheritance, onsets, frequencies, modifiers, past events."""
        return self.descendants(PHENOTYPIC_ABNORMALITY)

    def named(self, name: str) -> Term | None:
        """The living term of a name, in whatever case it is written; else None."""
        return self._by_name.get(name.casefold())

    @cached_property
    def _by_name(self) -> dict[str, Term]:
        return {term.name.casefold(): term for term in self.terms.values() if not term.obsolete}

    @cached_property
    def children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for term in self.terms.values():
            for parent in term.parents:
                children.setdefault(parent, []).append(term.id)
        return children

    def descendants(self, term_id: str) -> frozenset[str]:
        """The term itself and all terms below it."""
        return self._reach(term_id, lambda i: self.children.get(i, ()))

    def ancestors(self, term_id: str) -> frozenset[str]:
        """The term itself and all terms above it; of an id that the ontology does not know, the id alone."""
        return self._reach(term_id, lambda i: self.terms[i].parents if i in self.terms else ())

    @staticmethod
    def _reach(start, step) -> frozenset[str]:
        seen, stack = {start}, [start]
        while stack:
            for neighbour in step(stack.pop()):
                if neighbour not in seen:
                    seen.add(neighbour)
                    stack.append(neighbour)
        return frozenset(seen)


@remembered()
def ontology() -> Ontology:
    """The ontology, read once a process (about a second)."""
    path = data_file(*ONTOLOGY)
    text = path.read_text(encoding="utf-8")
    return _of_graphs(json.loads(text)) if path.suffix == ".json" else _of_obo(text)


def _of_obo(text: str) -> Ontology:
    head, *stanzas = text.split("\n[Term]\n")
    terms: dict[str, Term] = {}
    heirs: dict[str, tuple[str, ...]] = {}
    merged: dict[str, tuple[str, ...]] = {}
    for stanza in stanzas:
        tags: dict[str, list[str]] = {}
        for line in stanza.split("\n\n")[0].splitlines():
            key, _, value = line.partition(": ")
            tags.setdefault(key, []).append(value)
        term = Term(
            id=tags["id"][0],
            name=tags["name"][0],
            parents=tuple(value.split(" ", 1)[0] for value in tags.get("is_a", ())),
            obsolete=tags.get("is_obsolete") == ["true"],
        )
        terms[term.id] = term
        merged |= {alternative: (term.id,) for alternative in tags.get("alt_id", ())}
        if term.obsolete and "replaced_by" in tags:
            heirs[term.id] = tuple(tags["replaced_by"])
    # What the obsolete term itself names goes before whoever claims its id as an alternative one.
    return Ontology(cast("re.Match[str]", re.search(r"data-version: (\S+)", head))[1], terms, merged | heirs)


_REPLACED_BY = "http://purl.obolibrary.org/obo/IAO_0100001"
_ALTERNATIVE = "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId"


def _of_graphs(document: dict[str, Any]) -> Ontology:
    """The same of the OBO graphs form."""
    graph = document["graphs"][0]
    parents: dict[str, list[str]] = {}
    for edge in graph["edges"]:
        if edge["pred"] == "is_a":
            parents.setdefault(curie(edge["sub"]), []).append(curie(edge["obj"]))
    terms: dict[str, Term] = {}
    heirs: dict[str, tuple[str, ...]] = {}
    merged: dict[str, tuple[str, ...]] = {}
    for node in graph["nodes"]:
        if not (node_id := curie(node["id"])).startswith("HP:"):
            continue
        meta = node.get("meta", {})
        terms[node_id] = Term(
            node_id, node.get("lbl", node_id), tuple(parents.get(node_id, ())), meta.get("deprecated", False)
        )
        said = [(each["pred"], curie(each["val"])) for each in meta.get("basicPropertyValues", ())]
        merged |= {value: (node_id,) for pred, value in said if pred == _ALTERNATIVE}
        if found := tuple(value for pred, value in said if pred == _REPLACED_BY):
            heirs[node_id] = found
    version = re.search(r"releases/([\d-]+)", graph.get("meta", {}).get("version", ""))
    return Ontology(f"hp/releases/{version[1] if version else 'unknown'}", terms, merged | heirs)


def curie(iri: str) -> str:
    return iri.rpartition("/")[2].replace("_", ":", 1)
