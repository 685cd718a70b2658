"""Schemathesis over the whole description, against the running service."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 413, 415, 422]

[[operations]]
include-path = "/v1/rank/upload"
# No schema can say that bytes are an image, nor that a form shows something of a patient at all.
checks.positive_data_acceptance.expected-statuses = ["2xx", 413, 415, 422]
# A form has no null and no empty field: what is empty counts as absent, where the schema would refuse it.
checks.negative_data_rejection.expected-statuses = [200, 400, 401, 403, 404, 405, 413, 415, 422]
"""


def attack(url: str, folder: Path, examples: int, seed: int) -> subprocess.CompletedProcess:
    """Run Schemathesis as a user would; its report goes to its output."""
    (folder / "schemathesis.toml").write_text(SETTINGS)
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={folder / 'schemathesis.toml'}",
        "run",
        f"{url}/openapi.json",
        f"--max-examples={examples}",
        f"--seed={seed}",
        "--checks=all",
        "--phases=examples,coverage,fuzzing",
        "--no-color",
        "--generation-database=none",
        "--warnings=off",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})


def test_a_few_hundred_generated_requests_break_neither_service_nor_description(service, tmp_path):
    report = attack(service.url, tmp_path, examples=100, seed=1)
    assert report.returncode == 0, report.stdout[-6000:] + report.stderr[-2000:]


@pytest.mark.slow
def test_thousands_of_generated_requests_break_neither_service_nor_description(service, tmp_path):
    report = attack(service.url, tmp_path, examples=2000, seed=2)
    assert report.returncode == 0, report.stdout[-6000:] + report.stderr[-2000:]
