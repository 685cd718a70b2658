"""Whether what answers behind an application is there: asked of itself, and not remembered from its start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from mint_ray.service.problems import Problem

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
FRESH_SECONDS = 1.0  # the address is open: however many ask, an engine is asked once in this time


class Readiness:
    """Asks every engine whether it is well.

    Args:
        checks: by an engine's name; each raises, or does not answer in time, where it is not.
    """

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable]]):
        self._checks, self._lock = checks, asyncio.Lock()
        self._until, self._missing = 0.0, []

    async def check(self) -> None:
        """Returns where all are well.

        Raises:
            Problem: `not-ready`, with the names of those that are not.
        """
        async with self._lock:
            if time.monotonic() > self._until:
                well = await asyncio.gather(*map(_is_well, self._checks.values()))
                self._missing = [name for name, fine in zip(self._checks, well, strict=True) if not fine]
                self._until = time.monotonic() + FRESH_SECONDS
        if self._missing:
            retry = {"Retry-After": str(round(PATIENCE_SECONDS))}
            raise Problem("not-ready", f"no answer of {', '.join(self._missing)}", headers=retry)


async def _is_well(check: Callable[[], Awaitable]) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except Exception as error:  # of whatever kind: it is not well
        logger.warning("an engine does not answer for itself: %s", type(error).__name__)
        return False
    return True
