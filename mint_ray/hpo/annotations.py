"""What is published of each disease: findings, how often, and which publications say so.

A row of `phenotype.hpoa` names the publications that it rests on and, in most, how many of their patients showed the
finding (`3/7`). Whoever tests on the patients of these publications takes them out, see `Withheld`: the rows that rest
on them alone go, and where a row rests on others, too, their patients leave its count.
"""

from __future__ import annotations as _annotations

import csv
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from mmap import ACCESS_READ, mmap

from mint_ray.hpo.ontology import ontology
from mint_ray.hpo.release import ANNOTATIONS, GENES, data_file, remembered

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
class Annotation:
    """A row of the annotations: a finding of an OMIM disease, by the living term's id.

    `references` are the publications and texts that it rests on (`PMID:31675180`, `OMIM:147920`); `evidence` is `PCS`
    (published clinical study), `TAS` (traceable statement) or `IEA` (made by machine). Of `examined` patients `shown`
    showed the finding; None where the row has no count.
    """

    disease_id: str
    term_id: str
    frequency: float
    shown: float | None = None
    examined: float | None = None
    references: tuple[str, ...] = ()
    evidence: str = ""


@dataclass
class Disease:
    """`frequencies` maps each finding to the share of patients that show it, above 0 and up to 1.

    `absent` are the terms that were looked for and that no patient showed (`0/n`): no findings of the disease.
    """

    id: str
    name: str
    frequencies: dict[str, float] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Patient:
    """Whom a count of the annotations may hold: disease, ids of the own publications, findings observed and excluded."""

    disease_id: str
    publications: frozenset[str]
    observed: frozenset[str]
    excluded: frozenset[str]


class Withheld:
    """Publications that annotations are to know nothing of, and their patients, as far as they are known."""

    def __init__(self, patients: Iterable[Patient] = ()):
        every = list(patients)
        self.patients: dict[tuple[str, str], list[Patient]] = {}
        publications: set[str] = set()
        for patient in every:
            publications |= patient.publications
            for publication in patient.publications:
                self.patients.setdefault((publication, patient.disease_id), []).append(patient)
        self.publications = frozenset(publications)
        told = sorted((p.disease_id, *map(sorted, (p.publications, p.observed, p.excluded))) for p in every)
        self._key = hashlib.sha256(repr(told).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        """By what they hold, so that a copy in another process finds what was read without them."""
        return isinstance(other, Withheld) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)

    def left_of(self, row: Annotation) -> Annotation | None:
        """The row as it stands without them; None where nothing of it is left."""
        named = [reference for reference in row.references if reference in self.publications]
        if not named:
            return row
        if len(named) == len(row.references):
            return None
        return row if row.examined is None or row.shown is None else self._subtracted(row, named)

    def _subtracted(self, row: Annotation, named: list[str]) -> Annotation | None:
        found = {id(p): p for name in named for p in self.patients.get((name, row.disease_id), ())}.values()
        shown = sum(row.term_id in patient.observed for patient in found)
        lacking = sum(row.term_id in patient.excluded for patient in found)
        left, examined = (row.shown or 0) - shown, (row.examined or 0) - shown - lacking
        if examined <= 0 or (left <= 0 < shown):
            return None
        return replace(row, shown=left, examined=examined, frequency=min(1.0, max(0.0, left / examined)))


@dataclass(frozen=True)
class TakenOut:
    """What leaving publications out cost the annotations: rows that went, rows whose count became smaller, of all."""

    rows: int
    counts: int
    of: int


def count(annotation: str) -> tuple[float, float] | None:
    """Patients that showed a finding and patients examined, of a ratio (`3/7`); None for any other form."""
    shown, slash, examined = annotation.partition("/")
    return (float(shown), float(examined)) if slash and float(examined) > 0 else None


def frequency(annotation: str) -> float:
    """An annotation's frequency, 0 to 1: a term (`HP:0040282`), a ratio (`3/7`), a percentage (`45%`)."""
    if annotation in FREQUENCY_TERMS:
        return FREQUENCY_TERMS[annotation]
    if annotation.endswith("%"):
        return min(1.0, float(annotation[:-1]) / 100)
    if counted := count(annotation):
        return min(1.0, counted[0] / counted[1])
    return UNKNOWN_FREQUENCY


FEW = 64


def annotated(disease_ids: Iterable[str]) -> set[str]:
    """Which of these diseases `disease_names` has; of a few, by looking for their lines alone: a wrong setting is told sooner."""
    wanted = {each for each in disease_ids if re.fullmatch(r"OMIM:[0-9]+", each)}
    path = data_file(*ANNOTATIONS)
    if not wanted or not path.stat().st_size:  # no file without a byte can be mapped
        return set()
    if len(wanted) > FEW:
        return wanted & disease_names().keys()
    observed = re.compile(rb"\n(%s)\t[^\t]*\t\t(?=(?:[^\t\n]*\t){7}P\t)" % "|".join(sorted(wanted)).encode())
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as lines:
        return {found[1].decode() for found in observed.finditer(lines)}


@remembered()
def disease_names() -> dict[str, str]:
    """Id and name, the first given, of the diseases that `diseases` returns, without reading their annotations."""
    # A disease's lines stand together: the first that is observed, then over all others of the same id at once.
    observed = re.compile(rb"\n(OMIM:\d+)\t([^\t]*)\t\t(?=(?:[^\t\n]*\t){7}P\t)(?:.*\n\1\t.*)*")
    found = observed.findall(data_file(*ANNOTATIONS).read_bytes())
    return {disease_id.decode(): name.decode() for disease_id, name in reversed(found)}


@remembered()
def annotations() -> tuple[Annotation, ...]:
    """The rows of all OMIM diseases that hold of a finding (aspect P, not negated), in the order of the file."""
    living = ontology()
    with data_file(*ANNOTATIONS).open(encoding="utf-8") as lines:
        table = csv.DictReader((line for line in lines if not line.startswith("#")), delimiter="\t")
        return tuple(
            Annotation(row["database_id"], term.id, *_measured(row["frequency"]), *_grounds(row))
            for row in table
            if row["aspect"] == "P" and row["qualifier"] != "NOT" and row["database_id"].startswith("OMIM:")
            if (term := living.resolve(row["hpo_id"]))
        )


def _measured(annotation: str) -> tuple[float, float | None, float | None]:
    shown, examined = count(annotation) or (None, None)
    return frequency(annotation), shown, examined


def _grounds(row: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """References and evidence; an older or foreign table may lack either."""
    return tuple(filter(None, (row.get("reference") or "").split(";"))), row.get("evidence") or ""


def kept(without: Withheld | None) -> Iterator[Annotation]:
    """The rows that are left without these publications, with what is left of their counts."""
    rows = annotations()
    return iter(rows) if without is None else (left for row in rows if (left := without.left_of(row)))


def taken_out(without: Withheld) -> TakenOut:
    """How much of the annotations rests on these publications."""
    rows = annotations()
    left = [without.left_of(row) for row in rows]
    changed = sum(after is not None and after is not before for before, after in zip(rows, left, strict=True))
    return TakenOut(rows=left.count(None), counts=changed, of=len(rows))


@remembered(maxsize=4)
def diseases(without: Withheld | None = None) -> dict[str, Disease]:
    """All OMIM diseases with their phenotypic annotations, by OMIM id; one whose rows all went has none.

    A term annotated more than once keeps the mean of its frequencies; one whose mean is 0 is absent, and no finding.

    Args:
        without: publications that the annotations are to know nothing of.
    """
    rows: dict[str, list[Annotation]] = {}
    for row in kept(without):
        rows.setdefault(row.disease_id, []).append(row)
    return {
        disease_id: described(disease_id, name, rows.get(disease_id, ())) for disease_id, name in _in_order().items()
    }


def described(disease_id: str, name: str, rows: Iterable[Annotation]) -> Disease:
    """A disease by its rows; see `diseases`."""
    found, seen = Disease(disease_id, name), dict[str, list[float]]()
    for row in rows:
        seen.setdefault(row.term_id, []).append(row.frequency)
    for term_id, values in seen.items():
        if mean := sum(values) / len(values):
            found.frequencies[term_id] = mean
        else:
            found.absent.add(term_id)
    return found


def _in_order() -> dict[str, str]:
    """The names of `disease_names` in the order in which the file first has the diseases."""
    names = disease_names()
    return {
        disease_id: names[disease_id] for disease_id in dict.fromkeys([*(r.disease_id for r in annotations()), *names])
    }


@remembered()
def other_names() -> dict[str, tuple[str, ...]]:
    """What the annotations call an OMIM disease beside its name in `disease_names`, by id; those without are left out."""
    rows = re.compile(r"^(OMIM:\d+)\t([^\t]*)\t", re.MULTILINE)
    found: dict[str, dict[str, None]] = {}
    for disease_id, name in rows.findall(data_file(*ANNOTATIONS).read_text(encoding="utf-8")):
        found.setdefault(disease_id, {})[name] = None
    chosen = disease_names()
    others = {i: tuple(name for name in names if name != chosen.get(i)) for i, names in found.items()}
    return {disease_id: names for disease_id, names in others.items() if names}


@remembered()
def gene_diseases() -> dict[str, tuple[str, ...]]:
    """The OMIM diseases of each gene, by its symbol, as the HPO project links them."""
    found: dict[str, dict[str, None]] = {}
    with data_file(*GENES).open() as lines:
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


@remembered()
def _diseases_showing() -> Counter[str]:
    """By term id, how many diseases are annotated with it or with a term below it (about a second)."""
    above = lru_cache(maxsize=None)(ontology().ancestors)
    return Counter(
        term_id
        for disease in diseases().values()
        for term_id in frozenset().union(*(above(annotated) for annotated in disease.frequencies))
    )
