#!/usr/bin/env bash
# pheval 0.7.14, seen 2026-11-27: where two runs have not answered the same cases, their ranks are compared across cases.
#
# `pheval-utils benchmark` sets the true ranks of all runs side by side: the table of the first run with its cases, and
# the ranks of the others beside it, row by row, each sorted by its own files. Nothing joins them by case. Here the first
# run has results for three cases (ranks 1, 2, 2), the second for the last two of them, with the same ranks. The table
# of rank changes says that the second run is worse on `ann`, which it has no result for, and gives it none for `cid`,
# where both have rank 2. No error, no warning; every row after the first gap is shifted.
# Expected: a join by file, or a refusal. Mend: write a result file (with the truth at rank 0) for each case, in each run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pheval==0.7.14
export FOLDER="$folder" MPLBACKEND=Agg
"$folder/venv/bin/python" - <<'PY'
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import polars
import yaml

folder = Path(os.environ["FOLDER"])
runs = {"first": {"ann": 1, "bob": 2, "cid": 2}, "second": {"bob": 2, "cid": 2}}
for run, ranks in runs.items():
    (results := folder / run / "pheval_disease_results").mkdir(parents=True)
    for case, rank in ranks.items():
        polars.DataFrame(
            {
                "disease_identifier": ["OMIM:154700", "OMIM:130000"],
                "mondo_identifier": ["MONDO:0007947", "MONDO:0007522"],
                "score": [0.5, 0.9 if rank == 1 else 0.1],
                "rank": [3 - rank, rank],
                "true_positive": [False, True],
            }
        ).write_parquet(results / f"{case}-disease_result.parquet")
plot = dict.fromkeys(("plot_type", "rank_plot_title", "roc_curve_title", "precision_recall_title"))
described = [
    {
        "run_identifier": run,
        "phenopacket_dir": str(folder),
        "results_dir": str(folder / run),
        "gene_analysis": False,
        "variant_analysis": False,
        "disease_analysis": True,
        "threshold": None,
        "score_order": "descending",
    }
    for run in runs
]
plots = dict.fromkeys(("gene_plots", "disease_plots", "variant_plots"), plot)
settings = folder / "runs.yaml"
settings.write_text(yaml.safe_dump({"benchmark_name": "two", "runs": described, "plot_customisation": plots}))
command = [Path(sys.executable).with_name("pheval-utils"), "benchmark", "-r", settings, "-o", folder, "--no-curves"]
subprocess.run(command, check=True, capture_output=True)
with duckdb.connect(str(folder / "two.duckdb")) as found:
    rows = found.sql("select result_file, first, second from first_vs_second_disease_rank_changes").fetchall()
for row in rows:
    print(*row)
assert [row[1:] for row in sorted(rows)] == [(1, 2), (2, 2), (2, None)]
PY
