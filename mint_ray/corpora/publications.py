"""Papers by all the ids that a source may write for them, and the patients that papers make one group.

An id is found in whatever stands around it and written in one way:

| id             | found in, for example                                                                  | written          |
|----------------|----------------------------------------------------------------------------------------|------------------|
| PubMed         | `PMID:77`, `PMID: 77`, `PMID77`, `PUBMED:77`, `https://pubmed.ncbi.nlm.nih.gov/77/`      | `PMID:77`        |
| PubMed Central | `PMC77`, `PMCID: PMC77`, `https://www.ncbi.nlm.nih.gov/pmc/articles/PMC77/`              | `PMC:77`         |
| DOI            | `DOI:10.1000/XYZ`, `doi:10.1000/xyz`, `https://doi.org/10.1000/xyz`, the bare `10.1000/xyz` | `DOI:10.1000/xyz` |

Anything else (a gene, a disease, a consortium's number) is no paper.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

_KINDS = {
    "PMID": re.compile(
        r"(?:\b(?:pmids?|pubmed(?:[ _-]?id)?|medline)[\s:._#=/-]*|\bpubmed\.ncbi\.nlm\.nih\.gov/|/med/|/pubmed/?\?term=|gov/\?term="
        r"|\bdb=pubmed\b\S*[?&](?:list_uids|term|id)=|[?&](?:list_uids|term|id)=(?=\d+\S*\bdb=pubmed\b))"
        r"0*([1-9]\d{0,8})(?!\d)",
        re.IGNORECASE,
    ),
    "PMC": re.compile(r"\bpmc(?:id)?(?:[\s:_#=/-]*pmc)?[\s:_#=/-]*0*([1-9]\d{0,8})(?!\d)", re.IGNORECASE),
    # Those of Wiley until 2002 have angle brackets in them: 10.1002/(SICI)1096-8628(19990101)82:1<1::AID-AJMG1>3.0.CO;2-8
    "DOI": re.compile(r"(?<![\d.])(10\.\d{4,9}/(?:\(SICI\)[^\s\"?#]+|[^\s\"<>?#]+))", re.IGNORECASE),
}
# What addresses of publishers and of preprints add to a DOI.
_VIEW = re.compile(r"(?:[./](?:full|full-?text|abstract|e?pdf|html?))+$")
_VERSION = re.compile(r"^(10\.(?:1101|21203|64898)/.*?)[./]?v\d+$")
_ID_OF_PAPER = re.compile(r"(?:pmid|pubmed)[\s:_]*\d", re.IGNORECASE)


_MOST = 2000  # characters of a reference: what an id may stand in; the patterns' time grows with its square
_DASHES = re.compile("[\u2010-\u2015\u2212]")


def paper_ids(text: str) -> list[str]:
    """The ids of papers in the first 2,000 characters of a text, each once, those of PubMed first."""
    if len(text) > _MOST:
        text = text[:_MOST].rpartition(" ")[0]  # no id is cut to another one
    plain = _DASHES.sub("-", unicodedata.normalize("NFKC", unquote(text)))
    found = [f"{kind}:{_plain(match)}" for kind, pattern in _KINDS.items() for match in pattern.findall(plain)]
    return list(dict.fromkeys(found))


def _plain(number: str) -> str:
    """A number or a DOI without what stands around it; preprints without their version."""
    return _VERSION.sub(r"\1", _VIEW.sub("", number.lower().rstrip(".,;:)]}'/")))


def papers(references: Iterable[Sequence[str]], case_id: str) -> list[list[str]]:
    """The papers that a case names, its own first, each with all of its ids.

    Args:
        references: the texts of each reference, in which ids may stand.
        case_id: may begin with the id of the case's own paper (`PMID_77_patient_2`).
    """
    named = [list(dict.fromkeys(i for text in texts for i in paper_ids(text))) for texts in references]
    if _ID_OF_PAPER.match(case_id):
        named.append(paper_ids(case_id)[:1])
    every = list(dict.fromkeys(i for ids in named for i in ids))
    if _one_of_each_kind(every):
        return [sorted(every, key=_order)] if every else []
    split = [part for ids in named if ids for part in ([ids] if _one_of_each_kind(ids) else [[i] for i in ids])]
    return [sorted(ids, key=_order) for ids in split]


def _one_of_each_kind(ids: Sequence[str]) -> bool:
    kinds = [i.partition(":")[0] for i in ids]
    return len(kinds) == len(set(kinds))


def _order(paper_id: str) -> tuple[int, int, str]:
    """PubMed ids before those of PubMed Central and these before DOIs; lower numbers first; other names last."""
    kind, _, number = paper_id.partition(":")
    place = list(_KINDS).index(kind) if kind in _KINDS else len(_KINDS)
    return place, int(number) if number.isdecimal() else 0, paper_id


class Grouped(NamedTuple):
    """A case's group as its source alone tells it, and the papers that it names."""

    group_id: str
    papers: Sequence[Sequence[str]]


def groups_of(cases: Mapping[int, Grouped]) -> dict[int, str]:
    """The group of each case, by its key: patients of one paper are one group, by whichever id each names it.

    A case is of its own paper, and of any further one that is some other case's own. A paper that is nobody's own
    (of the ontology, of a method) is background and joins nothing. A group is called by its first name in `_order`.
    """
    joined = _Sets()
    for case in cases.values():
        joined.join([case.group_id, *(case.papers[0] if case.papers else ())])
        for paper in case.papers:
            joined.join(paper)
    own = {joined.find(case.group_id) for case in cases.values()}
    also = [[case.group_id, *(p[0] for p in case.papers[1:] if joined.find(p[0]) in own)] for case in cases.values()]
    for ids in also:
        joined.join(ids)
    names: dict[str, str] = {}
    for group_id in sorted({case.group_id for case in cases.values()}, key=_order):
        names.setdefault(joined.find(group_id), group_id)
    return {key: names[joined.find(case.group_id)] for key, case in cases.items()}


class _Sets:
    """Disjoint sets of names (union and find)."""

    def __init__(self):
        self.parents: dict[str, str] = {}

    def find(self, name: str) -> str:
        root = name
        while (above := self.parents.get(root, root)) != root:
            root = above
        while name != root:  # so that long chains are walked once
            self.parents[name], name = root, self.parents[name]
        return root

    def join(self, names: Iterable[str]) -> None:
        roots = [self.find(name) for name in names]
        for root in roots[1:]:
            self.parents[self.find(root)] = self.find(roots[0])
