"""Both published recipes from the first stage to the last, as a user runs them: weights and corpora are small stand-ins.

What the recipes name is there in the published form (`tests/published.py`). Overridden are places of files, devices,
and the length of training; models, labels, answers, pairs, adapter and engines are the recipes' own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mint_ray.records import Answer, PreferencePair
from tests import published
from tests.conftest import REPOSITORY

SMALL = {  # two cores, no GPU, a few steps
    "cluster.cpus": 4,
    "rankings.actors": 1,
    "rankings.gpus_per_actor": 0,
    "rankings.batch_size": 8,
    "alignment.use_gpu": False,
    "alignment.workers": 1,
    "alignment.epochs": 1,
    "alignment.learning_rate": 1e-3,
    "inference.engines": 1,
    "inference.use_gpu": False,
    "inference.max_tokens": 24,
    "inference.cache_gib": 0.25,
    "scorer.use_gpu": False,
    "evaluation.bootstrap": 100,
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    return tmp_path_factory.mktemp("hub")


def run_recipe(name: str, run: Path, hub: Path, settings: dict) -> str:
    """The line's job on a shipped recipe; what it printed."""
    overrides = [f"--set={key}={value}" for key, value in {**SMALL, **settings, "run.dir": run}.items()]
    done = subprocess.run(
        [sys.executable, "jobs/run_line.py", f"configs/{name}.yaml", *overrides],
        cwd=REPOSITORY,
        env=os.environ | {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "MINT_RAY_CACHE": str(hub.parent / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout + done.stderr


def manifest(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "manifest.json").read_text())


def rows(folder: Path) -> list[dict]:
    return [row for file in sorted(folder.rglob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.mark.timeout(900)
def test_rare_disease_from_gmdb_gestaltmml_and_llama_3_2(hub, tmp_path):
    data = tmp_path / "data"
    published.gestaltmml(hub, data / "gestaltmml")
    published.gmdb(data / "gmdb")
    published.llama_3_2(hub, [*published.SYNDROMES.values(), "POTENTIAL_DISEASES: Sex Age Findings years male female"])
    run_recipe(
        "rare_disease_gmdb_llama3b_4xa100",
        tmp_path / "run",
        hub,
        {
            "corpus.folder": data / "gmdb",
            "corpus.label_list": data / "gestaltmml" / "disease_dict.json",
            "scorer.label_list": data / "gestaltmml" / "disease_dict.json",
            "scorer.state_dict": data / "gestaltmml" / "GestaltMML_model.pt",
        },
    )
    run = tmp_path / "run"
    assert manifest(run, "cases")["rows"]["out"] == 24
    assert manifest(run, "scorer")["figures"]["labels_known"] == len(published.SYNDROMES)
    made = [PreferencePair(**row) for row in rows(run / "preferences" / "pairs")]
    assert len(made) == 18 and all(len(pair.chosen_label_ids) == 10 for pair in made)
    check_end(run, cases=6)


@pytest.mark.timeout(900)
def test_tissue_from_pannuke_plip_and_llama_3_2_vision(hub, tmp_path):
    published.pannuke(tmp_path / "pannuke")
    published.plip(hub)
    published.llama_3_2_vision(hub, ["MOST_LIKELY_TISSUE:", *published.TISSUES])
    run_recipe("tissue_pannuke_llama11b_vision_4xa100", tmp_path / "run", hub, {"corpus.folder": tmp_path / "pannuke"})
    run = tmp_path / "run"
    assert manifest(run, "cases")["rows"]["out"] == 36
    made = [PreferencePair(**row) for row in rows(run / "preferences" / "pairs" / "train")]
    assert len(made) == 12 and all(pair.images for pair in made)
    check_end(run, cases=12)


def check_end(run: Path, cases: int) -> None:
    """A curve that is finite, an answer of each model for every held-out case, and the report."""
    curve = [json.loads(line) for line in (run / "alignment" / "curve.jsonl").read_text().splitlines()]
    assert curve and all(row["loss"] == row["loss"] and abs(row["loss"]) < 1e4 for row in curve if "loss" in row)
    answers = {
        model: [Answer(**{k: v for k, v in row.items() if k in Answer.model_fields}) for row in rows(folder)]
        for model in ("base", "aligned")
        for folder in [run / "answers" / model]
    }
    assert {model: len({answer.case_id for answer in said}) for model, said in answers.items()} == {
        "base": cases,
        "aligned": cases,
    }
    # Both models are asked the same, whatever template and day: the same number of tokens for each case.
    tokens = [{answer.case_id: answer.prompt_tokens for answer in said} for said in answers.values()]
    assert tokens[0] == tokens[1]
    assert (run / "evaluation" / "report.html").is_file()
