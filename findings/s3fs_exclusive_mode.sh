#!/usr/bin/env bash
# s3fs 2026.9.0, seen 2026-11-27: opening an existing object in exclusive mode and writing nothing empties it.
#
# `open(path, "xb")` is to fail where the file exists. s3fs sends the condition with the upload. Where something is
# written, it raises FileExistsError as it should. Where nothing is written before closing, an empty object is put
# without the condition, and what was there is gone. A marker file such as a lock is often empty.
# Expected: FileExistsError, whatever is written. Mend: write at least one byte.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check s3fs==2026.9.0 "moto[server]==5.2.5"
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
"$folder/venv/bin/python" - 2>/dev/null <<'PY'
import os

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
os.environ["AWS_ENDPOINT_URL"] = "http://{}:{}".format(*server.get_host_and_port())

import boto3
import s3fs

boto3.client("s3").create_bucket(Bucket="bucket")
store = s3fs.S3FileSystem()
store.pipe("bucket/lock", b"held by job 1")
refused = False
try:
    with store.open("bucket/lock", "xb") as file:
        file.write(b"held by job 2")
except FileExistsError:
    refused = True
after_refusal = store.cat("bucket/lock")
with store.open("bucket/lock", "xb"):
    pass
print(f"with a byte written: refused {refused}, holds {after_refusal}; with nothing written: holds {store.cat('bucket/lock')}")
kept = store.cat("bucket/lock")
server.stop()
assert refused and after_refusal == b"held by job 1" and kept == b""
PY
