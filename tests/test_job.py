"""How a job ends: what it says, and its status."""

import runpy
import signal

import pytest

from mint_ray.config import load_config
from mint_ray.errors import RunError
from mint_ray.job import reported
from mint_ray.runs import Run, StageReport
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "configs" / "demo.yaml"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RunError("no such run"), 1, "RunError: no such run\n"),
        (KeyboardInterrupt(), 130, "Stopped. What is complete is kept: the same command goes on.\n"),
        (SystemExit(signal.SIGTERM), signal.SIGTERM, ""),
    ],
)
def test_a_job_s_end_is_one_sentence_and_a_status(error, status, said, capsys):
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
    for stage in ("cases", "scorer", "preferences", "alignment"):
        run.carry_out(stage, lambda run: StageReport())
    (run.dir / "comparison").mkdir()
    (run.dir / "comparison" / "report.html").touch()
    before = sorted(path for path in run.dir.rglob("*") if "jobs" not in path.parts)
    monkeypatch.setattr("sys.argv", [job, str(DEMO), "--fresh", *(f"--set={each}" for each in settings)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(REPOSITORY / "jobs" / f"{job}.py"), run_name="__main__")
    assert ended.value.code == 1 and "there is n" in capsys.readouterr().err
    assert sorted(path for path in run.dir.rglob("*") if "jobs" not in path.parts) == before
