"""GA4GH phenopackets of schemas 1.0 and 2.0 (https://phenopacket-schema.readthedocs.io), message by message.

One packet is one case: `case_id` is the packet's id, `group_id` its publication (mint_ray/corpora/publications.py),
else the packet itself. Of a Family the proband is read, of a Cohort each member. What is refused, by reason:

| reason              | when                                                                                   |
|---------------------|----------------------------------------------------------------------------------------|
| `unreadable-file`   | the file or member breaks off, is damaged or encrypted                                 |
| `unreadable-name`   | the file's name is no UTF-8                                                            |
| `unread-format`     | the file is protobuf by its ending                                                     |
| `text-too-large`    | the document or line has over 32 MiB                                                   |
| `no-json`           | the text is no JSON object                                                             |
| `no-yaml`           | the text of a YAML file is no object                                                   |
| `other-message`     | it is another message (a Biosample, a Pedigree, an Individual, FHIR ...), or none       |
| `other-version`     | `metaData.phenopacketSchemaVersion` is neither 1 nor 2, or it is a draft before 1.0     |
| `other-species`     | the subject is no human                                                                |
| `missing-field`     | a field without which nothing can be said (`id`, a feature's `type.id`)                |
| `wrong-field`       | a field has another type than the schema says, or a value that cannot be (an age of 400) |
| `no-terms`          | there are no phenotypic features                                                       |
| `no-observed-terms` | every feature is an excluded one                                                       |
| `unknown-terms`     | none of the observed terms is a known or a named phenotype of HPO                      |
| `no-diagnosis`      | no interpretation and no disease names one that is held to be true                     |
| `two-diagnoses`     | they name different ones                                                               |
| `no-gene`           | `label: gene`, and no causative or contributory variant has a gene with id and symbol  |
| `two-genes`         | `label: gene`, and these variants name different ones                                  |

An id that HPO does not know is kept under the packet's label; without a label it is left out, and so is a term that
is no phenotype. An age that is no ISO 8601 duration (a stage of life, a gestational age) is none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import ValidationError

from mint_ray import hpo
from mint_ray.corpora.base import Corpus
from mint_ray.corpora.inventory import Inventory
from mint_ray.corpora.label_ids import one_id_each, rank
from mint_ray.corpora.phenopacket_schema import (
    Age,
    GenomicInterpretation,
    Interpretation,
    OntologyClass,
    Packet,
    Reference,
    Subject,
    members_of,
    packet_of,
)
from mint_ray.corpora.publications import papers
from mint_ray.corpora.reading import (
    Row,
    field_error,
    json_object,
    parsed,
    place_of,
    refusal,
    row_error,
    text_inventory,
    text_rows,
)
from mint_ray.errors import RowError, StorageError
from mint_ray.records import MAX_YEARS, Case, Phenotype, Refusal, Sex
from mint_ray.storage import Location
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import disease_label

if TYPE_CHECKING:
    import ray.data

HUMAN = "9606"  # NCBITaxon
DAYS = 365.25  # of a year
UNLABELLED = ("no-diagnosis", "two-diagnoses", "no-gene", "two-genes")


class Phenopackets(Corpus):
    """Published patients without photographs. Labels are the diagnoses that the packets carry, or the causal genes."""

    path: Location
    label: Literal["disease", "gene"] = "disease"

    def entity(self) -> str | None:
        return self.label

    def labels(self) -> list[Label] | None:
        return None

    def named(self, label: Label) -> Label:
        return disease_label(label.id) if label.id in hpo.disease_names() else label

    def inventory(self) -> Inventory:
        return text_inventory(self.path)

    def outcomes(self, seed: int) -> ray.data.Dataset:
        return parsed(text_rows(self.path), partial(read_message, label=self.label, labelled=self.labelled))


Kind = Literal["disease", "gene"]


def read_message(row: Row, label: Kind = "disease", labelled: bool = True) -> list[Case | Refusal]:
    """A text row to the outcome of its packet, or of each member of its Cohort, which `source` then names."""
    try:
        document = json_object(row)
    except RowError as error:
        return [refusal(row, error)]
    members = [(row | {"source": f"{row['source']}!members[{i}]"}, m) for i, m in enumerate(members_of(document))]
    return [_outcome(place, message, label, labelled) for place, message in members or [(row, document)]]


def read_packet(row: Row, label: Kind = "disease") -> Case | Refusal:
    """A text row to a case under the label that is asked for, or to the reason why it is not one."""
    try:
        return _outcome(row, json_object(row), label)
    except RowError as error:
        return refusal(row, error)


def _outcome(row: Row, message: Any, label: Kind, labelled: bool = True) -> Case | Refusal:
    case_id = None
    try:
        packet = _under_one_id(packet_of(message))
        case_id = packet.id
        return case_of(packet, _label_of(packet, label, labelled), place_of(row))
    except StorageError:
        raise
    except Exception as error:  # of one member, which costs no other
        return refusal(row, row_error(error), case_id)


def _label_of(packet: Packet, label: Kind, labelled: bool) -> Label | None:
    """The packet's one label; None where it has none, or several, and the corpus needs none."""
    try:
        return gene_of(packet) if label == "gene" else disease_of(packet)
    except RowError as error:
        if labelled or error.reason not in UNLABELLED:
            raise
        return None


def case_of(packet: Packet, label: Label | None, source: str = "") -> Case:
    """The case that a packet describes; raises `RowError` by the reasons above."""
    subject = packet.subject or Subject()
    _check_species(subject)
    published = publications_of(packet)
    try:
        return Case(
            case_id=packet.id,
            group_id=published[0][0] if published else packet.id,
            publications=published,
            label_id=label.id if label else None,
            label_name=label.name if label else None,
            label_synonyms=list(label.synonyms) if label else [],
            phenotypes=phenotypes_of(packet),
            sex=sex_of(subject.sex),
            age_years=age_of(subject),
            source=source,
        )
    except ValidationError as error:
        raise field_error(error) from None


def _check_species(subject: Subject) -> None:
    number = re.search(r"\d{1,9}$", (subject.taxonomy and subject.taxonomy.id) or "")
    if number and number[0] != HUMAN:
        raise RowError("other-species", "subject.taxonomy.id", "another species", f"NCBITaxon:{HUMAN}, or none")


def disease_of(packet: Packet) -> Label:
    """The diagnosis under the name that the annotations have for it, else under the packet's own.

    What else the packet calls it is its synonym.
    """
    diagnosis = diagnosis_of(packet)
    own = [part.strip() for part in (diagnosis.label or "").split(";") if part.strip()]
    name, *others = dict.fromkeys([*filter(None, [hpo.disease_names().get(diagnosis.id)]), *(own or [diagnosis.id])])
    said = {part.strip().casefold() for part in name.split(";")} | {diagnosis.id.casefold()}
    return Label(id=diagnosis.id, name=name, synonyms=tuple(o for o in others if o.casefold() not in said))


def _under_one_id(packet: Packet) -> Packet:
    """The packet with one id for a disease that it names under those of several registries."""
    told = [i.diagnosis.disease for i in packet.interpretations or [] if i.diagnosis]
    terms = [term for term in [*told, *(d.term for d in packet.diseases or [])] if term]
    names: dict[str, list[str]] = {}
    for term in terms:
        names.setdefault(term.id, []).extend(filter(None, [term.label, hpo.disease_names().get(term.id)]))
    chosen = one_id_each(names)
    for term in terms:
        term.id = chosen.get(term.id, term.id)
    return packet


def gene_of(packet: Packet) -> Label:
    """The one gene of the variants held to be causative, or, where none is, of those held to contribute."""
    field, expected = "interpretations.diagnosis.genomicInterpretations", "exactly one gene of causative variants"
    absent = _excluded(packet)
    believed = [
        genomic
        for interpretation in packet.interpretations or []
        if (told := interpretation.diagnosis) and not doubt(interpretation)
        if not (told.disease and told.disease.id in absent)
        for genomic in told.genomic_interpretations or []
    ]
    found = _genes(believed, "CAUSATIVE") or _genes(believed, "CONTRIBUTORY")
    if len(found) != 1:
        listed = f"{len(packet.genes)} listed without their part" if packet.genes and not found else ""
        seen = ", ".join(filter(None, [f"{len(found)} genes", listed]))
        raise RowError("two-genes" if found else "no-gene", field, seen, expected)
    ((gene_id, symbol),) = found.items()
    return Label(id=gene_id, name=symbol)


def _genes(variants: list[GenomicInterpretation], status: str) -> dict[str, str]:
    """Id and symbol of the genes of variants: one gene has one id, or one symbol in whatever case."""
    genes = [v.gene_meant for v in variants if v.interpretation_status == status]
    by_symbol: dict[str, tuple[str, str]] = {}
    for gene in sorted((g for g in genes if g and g.value_id and g.symbol), key=lambda g: rank(g.value_id)):
        by_symbol.setdefault(gene.symbol.casefold(), (gene.value_id, gene.symbol))
    return dict(reversed(by_symbol.values()))  # of an id's symbols the first stays


def doubt(interpretation: Interpretation) -> str | None:
    """What speaks against an interpretation's diagnosis being the truth, in the schema's words; None: nothing."""
    if interpretation.progress_status in ("IN_PROGRESS", "UNSOLVED"):
        return interpretation.progress_status
    variants = (interpretation.diagnosis and interpretation.diagnosis.genomic_interpretations) or []
    statuses = {variant.interpretation_status or "" for variant in variants}
    return "/".join(sorted(statuses)) if statuses and statuses <= {"REJECTED", "CANDIDATE"} else None


def diagnosis_of(packet: Packet) -> OntologyClass:
    """The one diagnosis that is held to be true: of the interpretations, else of the diseases.

    A disease that is excluded, or that interpretations name and none holds to be true, is no truth of either.
    """
    named = [(i.diagnosis.disease, doubt(i)) for i in packet.interpretations or [] if i.diagnosis]
    diseases = [(d.term, "excluded" if d.excluded else None) for d in packet.diseases or []]
    excluded = _excluded(packet)
    interpreted = {d.id: d for d, why in named if d and not why and d.id not in excluded}
    doubted = excluded | {d.id for d, why in named if d and why}
    found = interpreted or {term.id: term for term, _ in diseases if term and term.id not in doubted}
    if len(found) == 1:
        return next(iter(found.values()))
    against = sorted({why for term, why in [*named, *diseases] if term and why})
    seen = f"{len(found)} diagnoses" + (f"; not held to be true: {', '.join(against)}" if against else "")
    reason = "two-diagnoses" if found else "no-diagnosis"
    raise RowError(reason, "interpretations, diseases", seen, "exactly one diagnosis")


def _excluded(packet: Packet) -> set[str]:
    """The ids of the diseases that the packet says are not the patient's."""
    return {d.term.id for d in packet.diseases or [] if d.term and d.excluded}


def phenotypes_of(packet: Packet) -> list[Phenotype]:
    """The features under their living terms, each term once; what is observed somewhere is not excluded."""
    field, expected = "phenotypicFeatures", "one observed HPO term or more"
    features = packet.phenotypic_features or []
    if not features:
        raise RowError("no-terms", field, "0 features", expected)
    observed = {f.type.id: False for f in features if not f.absent}
    if not observed:
        raise RowError("no-observed-terms", field, f"{len(features)} excluded features", expected)
    absent = {f.type.id: True for f in features if f.absent and f.type.id not in observed}
    phenotypes = known_phenotypes(observed | absent, {f.type.id: f.type.label for f in features if f.type.label})
    if all(p.excluded for p in phenotypes):
        release = hpo.ontology().release
        raise RowError("unknown-terms", field, f"{len(observed)} observed, none known", f"phenotypes of {release}")
    return phenotypes


def known_phenotypes(excluded: dict[str, bool], labels: Mapping[str, str] | None = None) -> list[Phenotype]:
    """Term ids, each with whether it is excluded, under their living terms.

    Ids that are no phenotypes are left out, and ids that HPO does not know or has no heir of, but for those with a label.
    """
    found: dict[str, Phenotype] = {}
    for term_id, absent in excluded.items():
        for known_id, name in _findings(term_id, (labels or {}).get(term_id)):
            if known_id not in found or not absent:
                found[known_id] = Phenotype(id=known_id, name=name, excluded=absent)
    return list(found.values())


def _findings(term_id: str, label: str | None) -> list[tuple[str, str]]:
    """Ids and names of the findings that an id stands for."""
    living = hpo.ontology().successors(term_id)
    if living:
        return [(term.id, term.name) for term in living if term.id in hpo.ontology().phenotypes]
    return [(term_id, label)] if label and re.fullmatch(r"HP:[0-9]{7}", term_id) else []


def publications_of(packet: Packet) -> list[list[str]]:
    """The papers that a packet names, its own first, each with all of its ids.

    Where neither its meta data nor its id names any, the papers that its findings are taken from.
    """
    references = (packet.meta_data and packet.meta_data.external_references) or []
    evidence = [e.reference for f in packet.phenotypic_features or [] for e in f.evidence or [] if e.reference]
    return _papers(references, packet.id) or _papers(evidence, "")


def _papers(references: Iterable[Reference], case_id: str) -> list[list[str]]:
    return papers([[r.id or "", r.reference or ""] for r in references], case_id)


def sex_of(text: str | None) -> Sex | None:
    """The sex of `FEMALE`, `male`, `OTHER_SEX` ...; unknown and absent are None."""
    word = (text or "").strip().lower().removesuffix("_sex")
    return word if word in ("female", "male", "other") else None


_NUMBER = r"([0-9]+(?:[.,][0-9]+)?)"
_DURATION = re.compile(
    rf"P?(?=[0-9]|T[0-9])(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(?:T(?=[0-9])(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.IGNORECASE,
)
_A_YEAR = (1, 12, DAYS / 7, DAYS, 24 * DAYS, 24 * 60 * DAYS, 24 * 3600 * DAYS)  # in each of the units


def years_of(duration: str | None) -> float | None:
    """An ISO 8601 duration in years (`P4Y6M` and `P4.5Y` are 4.5; `24Y` is taken for P24Y); None where it is none."""
    match = _DURATION.fullmatch((duration or "").strip())
    if not match:
        return None
    parts = [float((part or "0").replace(",", ".")) for part in match.groups()]
    return sum(part / units for part, units in zip(parts, _A_YEAR, strict=True))


def age_of(subject: Subject) -> float | None:
    """Years of the subject when last seen; of a range its middle; None for stages of life and gestational ages.

    Raises:
        RowError: `wrong-field` where nobody can be so old, or was not born yet.
    """
    time, born = subject.time_at_last_encounter, subject.date_of_birth
    if time is None:
        field, ends = "subject.ageAtCollection", [subject.age_at_collection]
        if subject.age_at_collection is None and (bounds := subject.age_range_at_collection):
            field, ends = "subject.ageRangeAtCollection", [bounds.start, bounds.end]
        return _middle(field, [_years(age) for age in ends])
    field = "subject.timeAtLastEncounter"
    if time.age or time.age_range:
        ends = [time.age] if time.age else [cast(Any, time.age_range).start, cast(Any, time.age_range).end]
        return _middle(field, [_years(age) for age in ends])
    interval = [time.interval.start, time.interval.end] if time.interval else []
    return _middle(field, [_since(born, day) for day in (interval or [time.timestamp])])


def _years(age: Age | None) -> float | None:
    return years_of(age.duration) if age else None


def _since(born: date | None, day: date | None) -> float | None:
    return (day - born).days / DAYS if born and day else None


def _middle(field: str, ends: list[float | None]) -> float | None:
    known = [years for years in ends if years is not None]
    age = math.fsum(known) / len(known) if known else None
    if age is not None and not 0 <= age <= MAX_YEARS:
        raise RowError("wrong-field", field, "years out of bounds", f"0 to {MAX_YEARS} years")
    return age
