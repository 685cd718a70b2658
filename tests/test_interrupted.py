"""Ctrl-C in a real small job: it ends by itself with one sentence, and the same command goes on."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mint_ray.runs import open_run
from tests.conftest import REPOSITORY

SMALL = ["corpus.patients_per_disease=6", "scorer.epochs=40", "cluster.cpus=3"]


def job(folder: Path) -> subprocess.Popen[str]:
    """`mint-ray run demo`, small, in a process of its own that heeds Ctrl-C."""
    settings = [f"--set={each}" for each in (f"run.dir={folder}", *SMALL)]
    heeds = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # what runs in the background does not
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "mint_ray", "run", "demo", *settings],
        cwd=REPOSITORY,
        env=environment | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("at", ["Ray", "cases", "scorer: fitting"])
def test_ctrl_c_ends_a_real_job_and_the_same_command_goes_on(at, tmp_path):
    first = job(tmp_path / "run")
    said = ""
    for line in first.stderr:
        said += line
        if line.startswith(at):
            break
    else:
        raise AssertionError(f"no line begins with {at}:\n{said}")
    first.send_signal(signal.SIGINT)
    _, rest = first.communicate(timeout=60)  # 5 seconds are promised; how long a loaded machine takes is not
    assert first.returncode == 130, rest
    assert rest.splitlines()[-1].startswith("Stopped. What is complete is kept. Go on with: mint-ray run demo --set=")
    assert "Traceback" not in said + rest
    second = job(tmp_path / "run")
    for line in second.stderr:
        if line.startswith("scorer: fitting"):
            break
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=60)
    assert open_run(tmp_path / "run").stage("cases").complete
