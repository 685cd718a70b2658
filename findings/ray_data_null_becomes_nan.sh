#!/usr/bin/env bash
# Ray Data 2.60.0, seen 2026-11-27: a missing value that passes through `map_batches` comes out as NaN, for booleans too.
#
# With the default batch format (NumPy), a column of booleans with one null is handed over as objects, the null as the
# float NaN. Returned unchanged, the row then holds NaN in place of null: it is no boolean, and it is true in an `if`.
# The same for lists: a null list becomes the number NaN. `map`, and `batch_format="pyarrow"`, keep the null.
# Expected: that a function which changes nothing changes nothing. Mend: take batches as Arrow tables.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[data]==2.60.0" pyarrow==26.0.1 numpy==2.3.5
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import math

import ray

ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)


def same(batch):
    return {"value": batch["value"]}


def through(values, **options):
    rows = ray.data.from_items([{"value": value} for value in values])
    return [row["value"] for row in rows.map_batches(same, **options).take_all()]


asked, listed = through([True, None]), through([[1, 2], None])
kept = through([True, None], batch_format="pyarrow")
print("booleans:", asked, "| lists:", listed, "| booleans as Arrow:", kept)
assert asked[0] is True and isinstance(asked[1], float) and math.isnan(asked[1]) and bool(asked[1])
assert isinstance(listed[1], float) and math.isnan(listed[1])
assert kept == [True, None]
PY
