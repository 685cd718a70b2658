"""GA4GH phenopackets, schema version 2 (https://phenopacket-schema.readthedocs.io/en/2.0.0/), as JSON.

One packet is one case: `case_id` is the packet's id, `group_id` the publication (`PMID:...`, from
`metaData.externalReferences` or from the id), else the packet itself. What is refused, by reason:

| reason              | when                                                                     |
|---------------------|--------------------------------------------------------------------------|
| `unreadable-file`   | the file or member breaks off, is damaged or encrypted                   |
| `no-json`           | the text is no JSON object                                               |
| `missing-field`     | a field without which nothing can be said (`id`, a feature's `type.id`)  |
| `wrong-field`       | a field has another type than the schema says                            |
| `no-terms`          | there are no phenotypic features                                         |
| `no-observed-terms` | every feature is an excluded one                                         |
| `unknown-terms`     | the ontology knows none of the observed terms                            |
| `no-diagnosis`      | neither an interpretation nor a disease names one                        |
| `two-diagnoses`     | they name different ones                                                 |
| `no-gene`           | `label: gene`, and no causative variant names one by HGNC id and symbol  |
| `two-genes`         | `label: gene`, and causative variants name different ones                |

An unknown term beside known ones is left out; an age that is no ISO 8601 duration is none.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from mint_ray import hpo
from mint_ray.corpora.base import Corpus
from mint_ray.corpora.inventory import Inventory
from mint_ray.corpora.reading import Row, field_error, json_object, parsed, place_of, refusal, text_inventory, text_rows
from mint_ray.errors import RowError
from mint_ray.records import Case, Phenotype, Refusal, Sex
from mint_ray.storage import Location
from mint_ray.tasks.base import Label
from mint_ray.tasks.rare_disease import disease_label

if TYPE_CHECKING:
    import ray.data


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
        return parsed(text_rows(self.path), partial(read_packet, label=self.label))


class _Part(BaseModel):
    """A message of the schema: camel case as written, null the same as absent, other fields ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True)


class _OntologyClass(_Part):
    id: str
    label: str | None = None


class _Feature(_Part):
    type: _OntologyClass
    excluded: bool | None = None


class _Age(_Part):
    iso8601duration: str | None = None


class _AgeRange(_Part):
    start: _Age | None = None
    end: _Age | None = None


class _TimeElement(_Part):
    age: _Age | None = None
    age_range: _AgeRange | None = None


class _Subject(_Part):
    sex: str | None = None
    time_at_last_encounter: _TimeElement | None = None


class _Gene(_Part):
    value_id: str | None = None
    symbol: str | None = None


class _VariationDescriptor(_Part):
    gene_context: _Gene | None = None


class _VariantInterpretation(_Part):
    variation_descriptor: _VariationDescriptor | None = None


class _GenomicInterpretation(_Part):
    interpretation_status: str | None = None
    variant_interpretation: _VariantInterpretation | None = None
    gene: _Gene | None = None


class _Diagnosis(_Part):
    disease: _OntologyClass | None = None
    genomic_interpretations: list[_GenomicInterpretation] | None = None


class _Interpretation(_Part):
    progress_status: str | None = None
    diagnosis: _Diagnosis | None = None


class _Disease(_Part):
    term: _OntologyClass | None = None
    excluded: bool | None = None


class _Reference(_Part):
    id: str | None = None


class _MetaData(_Part):
    external_references: list[_Reference] | None = None


class Packet(_Part):
    """What a case takes from a phenopacket."""

    id: str
    subject: _Subject | None = None
    phenotypic_features: list[_Feature] | None = None
    interpretations: list[_Interpretation] | None = None
    diseases: list[_Disease] | None = None
    meta_data: _MetaData | None = None


def read_packet(row: Row, label: Literal["disease", "gene"] = "disease") -> Case | Refusal:
    """A text row to a case under the label that is asked for, or to the reason why it is none."""
    case_id = None
    try:
        packet = _packet(row)
        case_id = packet.id
        named = gene_of(packet) if label == "gene" else disease_of(packet)
        return case_of(packet, named, place_of(row))
    except RowError as error:
        return refusal(row, error, case_id)


def _packet(row: Row) -> Packet:
    try:
        packet = Packet.model_validate(json_object(row))
    except ValidationError as error:
        raise field_error(error) from None
    if not packet.id.strip():
        raise RowError("missing-field", "id", "an empty text", "the packet's id")
    return packet


def case_of(packet: Packet, label: Label, source: str = "") -> Case:
    """The case that a packet describes; raises `RowError` by the reasons above."""
    subject = packet.subject or _Subject()
    return Case(
        case_id=packet.id,
        group_id=publication_of(packet) or packet.id,
        label_id=label.id,
        label_name=label.name,
        phenotypes=phenotypes_of(packet),
        sex=sex_of(subject.sex),
        age_years=age_of(subject.time_at_last_encounter),
        source=source,
    )


def disease_of(packet: Packet) -> Label:
    """The diagnosis under the name that the annotations have for it, else under the packet's own."""
    diagnosis = diagnosis_of(packet)
    known = hpo.disease_names().get(diagnosis.id)
    return Label(id=diagnosis.id, name=known or (diagnosis.label or diagnosis.id).split(";")[0].strip())


def gene_of(packet: Packet) -> Label:
    """The one gene of the variants held to be causative."""
    causal = [
        _gene_of(genomic)
        for interpretation in packet.interpretations or []
        if interpretation.diagnosis and interpretation.progress_status != "UNSOLVED"
        for genomic in interpretation.diagnosis.genomic_interpretations or []
        if genomic.interpretation_status == "CAUSATIVE"
    ]
    found = {gene.value_id: gene.symbol for gene in causal if gene and gene.value_id and gene.symbol}
    field, expected = "interpretations.diagnosis.genomicInterpretations", "exactly one gene of causative variants"
    if len(found) != 1:
        raise RowError("two-genes" if found else "no-gene", field, f"{len(found)} genes", expected)
    ((gene_id, symbol),) = found.items()
    return Label(id=gene_id, name=symbol)


def _gene_of(genomic: _GenomicInterpretation) -> _Gene | None:
    variant = genomic.variant_interpretation and genomic.variant_interpretation.variation_descriptor
    return (variant and variant.gene_context) or genomic.gene


def diagnosis_of(packet: Packet) -> _OntologyClass:
    """The one diagnosis of the interpretations that are not unsolved, else of the diseases not excluded."""
    interpreted = [
        i.diagnosis.disease for i in packet.interpretations or [] if i.diagnosis and i.progress_status != "UNSOLVED"
    ]
    listed = [d.term for d in packet.diseases or [] if not d.excluded]
    found = {d.id: d for d in interpreted if d} or {d.id: d for d in listed if d}
    if not found:
        raise RowError("no-diagnosis", "interpretations, diseases", "0 diagnoses", "exactly one diagnosis")
    if len(found) > 1:
        raise RowError("two-diagnoses", "interpretations, diseases", f"{len(found)} diagnoses", "exactly one diagnosis")
    return next(iter(found.values()))


def phenotypes_of(packet: Packet) -> list[Phenotype]:
    """The features under their living terms, each term once; what is observed somewhere is not excluded."""
    features = packet.phenotypic_features or []
    if not features:
        raise RowError("no-terms", "phenotypicFeatures", "0 features", "one observed HPO term or more")
    observed = {f.type.id: False for f in features if not f.excluded}
    if not observed:
        raise RowError(
            "no-observed-terms",
            "phenotypicFeatures",
            f"{len(features)} excluded features",
            "one observed HPO term or more",
        )
    phenotypes = known_phenotypes(
        observed | {f.type.id: True for f in features if f.excluded and f.type.id not in observed}
    )
    if all(p.excluded for p in phenotypes):
        release = hpo.ontology().release
        raise RowError(
            "unknown-terms", "phenotypicFeatures", f"{len(observed)} observed, none known", f"terms of {release}"
        )
    return phenotypes


def known_phenotypes(excluded: dict[str, bool]) -> list[Phenotype]:
    """Term ids, each with whether it is excluded, under their living terms; ids that have none are left out."""
    found: dict[str, Phenotype] = {}
    for term_id, absent in excluded.items():
        term = hpo.ontology().resolve(term_id)
        if term and (term.id not in found or not absent):
            found[term.id] = Phenotype(id=term.id, name=term.name, excluded=absent)
    return list(found.values())


_PMID = re.compile(r"PMID[:_](\d+)", re.IGNORECASE)


def publication_of(packet: Packet) -> str | None:
    """`PMID:<number>` of the packet's first publication, if it names one."""
    references = (packet.meta_data and packet.meta_data.external_references) or []
    for text in [*(reference.id or "" for reference in references), packet.id]:
        if match := _PMID.match(text):
            return f"PMID:{match[1]}"
    return None


def sex_of(text: str | None) -> Sex | None:
    """The sex of `FEMALE`, `male`, `OTHER_SEX` ...; unknown and absent are None."""
    word = (text or "").strip().lower().removesuffix("_sex")
    return word if word in ("female", "male", "other") else None


_DURATION = re.compile(r"P?(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T.*)?", re.IGNORECASE)


def years_of(duration: str | None) -> float | None:
    """An ISO 8601 duration in years (`P4Y6M` is 4.5; `24Y` is taken for P24Y); None where it is none."""
    match = _DURATION.fullmatch((duration or "").strip())
    if not match:
        return None
    years, months, weeks, days = (int(part or 0) for part in match.groups())
    return years + months / 12 + (7 * weeks + days) / 365.25


def age_of(time: _TimeElement | None) -> float | None:
    """Years at a point of time; of a range its middle; None for stages of life and gestational ages."""
    if time is None:
        return None
    if time.age:
        return years_of(time.age.iso8601duration)
    bounds = [time.age_range.start, time.age_range.end] if time.age_range else []
    years = [y for bound in bounds if bound and (y := years_of(bound.iso8601duration)) is not None]
    return sum(years) / len(years) if years else None


KIND = Phenopackets
