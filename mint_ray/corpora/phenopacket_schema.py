"""GA4GH phenopackets, schemas 1.0 and 2.0, as far as a case needs them, from JSON as protobuf writes and reads it.

Names may stand in camel or snake case, enumerations by name or number, numbers for texts (YAML has ids without
quotes); null is absent, and other fields are ignored. No name means one thing in 1.0 and another in 2.0, so each
field is read by its name, whichever version the packet says it is of:

| what                 | 1.0                                        | 2.0                                            |
|----------------------|--------------------------------------------|------------------------------------------------|
| a finding is absent  | `negated`                                  | `excluded`                                     |
| the subject's age    | `ageAtCollection`, `ageRangeAtCollection`  | `timeAtLastEncounter`                          |
| a duration           | `age`                                      | `iso8601duration`                              |
| the diagnosis        | `diseases`, or an Interpretation around    | `interpretations`, `diseases`                  |
| a disease is absent  |                                            | `diseases.excluded`                            |
| status of a variant  | `status`                                   | `interpretationStatus`                         |
| a gene               | `id`, `symbol`                             | `valueId`, `symbol`                            |

Messages: Phenopacket; Family, read as its proband; Cohort, whose members are packets; the Interpretation of 1.0,
read as the packet (or family) that it is about, with its diagnosis. Others are refused as `other-message`.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from mint_ray.corpora.label_ids import written
from mint_ray.corpora.reading import field_error
from mint_ray.errors import RowError
from mint_ray.records import MAX_CHARACTERS, Id, Line

_CURIE = re.compile(r"(?:\S*/)?([A-Za-z]+)\s*[:_]\s*(\S+)")
_ACCESSION = 7  # digits of HPO's numbers, of which a spreadsheet drops the zeros in front


def curie(text: str) -> str:
    """An id of HPO or of a registry in one spelling: `hp:0001250`, `HP_0001250`, `OMIM: 147920`, `.../Orphanet_15`."""
    match = _CURIE.fullmatch(text.strip())
    prefix, number = match.groups() if match else ("", "")
    if prefix.upper() == "HP":
        return f"HP:{number.zfill(_ACCESSION) if number.isdecimal() else number}"
    for spelt in (text.strip(), f"{prefix}:{number}"):
        registry, one = written(spelt)
        if registry:
            return one
    return text.strip()


def _enum(*names: str) -> AfterValidator:
    """One of the names, in whatever case, or its number."""

    def named(text: str) -> str:
        word = text.strip().upper()
        if word in names:
            return word
        if re.fullmatch(r"[0-9]{1,2}", word) and int(word) < len(names):
            return names[int(word)]
        raise PydanticCustomError("enum", "one of {names}", {"names": ", ".join(names)})

    return AfterValidator(named)


def _day(value: Any) -> Any:
    """The day of a timestamp (RFC 3339), or of a date that YAML has read already."""
    if value is None or isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    match = re.match(r"(\d{4})-(\d\d)-(\d\d)(?:[T ]|$)", value) if isinstance(value, str) else None
    try:
        return date(*map(int, match.groups())) if match else _no_day()
    except ValueError:
        return _no_day()


def _no_day() -> None:
    raise PydanticCustomError("timestamp", "a timestamp such as 2024-05-17T00:00:00Z")


def _blank_as_none(value: Any) -> Any:
    """Protobuf writes the default of a text, which is absent, as an empty one."""
    return None if isinstance(value, str) and not value.strip() else value


Sex = Annotated[str, _enum("UNKNOWN_SEX", "FEMALE", "MALE", "OTHER_SEX")]
Progress = Annotated[str, _enum("UNKNOWN_PROGRESS", "IN_PROGRESS", "COMPLETED", "SOLVED", "UNSOLVED")]
Status = Annotated[str, _enum("UNKNOWN_STATUS", "REJECTED", "CANDIDATE", "CONTRIBUTORY", "CAUSATIVE")]
Status1 = Annotated[str, _enum("UNKNOWN", "REJECTED", "CANDIDATE", "CAUSATIVE")]
Resolution1 = Annotated[str, _enum("UNKNOWN", "SOLVED", "UNSOLVED", "IN_PROGRESS")]
Day = Annotated[date | None, BeforeValidator(_day)]
GeneId = Annotated[Annotated[Id, AfterValidator(curie)] | None, BeforeValidator(_blank_as_none)]


class Part(BaseModel):
    """A message of either schema."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class OntologyClass(Part):
    id: Annotated[Id, AfterValidator(curie)]
    label: Line | None = None


class Reference(Part):
    id: str | None = None
    reference: str | None = None


class Evidence(Part):
    reference: Reference | None = None


class Feature(Part):
    type: OntologyClass
    excluded: bool | None = None
    negated: bool | None = None
    evidence: list[Evidence] | None = None

    @property
    def absent(self) -> bool:
        return bool(self.excluded or self.negated)


class Age(Part):
    iso8601duration: str | None = None
    age: str | None = None

    @property
    def duration(self) -> str | None:
        return self.iso8601duration or self.age


class AgeRange(Part):
    start: Age | None = None
    end: Age | None = None


class Interval(Part):
    start: Day = None
    end: Day = None


class TimeElement(Part):
    age: Age | None = None
    age_range: AgeRange | None = None
    timestamp: Day = None
    interval: Interval | None = None


class Taxonomy(Part):
    id: str | None = None


class Subject(Part):
    sex: Sex | None = None
    taxonomy: Taxonomy | None = None
    date_of_birth: Day = None
    time_at_last_encounter: TimeElement | None = None
    age_at_collection: Age | None = None
    age_range_at_collection: AgeRange | None = None


class Gene(Part):
    value_id: GeneId = None
    symbol: Line | None = None


class VariationDescriptor(Part):
    gene_context: Gene | None = None


class VariantInterpretation(Part):
    variation_descriptor: VariationDescriptor | None = None


class GenomicInterpretation(Part):
    interpretation_status: Status | None = None
    variant_interpretation: VariantInterpretation | None = None
    gene: Gene | None = None

    @property
    def gene_meant(self) -> Gene | None:
        variant = self.variant_interpretation and self.variant_interpretation.variation_descriptor
        return (variant and variant.gene_context) or self.gene


class Diagnosis(Part):
    disease: OntologyClass | None = None
    genomic_interpretations: list[GenomicInterpretation] | None = None


class Interpretation(Part):
    progress_status: Progress | None = None
    diagnosis: Diagnosis | None = None


class Disease(Part):
    term: OntologyClass | None = None
    excluded: bool | None = None


class MetaData(Part):
    phenopacket_schema_version: str | None = None
    external_references: list[Reference] | None = None


class Gene1(Part):
    id: GeneId = None
    symbol: Line | None = None


class GenomicInterpretation1(Part):
    status: Status1 | None = None
    gene: Gene1 | None = None


class Diagnosis1(Part):
    disease: Disease | None = None
    genomic_interpretations: list[GenomicInterpretation1] | None = None


class Interpretation1(Part):
    """The Interpretation of schema 1.0, less the packet that it is about."""

    resolution_status: Resolution1 | None = None
    diagnosis: list[Diagnosis1] | None = None

    def upgraded(self) -> list[Interpretation]:
        """The same as schema 2.0 has it, one interpretation a diagnosis."""
        return [
            Interpretation(
                progress_status=_known(self.resolution_status),
                diagnosis=Diagnosis(
                    disease=diagnosis.disease and diagnosis.disease.term,
                    genomic_interpretations=[_upgraded(g) for g in diagnosis.genomic_interpretations or []],
                ),
            )
            for diagnosis in self.diagnosis or []
        ]


def _known(word: str | None) -> str | None:
    return None if word == "UNKNOWN" else word


def _upgraded(genomic: GenomicInterpretation1) -> GenomicInterpretation:
    gene = genomic.gene and Gene(value_id=genomic.gene.id, symbol=genomic.gene.symbol)
    return GenomicInterpretation(interpretation_status=_known(genomic.status), gene=gene)


class Packet(Part):
    """What a case takes from a phenopacket. `genes` are those of schema 1.0, which says nothing of their part."""

    id: Id
    subject: Subject | None = None
    phenotypic_features: list[Feature] | None = None
    interpretations: list[Interpretation] | None = None
    diseases: list[Disease] | None = None
    genes: list[Gene1] | None = None
    meta_data: MetaData | None = None


Document = dict[str, Any]

_AROUND = ("phenopacket", "family", "proband")  # in an Interpretation of 1.0 the first two, in a Family the last
_OTHER = {
    "members": "a Cohort",
    "proband": "a Family",
    "relatives": "a Family",
    "phenopacket": "an Interpretation",
    "family": "an Interpretation",
    "resolutionStatus": "an Interpretation",
    "progressStatus": "an Interpretation",
    "diagnosis": "an Interpretation",
    "individualId": "a Biosample",
    "persons": "a Pedigree",
    "resourceType": "a resource of FHIR",
    "analysis": "a job of Exomiser without a packet in it",
}
_OF_A_PACKET = ("subject", "phenotypicFeatures", "interpretations", "diseases", "metaData")


_MESSAGES = "a Phenopacket, a Family or the members of a Cohort"


def members_of(document: Document) -> list[Any]:
    """The packets of a Cohort, each of the cohort's version and publication where it names none; else nothing."""
    members = document.get("members")
    return [_within(document, member) for member in members] if isinstance(members, list) else []


def packet_of(document: Any) -> Packet:
    """The packet that a message is, or is about.

    Raises:
        RowError: `other-message`, `other-version`, `missing-field` or `wrong-field`.
    """
    if not isinstance(document, dict):
        raise RowError("wrong-field", "members", type(document).__name__, "a Phenopacket")
    message, path, interpretations = _camel(document), "", []
    try:
        while around := next((name for name in _AROUND if isinstance(message.get(name), dict)), None):
            if around != "proband":
                interpretations = Interpretation1.model_validate(message).upgraded()
            part = _camel(_within(message, message[around]))
            message, path = part | {"id": part.get("id") or message.get("id")}, f"{path}{around}."
        _check_message(message)
        packet = Packet.model_validate(message)
    except ValidationError as error:
        raise _below(path, field_error(error)) from None
    _check_version(packet, path)
    return packet.model_copy(update={"interpretations": [*interpretations, *(packet.interpretations or [])]})


def _camel(message: Document) -> Document:
    return {_name(str(name)): value for name, value in message.items()}


def _name(field: str) -> str:
    """A field's name in camel case; what is longer than any stays: the time of `to_camel` grows with its square."""
    return to_camel(field) if len(field) <= MAX_CHARACTERS else field


def _within(message: Document, part: Any) -> Any:
    """A part of a message, with what the message's meta data say where the part's own say nothing."""
    if not isinstance(part, dict):
        return part
    outer, inner = (m if isinstance(m := _camel(d).get("metaData"), dict) else {} for d in (message, part))
    own = {name: value for name, value in _camel(inner).items() if value}
    return {**_camel(part), "metaData": {**_camel(outer), **own}} if outer else part


def _below(path: str, error: RowError) -> RowError:
    return RowError(error.reason, path + error.field, error.seen, error.expected)


def _check_message(message: Document) -> None:
    for name, kind in _OTHER.items():
        if message.get(name) is not None:
            raise RowError("other-message", name, kind, _MESSAGES)
    if message.get("phenotypes") is not None and message.get("phenotypicFeatures") is None:
        raise RowError("other-version", "phenotypes", "a field of drafts before schema 1.0", "phenotypicFeatures")
    if not any(name in message for name in _OF_A_PACKET):
        raise RowError("other-message", "row", "an object without any field of a Phenopacket but id", _MESSAGES)


def _check_version(packet: Packet, path: str) -> None:
    version = packet.meta_data and packet.meta_data.phenopacket_schema_version
    major = re.search(r"[0-9]{1,9}", version or "")
    if major and int(major[0]) not in (1, 2):
        field = f"{path}metaData.phenopacketSchemaVersion"
        raise RowError("other-version", field, f"schema {int(major[0])}", "schema 1.0 or 2.0, or none")
