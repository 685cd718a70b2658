"""What the phenotype scorer knows, as sparse tables: the ontology, the annotations of each label, the training patients."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse
from safetensors.numpy import load_file, save_file

from mint_ray import hpo

sp: Any = scipy.sparse  # whose types tell no matrix from an array
Table: TypeAlias = Any  # one of its matrices, csr

TABLES, TERMS = "knowledge.safetensors", "terms.json"
MATRICES = ("closure", "annotated", "absent", "observed", "excluded")


@dataclass(frozen=True)
class Known:
    """A training patient: its label's position, its group, and what of it stands in annotations."""

    label: int
    group: str
    patient: hpo.Patient


@dataclass(frozen=True)
class Terms:
    """The findings that a scorer knows, by their row: ids and names; `places` has the row of each id, former ones too."""

    ids: list[str]
    names: list[str]
    places: dict[str, int]

    def rows(self, term_ids: Iterable[str]) -> list[int]:
        """The rows of the known ones, each once, in order."""
        found = (self.places.get(term_id) for term_id in term_ids)
        return sorted({row for row in found if row is not None})

    @staticmethod
    def of_ontology() -> Terms:
        living = hpo.ontology()
        ids = sorted(living.phenotypes)
        places = {term_id: row for row, term_id in enumerate(ids)}
        for former in living.replacements:
            if (term := living.resolve(former)) and term.id in places:
                places.setdefault(former, places[term.id])
        return Terms(ids, [living.terms[i].name for i in ids], places)


@dataclass(frozen=True)
class Knowledge:
    """Tables over T terms, L labels and P training patients.

    `closure` (T, T): 1 where the column's term is the row's or above it. `annotated` (T, L): how often a label's patients
    show the term or one below it. `absent` (T, L): 1 where they were looked at for it and none showed it. `background`
    and `share` (T,): the mean of `annotated` over all diseases of HPO, and the share of these that have the term at all.
    `observed` and `excluded` (P, T), `labels` and `groups` (P,): the patients' findings as recorded, their label, their
    publication as a number.
    """

    terms: Terms
    closure: Table
    annotated: Table
    absent: Table
    background: np.ndarray
    share: np.ndarray
    observed: Table
    excluded: Table
    labels: np.ndarray
    groups: np.ndarray

    def save(self, folder: Path) -> None:
        tables: dict[str, np.ndarray] = {
            "background": self.background,
            "share": self.share,
            "labels": self.labels,
            "groups": self.groups,
        }
        for name in MATRICES:
            matrix = getattr(self, name)
            parts = {
                "data": matrix.data,
                "indices": matrix.indices,
                "indptr": matrix.indptr,
                "shape": np.array(matrix.shape),
            }
            tables |= {f"{name}.{part}": np.ascontiguousarray(value) for part, value in parts.items()}
        save_file(tables, folder / TABLES)
        terms = {"ids": self.terms.ids, "names": self.terms.names, "places": self.terms.places}
        (folder / TERMS).write_text(json.dumps(terms), encoding="utf-8")

    @staticmethod
    def load(folder: Path) -> Knowledge:
        tables = load_file(folder / TABLES)
        said = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        matrices = {
            name: sp.csr_matrix(
                tuple(tables[f"{name}.{part}"] for part in ("data", "indices", "indptr")),
                shape=tuple(tables[f"{name}.shape"].tolist()),
            )
            for name in MATRICES
        }
        arrays = {name: tables[name] for name in ("background", "share", "labels", "groups")}
        return Knowledge(Terms(said["ids"], said["names"], said["places"]), **matrices, **arrays)


def gather(diseases_of: Sequence[Sequence[str]], patients: Sequence[Known], without: hpo.Withheld | None) -> Knowledge:
    """The tables of labels that stand for these diseases, of these patients, and of annotations without publications."""
    terms = Terms.of_ontology()
    closure, known = closure_of(terms), hpo.diseases(without)
    everything = implied(terms, closure, [disease.frequencies for disease in known.values()])
    labels = [_pooled([known[i].frequencies for i in ids if i in known]) for ids in diseases_of]
    lacking = [{t: 1.0 for i in ids if i in known for t in known[i].absent} for ids in diseases_of]
    groups = {group: number for number, group in enumerate(sorted({p.group for p in patients}))}
    return Knowledge(
        terms=terms,
        closure=closure,
        annotated=implied(terms, closure, labels),
        absent=_table(terms, lacking).T.tocsr(),
        background=(np.asarray(everything.sum(1)).ravel() / len(known)).astype(np.float32),
        share=(np.diff(everything.indptr) / len(known)).astype(np.float32),
        observed=_table(terms, [dict.fromkeys(p.patient.observed, 1.0) for p in patients]),
        excluded=_table(terms, [dict.fromkeys(p.patient.excluded, 1.0) for p in patients]),
        labels=np.array([p.label for p in patients], np.int64),
        groups=np.array([groups[p.group] for p in patients], np.int64),
    )


def closure_of(terms: Terms) -> Table:
    living = hpo.ontology()
    above = [{a: 1.0 for a in living.ancestors(term_id)} for term_id in terms.ids]
    return _table(terms, above)


def implied(terms: Terms, closure: Table, frequencies: Sequence[Mapping[str, float]]) -> Table:
    """(T, number of rows given): each term's frequency, or that of the most frequent term below it."""
    table = _table(terms, frequencies).tocoo()
    widths = np.diff(closure.indptr)[table.col]
    above = np.concatenate(
        [closure.indices[closure.indptr[t] : closure.indptr[t + 1]] for t in table.col] or [np.empty(0, int)]
    )
    owner, value = np.repeat(table.row, widths), np.repeat(table.data, widths)
    key = above.astype(np.int64) * len(frequencies) + owner
    order = np.lexsort((value, key))
    key, value = key[order], value[order]
    last = np.append(key[1:] != key[:-1], True)[: len(key)]
    place = np.divmod(key[last], len(frequencies))
    return sp.csr_matrix((value[last], place), shape=(len(terms.ids), len(frequencies)), dtype=np.float32)


def _pooled(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of a label that stands for several diseases, the greatest frequency of each finding."""
    found: dict[str, float] = {}
    for frequencies in several:
        for term_id, frequency in frequencies.items():
            found[term_id] = max(frequency, found.get(term_id, 0.0))
    return found


def _table(terms: Terms, rows: Sequence[Mapping[str, float]]) -> Table:
    """(rows, T); what is no known finding is left out."""
    places = terms.places
    found = [(row, places[t], value) for row, values in enumerate(rows) for t, value in values.items() if t in places]
    row, column, value = zip(*found, strict=True) if found else ((), (), ())
    table = sp.coo_matrix((np.array(value, np.float32), (row, column)), shape=(len(rows), len(terms.ids))).tocsr()
    table.sum_duplicates()
    return table
