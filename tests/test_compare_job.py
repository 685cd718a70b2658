"""The job itself on a small cohort: killed in the middle, it goes on with what is left."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY

# The comparison's figures are tested where they are made; here they are a line of what they were given.
SCRIPT = """
import runpy, sys, types
from mint_ray.runs import StageReport

def compare(run, arms):
    for name, arm in arms.items():
        print("ARM", name, arm.stage("answers").manifest["rows"]["out"], flush=True)
    return StageReport()

sys.modules["mint_ray.evaluation.comparison"] = types.SimpleNamespace(compare=compare)
runpy.run_path("jobs/compare.py", run_name="__main__")
"""
SMALL = {
    "corpus.patients_per_disease": 6,
    "scorer.epochs": 1,
    "alignment.epochs": 0.05,
    "alignment.lora": "{rank: 4, alpha: 8, dropout: 0.0}",
    "inference.max_tokens": 16,
    "inference.cache_gib": 0.25,
    "comparison.arms": "[base, rag, sft, mint]",
}


def command(folder) -> list[str]:
    settings = {"run.dir": folder, **SMALL}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-c", SCRIPT, "configs/compare_simulated_cpu.yaml", *overrides]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_comparison_killed_in_the_middle_goes_on_with_what_is_left(tmp_path):
    log = (tmp_path / "log").open("w")
    first = subprocess.Popen(command(tmp_path / "run"), cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
    arms = tmp_path / "run" / "arms"
    while not (arms / "sft" / "alignment").exists() and first.poll() is None:
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()[-2000:]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("manifest.json")}
    assert {path.parent.parent.name for path in before if path.parent.name == "answers"} == {"base", "rag"}

    done = subprocess.run(command(tmp_path / "run"), cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("ARM ")]
    assert [name for name, _ in rows] == ["base", "rag", "sft", "mint"]
    assert len({count for _, count in rows}) == 1 and int(rows[0][1]) > 20
    assert {path: path.stat().st_mtime_ns for path in before} == before
    answers = json.loads((arms / "rag" / "answers" / "manifest.json").read_text())["figures"]["base"]
    assert answers["passages"] > 2 and answers["truth_retrieved"] > 0.5
    assert not (arms / "mint" / "alignment").exists()  # the configuration's own
