"""The memory of a service's processes over time, by kind: which of them grows, and how fast."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import suppress

import numpy as np
import psutil

from benchmarks.attack.service_kills import processes


class MemoryByKind:
    """Megabytes that belong to a kind of process alone (unique set size), asked for at intervals in a thread of its own."""

    def __init__(self, interval: float):
        self.seconds: list[float] = []
        self.megabytes: defaultdict[str, list[float]] = defaultdict(list)
        self._interval, self._stop = interval, threading.Event()
        self._found = processes()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        started = time.monotonic()
        while not self._stop.is_set():
            self.seconds.append(time.monotonic() - started)
            for kind, found in self._found.items():
                self.megabytes[kind].append(sum(map(_unique, found)) / 2**20)
            self._stop.wait(self._interval)

    def __enter__(self) -> MemoryByKind:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def slopes(self) -> dict[str, float]:
        """By kind: megabytes a minute, fitted over the second half."""
        return {kind: round(slope(self.seconds, found), 3) for kind, found in self.megabytes.items()}

    def total(self) -> list[float]:
        """Megabytes of all kinds together."""
        return [sum(each) for each in zip(*self.megabytes.values(), strict=True)]


def slope(seconds: list[float], megabytes: list[float]) -> float:
    """Megabytes a minute, fitted over the second half."""
    half = len(seconds) // 2
    return 60 * float(np.polyfit(seconds[half:], megabytes[half:], 1)[0])


def growth(seconds: list[float], megabytes: list[float]) -> float:
    """What the second half would add in ten minutes at its slope, as a share of what is held."""
    return 10 * slope(seconds, megabytes) / megabytes[len(megabytes) // 2]


def _unique(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return process.memory_full_info().uss
    return 0.0
