"""A batch of views to rows, in this process and in one of its own."""

import asyncio
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import uvloop

from mint_ray.errors import ModelError, RowError
from mint_ray.service import wire
from mint_ray.service.scoring import BROKEN, LocalScoring, ScorerPool
from mint_ray.tasks.base import View
from tests.service.pictures import encoded, picture
from tests.service.toy import LABELS, ToyScorer, load_toy


def load_badly(folder: Path, device: str) -> ToyScorer:
    raise ValueError("no such weights")


def load_and_die(folder: Path, device: str) -> ToyScorer:
    os._exit(7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    (folder / "digest").write_text("00ff")
    return folder


@pytest.fixture(scope="module", params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine in one event loop: of the standard library, and of the kind that Ray Serve has."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@pytest.fixture(scope="module")
def apart(folder, run):
    pool = ScorerPool(load_toy, folder, "cpu", processes=2, threads=2)
    yield pool
    pool.stop()


def test_a_process_of_its_own_scores_as_this_one_does(apart, run):
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
    np.testing.assert_array_equal(np.stack(run(apart.score(views)).rows), np.stack(here(views).rows))
    assert run(apart.score(views)).rows[0].shape == (LABELS,)


def test_a_bad_view_costs_itself_and_its_reason_holds_none_of_it(apart, run):
    rows = run(apart.score([View(text="Seizure"), View(text="fail"), View(text="x", image=b"no image")])).rows
    np.testing.assert_array_equal(rows[0], run(apart.score([View(text="Seizure")])).rows[0])
    assert [row.reason for row in rows[1:]] == ["not-scorable", "not-an-image"]
    assert all(isinstance(row, RowError) and "fail" not in str(row) and "no image" not in str(row) for row in rows[1:])


def test_a_batch_of_bad_views_alone_reaches_no_forward(apart, run):
    assert [row.reason for row in run(apart.score([View(text=None, image=b"")] * 3)).rows] == ["not-an-image"] * 3


class Unfinite(ToyScorer):
    """Scores that are no numbers: for one text, or for all."""

    def __init__(self, of: str):
        super().__init__("00ff")
        self._of = of

    def scores(self, views: list[View]) -> np.ndarray:
        rows = super().scores(views)
        rows[[self._of in (view.text or "") for view in views]] = np.nan
        return rows


def test_a_score_that_is_no_number_costs_its_view_and_where_all_are_none_the_scorer_is_broken():
    views = [View(text=text) for text in ("Seizure", "Hypotonia")]
    row, why = LocalScoring(Unfinite("Hypotonia"), threads=1)(views).rows
    assert (row.shape, why.reason, why.seen) == ((LABELS,), "not-scorable", "a score that is not finite")
    with pytest.raises(ModelError, match=r"the scorer toy is broken: .*not finite"):
        LocalScoring(Unfinite(""), threads=1)(views)


def test_a_scorer_that_can_prepare_nothing_is_broken_and_one_odd_view_costs_itself():
    class Staged(ToyScorer):
        broken = False

        def prepare(self, view: View) -> View:
            if self.broken or view.text == "odd":
                raise KeyError(view.text)
            return view

        score_prepared = ToyScorer.scores

    scorer = Staged("00ff")
    scoring = LocalScoring(scorer, threads=1)
    assert [row.seen for row in scoring([View(text="odd"), View(text="odd")]).rows] == ["KeyError"] * 2
    scorer.broken = True
    with pytest.raises(KeyError):
        scoring([View(text="odd"), View(text="Seizure")])


def test_a_broken_scorer_ends_its_process_and_its_words_reach_no_log(folder, capfd):
    pool = ScorerPool(load_toy, folder, "cpu", processes=1, threads=1)
    with pytest.raises(ConnectionError):
        asyncio.run(pool.score([View(text="Seizure"), View(text="break: Erika Mustermann")]))
    assert pool.wait() == BROKEN
    assert not pool.alive
    said = capfd.readouterr().err
    assert "the scorer toy is broken: it fails at every row, RuntimeError at toy.py" in said
    assert "Mustermann" not in said


def test_batches_beside_each_other_keep_their_rows(apart, run):
    batches = [[View(text=letter * 50)] * 3 for letter in "abcdef"]

    async def two_at_a_time() -> list:
        found = []
        for pair in zip(batches[::2], batches[1::2], strict=True):
            found += await asyncio.gather(*(apart.score(batch) for batch in pair))
        return found

    here = LocalScoring(ToyScorer("00ff"), threads=2)
    for batch, scored in zip(batches, run(two_at_a_time()), strict=True):
        np.testing.assert_array_equal(np.stack(scored.rows), np.stack(here(batch).rows))


def test_batches_and_rows_larger_than_a_sockets_buffer_cross_over_whole(apart, run):
    views = [View(text=f"{number} " * 60) for number in range(4000)]
    assert len(wire.packed_views(views)) > 2**20
    here = LocalScoring(ToyScorer("00ff"), threads=2)
    for _ in range(3):
        np.testing.assert_array_equal(np.stack(run(apart.score(views)).rows), np.stack(here(views).rows))


class Counted(ToyScorer):
    """Leaves a file for each process in which it scored."""

    def __init__(self, folder: Path):
        super().__init__("00ff")
        self._folder = folder

    def scores(self, views: list[View]) -> np.ndarray:
        (self._folder / f"{os.getpid()}.scored").write_text(str(torch.get_num_threads()))
        return super().scores(views)


def load_counted(folder: Path, device: str) -> ToyScorer:
    return Counted(folder)


def test_each_process_has_run_a_forward_before_the_pool_is_there(tmp_path):
    pool = ScorerPool(load_counted, tmp_path, "cpu", processes=2, threads=1)
    assert {path.stem for path in tmp_path.glob("*.scored")} == {str(pid) for pid in pool.pids}
    pool.stop()


def test_forwards_give_way_to_http(apart):
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert [os.getpriority(os.PRIO_PROCESS, pid) > mine for pid in apart.pids] == [True, True]


@pytest.mark.parametrize(("threads", "share"), [(5, 2), (1, 1)])
def test_the_processes_share_the_threads(tmp_path, threads, share):
    pool = ScorerPool(load_counted, tmp_path, "cpu", processes=2, threads=threads)
    assert [path.read_text() for path in tmp_path.glob("*.scored")] == [str(share)] * 2
    pool.stop()


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (load_toy, "is no scorer's folder"),
        (load_badly, "ValueError: no such weights"),
        (load_and_die, "ended with 7 while loading"),
    ],
)
def test_what_cannot_be_loaded_says_why(load, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        ScorerPool(load, tmp_path, "cpu", processes=1, threads=1)


def test_where_one_was_killed_the_pool_is_not_alive_and_its_batch_says_so(folder):
    pool = ScorerPool(load_toy, folder, "cpu", processes=2, threads=1)
    assert pool.alive
    killed = pool.pids[-1]  # who is next
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(ConnectionError):
        asyncio.run(pool.score([View(text="Seizure")]))
    assert pool.wait() == -signal.SIGKILL
    assert not pool.alive
    pool.stop()
