"""One thing, one label: the ids that different registries give to one gene or one disease, and what is left ambiguous.

Ids are one thing where only the spelling differs (`MIM:147920`, `OMIM:147920`), or where registries of one kind give it the
same name, whatever its case: a gene's symbol, a disease's name. The id of the registry that stands first in `_KINDS` is
the label's. Where a name leads to two ids of one registry, nothing is merged: the registry holds them apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from mint_ray.errors import CorpusError
from mint_ray.records import MAX_CHARACTERS
from mint_ray.tasks.base import Label

_KINDS = (
    ("HGNC", "NCBIGene", "ENSEMBL"),
    ("OMIM", "MONDO", "ORPHA", "DOID", "DECIPHER", "GARD", "MEDGEN", "UMLS", "MESH", "NCIT", "SNOMEDCT"),
)
_RANK = {name: rank for kind in _KINDS for rank, name in enumerate(kind)}
_WRITTEN = {name.casefold(): name for name in _RANK} | {
    **{"mim": "OMIM", "orphanet": "ORPHA", "ordo": "ORPHA"},
    **{"ncbi_gene": "NCBIGene", "entrez": "NCBIGene", "geneid": "NCBIGene", "ensg": "ENSEMBL"},
    **{"ncbi gene": "NCBIGene", "ncbi": "NCBIGene", "entrezgene": "NCBIGene", "hgnc_id": "HGNC"},
    **{"snomed": "SNOMEDCT", "sctid": "SNOMEDCT", "msh": "MESH", "ncit_code": "NCIT"},
}
_PAGES = (  # where registries show one thing under its number
    ("OMIM", re.compile(r"\S*\bomim\.org/(?:entry/|clinicalSynopsis/)?#?(\d{6})\S*", re.IGNORECASE)),
    ("NCBIGene", re.compile(r"\S*\bncbi\.nlm\.nih\.gov/gene/(\d+)\S*", re.IGNORECASE)),
    ("ORPHA", re.compile(r"\S*\borpha\.net/\S*(?:detail/|Expert=|Orphanet_)(\d+)\S*", re.IGNORECASE)),
)
_OF_OMIM = re.compile(r"O?MIM\s*(?:number)?\s*[:_]?\s*[#%*+^]?\s*(\d{6})", re.IGNORECASE)  # its marks say what it is
# Control characters, line breaks, marks that turn the direction of writing, lone surrogates.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?", re.IGNORECASE)


def written(label_id: str) -> tuple[str | None, str]:
    """The registry of an id, if it is one that is known here, and the id as that registry is written here."""
    for registry, form in (*_PAGES, ("OMIM", _OF_OMIM)):
        if found := form.fullmatch(label_id.strip()):
            return registry, f"{registry}:{found[1]}"
    prefix, colon, number = (part.strip() for part in label_id.partition(":"))
    if gene := _ENSEMBL.fullmatch(number if colon else prefix):
        return "ENSEMBL", f"ENSEMBL:{gene[1].upper()}"
    registry = _WRITTEN.get(prefix.casefold()) if colon and number else None
    number = number.removeprefix(f"{registry}:").strip()
    return registry, f"{registry}:{number}" if registry else label_id


def rank(label_id: str) -> int:
    """The place of an id's registry among those of its kind, from 0; an id of no known registry comes last."""
    return _RANK.get(written(label_id)[0] or "", len(_RANK))


def one_id_each(names: Mapping[str, Iterable[str]], listed: Collection[str] = ()) -> dict[str, str]:
    """The label id for each id that shall become another one.

    Args:
        names: every id of the corpus, listed or carried by a case, with the names that are given with it.
        listed: ids that stay as they are: those of the corpus's own label list.
    """
    spelt: dict[str, list[str]] = {}
    for label_id in names:
        spelt.setdefault(written(label_id)[1], []).append(label_id)
    called = {one: {_folded(n) for each in ids for n in names[each] if n != each} for one, ids in spelt.items()}
    chosen = {}
    for things in _same_things(called):
        ids = [each for thing in things for each in spelt[thing]]
        fixed = [each for each in ids if each in listed]
        if len(fixed) < 2:
            target = fixed[0] if fixed else min(things, key=rank)
            chosen |= {each: target for each in ids if each != target}
    return chosen


def _same_things(called: Mapping[str, set[str]]) -> list[list[str]]:
    """The ids, those of one thing together: they share a name, and no registry has two of them."""
    together = {one: [one] for one in called}
    by_name: dict[tuple[int | None, str], list[str]] = {}
    for one, names in called.items():
        registry = written(one)[0]
        kind = next((number for number, kind in enumerate(_KINDS) if registry in kind), None)
        for name in names if kind is not None else ():
            by_name.setdefault((kind, name), []).append(one)
    for ids in by_name.values():
        joined = list(dict.fromkeys(each for one in ids for each in together[one]))
        for each in joined:
            together[each] = joined
    groups = {id(ids): ids for ids in together.values()}.values()
    return [part for ids in groups for part in (_apart(ids) if _ambiguous(ids) else [ids])]


def _ambiguous(ids: list[str]) -> bool:
    return max(Counter(written(each)[0] for each in ids).values()) > 1


def _apart(ids: list[str]) -> list[list[str]]:
    return [[each] for each in ids]


def _folded(name: str) -> str:
    """A name for comparing: up to the first semicolon, after which OMIM writes abbreviations."""
    return " ".join(name.partition(";")[0].casefold().split())


def is_name(text: str) -> bool:
    """Whether a text can be a label's id or name: one line that is not blank, of at most `MAX_CHARACTERS`."""
    return bool(text.strip()) and not _UNWRITABLE.search(text) and len(text) <= MAX_CHARACTERS


def check_list(labels: Sequence[Label], path: Path) -> None:
    """See that a label list can be used.

    Raises:
        CorpusError: it is empty, has an id twice, or an id or name that is none, by its position from 0.
    """
    if not labels:
        raise CorpusError(f"{path}: is an empty label list")
    seen: dict[str, int] = {}
    for at, label in enumerate(labels):
        for field, text in [("id", label.id), ("name", label.name), *(("synonyms", each) for each in label.synonyms)]:
            if not is_name(text):
                rule = f"one line, not blank, of at most {MAX_CHARACTERS} characters"
                raise CorpusError(f"{path}: label {at}: {field} has {len(text)} characters; expected {rule}")
        if (first := seen.setdefault(label.id, at)) != at:
            raise CorpusError(f"{path}: labels {first} and {at} have one id; leave one of them")


def shared_names(labels: Iterable[Label]) -> dict[str, list[str]]:
    """Names and synonyms that several labels have, whatever their case and punctuation, with the labels' ids."""
    owners: dict[str, dict[str, None]] = {}
    for label in labels:
        for name in (label.name, *label.synonyms):
            owners.setdefault("".join(filter(str.isalnum, name.casefold())) or name, {})[label.id] = None
    return {name: list(ids) for name, ids in sorted(owners.items()) if len(ids) > 1}
