"""The Ray Serve deployment: a replica is the HTTP application and its queue, and the scorer in processes beside it.

A request meets those of all other clients in the replica's one queue. A replica is ready when its constructor
returns: weights loaded, one forward run. Where one of them ends it ends, too, and Serve starts another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Any, cast

import numpy as np
from ray import serve
from starlette.types import ASGIApp

from mint_ray.errors import RowError
from mint_ray.scorers import load_scorer
from mint_ray.scorers.served import Card
from mint_ray.service.app import create_app
from mint_ray.service.connections import bound_connections
from mint_ray.service.engine import Engine
from mint_ray.service.metrics import Metrics
from mint_ray.service.scoring import Load, ScorerPool
from mint_ray.service.settings import ServiceSection
from mint_ray.tasks.base import View

logger = logging.getLogger(__name__)

DEPLOYMENT = "scorer"
DRAIN_SECONDS = 20.0
LAST_WORDS_SECONDS = 1.0  # who was waiting for a scorer that ended is told so, and when to ask again


def application(settings: ServiceSection, load: Load = load_scorer) -> serve.Application:
    """The settings' scorer as an application. `load` opens its folder and must be importable by the replicas."""
    limits = settings.limits
    return ScorerDeployment.options(
        **settings.scale(),
        max_ongoing_requests=limits.requests + limits.queued_cases,  # the replica sheds by itself, and says why
        max_queued_requests=limits.requests,
        backpressure_config={"retry_after_s": limits.retry_after_seconds},
        ray_actor_options={"num_cpus": settings.num_cpus, "num_gpus": settings.num_gpus},
        graceful_shutdown_timeout_s=limits.request_seconds + DRAIN_SECONDS,
    ).bind(settings, load)


@serve.deployment(
    name=DEPLOYMENT,
    max_surge_percent=100,  # an update starts the new replicas before it stops the old ones
    health_check_period_s=5,
    max_constructor_retry_count=1,
    logging_config={"enable_access_log": False},
)
@serve.ingress()
class ScorerDeployment:
    """One replica. `scores` is for deployment handles, everything else is HTTP."""

    async def __init__(self, settings: ServiceSection, load: Load):
        settings.access.check(listening_host())
        bound_connections(settings.limits.request_seconds)
        self._token, self._batch_size = settings.access.token(), settings.batching.max_batch_size
        scorer = await asyncio.to_thread(
            ScorerPool, load, settings.scorer, settings.device, settings.processes, settings.cores
        )
        metrics = Metrics(serve.get_replica_context().replica_id.unique_id)
        self._engine = Engine(scorer, settings.task, settings.limits, self._batch_size, metrics)
        await self._engine.start()
        threading.Thread(target=_end_with, args=(scorer,), daemon=True, name="scorer-watch").start()
        logger.info("%s %s is ready", scorer.name, scorer.digest)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_app(self._engine, self._token)

    async def check_health(self) -> None:
        if not self._engine.alive:
            raise RuntimeError("a scorer's process or the queue has ended")

    async def card(self) -> Card:
        """What is being served."""
        scorer, chunk = self._engine.scorer, min(self._batch_size, self._engine.limits.queued_cases)
        return Card(scorer.name, scorer.digest, scorer.labels, scorer.modalities, chunk)

    async def scores(self, views: list[View]) -> list[np.ndarray | RowError]:
        """The scores of each view over all labels, or why it has none; shares forwards with HTTP."""
        return await self._engine.rows(views)


def _end_with(scorer: ScorerPool) -> None:
    logger.error("a scorer's process ended with %s: this replica ends, and another takes its place", scorer.wait())
    time.sleep(LAST_WORDS_SECONDS)
    os._exit(1)


def listening_host() -> str | None:
    """The address that this cluster's Serve listens on, wherever it was set."""
    from ray.serve.context import _get_global_client

    return cast(Any, _get_global_client()).http_config.host
