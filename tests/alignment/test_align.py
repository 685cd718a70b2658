"""The stage on a real Ray Train: what it leaves, and the same losses for any number of workers, disturbed or not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from mint_ray.alignment.align import align
from mint_ray.config import parse_config
from mint_ray.errors import ConfigError, TrainingError
from mint_ray.parquet import write_part
from mint_ray.preferences.store import pair_schema
from mint_ray.progress import MARK
from mint_ray.runs import Run
from tests.alignment.conftest import pair

STEPS = 12


def run_of(folder: Path, model: Path, **settings) -> Run:
    """A run of the tiny model with 24 pairs to train on, 8 a step, 4 for validation and one that is too long."""
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0}
    alignment = dict(
        model=str(model), lora=lora, precision="fp32", batch_size=8, epochs=STEPS / 3, save_steps=4, max_length=256
    )
    config = {
        "run": {"dir": str(folder), "seed": 7},
        "task": {"kind": "rare_disease", "answer_size": 2},
        "corpus": {"kind": "simulated_patients"},
        "scorer": {"kind": "vilt"},
        "preferences": {"chosen": 2, "rejected": 2, "cut": 2},
        "alignment": {**alignment, "learning_rate": 1e-2, **settings},
    }
    run = Run(parse_config(config))
    too_long = pair(24)
    too_long["prompt"][0]["content"] += " Seizure;" * 200
    for split, pairs in {
        "train": [*map(pair, range(24)), too_long],
        "validation": [pair(i) for i in range(24, 28)],
    }.items():
        rows = [{k: v for k, v in p.items() if k != "images"} | {"split": split} for p in pairs]
        part = run.stage("preferences").path / "pairs" / split / "part-00000.parquet"
        write_part(pa.Table.from_pylist(rows, schema=pair_schema(images=False)), part)
    return run


def curve(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.stage("alignment").path / "curve.jsonl").read_text().splitlines()]


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in curve(run) if "loss" in row]


def after_the_first_checkpoint(run: Run, act) -> threading.Thread:
    """Do something as soon as a checkpoint is there, and only while training is not done."""

    def watch():
        folder = run.stage("alignment").path
        while not list(folder.glob("checkpoints/checkpoint_*")):
            time.sleep(0.05)
        if not (folder / "adapter").exists():
            act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.fixture(scope="module")
def undisturbed(local_ray, tiny_model, tmp_path_factory):
    run = run_of(tmp_path_factory.mktemp("undisturbed"), tiny_model)
    return run, align(run)


def test_rows_in_are_rows_out_and_refused(undisturbed):
    _, report = undisturbed
    assert (report.rows_in, report.rows_out, report.refused) == (29, 28, {"too-long": 1})
    assert (report.figures["train_pairs"], report.figures["validation_pairs"]) == (24, 4)


def test_the_refused_pair_is_kept_by_id(undisturbed):
    import pyarrow.parquet as pq

    run, _ = undisturbed
    refused = pq.read_table(run.stage("alignment").path / "refused").to_pylist()
    assert [(row["case_id"], row["reason"]) for row in refused] == [("case-24", "too-long")]


def test_the_curve_has_every_step_and_a_validation_each_epoch(undisturbed):
    run, report = undisturbed
    steps = [row for row in curve(run) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    assert [row["step"] for row in curve(run) if "eval_loss" in row] == [3, 6, 9, 12]
    wanted = {
        "loss",
        "nll",
        "odds_ratio_loss",
        "log_odds_ratio",
        "accuracy",
        "learning_rate",
        "grad_norm",
        "pairs_per_second",
        "tokens_per_second",
    }
    assert wanted <= set(steps[0])
    assert report.figures["last"]["loss"] < report.figures["first"]["loss"]


def test_the_adapter_is_one_that_peft_loads_and_that_changes_the_answers(undisturbed, tiny_model, tokenizer):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    run, report = undisturbed
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    tokens = torch.tensor([tokenizer("Seizure")["input_ids"]])
    before = base(tokens).logits
    aligned = PeftModel.from_pretrained(base, run.stage("alignment").path / "adapter")
    assert not torch.allclose(aligned(tokens).logits, before, atol=1e-2)
    assert report.figures["trainable_parameters"] == sum(
        p.numel() for n, p in aligned.named_parameters() if "lora" in n
    )


def test_a_finished_training_is_not_done_again(undisturbed):
    run, report = undisturbed
    adapter = run.stage("alignment").path / "adapter" / "adapter_model.safetensors"
    written = adapter.stat().st_mtime_ns
    assert align(run).figures == report.figures
    assert adapter.stat().st_mtime_ns == written


def test_two_workers_one_of_them_killed_end_with_the_losses_of_one_undisturbed(undisturbed, tiny_model, tmp_path):
    run, killed = run_of(tmp_path, tiny_model, workers=2, batch_size=4), []

    def kill_one():
        processes = psutil.Process().children(recursive=True)
        victim = next(p for p in processes if "RayTrainWorker" in " ".join(p.cmdline()))
        victim.kill()
        killed.append(victim.pid)

    watching = after_the_first_checkpoint(run, kill_one)
    align(run)
    watching.join(timeout=1)
    assert killed
    assert losses(run) == pytest.approx(losses(undisturbed[0]), rel=1e-4)
    validations = [[row["eval_loss"] for row in curve(r) if "eval_loss" in row] for r in (run, undisturbed[0])]
    assert validations[0] == pytest.approx(validations[1], rel=1e-4)


def test_a_loss_that_is_not_finite_ends_the_stage_at_once_and_leaves_no_adapter(local_ray, tiny_model, tmp_path):
    run = run_of(tmp_path, tiny_model, learning_rate=1e30, warmup_ratio=0.0, save_steps=100)
    with pytest.raises(TrainingError, match=r"step 2: .*not finite"):
        align(run)
    assert not (run.stage("alignment").path / "adapter").exists()


def test_pairs_that_are_all_too_long_are_told_before_any_worker_starts(tiny_model, tmp_path):
    with pytest.raises(TrainingError, match=r"29 refused as too-long.*alignment\.max_length"):
        align(run_of(tmp_path, tiny_model, max_length=32))


def test_a_reporter_that_is_not_installed_is_a_wrong_setting(tiny_model, tmp_path):
    with pytest.raises(ConfigError, match=r"alignment\.log_to is 'wandb'"):
        align(run_of(tmp_path, tiny_model, log_to="wandb"))


SCRIPT = """
import sys
from pathlib import Path
from mint_ray.alignment.align import align
from mint_ray.cluster import ray_session
from mint_ray.job import reported
from mint_ray.config import ClusterSection
from tests.alignment.test_align import run_of

with reported(), ray_session(ClusterSection(cpus=4)):
    align(run_of(Path(sys.argv[1]), Path(sys.argv[2]), **dict(zip(("epochs", "save_steps"), map(int, sys.argv[3:])))))
"""


@pytest.mark.slow
def test_a_run_killed_as_a_whole_goes_on_in_a_new_process_with_the_same_losses(undisturbed, tiny_model, tmp_path):
    run = run_of(tmp_path, tiny_model)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(tiny_model)]
    first = subprocess.Popen(command, start_new_session=True)
    watching = after_the_first_checkpoint(run, lambda: os.killpg(first.pid, signal.SIGKILL))
    assert first.wait() == -signal.SIGKILL
    watching.join(timeout=1)
    subprocess.run(command, check=True)
    assert losses(run) == pytest.approx(losses(undisturbed[0]), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("told", "status"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_job_that_is_told_to_end_saves_first_and_goes_on_from_there(told, status, local_ray, tiny_model, tmp_path):
    straight, ended = (
        run_of(tmp_path / name, tiny_model, epochs=100, save_steps=10_000) for name in ("straight", "ended")
    )
    align(straight)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "ended"), str(tiny_model), "100", "10000"]
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which what runs in the background does not
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=heeds)
    next(line for line in first.stdout if MARK in line and '"count"' in line)  # the first step
    first.send_signal(told)
    first.communicate()
    assert first.returncode == status
    (made,) = (ended.stage("alignment").path / "checkpoints").glob("checkpoint_*/checkpoint/trainer_state.json")
    assert 0 < json.loads(made.read_text())["global_step"] < 300
    subprocess.run(command, check=True)
    assert losses(ended) == pytest.approx(losses(straight), rel=1e-6)
