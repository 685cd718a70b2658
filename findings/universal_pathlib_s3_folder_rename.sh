#!/usr/bin/env bash
# universal-pathlib 0.3.10 with s3fs 2026.9.0, seen 2026-11-27: renaming a folder on S3 moves nothing and says nothing.
#
# `UPath.rename` on a folder of an object store returns the new path. Nothing lies there; the files stay where they were.
# `pathlib.Path.rename` moves a folder with all that is in it, or raises. A writer that works in `name.tmp/` and renames
# it to `name/` when all is written loses the result at the last step, without an error.
# Expected: that the files are moved, or an error. Mend: copy file by file, and see that they are there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check universal-pathlib==0.3.10 s3fs==2026.9.0 "moto[server]==5.2.5"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import os

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
os.environ["AWS_ENDPOINT_URL"] = "http://{}:{}".format(*server.get_host_and_port())

import boto3
from upath import UPath

boto3.client("s3").create_bucket(Bucket="bucket")
written = UPath("s3://bucket/result.tmp")
(written / "part.txt").write_text("a row")
renamed = written.rename("s3://bucket/result")
there, here = UPath("s3://bucket/result/part.txt").exists(), (written / "part.txt").exists()
print(f"returned {renamed}; the file is at the new place: {there}, at the old one: {here}")
server.stop()
assert (there, here) == (False, True)
PY
