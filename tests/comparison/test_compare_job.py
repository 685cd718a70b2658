"""The job itself on a small cohort: killed in the middle, it goes on with what is left."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY
from tests.tiny_run import SMALL_LINE

SMALL = SMALL_LINE | {
    "comparison.arms": "[base, rag, sft, mint]",
    "comparison.learning_rates": "[]",
    "splits": "{scorer: 0.2, train: 0.5, validation: 0.0, test: 0.3}",
}


def command(folder) -> list[str]:
    settings = {"run.dir": folder, **SMALL}
    overrides = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "jobs/compare.py", "configs/compare_simulated_cpu.yaml", *overrides]


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
    result = json.loads((tmp_path / "run" / "comparison" / "comparison.json").read_text())
    assert list(result["arms"]) == ["base", "rag", "sft", "mint"]
    assert {arm["answers"] for arm in result["arms"].values()} == {result["cases"]} and result["cases"] > 20
    assert set(result["minus_mint"]) == {"base", "rag", "sft"}
    assert "MINT with RAG" not in (page := (tmp_path / "run" / "comparison" / "report.html").read_text())
    assert "MINT (ORPO)" in page
    assert {path: path.stat().st_mtime_ns for path in before} == before
    answers = json.loads((arms / "rag" / "answers" / "manifest.json").read_text())["figures"]["base"]
    assert answers["passages"] > 2 and answers["truth_retrieved"] > 0.5
    assert not (arms / "mint" / "alignment").exists()  # the configuration's own
