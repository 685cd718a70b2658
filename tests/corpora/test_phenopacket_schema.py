"""Every field of schemas 1.0 and 2.0 that a case is made of: right, absent, null, of another type, spelt otherwise.

Names, types and enumerations are those of the published protobuf files. Patients are invented.
"""

import copy
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mint_ray.corpora.base import outcome_table
from mint_ray.corpora.phenopackets import case_of, read_message, read_packet
from mint_ray.records import MAX_CHARACTERS, MAX_YEARS, Case, Refusal

KABUKI = {"id": "OMIM:147920", "label": "Niikawa syndrome"}
KMT2D = {"valueId": "HGNC:7133", "symbol": "KMT2D"}
NEW = "HP:9999999"


def meta(version: str) -> dict:
    """Meta data as protobuf prints them."""
    references = [{"id": "DOI:10.1000/One", "reference": "https://pubmed.ncbi.nlm.nih.gov/77/", "description": "title"}]
    return {"created": "2026-01-01T00:00:00Z", "phenopacketSchemaVersion": version, "externalReferences": references}


ONE = {
    "id": "one",
    "subject": {
        "id": "s",
        "dateOfBirth": "2015-05-17T00:00:00Z",
        "ageAtCollection": {"age": "P9Y"},
        "sex": "FEMALE",
        "taxonomy": {"id": "NCBITaxon:9606", "label": "Homo sapiens"},
    },
    "phenotypicFeatures": [
        {"type": {"id": NEW, "label": "A new finding"}, "ageOfOnset": {"age": "P1Y"}},
        {"type": {"id": "HP:0000252"}, "negated": True, "classOfOnset": {"id": "HP:0003577"}},
        {"type": {"id": "HP:0001250"}},
    ],
    "genes": [{"id": "HGNC:7133", "symbol": "KMT2D"}],
    "variants": [{"hgvsAllele": {"hgvs": "NM_003482.3:c.1A>T"}}],
    "diseases": [{"term": KABUKI, "ageOfOnset": {"age": "P1Y"}}],
    "htsFiles": [{"uri": "file://a.vcf", "htsFormat": "VCF"}],
    "metaData": meta("1.0.0"),
}
ONE_RANGE = ONE | {"subject": {"ageRangeAtCollection": {"start": {"age": "P8Y"}, "end": {"age": "P10Y"}}}}
ONE_SOLVED = {
    "id": "i",
    "resolutionStatus": "SOLVED",
    "phenopacket": {name: value for name, value in ONE.items() if name != "diseases"},
    "diagnosis": [
        {
            "disease": {"term": KABUKI},
            "genomicInterpretations": [{"status": "CAUSATIVE", "gene": {"id": "HGNC:7133", "symbol": "KMT2D"}}],
        }
    ],
    "metaData": meta("1.0.0"),
}
VARIANT = {"variationDescriptor": {"id": "v", "geneContext": KMT2D}}
GENOMIC = {"subjectOrBiosampleId": "s", "interpretationStatus": "CAUSATIVE", "variantInterpretation": VARIANT}
TWO = {
    "id": "two",
    "subject": {"id": "s", "timeAtLastEncounter": {"age": {"iso8601duration": "P9Y"}}, "sex": "FEMALE"},
    "phenotypicFeatures": [
        {"type": {"id": NEW, "label": "A new finding"}, "onset": {"age": {"iso8601duration": "P1Y"}}},
        {"type": {"id": "HP:0000252"}, "excluded": True},
        {"type": {"id": "HP:0001250"}},
    ],
    "interpretations": [
        {"id": "i", "progressStatus": "SOLVED", "diagnosis": {"disease": KABUKI, "genomicInterpretations": [GENOMIC]}}
    ],
    "metaData": meta("2.0.2"),
}


def two(**subject) -> dict:
    """A packet of 2.0 with another subject."""
    return TWO | {"subject": subject}


TWO_RANGE = two(
    timeAtLastEncounter={"ageRange": {"start": {"iso8601duration": "P8Y"}, "end": {"iso8601duration": "P10Y"}}}
)
TWO_DATES = two(dateOfBirth="2015-01-01T00:00:00Z", timeAtLastEncounter={"timestamp": "2024-01-01T12:00:00.000000100Z"})
INTERVAL = {"start": "2023-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
TWO_INTERVAL = two(dateOfBirth="2015-01-01T00:00:00Z", timeAtLastEncounter={"interval": INTERVAL})
TWO_DISEASES = {name: value for name, value in TWO.items() if name != "interpretations"} | {
    "diseases": [{"term": KABUKI}, {"term": {"id": "OMIM:163950"}, "excluded": True}]
}
TWO_GENE = copy.deepcopy(TWO)
TWO_GENE["interpretations"][0]["diagnosis"]["genomicInterpretations"] = [
    {"interpretationStatus": "CONTRIBUTORY", "gene": KMT2D}
]
MESSAGES = [ONE, ONE_RANGE, ONE_SOLVED, TWO, TWO_RANGE, TWO_DATES, TWO_INTERVAL, TWO_DISEASES, TWO_GENE]


def read(message: Any, label: str = "disease") -> Case | Refusal:
    return read_packet({"source": "f.json", "row": None, "text": json.dumps(message).encode(), "problem": None}, label)


def findings(case: Case) -> dict[str, bool]:
    return {p.id: p.excluded for p in case.phenotypes}


def age(case: Case) -> float | None:
    return None if case.age_years is None else round(case.age_years, 1)


def names(case: Case) -> list[str]:
    return [case.label_name, *case.label_synonyms]


def new_name(case: Case) -> str | None:
    return next((p.name for p in case.phenotypes if p.id == NEW), None)


class Field(NamedTuple):
    """A field of a message, what is read of it, and what where it is absent: a value, or the reason of a refusal."""

    message: dict
    path: str
    told: Callable[[Case], Any]
    right: Any
    absent: Any
    wrong: tuple = ()  # of the right type, and wrong all the same
    label: str = "disease"


class Refused(str):
    """The reason of a refusal."""


MISSING, NO_TERMS = Refused("missing-field"), Refused("no-terms")
NO_DIAGNOSIS, NO_GENE = Refused("no-diagnosis"), Refused("no-gene")
ALL = {NEW: False, "HP:0000252": True, "HP:0001250": False}
OBSERVED = {NEW: False, "HP:0000252": False, "HP:0001250": False}
NAMES = ["Kabuki Syndrome 1", "Niikawa syndrome"]
LINES = ("\ud800", "a\0b", "x" * (MAX_CHARACTERS + 1))
PAPER = "interpretations.0.diagnosis"
FIRST = f"{PAPER}.genomicInterpretations.0"
IN_ONE = "diagnosis.0.genomicInterpretations.0"
LAST = "subject.timeAtLastEncounter"


def case_id(case: Case) -> str:
    return case.case_id


def group(case: Case) -> str:
    return case.group_id


def label_id(case: Case) -> str:
    return case.label_id


def sex(case: Case) -> str | None:
    return case.sex


def gene(case: Case) -> tuple:
    return case.label_id, case.label_name


HGNC = ("HGNC:7133", "KMT2D")
BOTH = [
    field
    for message, name in [(ONE, "one"), (TWO, "two")]
    for field in [
        Field(message, "id", case_id, name, MISSING, LINES),
        Field(message, "subject", sex, "female", None),
        Field(message, "subject.sex", sex, "female", None, ("F", "9", "-1")),
        Field(message, "phenotypicFeatures", findings, ALL, NO_TERMS),
        Field(message, "phenotypicFeatures.0.type", findings, ALL, MISSING),
        Field(message, "phenotypicFeatures.0.type.id", findings, ALL, MISSING, LINES),
        Field(message, "phenotypicFeatures.0.type.label", new_name, "A new finding", None, LINES),
        Field(message, "metaData", group, "PMID:77", name),
        Field(message, "metaData.externalReferences", group, "PMID:77", name),
        Field(message, "metaData.externalReferences.0.reference", group, "PMID:77", "DOI:10.1000/one"),
        Field(message, "metaData.externalReferences.0.id", group, "PMID:77", "PMID:77"),
        Field(message, "metaData.phenopacketSchemaVersion", case_id, name, name),
    ]
]
FIELDS = [
    *BOTH,
    Field(ONE, "subject.taxonomy", sex, "female", "female"),
    Field(ONE, "subject.taxonomy.id", sex, "female", "female"),
    Field(ONE, "subject.ageAtCollection", age, 9, None),
    Field(ONE, "subject.ageAtCollection.age", age, 9, None),
    Field(ONE_RANGE, "subject.ageRangeAtCollection", age, 9, None),
    Field(ONE_RANGE, "subject.ageRangeAtCollection.start", age, 9, 10),
    Field(ONE_RANGE, "subject.ageRangeAtCollection.end", age, 9, 8),
    Field(ONE_RANGE, "subject.ageRangeAtCollection.start.age", age, 9, 10),
    Field(ONE, "phenotypicFeatures.1.negated", findings, ALL, OBSERVED, ("maybe", 2)),
    Field(ONE, "diseases", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(ONE, "diseases.0.term", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(ONE, "diseases.0.term.id", label_id, "OMIM:147920", MISSING, LINES),
    Field(ONE, "diseases.0.term.label", names, NAMES, NAMES[:1], LINES),
    Field(ONE_SOLVED, "resolutionStatus", label_id, "OMIM:147920", "OMIM:147920", ("COMPLETED", "4")),
    Field(ONE_SOLVED, "diagnosis", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(ONE_SOLVED, "diagnosis.0.disease", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(ONE_SOLVED, "diagnosis.0.disease.term", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(ONE_SOLVED, "diagnosis.0.disease.term.id", label_id, "OMIM:147920", MISSING, LINES),
    Field(ONE_SOLVED, f"{IN_ONE}.status", gene, HGNC, NO_GENE, ("CONTRIBUTORY", "4"), "gene"),
    Field(ONE_SOLVED, f"{IN_ONE}.gene", gene, HGNC, NO_GENE, (), "gene"),
    Field(ONE_SOLVED, f"{IN_ONE}.gene.id", gene, HGNC, NO_GENE, (), "gene"),
    Field(ONE_SOLVED, f"{IN_ONE}.gene.symbol", gene, HGNC, NO_GENE, LINES, "gene"),
    Field(TWO, LAST, age, 9, None),
    Field(TWO, f"{LAST}.age", age, 9, None),
    Field(TWO, f"{LAST}.age.iso8601duration", age, 9, None),
    Field(TWO_RANGE, f"{LAST}.ageRange", age, 9, None),
    Field(TWO_RANGE, f"{LAST}.ageRange.start", age, 9, 10),
    Field(TWO_RANGE, f"{LAST}.ageRange.end.iso8601duration", age, 9, 8),
    Field(TWO_DATES, "subject.dateOfBirth", age, 9, None, ("yesterday", "2015-13-01T00:00:00Z", "2015-01-011")),
    Field(TWO_DATES, f"{LAST}.timestamp", age, 9, None, ("yesterday", "2024-02-30T00:00:00Z")),
    Field(TWO_INTERVAL, f"{LAST}.interval", age, 9, None),
    Field(TWO_INTERVAL, f"{LAST}.interval.start", age, 9, 10, ("yesterday",)),
    Field(TWO_INTERVAL, f"{LAST}.interval.end", age, 9, 8, ("yesterday",)),
    Field(TWO, "phenotypicFeatures.1.excluded", findings, ALL, OBSERVED, ("maybe", 2)),
    Field(TWO_DISEASES, "diseases", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(TWO_DISEASES, "diseases.0.term", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(TWO_DISEASES, "diseases.1.excluded", label_id, "OMIM:147920", Refused("two-diagnoses"), ("maybe", 2)),
    Field(TWO, "interpretations", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(TWO, "interpretations.0.progressStatus", label_id, "OMIM:147920", "OMIM:147920", ("DONE", "5")),
    Field(TWO, PAPER, label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(TWO, f"{PAPER}.disease", label_id, "OMIM:147920", NO_DIAGNOSIS),
    Field(TWO, f"{PAPER}.disease.id", label_id, "OMIM:147920", MISSING, LINES),
    Field(TWO, f"{PAPER}.disease.label", names, NAMES, NAMES[:1], LINES),
    Field(TWO, f"{PAPER}.genomicInterpretations", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO, f"{FIRST}.interpretationStatus", gene, HGNC, NO_GENE, ("SURE", "5"), "gene"),
    Field(TWO, f"{FIRST}.variantInterpretation", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO, f"{FIRST}.variantInterpretation.variationDescriptor", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO, f"{FIRST}.variantInterpretation.variationDescriptor.geneContext", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO_GENE, f"{FIRST}.gene", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO_GENE, f"{FIRST}.gene.valueId", gene, HGNC, NO_GENE, (), "gene"),
    Field(TWO_GENE, f"{FIRST}.gene.symbol", gene, HGNC, NO_GENE, LINES, "gene"),
]
ABSENT = object()


def changed(message: dict, path: str, value: Any) -> dict:
    """The message with another value at a path, or with nothing there."""
    whole = copy.deepcopy(message)
    *above, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    inner: Any = whole
    for step in above:
        inner = inner[step]
    if value is ABSENT:
        del inner[last]
    else:
        assert last in inner if isinstance(inner, dict) else True
        inner[last] = value
    return whole


def at(message: dict, path: str) -> Any:
    for step in path.split("."):
        message = message[int(step) if step.isdecimal() else step]
    return message


def in_snake_case(value: Any) -> Any:
    if isinstance(value, list):
        return [in_snake_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower(): in_snake_case(item) for name, item in value.items()}


def told(field: Field, message: dict) -> Any:
    outcome = read(message, field.label)
    return Refused(outcome.reason) if isinstance(outcome, Refusal) else field.told(outcome)


each_field = pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.message['id']}-{field.path}")


@each_field
def test_a_field_is_read_in_either_spelling(field):
    assert told(field, field.message) == field.right
    assert told(field, in_snake_case(field.message)) == field.right
    assert in_snake_case(field.message) != field.message


@each_field
def test_a_field_that_is_absent_or_null_is_read_as_such(field):
    assert told(field, changed(field.message, field.path, ABSENT)) == field.absent
    null = told(field, changed(field.message, field.path, None))
    # A required part that is null is of another type; what is printed for it is the type.
    assert null == field.absent or (field.absent, null) == (MISSING, "wrong-field")


@each_field
def test_a_field_of_another_type_is_refused_by_its_name(field):
    right = at(field.message, field.path)
    others = [v for v in ([], {}, [[]], "text", True, 7) if type(v) is not type(right)]
    if isinstance(right, bool):
        others = [[], {}, "text", 7]
    if isinstance(right, str):
        others.remove(7)  # a number where a text stands is that text: YAML has such ids
    for value in [*others, *field.wrong]:
        refusal = read(changed(field.message, field.path, value), field.label)
        assert isinstance(refusal, Refusal), value
        assert refusal.reason == "wrong-field", (value, refusal.seen)
        assert refusal.field.startswith((field.path, f"phenopacket.{field.path}")), (value, refusal.field)
        refusal.model_dump_json().encode()


VERSIONS = ["1.0.0", "1.0.0-RC3", "v1.0", "2", "2.0", 2.0, "2.0.2", "", None, "latest"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_is_read_by_its_name_whatever_version_the_packet_says_it_is_of(version):
    for message in MESSAGES:
        path = "phenopacket.metaData" if message is ONE_SOLVED else "metaData"
        assert read(changed(message, f"{path}.phenopacketSchemaVersion", version)) == read(message)


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
@pytest.mark.parametrize("version", ["3.0", "0.4.0", 3, "2021-03", "12"])
def test_another_version_is_refused_as_such(message, version):
    path = (
        "phenopacket.metaData.phenopacketSchemaVersion"
        if message is ONE_SOLVED
        else "metaData.phenopacketSchemaVersion"
    )
    refusal = read(changed(message, path, version))
    assert (refusal.reason, refusal.field) == ("other-version", path)


NAMES_OF = {
    "sex": ["UNKNOWN_SEX", "FEMALE", "MALE", "OTHER_SEX"],
    "progressStatus": ["UNKNOWN_PROGRESS", "IN_PROGRESS", "COMPLETED", "SOLVED", "UNSOLVED"],
    "interpretationStatus": ["UNKNOWN_STATUS", "REJECTED", "CANDIDATE", "CONTRIBUTORY", "CAUSATIVE"],
    "resolutionStatus": ["UNKNOWN", "SOLVED", "UNSOLVED", "IN_PROGRESS"],
    "status": ["UNKNOWN", "REJECTED", "CANDIDATE", "CAUSATIVE"],
}


def test_a_packet_of_a_draft_is_refused_as_another_version():
    draft = {"id": "d", "subject": {"id": "s"}, "phenotypes": TWO["phenotypicFeatures"], "diseases": [{"term": KABUKI}]}
    refusal = read(draft)
    assert (refusal.reason, refusal.field) == ("other-version", "phenotypes")


@pytest.mark.parametrize(
    ("message", "path", "under"),
    [
        (TWO, "interpretations.0.progressStatus", ["dg", "", "dg", "dg", ""]),
        (TWO, f"{FIRST}.interpretationStatus", ["d", "", "", "dg", "dg"]),
        (ONE_SOLVED, "resolutionStatus", ["dg", "dg", "", ""]),
        (ONE_SOLVED, f"{IN_ONE}.status", ["d", "", "", "dg"]),
    ],
)
def test_a_status_is_read_by_name_in_any_case_and_by_number(message, path, under):
    """`under` says, in the order of the numbers, whether a disease and whether a gene is read under each."""
    for number, (name, expected) in enumerate(zip(NAMES_OF[path.rpartition(".")[2]], under, strict=True)):
        for value in (name, name.lower(), number, str(number)):
            message = changed(message, path, value)
            found = [label[0] for label in ("disease", "gene") if isinstance(read(message, label), Case)]
            assert "".join(found) == expected, value


@pytest.mark.parametrize("message", [ONE, TWO])
def test_the_sex_is_read_by_name_in_any_case_and_by_number(message):
    for number, (name, expected) in enumerate(zip(NAMES_OF["sex"], [None, "female", "male", "other"], strict=True)):
        for value in (name, name.lower(), number, str(number)):
            assert read(changed(message, "subject.sex", value)).sex == expected


def within_a_family(packet: dict) -> dict:
    relative = packet | {"id": "mother"}
    return {"id": "f", "proband": packet, "relatives": [relative], "pedigree": {"persons": []}, "metaData": meta("2.0")}


@pytest.mark.parametrize("packet", [ONE, TWO], ids=["1.0", "2.0"])
def test_of_a_family_the_proband_is_read_and_nobody_else(packet):
    family = within_a_family(packet)
    assert read(family) == read(packet)
    assert read(in_snake_case(family)) == read(packet)
    refusal = read(within_a_family(packet | {"phenotypicFeatures": [{"type": {}}]}))
    assert (refusal.reason, refusal.field) == ("missing-field", "proband.phenotypicFeatures.0.type.id")


@pytest.mark.parametrize("blank", [ABSENT, None, ""])
def test_a_proband_without_id_or_meta_data_has_those_of_the_family(blank):
    packet = changed(changed(TWO, "metaData", ABSENT), "id", blank)
    case = read(within_a_family(packet))
    assert (case.case_id, case.group_id) == ("f", "PMID:77")
    old = read(within_a_family(packet) | {"metaData": meta("0.1")})
    assert old.reason == "other-version"


@pytest.mark.parametrize("within", ["phenopacket", "family"])
def test_an_interpretation_of_1_0_is_read_as_the_packet_or_family_that_it_is_about(within):
    about = ONE if within == "phenopacket" else within_a_family(ONE)
    message = {name: value for name, value in ONE_SOLVED.items() if name != "phenopacket"} | {within: about}
    assert read(message) == read(ONE)
    assert read(message, "gene").label_id == "HGNC:7133"
    assert read(message | {"resolutionStatus": "UNSOLVED"}).reason == "no-diagnosis"
    assert read(message | {"resolutionStatus": 3}).reason == "no-diagnosis"


@pytest.mark.parametrize("within", ["phenopacket", "family"])
def test_a_job_of_exomiser_is_read_as_the_packet_or_family_in_it(within):
    job = {within: ONE if within == "phenopacket" else within_a_family(ONE), "analysis": {"analysisMode": "PASS_ONLY"}}
    assert read(job) == read(ONE)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"id": "c", "members": []}, "members"),
        ({"id": "c", "members": [ONE]}, "members"),  # which a corpus takes apart before
        ({"id": "f", "relatives": [TWO], "pedigree": {"persons": []}}, "relatives"),
        ({"id": "f", "proband": 7}, "proband"),
        ({"id": "i", "progressStatus": "SOLVED", "diagnosis": {"disease": KABUKI}}, "progressStatus"),
        ({"id": "i", "resolution_status": "SOLVED", "diagnosis": []}, "resolutionStatus"),
        ({"id": "i", "diagnosis": []}, "diagnosis"),
        ({"id": "b", "individualId": "s", "phenotypicFeatures": TWO["phenotypicFeatures"]}, "individualId"),
        ({"persons": []}, "persons"),
        ({"resourceType": "Patient", "id": "p"}, "resourceType"),
        ({"analysis": {"hpoIds": ["HP:0001250"]}, "outputOptions": {}}, "analysis"),
        (
            {"id": "i", "sex": "MALE", "timeAtLastEncounter": {"age": {"iso8601duration": "P3Y"}}},
            "row",
        ),  # an Individual
        ({"site_name": "docs", "nav": []}, "row"),
        ({}, "row"),
    ],
)
def test_another_message_is_refused_as_what_it_is(message, field):
    refusal = read(message)
    assert (refusal.reason, refusal.field) == ("other-message", field)
    assert refusal.seen.startswith(("a ", "an "))


def outcomes(message: Any, row: int | None = None) -> list[Case | Refusal]:
    return read_message({"source": "f.json", "row": row, "text": json.dumps(message).encode(), "problem": None})


def test_each_member_of_a_cohort_is_a_case_or_a_refusal_in_its_own_place():
    bare = changed(TWO, "metaData", ABSENT)
    message = {"id": "c", "members": [ONE, bare, {"subject": {}}, 7, None], "metaData": meta("2.0")}
    first, second, *others = outcomes(message, row=3)
    assert (first.case_id, first.source) == ("one", "f.json!members[0]:3")
    assert (second.case_id, second.group_id) == ("two", "PMID:77")  # the publication of the cohort
    assert [(r.reason, r.source, r.row) for r in others] == [
        ("missing-field", "f.json!members[2]", 3),
        ("wrong-field", "f.json!members[3]", 3),
        ("wrong-field", "f.json!members[4]", 3),
    ]
    assert outcomes(in_snake_case(message), row=3)[:2] == [first, second]


def test_a_member_that_the_reader_falls_over_costs_no_other(monkeypatch):
    def odd(packet, *rest):
        if packet.id == "two":
            raise KeyError("of a patient")
        return case_of(packet, *rest)

    monkeypatch.setattr("mint_ray.corpora.phenopackets.case_of", odd)
    first, second, third = outcomes({"id": "c", "members": [ONE, TWO, ONE], "metaData": meta("2.0")})
    assert (first.case_id, third.case_id) == ("one", "one")
    assert (second.reason, second.case_id, second.source) == ("reader-failed", "two", "f.json!members[1]")
    assert "patient" not in second.seen


def test_a_field_of_yaml_whose_name_is_no_text_is_ignored():
    text = json.dumps(TWO | {"subject": {"sex": "MALE"}})[:-1] + ", 1: a, null: b, true: c}"
    (case,) = read_message({"source": "f.yaml", "row": None, "text": text.encode(), "problem": None})
    assert (case.case_id, case.sex) == ("two", "male")


def test_a_member_keeps_its_own_publication_and_takes_the_version_of_its_cohort():
    own = changed(TWO, "metaData", {"external_references": [{"id": "PMID:5"}]})
    (case,) = outcomes(in_snake_case({"id": "c", "members": [own], "metaData": meta("2.0")}))
    assert case.publications == [["PMID:5"]]
    printed = {"createdBy": "", "phenopacketSchemaVersion": "", "externalReferences": []}  # protobuf's defaults
    (case,) = outcomes({"id": "c", "members": [changed(TWO, "metaData", printed)], "metaData": meta("2.0")})
    assert case.group_id == "PMID:77"
    (refusal,) = outcomes({"id": "c", "members": [own], "metaData": meta("9.0")})
    assert refusal.reason == "other-version"


@pytest.mark.parametrize("message", [TWO, {"members": []}, {"members": 7}, {"id": "x"}, [7], "members"])
def test_what_is_no_cohort_is_one_outcome(message):
    assert outcomes(message) == [read(message)]


@pytest.mark.parametrize("field", ["id", "phenotypicFeatures", "negated"])
@pytest.mark.parametrize(("name", "reason"), [("f.json", "no-json"), ("f.yml", "no-yaml")])
def test_a_field_that_stands_twice_in_an_object_is_refused_and_not_half_read(field, name, reason):
    text = json.dumps(ONE).replace(f'"{field}":', f'"{field}": null, "{field}":', 1)
    row = {"source": name, "row": None, "text": text.encode(), "problem": None}
    (refusal,) = read_message(row)
    assert refusal.reason == reason and "two fields of one name" in refusal.seen
    (case,) = read_message(row | {"text": json.dumps(ONE).encode()})
    assert case.case_id == "one"


@pytest.mark.parametrize("text", [b"", b"{", b'{"members": ' + b"[" * 100_000])
def test_what_cannot_be_read_is_one_refusal(text):
    row = {"source": "f.json", "row": None, "text": text, "problem": None}
    assert [refusal.reason for refusal in read_message(row)] == ["no-json"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5)
    | st.sampled_from(["\ud800", "HP:0001250", "P9Y", "SOLVED", "P" + "9" * 400 + "Y", "9" * 600, "OMIM:1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "age", "term", "start"]), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FIELDS), VALUES, st.sampled_from(["disease", "gene"]))
def test_whatever_stands_in_a_field_ends_in_a_case_or_a_refusal_that_can_be_written(field, value, label):
    outcome = read(changed(field.message, field.path, value), label)
    outcome_table([outcome])
    assert (
        outcome.age_years is None or 0 <= outcome.age_years <= MAX_YEARS
        if isinstance(outcome, Case)
        else outcome.reason
    )
