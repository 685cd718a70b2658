#!/usr/bin/env bash
# Ray Data 2.60.0, seen 2026-11-27: `union()` with no other data set is planned and then fails without a word.
#
# `first.union(*others)` with an empty list of others is accepted, and tells its schema. Executed, it raises an
# AssertionError with no text. A corpus whose list of further files happens to be empty so ends in an error that names
# neither `union` nor the list.
# Expected: the first data set itself, or a ValueError where `union` is called. Mend: join only where there are others.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "ray[data]==2.60.0" pyarrow==26.0.1 numpy==2.3.5
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import ray

ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
others = []
joined = ray.data.from_items([{"case": "a"}]).union(*others)
try:
    joined.take_all()
    seen = "rows"
except Exception as error:
    seen = f"{type(error).__name__}: {str(error)!r}"
print("union() of one data set:", seen)
assert seen == "AssertionError: ''"
PY
