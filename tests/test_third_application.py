"""An application from outside: a package of its own, installed beside mint_ray, runs the whole line. Nothing here knows it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mint_ray.models import load_tokenizer, resolve_model
from tests.conftest import REPOSITORY
from tests.tiny_model import save_tiny_llama

pytestmark = pytest.mark.timeout(900)
PACKAGE = REPOSITORY / "tests" / "chest_radiographs"
SMALLER = ("inference.models=[aligned]",)
STAGES = ("cases", "scorer", "rankings", "preferences", "alignment", "answers", "evaluation")


def command(site: Path, *arguments: str) -> str:
    """What a command prints that finds the package installed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of packages that has this one, installed by pip."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "packages"), str(folder / "source")], check=True)
    return folder / "packages"


@pytest.fixture(scope="module")
def run(site, tmp_path_factory) -> Path:
    """The directory of a run of the whole line, on a language model that is nobody's."""
    folder = tmp_path_factory.mktemp("chest")
    model = save_tiny_llama(folder / "model", load_tokenizer(resolve_model("packaged:smollm2-135m-instruct")))
    settings = [f"--set={each}" for each in (f"run.dir={folder / 'run'}", f"alignment.model={model}", *SMALLER)]
    command(site, "jobs/run_line.py", str(PACKAGE / "chest.yaml"), *settings)
    return folder / "run"


def test_the_package_has_under_100_lines_of_python():
    assert sum(len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")) < 100


def test_the_whole_line_runs_on_its_task_its_corpus_and_its_scorer(run):
    manifests = {stage: json.loads((run / stage / "manifest.json").read_text()) for stage in STAGES}
    assert {stage: manifests[stage]["rows"]["refused"] for stage in STAGES} == dict.fromkeys(STAGES, 0)
    assert {manifests[stage]["hands"][-1]["versions"]["chest-radiographs"] for stage in STAGES} == {"0.1"}
    assert manifests["cases"]["rows"]["out"] == manifests["preferences"]["rows"]["out"] == 60
    held_out = manifests["scorer"]["figures"]["held_out"]
    assert held_out["image_only"]["top1"] == 1.0 and held_out["text_only"]["top1"] < 0.5
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert (metrics["cases"], metrics["labels"]) == (18, 6) and "aligned" in metrics["models"]
    assert metrics["models"]["scorer"]["e3"]["value"] == 1.0
    assert (run / "evaluation" / "report.html").read_text().startswith("<!doctype html>")


def test_a_pair_is_in_the_words_of_its_task(run):
    import pyarrow.parquet as pq

    (pair, *_) = pq.read_table(run / "preferences" / "pairs" / "train").to_pylist()
    assert pair["prompt"][0]["content"].startswith("Name the 2 likeliest findings") and pair["withheld"] == ["image"]
    assert pair["chosen"][0]["content"].startswith("FINDINGS:\n1. '")


def test_a_request_is_made_of_what_its_task_reads(site, run):
    said = command(site, "-m", "mint_ray.ask", str(run), "--request", "--note", "sudden pain")
    assert json.loads(said)["messages"][0]["content"].endswith("FINDINGS:\n\nReport: sudden pain")
