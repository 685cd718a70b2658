"""The ground floor stays light: a job answers `--help` and a wrong setting before anything heavy is loaded."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

HEAVY = {"torch", "ray", "vllm", "trl", "transformers", "datasets", "matplotlib", "numpy", "pyarrow", "scipy", "PIL"}
JOBS = sorted(p.name for p in (REPOSITORY / "jobs").glob("*.py"))


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a clean interpreter has loaded after running `code`."""
    script = f"{code}\nimport sys; print('LOADED', *(m for m in {sorted(HEAVY)!r} if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(out.stdout.splitlines()[-1].split()[1:])


def test_the_contract_layer_imports_nothing_heavy():
    modules = (
        "records errors batches sections config recipes runs lock capacity command job comparison.arms comparison.run hpo telemetry ask service.settings tasks.base "
        "tasks.rare_disease corpora.base scorers.base"
    )
    assert loaded_by("\n".join(f"import mint_ray.{m}" for m in modules.split())) == set()


def test_every_kind_of_task_corpus_and_scorer_imports_nothing_heavy():
    code = """
from mint_ray.corpora.base import Corpus
from mint_ray.scorers.base import ScorerSection
from mint_ray.sections import kind_of, kinds
from mint_ray.tasks.base import Task

for base in (Task, Corpus, ScorerSection):
    assert kinds(base)
    for kind in kinds(base):
        kind_of(base, kind)
"""
    assert loaded_by(code) == set()


def test_the_check_of_heavy_imports_can_fail():
    assert loaded_by("import ray") >= {"ray"}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_answers_help_without_importing_torch_or_ray(job):
    code = f"""
import runpy, sys
sys.argv = ["{job}", "--help"]
sys.path.insert(0, "jobs")
try:
    runpy.run_path("jobs/{job}", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
"""
    assert loaded_by(code) == set()


def test_a_wrong_setting_ends_a_job_with_status_2_and_all_problems_at_once():
    command = [
        "jobs/align.py",
        "configs/demo.yaml",
        "--set",
        "alignment.learning_rte=1",
        "--set",
        "preferences.chosen=0",
    ]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2
    assert "alignment.learning_rte: is no setting; did you mean learning_rate?" in done.stderr
    assert "preferences.chosen: is 0; input should be greater than or equal to 1" in done.stderr
