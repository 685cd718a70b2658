#!/usr/bin/env bash
# phenopackets 2.0.2.post5, seen 2026-11-27: the bytes of a Family read as a Phenopacket are a patient born in 1970.
#
# A GA4GH packet in protobuf's binary form does not say which of the schema's top-level messages it is. A Family (a
# proband and relatives), read with `Phenopacket.FromString`, raises nothing: the proband's packet lands in the field
# `subject`, because both have number 2. What comes out is an individual whose id is the id of the proband's packet,
# with a date of birth of 1970-01-01 that nobody wrote, raw bytes of the real patient as an alternate id, and no finding.
# Expected: an error. Mend: refuse binary packets whose kind is not told beside them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check phenopackets==2.0.2.post5 protobuf==3.20.3
"$folder/venv/bin/python" - <<'PY'
from google.protobuf.json_format import MessageToDict
from phenopackets import Family, Individual, OntologyClass, Phenopacket, PhenotypicFeature

proband = Phenopacket(
    id="packet-1",
    subject=Individual(id="patient-1"),
    phenotypic_features=[PhenotypicFeature(type=OntologyClass(id="HP:0001250", label="Seizure"))],
)
read = MessageToDict(Phenopacket.FromString(Family(id="family-1", proband=proband).SerializeToString()))
print(read)
assert read["id"] == "family-1" and "phenotypicFeatures" not in read
assert read["subject"]["id"] == "packet-1" and read["subject"]["dateOfBirth"] == "1970-01-01T00:00:00Z"
PY
