"""A batch of views to rows, in this process and in one of its own."""

import asyncio
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from mint_ray.errors import ModelError, RowError
from mint_ray.service.scoring import AT_ONCE, LocalScoring, Scored, ScorerProcess
from mint_ray.tasks.base import View
from tests.service.pictures import encoded, picture
from tests.service.toy import LABELS, ToyScorer, load_toy


def load_badly(folder: Path, device: str) -> ToyScorer:
    raise ValueError("no such weights")


def load_and_die(folder: Path, device: str) -> ToyScorer:
    os._exit(7)


def scored(process: ScorerProcess, views: list[View]) -> Scored:
    return asyncio.run(process.score(views))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    (folder / "digest").write_text("00ff")
    return folder


@pytest.fixture(scope="module")
def apart(folder):
    process = ScorerProcess(load_toy, folder, "cpu", torch_threads=1, preparing_threads=2)
    yield process
    process.stop()


def test_a_process_of_its_own_scores_as_this_one_does(apart):
    views = [
        View(text="Seizure"),
        View(text=None, image=encoded(picture())),
        View(text="Hypotonia", image=encoded(picture())),
    ]
    here = LocalScoring(ToyScorer("00ff"), threads=2)
    assert (apart.name, apart.digest, apart.labels, apart.modalities) == (
        here.name,
        here.digest,
        here.labels,
        here.modalities,
    )
    np.testing.assert_array_equal(np.stack(scored(apart, views).rows), np.stack(here(views).rows))
    assert scored(apart, views).rows[0].shape == (LABELS,)


def test_a_bad_view_costs_itself_and_its_reason_holds_none_of_it(apart):
    rows = scored(apart, [View(text="Seizure"), View(text="fail"), View(text="x", image=b"no image")]).rows
    np.testing.assert_array_equal(rows[0], scored(apart, [View(text="Seizure")]).rows[0])
    assert [row.reason for row in rows[1:]] == ["not-scorable", "not-an-image"]
    assert all(isinstance(row, RowError) and "fail" not in str(row) and "no image" not in str(row) for row in rows[1:])


def test_a_batch_of_bad_views_alone_reaches_no_forward(apart):
    assert [row.reason for row in scored(apart, [View(text=None, image=b"")] * 3).rows] == ["not-an-image"] * 3


def test_what_cannot_be_loaded_says_why(folder, tmp_path):
    settings = {"device": "cpu", "torch_threads": 1, "preparing_threads": 1}
    with pytest.raises(ModelError, match="is no scorer's folder"):
        ScorerProcess(load_toy, tmp_path, **settings)
    with pytest.raises(ModelError, match="ValueError: no such weights"):
        ScorerProcess(load_badly, folder, **settings)
    with pytest.raises(ModelError, match="ended with 7 while loading"):
        ScorerProcess(load_and_die, folder, **settings)


def test_a_process_that_was_killed_is_gone_and_says_so(folder):
    process = ScorerProcess(load_toy, folder, "cpu", torch_threads=1, preparing_threads=1)
    assert process.alive
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(ConnectionError):
        scored(process, [View(text="Seizure")])
    until = time.monotonic() + 10
    while process.alive and time.monotonic() < until:
        time.sleep(0.01)
    assert not process.alive


def test_a_large_batch_crosses_over_whole(apart):
    views = [View(text="x" * 6000), View(text="y" * 6000)] * (AT_ONCE // 6000)
    here = LocalScoring(ToyScorer("00ff"), threads=2)
    np.testing.assert_array_equal(np.stack(scored(apart, views).rows), np.stack(here(views).rows))
