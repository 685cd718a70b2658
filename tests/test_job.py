"""How a job ends: what it says, and its status."""

import os
import runpy
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import pytest

from mint_ray.command import main
from mint_ray.comparison.run import clear_arms
from mint_ray.config import load_config
from mint_ray.errors import ConfigError, RunError
from mint_ray.job import reported
from mint_ray.runs import Run, StageReport
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "configs" / "demo.yaml"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RunError("no such run"), 1, "RunError: no such run\n"),
        (
            KeyboardInterrupt(),
            130,
            "Stopped. What is complete is kept. Go on with: mint-ray run demo --set run.dir=a\n",
        ),
        (SystemExit(signal.SIGTERM), signal.SIGTERM, ""),
    ],
)
def test_a_job_s_end_is_one_sentence_and_a_status(error, status, said, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/mint-ray", "run", "demo", "--fresh", "--set", "run.dir=a"])
    with pytest.raises(SystemExit) as ended, reported():
        raise error
    assert (ended.value.code, capsys.readouterr().err) == (status, said)


@pytest.mark.parametrize("job", ["prepare_cases", "align", "compare"])
def test_a_start_over_of_a_job_that_cannot_run_removes_nothing(job, tmp_path, monkeypatch, capsys):
    settings = [
        f"run.dir={tmp_path / 'run'}",
        f"corpus={{kind: phenopackets, path: {tmp_path / 'none'}}}",
        f"alignment.model={tmp_path / 'no-model'}",
    ]
    run = Run(load_config(DEMO, settings))
    for stage in ("cases", "scorer", "rankings", "preferences", "alignment"):
        run.carry_out(stage, lambda run: StageReport())
    (run.dir / "comparison").mkdir()
    (run.dir / "comparison" / "report.html").touch()
    before = sorted(path for path in run.dir.rglob("*") if not {"jobs", "logs"} & {*path.parts})
    monkeypatch.setattr("sys.argv", [job, str(DEMO), "--fresh", *(f"--set={each}" for each in settings)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == 1 and "there is n" in capsys.readouterr().err
    assert sorted(path for path in run.dir.rglob("*") if not {"jobs", "logs"} & {*path.parts}) == before


@pytest.mark.parametrize("job", ["prepare_cases", "compare"])
def test_a_start_over_on_a_cluster_that_is_too_small_removes_nothing(job, tmp_path, monkeypatch, capsys):
    run = Run(load_config(DEMO, [f"run.dir={tmp_path / 'run'}"]))
    run.carry_out("cases", lambda run: StageReport())
    arm = tmp_path / "run" / "arms" / "sft"
    arm.mkdir(parents=True)

    def too_small(*_):
        raise ConfigError(["too small"])

    monkeypatch.setattr("mint_ray.cluster.ray_session", lambda *_: nullcontext())
    monkeypatch.setattr("mint_ray.capacity.check_capacity", too_small)
    monkeypatch.setattr("sys.argv", [job, str(DEMO), "--fresh", f"--set=run.dir={run.dir}"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    assert "too small" in capsys.readouterr().err
    assert run.stage("cases").complete and arm.exists()


def test_two_commands_in_the_wrong_order_are_told_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mint-ray", "alignment", "demo", "--set", f"run.dir={tmp_path / 'run'}"])
    monkeypatch.setattr("mint_ray.job.session", lambda *_: pytest.fail("Ray is started"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = f"RunError: {tmp_path / 'run' / 'preferences'} is not complete: run the stage `preferences` first\n"
    assert capsys.readouterr().err == said


def test_a_home_that_cannot_be_written_is_told_with_the_way_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "home").touch()  # no folder can be made below it, whoever asks
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MINT_RAY_CACHE", raising=False)
    monkeypatch.setattr("sys.argv", ["mint-ray", "run", "demo", "--set", f"run.dir={tmp_path / 'run'}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    said = f"RunError: {tmp_path / 'home' / '.cache' / 'mint_ray'} cannot be written (Not a directory), where models are kept"
    assert capsys.readouterr().err.startswith(said)


STUCK = """
import sys, time
from mint_ray import job, progress
from mint_ray.logs import console
job.PATIENCE = 0.5
sys.argv = ["mint-ray", "run", "demo"]
with progress.shown_on(console(2), console(1)), job.soon_ended(), progress.stage("answers"):
    try:
        print("begun", flush=True)
        time.sleep(300)
    finally:
        time.sleep(300)  # as Ray may at its end
"""


def test_ctrl_c_ends_a_job_whatever_it_waits_for():
    heeds = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("Stopped. What is complete is kept. Go on with: mint-ray run demo\n")


# As transformers does, where it comes while a module is imported.
MADE_AN_ERROR = """
import os, signal, sys, time
from mint_ray import job
sys.argv = ["/usr/bin/mint-ray", "run", "demo"]
with job.reported(), job.soon_ended():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt as error:
        raise ModuleNotFoundError("Could not import module") from error
"""


def test_ctrl_c_that_a_library_makes_an_error_of_is_ctrl_c():
    heeds = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    done = subprocess.run([sys.executable, "-c", MADE_AN_ERROR], capture_output=True, text=True, preexec_fn=heeds)
    said = "Stopped. What is complete is kept. Go on with: mint-ray run demo\n"
    assert (done.returncode, done.stderr) == (130, said)


@pytest.mark.parametrize("reader", ["of its results", "of its progress"])
def test_a_job_whose_reader_is_gone_ends_without_a_traceback(reader, tmp_path):
    run = Run(load_config(DEMO, [f"run.dir={tmp_path / 'run'}"]))
    run.carry_out("cases", lambda run: StageReport())
    all_done = f"All done: cases complete in {run.dir}. Start over with --fresh.\n".encode()
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mint_ray", "cases", "demo", "--set", f"run.dir={run.dir}"]
    where = {"stdout": writing} if reader == "of its results" else {"stderr": writing}
    done = subprocess.run(command, **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | where))
    os.close(writing)
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ((None, b"") if reader == "of its results" else (all_done, None))


def test_a_comparison_started_over_removes_no_arm_where_one_holds_a_foreign_file(tmp_path):
    run = Run(load_config(DEMO, [f"run.dir={tmp_path / 'run'}"]))
    for arm in ("mint", "sft"):
        Run(run.config.moved(run.dir / "arms" / arm)).carry_out("cases", lambda run: StageReport())
    foreign = run.dir / "arms" / "sft" / "scorer" / "notes.txt"
    foreign.parent.mkdir()
    foreign.touch()
    with pytest.raises(RunError, match=r"arms/sft/scorer"):
        clear_arms(run)
    assert Run(run.config.moved(run.dir / "arms" / "mint")).stage("cases").complete
    foreign.unlink()
    clear_arms(run)
    assert not (run.dir / "arms").exists()
