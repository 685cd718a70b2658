"""A scorer in a process of its own, so that no forward waits for the interpreter of the HTTP server.

A forward is hundreds of short calls, and each wants the interpreter back when it is done. Beside an event loop that
answers requests it would wait for it up to five milliseconds a call, while a core stands still. Here batches of views
go out through a socket and rows of scores come back; images are decoded on the other side, where a decoder that
crashes takes no connection with it.

Two such processes share the cores, half of them each. A small forward gains little from a second core, and while one
process decodes, or waits for its next batch, the other computes. Whoever is alone takes no more than its half: threads
that find their core taken after all are waited for at each of a forward's hundreds of steps, half a second in the worst
of a hundred requests.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from socket import socket as Socket
from socket import socketpair
from typing import Any, Protocol

import numpy as np

from mint_ray.batches import Batches, Unsound
from mint_ray.corpora.images import check_image
from mint_ray.errors import MintError, ModelError, RowError
from mint_ray.scorers.base import Scorer
from mint_ray.service import wire
from mint_ray.service.api import EXAMPLE_IMAGE
from mint_ray.service.memory import memory_returner
from mint_ray.service.wire import Card, Scored
from mint_ray.tasks.base import Label, View

logger = logging.getLogger(__name__)

Load = Callable[[Path, str], Scorer]
GIVES_WAY = 5  # to the event loop, on cores that both want: an answer that is ready waits for no forward
BROKEN = 3  # status of a process whose scorer fails at every view
PNG_OR_JPEG = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
NOT_SCORABLE = "not-scorable"
WARM_UP = View(text="warm-up", image=base64.b64decode(EXAMPLE_IMAGE))


class Scoring(Protocol):
    """What the engine asks: a scorer's card, and a call that scores a batch; at most `at_once` calls at one time."""

    name: str
    digest: str
    labels: list[Label]
    modalities: tuple[str, ...]
    at_once: int

    @property
    def alive(self) -> bool: ...

    async def score(self, views: list[View]) -> Scored:
        """One row a view, in order; raises where the scorer is gone or broken, and is not alive from then on."""
        ...


class LocalScoring:
    """`Scoring` in this process.

    A view that fails costs itself. Where all fail, one that any sound scorer can read tells whose fault it is.

    Args:
        threads: decode images and tokenise.
    """

    at_once = 1

    def __init__(self, scorer: Scorer, threads: int):
        self.name, self.digest = scorer.name, scorer.digest
        self.labels, self.modalities = scorer.labels, tuple(scorer.modalities)
        staged = hasattr(scorer, "prepare") and hasattr(scorer, "score_prepared")
        self._prepare = (lambda view: scorer.prepare(_with_plain_image(view))) if staged else _decoded
        forward = partial(_finite_rows, scorer.score_prepared if staged else scorer.scores)
        self._forward = Batches(forward, f"the scorer {self.name}", probe=[self._prepare(WARM_UP)])
        self._parallel, self._threads = threads > 1, ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self.alive = True

    async def score(self, views: list[View]) -> Scored:
        try:
            return await asyncio.to_thread(self, views)
        except Exception:
            self.alive = False
            raise

    def __call__(self, views: list[View]) -> Scored:
        started = time.perf_counter()
        prepared = self._prepared(views)
        ready = time.perf_counter()
        rows = iter(self._forward([value for value in prepared if not isinstance(value, RowError)]))
        found = [value if isinstance(value, RowError) else next(rows) for value in prepared]
        return Scored(found, ready - started, time.perf_counter() - ready)

    def _prepared(self, views: list[View]) -> list[Any | RowError]:
        # A thread's hand-over costs more than a small image; one view, or one thread, needs none.
        each = self._threads.map if self._parallel and len(views) > 1 else map
        prepared = list(each(partial(_or_why_not, self._prepare), views))
        if all(isinstance(value, RowError) and value.reason == NOT_SCORABLE for value in prepared):
            self._prepare(WARM_UP)  # raises where no view is at fault
        return prepared


def _with_plain_image(view: View) -> View:
    """Scorers open PNG and JPEG; anything else is made one."""
    return view if view.image is None or view.image.startswith(PNG_OR_JPEG) else _decoded(view)


def _decoded(view: View) -> View:
    """For a scorer that decodes by itself: a picture that every decoder sees alike."""
    return view if view.image is None else view.model_copy(update={"image": check_image(view.image)})


def _or_why_not(work: Callable[[View], Any], view: View) -> Any | RowError:
    try:
        return work(view)
    except RowError as error:
        return error
    except Exception as error:  # its text may quote the case
        return RowError(NOT_SCORABLE, "image or text", type(error).__name__)


def _finite_rows(forward: Callable[[list[Any]], np.ndarray], prepared: list[Any]) -> list[np.ndarray]:
    rows = list(forward(prepared)) if prepared else []
    if not all(np.isfinite(row).all() for row in rows):
        raise Unsound(RowError(NOT_SCORABLE, "scores", "a score that is not finite"))
    return rows


class ScorerPool:
    """`Scoring` in processes of their own, which end with this one.

    Args:
        load: opens `folder` on a device; importable, and run in the other processes.
        processes: how many batches are scored at one time; each holds the weights.
        threads: of all of them together, for images and forwards; at least one each.

    Raises:
        ModelError: `load` failed, with its words where they are our own, or a process ended.
    """

    def __init__(self, load: Load, folder: Path, device: str, processes: int, threads: int):
        self.at_once, share = processes, max(1, threads // processes)
        self._processes = [_ScorerProcess(load, folder, device, share) for _ in range(processes)]
        try:
            cards = [process.card() for process in self._processes]
        except ModelError:
            self.stop()
            raise
        self.name, self.digest, self.labels, self.modalities = cards[0]
        self._idle = list(self._processes)

    @property
    def alive(self) -> bool:
        return all(process.alive for process in self._processes)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    async def score(self, views: list[View]) -> Scored:
        process = self._idle.pop()
        try:
            return await process.score(views)
        finally:
            self._idle.append(process)

    def wait(self) -> int:
        """Until one of the processes ends; its exit code."""
        ended = wait([process.sentinel for process in self._processes])[0]
        return next(process for process in self._processes if process.sentinel == ended).join()

    def stop(self) -> None:
        for process in self._processes:
            process.stop()


class _ScorerProcess:
    """One of a pool; one batch at a time, from one event loop."""

    def __init__(self, load: Load, folder: Path, device: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self._folder = folder
        self._socket, theirs = socketpair()
        self._process = context.Process(target=_serve, args=(theirs, load, folder, device, threads), daemon=True)
        self._process.start()
        theirs.close()  # so that the connection ends where the process does
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.pid, self.sentinel = self._process.pid, self._process.sentinel

    def card(self) -> Card:
        """What it loaded, once a forward has run there."""
        try:
            with self._socket.makefile("rb") as stream:
                return wire.unpacked_card(wire.receive(stream))
        except EOFError:
            raise ModelError(f"{self._folder}: the scorer's process ended with {self.join()} while loading") from None

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def join(self) -> int:
        """Until it ends; its exit code."""
        self._process.join()
        return self._process.exitcode

    async def score(self, views: list[View]) -> Scored:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(sock=self._socket)
        reader, writer = self._streams
        try:
            writer.write(wire.framed(wire.packed_views(views)))
            await writer.drain()
            length = int.from_bytes(await reader.readexactly(wire.LENGTH))
            return wire.unpacked_scored(await reader.readexactly(length))
        except (EOFError, OSError) as error:
            raise ConnectionError(f"the scorer's process is gone ({type(error).__name__})") from None

    def stop(self) -> None:
        self._process.terminate()


def _serve(socket: Socket, load: Load, folder: Path, device: str, threads: int) -> None:
    """The other process: load and try, say what was loaded, then score until the connection ends."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an operator's Ctrl-C is for the service, which ends this
    torch.set_num_threads(threads)  # Ray gives a worker as many as its logical CPUs
    os.nice(GIVES_WAY)
    try:
        scoring = LocalScoring(load(folder, device), threads)
    except Exception as error:
        why = str(error) if isinstance(error, MintError) else f"{type(error).__name__}: {error}"
        socket.sendall(wire.framed(wire.packed_card(f"{folder}: the scorer cannot be loaded: {why}")))
        return
    scoring([WARM_UP])
    card = Card(scoring.name, scoring.digest, scoring.labels, scoring.modalities)
    socket.sendall(wire.framed(wire.packed_card(card)))
    give_back = memory_returner()
    with socket.makefile("rb") as stream, suppress(EOFError):
        while True:
            scored = _scored(scoring, wire.unpacked_views(wire.receive(stream)))
            socket.sendall(wire.framed(wire.packed_scored(scored)))
            give_back()


def _scored(scoring: LocalScoring, views: list[View]) -> Scored:
    """The batch's rows. A scorer that is broken ends its process, which is the only way that mends a lost GPU."""
    try:
        return scoring(views)
    except Exception as error:  # its text may quote a case; that of our own errors does not
        logger.error("%s", error if isinstance(error, MintError) else type(error).__name__)
        raise SystemExit(BROKEN) from None
