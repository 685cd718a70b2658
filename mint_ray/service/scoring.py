"""A scorer in a process of its own, so that no forward waits for the interpreter of the HTTP server.

A forward is hundreds of short calls, and each wants the interpreter back when it is done. Beside an event loop that
answers requests it would wait for it up to five milliseconds a call, while a core stands still. Here batches of views
go out through a pipe and rows of scores come back; images are decoded on the other side, where a decoder that
crashes takes no connection with it.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from mint_ray.corpora.images import check_image
from mint_ray.errors import MintError, ModelError, RowError
from mint_ray.scorers.base import Scorer
from mint_ray.tasks.base import Label, View

logger = logging.getLogger(__name__)

Load = Callable[[Path, str], Scorer]
Row = np.ndarray | RowError
AT_ONCE = 2**18  # bytes that an event loop may read or write without others noticing


class Scored(NamedTuple):
    """What became of a batch: for each view its scores over all labels, or why it has none; seconds of both stages."""

    rows: list[Row]
    prepare: float
    forward: float


class Scoring(Protocol):
    """What the engine asks: a scorer's card, and a call that scores a batch; one call at a time."""

    name: str
    digest: str
    labels: list[Label]
    modalities: tuple[str, ...]

    @property
    def alive(self) -> bool: ...

    async def score(self, views: list[View]) -> Scored:
        """One row a view, in order; raises ConnectionError where the scorer is gone."""


class LocalScoring:
    """`Scoring` in this process.

    Args:
        threads: decode images and tokenise.
    """

    alive = True

    def __init__(self, scorer: Scorer, threads: int):
        self.name, self.digest = scorer.name, scorer.digest
        self.labels, self.modalities = scorer.labels, tuple(scorer.modalities)
        staged = hasattr(scorer, "prepare") and hasattr(scorer, "score_prepared")
        self._prepare = scorer.prepare if staged else _decodable
        self._forward = scorer.score_prepared if staged else scorer.scores
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="prepare")

    async def score(self, views: list[View]) -> Scored:
        return await asyncio.to_thread(self, views)

    def __call__(self, views: list[View]) -> Scored:
        started = time.perf_counter()
        # A thread's hand-over costs more than a small image; one view needs none.
        each = map if len(views) == 1 else self._threads.map
        prepared = list(each(partial(_or_why_not, self._prepare, "image or text"), views))
        ready = time.perf_counter()
        rows = iter(self._scores([value for value in prepared if not isinstance(value, RowError)]))
        found = [value if isinstance(value, RowError) else next(rows) for value in prepared]
        return Scored(found, ready - started, time.perf_counter() - ready)

    def _scores(self, prepared: list[Any]) -> list[Row]:
        """One bad view must not spoil the others: where a forward fails, each of its views is tried alone."""
        if not prepared:
            return []
        try:
            return list(self._forward(prepared))
        except Exception as error:
            logger.warning("a forward over %d view(s) failed: %s", len(prepared), type(error).__name__)
        return [_or_why_not(lambda one: self._forward([one])[0], "scores", each) for each in prepared]


def _decodable(view: View) -> View:
    if view.image is not None:
        check_image(view.image)
    return view


def _or_why_not(work: Callable[[Any], Any], field: str, value: Any) -> Any:
    try:
        return work(value)
    except RowError as error:
        return error
    except Exception as error:  # its text may quote the case
        return RowError("not-scorable", field, type(error).__name__)


class ScorerProcess:
    """`Scoring` in a process of its own, which ends with this one.

    Args:
        load: opens `folder` on a device; importable, and run in the other process.
        torch_threads: of a forward; None: as many as there are cores.
        preparing_threads: decode images and tokenise.

    Raises:
        MintError: what `load` raised.
        ModelError: it failed in another way, or the process ended.
    """

    def __init__(self, load: Load, folder: Path, device: str, torch_threads: int | None, preparing_threads: int):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, load, folder, device, torch_threads, preparing_threads), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the pipe ends where the process does
        try:
            card = self._connection.recv()
        except EOFError:
            self._process.join()
            raise ModelError(
                f"{folder}: the scorer's process ended with {self._process.exitcode} while loading"
            ) from None
        if isinstance(card, Exception):
            raise card
        self.name, self.digest, self.labels, self.modalities = card

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    async def score(self, views: list[View]) -> Scored:
        try:
            await self._send(ForkingPickler.dumps(views))
            await self._readable()
            return self._connection.recv()
        except (EOFError, OSError) as error:
            raise ConnectionError(f"the scorer's process is gone ({type(error).__name__})") from None

    async def _send(self, message: memoryview) -> None:
        if len(message) > AT_ONCE:
            await asyncio.to_thread(self._connection.send_bytes, message)
        else:  # a thread's hand-over would cost more
            self._connection.send_bytes(message)

    async def _readable(self) -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._connection.fileno(), arrived.set)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(self._connection.fileno())

    def wait(self) -> int:
        """Until the process ends; its exit code."""
        self._process.join()
        return self._process.exitcode

    def stop(self) -> None:
        self._connection.close()
        self._process.terminate()


def _serve(
    connection: Connection, load: Load, folder: Path, device: str, torch_threads: int | None, preparing_threads: int
) -> None:
    """The other process: load, say what was loaded, then score until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an operator's Ctrl-C is for the service, which ends this
    try:
        _use_threads(torch_threads)
        scoring = LocalScoring(load(folder, device), preparing_threads)
    except MintError as error:
        connection.send(error)
        return
    except Exception as error:
        connection.send(ModelError(f"{folder}: the scorer cannot be loaded: {type(error).__name__}: {error}"))
        return
    connection.send((scoring.name, scoring.digest, scoring.labels, scoring.modalities))
    while True:
        try:
            views = connection.recv()
        except EOFError:
            return
        connection.send(scoring(views))


def _use_threads(count: int | None) -> None:
    """Ray gives a worker as many OpenMP threads as its logical CPUs; a forward wants the machine's."""
    import torch

    torch.set_num_threads(count or len(os.sched_getaffinity(0)))
