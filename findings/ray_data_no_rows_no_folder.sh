#!/usr/bin/env bash
# Ray Data 2.60.0, seen 2026-11-27: where no row is left, `write_parquet` makes no file and no folder, and says nothing.
#
# A data set whose filter keeps no row still knows its schema. Written, it leaves nothing: not an empty file with the
# schema, not even the folder. What reads the result next fails with FileNotFoundError, far from the cause.
# `to_pandas` of the same data set has no columns at all.
# Expected: a file of zero rows, as PyArrow and pandas write. Mend: make the folder, and treat its absence as zero rows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[data]==2.60.0" pyarrow==26.0.1 numpy==2.3.5
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 OUT="$folder/out"
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import os

import ray

ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
none_left = ray.data.from_items([{"case": "a"}, {"case": "b"}]).filter(lambda row: False)
names = none_left.schema().names
none_left.write_parquet(os.environ["OUT"])
columns = list(none_left.to_pandas().columns)
try:
    ray.data.read_parquet(os.environ["OUT"]).count()
    read = "read"
except FileNotFoundError:
    read = "FileNotFoundError"
print(f"schema {names}; folder made: {os.path.exists(os.environ['OUT'])}; reading it: {read}; pandas columns {columns}")
assert names == ["case"] and not os.path.exists(os.environ["OUT"]) and read == "FileNotFoundError" and columns == []
PY
