#!/usr/bin/env bash
# pheval 0.7.14, seen 2026-11-27: a run's `threshold: 0` is read as no threshold at all.
#
# The description of a run for `pheval-utils benchmark` may have a threshold of the score. Zero is the natural one where
# scores are log odds, or differences. 0 and 0.0 become None when the file is read, so nothing is held back, and the same
# file with 0.001 gives other figures. No error, no warning.
# Expected: that zero is kept, and null alone means none. Mend: a threshold close to zero, such as 1e-9.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pheval==0.7.14
FOLDER="$folder" "$folder/venv/bin/python" - <<'PY'
import os
from pathlib import Path

import yaml
from pheval.analyse.run_data_parser import parse_run_config

folder = Path(os.environ["FOLDER"])
plot = dict.fromkeys(("plot_type", "rank_plot_title", "roc_curve_title", "precision_recall_title"))
read = {}
for threshold in (0, 0.0, 0.001, None):
    run = {"run_identifier": "run", "phenopacket_dir": str(folder), "results_dir": str(folder), "score_order": None}
    run |= dict.fromkeys(("gene_analysis", "variant_analysis"), False) | {"disease_analysis": True}
    plots = dict.fromkeys(("gene_plots", "disease_plots", "variant_plots"), plot)
    settings = {"benchmark_name": "one", "runs": [run | {"threshold": threshold}], "plot_customisation": plots}
    (folder / "runs.yaml").write_text(yaml.safe_dump(settings))
    read[repr(threshold)] = parse_run_config(folder / "runs.yaml").runs[0].threshold
print("threshold written: threshold read", read)
assert read == {"0": None, "0.0": None, "0.001": 0.001, "None": None}
PY
