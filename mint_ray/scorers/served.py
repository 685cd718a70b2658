"""The running application as a `Scorer`, through a Serve deployment handle: Ray Data maps the deployment.

    build_rankings(run, load=partial(connect, "scorer"))

Requests of one forward's views go out at most `IN_FLIGHT` at a time, so that a corpus waits instead of flooding the
service; a replica that dies, or one that is full, costs repeats and no rows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mint_ray.errors import MintError, ModelError, RowError
from mint_ray.tasks.base import Label, View
from mint_ray.transport import Patience

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

IN_FLIGHT = 4
PATIENCE = Patience(seconds=120, base=0.05)  # a replica's start: process, libraries, weights, one forward
SECONDS_A_REQUEST = 60.0


@dataclass(frozen=True)
class Card:
    """What a replica says of itself; `chunk` is how many views it likes to be asked at a time."""

    name: str
    digest: str
    labels: list[Label]
    modalities: tuple[str, ...]
    chunk: int


def connect(application: str) -> ServedScorer:
    """The scorer of a running application on this cluster.

    Raises:
        ModelError: there is no such application.
    """
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        return ServedScorer(serve.get_app_handle(application))
    except RayServeException as error:
        raise ModelError(
            f"no application {application!r} runs on this cluster ({type(error).__name__}): start one on the same "
            "Ray, e.g. `python -m mint_ray.service deployments/scorer.yaml`, or leave rankings.application empty"
        ) from None


class ServedScorer:
    """See `mint_ray.scorers.base.Scorer`. Name, digest and labels are the application's at the time of connecting."""

    tokens_cut: Callable[[View], int] | None = None  # set by whoever knows the scorer's folder

    def __init__(self, handle: DeploymentHandle):
        self._handle = handle
        card: Card = self._patiently(handle.card.remote())
        self.name, self.digest, self.labels, self.modalities = card.name, card.digest, card.labels, card.modalities
        self._chunk = card.chunk

    def scores(self, views: list[View]) -> np.ndarray:
        """Float32 (len(views), len(labels)).

        Raises:
            RowError: the service refused a view.
            TimeoutError: no replica answered in time.
        """
        rows = [row for chunk in self._flow(views) for row in chunk]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, len(self.labels)), np.float32)

    def _flow(self, views: list[View]) -> Iterator[list[np.ndarray]]:
        """Chunks in order; the next goes out when the oldest is back."""
        pending: deque[tuple[list[View], Any]] = deque()
        try:
            for start in range(0, len(views), self._chunk):
                if len(pending) == IN_FLIGHT:
                    yield self._rows(*pending.popleft())
                chunk = views[start : start + self._chunk]
                pending.append((chunk, self._handle.scores.remote(chunk)))
            while pending:
                yield self._rows(*pending.popleft())
        finally:
            for _, response in pending:  # nobody waits for these any more
                _give_up(response)

    def _rows(self, views: list[View], response: Any) -> list[np.ndarray]:
        results = self._patiently(response, views)
        for result in results:
            if isinstance(result, RowError):
                raise result
        return results

    def _patiently(self, response: Any, views: list[View] | None = None):
        """A response, asked for anew while replicas are dying, starting, or full."""
        tries = PATIENCE.tries()
        while True:
            try:
                return response.result(timeout_s=SECONDS_A_REQUEST)
            except Exception as error:
                if isinstance(error, TimeoutError):
                    _give_up(response)  # it still runs
                if not _may_pass(error):
                    raise
                if (wait := tries.wait()) is None:
                    raise TimeoutError(f"no replica answered within {PATIENCE.seconds:g} s") from None
            time.sleep(wait)
            response = self._handle.card.remote() if views is None else self._handle.scores.remote(views)


def _give_up(response: Any) -> None:
    with suppress(Exception):  # Serve raises again what a request failed with
        response.cancel()


def _may_pass(error: Exception) -> bool:
    """Whether it is the replica's state and not the request's fault."""
    from ray.exceptions import RayActorError
    from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

    if isinstance(error, MintError):
        return False
    busy = getattr(getattr(error, "cause", error), "status_code", None) == 503
    return busy or isinstance(error, RayActorError | BackPressureError | DeploymentUnavailableError | TimeoutError)
