"""Ports for what starts a moment later."""

from __future__ import annotations

import random
from contextlib import closing
from itertools import islice
from socket import socket

# The system gives out ports from 32768 on, Ray's workers take 10002 to 19999, Serve's replicas 30000 to 31000: a port
# of these may be gone before the one that it was found for listens on it.
QUIET = range(20000, 30000)


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback address on which nothing listens, and that nobody is given by chance.

    Raises:
        OSError: there are not so many.
    """
    found = list(islice(filter(_free, random.SystemRandom().sample(QUIET, len(QUIET))), count))
    if len(found) < count:
        raise OSError(f"{len(found)} of {count} ports are free in {QUIET.start} to {QUIET.stop - 1}")
    return found


def _free(port: int) -> bool:
    with closing(socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
