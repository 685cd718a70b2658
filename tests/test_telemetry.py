"""The line's counters, scraped from a real Ray's exporter after a real stage."""

import re
import time

import httpx
import pytest
import ray

from mint_ray import telemetry
from mint_ray.config import load_config
from mint_ray.corpora.prepare import prepare_cases
from mint_ray.runs import Run, StageReport
from tests.conftest import REPOSITORY

PATIENCE = 60


def scraped(name: str, until: int) -> dict[tuple[str, ...], float]:
    """The exporter's samples of a metric by run, stage and reason, once there are `until` of them."""
    address = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    deadline = time.monotonic() + PATIENCE
    while True:
        found = {}
        for labels, value in re.findall(rf"^ray_mint_ray_{name}{{(.*)}} (\S+)$", httpx.get(address).text, re.MULTILINE):
            known = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            found[tuple(known[tag] for tag in ("run", "stage", "reason") if tag in known)] = float(value)
        if len(found) >= until or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


@pytest.fixture
def run(tmp_path) -> Run:
    few = [
        "corpus.diseases=[OMIM:147920, OMIM:163950]",
        "corpus.patients_per_disease=4",
        "preferences.chosen=1",
        "preferences.rejected=1",
        "preferences.cut=1",
        "task.answer_size=1",
    ]
    return Run(load_config(REPOSITORY / "configs/demo.yaml", [f"run.dir={tmp_path / 'counted'}", *few]))


def test_what_a_stage_read_and_refused_stands_in_rays_exporter(run, local_ray):
    run.carry_out("cases", prepare_cases)
    rows = run.stage("cases").manifest["rows"]
    run._count("cases", StageReport(refused={"no-diagnosis": 2}))
    telemetry.show("loss", 0.25, run.name, "alignment")
    assert scraped("rows_read_total", 1) == {("counted", "cases"): rows["in"]}
    assert scraped("rows_written_total", 1) == {("counted", "cases"): rows["out"]}
    assert scraped("rows_refused_total", 1) == {("counted", "cases", "no-diagnosis"): 2}
    assert scraped("loss", 1) == {("counted", "alignment"): 0.25}


def test_without_ray_nothing_is_counted_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(telemetry, "ray_runs", lambda: False)
    monkeypatch.setattr(telemetry, "_metric", lambda *_: pytest.fail("a metric was made"))
    telemetry.count("rows_read", 3, "run", "cases")
    telemetry.show("loss", 1.0, "run", "alignment")
