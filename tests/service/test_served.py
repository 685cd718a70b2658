"""Ray Data maps the running application: the same rows as by actors of the run's own."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mint_ray.errors import RowError
from mint_ray.scorers.served import Card, ServedScorer
from mint_ray.tasks.base import Label, View
from tests.conftest import REPOSITORY
from tests.service.running import environment


class Response:
    """What a handle gives for a request: ends with `value`, or raises it."""

    def __init__(self, value):
        self.value, self.cancelled, self.asked = value, False, False

    def result(self, timeout_s: float):
        self.asked = True
        if isinstance(self.value, Exception):
            raise self.value
        return self.value

    def cancel(self):
        self.cancelled = True


class Handle:
    """A deployment whose answers are given, in order."""

    def __init__(self, *answers):
        self.given = [Response(answer) for answer in answers]
        self._next = iter(self.given)
        self.card = self.scores = self

    def remote(self, *_):
        return next(self._next)


CARD = Card("toy", "00", [Label(id="L", name="Label")], ("text",), chunk=1)
ROW = [np.zeros(1, np.float32)]


def test_a_request_that_timed_out_is_cancelled_before_it_is_repeated():
    handle = Handle(CARD, TimeoutError(), ROW)
    ServedScorer(handle).scores([View(text="a")])
    assert [response.cancelled for response in handle.given] == [False, True, False]


def test_requests_that_nobody_waits_for_any_more_are_cancelled():
    handle = Handle(CARD, ROW, [RowError("not-scorable")], ROW, ROW)
    with pytest.raises(RowError):
        ServedScorer(handle).scores([View(text="a")] * 4)
    assert [(response.asked, response.cancelled) for response in handle.given[3:]] == [(False, True)] * 2


def preferences(service, folder, *how: str) -> dict:
    command = [sys.executable, "-m", "tests.service.map_deployment", str(folder), *how]
    environ = environment(RAY_ADDRESS=service.ray_address)
    done = subprocess.run(command, cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def without_scores(found: dict) -> dict:
    return found | {"rankings": [(case, labels) for case, labels, _ in found["rankings"]]}


@pytest.fixture(scope="module")
def own(service, tmp_path_factory):
    return preferences(service, tmp_path_factory.mktemp("own"), "own")


def test_the_application_gives_the_rows_that_own_actors_give(service, own, tmp_path):
    served = preferences(service, tmp_path / "served", "application")
    assert len(own["rankings"]) == 78
    assert own["refused"] == [["broken", "truncated-image"]]
    assert without_scores(served) == without_scores(own)
    for (_, _, mine), (_, _, theirs) in zip(own["rankings"], served["rankings"], strict=True):
        assert theirs == pytest.approx(mine, abs=1e-4)


@pytest.mark.slow
def test_a_replica_that_dies_costs_repeats_and_no_rows(service, own, tmp_path):
    assert without_scores(preferences(service, tmp_path / "served", "application", "kill")) == without_scores(own)


def test_an_application_that_does_not_run_is_named(service, tmp_path):
    code = "import ray; ray.init(log_to_driver=False); from mint_ray.scorers.served import connect; connect('nobody')"
    environ = environment(RAY_ADDRESS=service.ray_address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=120
    )
    assert "ModelError: no application 'nobody' runs on this cluster" in done.stderr
