"""How far the work is: one line a stage, which lives on a terminal, and is said every ten seconds where there is none.

A stage says what it does (`begin`) and counts what is done (`advance`), in whichever process: in a worker of Ray both are
printed as a line that the job's process, which Ray brings it to, reads instead of showing it (`heard`). Where no job
shows anything, as in a test or a notebook, they do nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from mint_ray.cluster import in_worker

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

logger = logging.getLogger(__name__)

MARK = "mint_ray progress: "  # begins a worker's line
SECONDS = 10.0  # between two plain lines
WINDOW = 30.0  # seconds that a rate is of
_BETWEEN_LINES = 0.5  # seconds, of a worker


@dataclass
class Line:
    """A stage at work: the part that it is in, and how many of its rows are done."""

    stage: str
    part: str = ""
    total: int | None = None
    unit: str = ""
    note: str = ""
    done: float = 0
    begun: float = 0
    seen: deque[tuple[float, float]] = field(default_factory=deque[tuple[float, float]])  # time, done

    def begin(
        self, part: str, total: int | None = None, unit: str = "", done: float = 0, note: str = "", now: float = 0
    ) -> None:
        self.part, self.total, self.unit, self.done, self.note = part, total, unit, done, note
        self.begun, self.seen = now, deque([(now, done)])

    def advance(self, count: float, note: str = "", now: float = 0) -> None:
        self.done, self.note = self.done + count, note
        self.seen.append((now, self.done))
        while len(self.seen) > 2 and self.seen[1][0] < now - WINDOW:
            self.seen.popleft()

    def rate(self, now: float) -> float:
        """Rows a second, lately; 0 where none is done."""
        started, before = self.seen[0] if self.seen else (now, self.done)
        return (self.done - before) / (now - started) if now > started else 0.0

    def texts(self, now: float, memory: str) -> dict[str, str]:
        """What there is to say, each by what it is; nothing that is not known yet."""
        rate = self.rate(now)
        done = min(self.done, self.total) if self.total else self.done  # a row that is tried again is counted again
        counted = f"{done:,.0f} of {self.total:,}" if self.total else f"{done:,.0f}"
        left = (self.total - done) / rate if self.total and rate else None
        found = {
            "stage": self.stage,
            "part": self.part,
            "done": f"{counted} {self.unit}".strip() if self.total or self.done else "",
            "rate": f"{rate:,.{0 if rate >= 100 else 1 if rate >= 1 else 2}f}/s" if rate else "",
            "left": f"{duration(left)} left" if left else f"{duration(now - self.begun)} so far",
            "note": self.note,
            "memory": memory,
        }
        return {name: text for name, text in found.items() if text}


def duration(seconds: float) -> str:
    """`41 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def memory_used() -> str:
    """Of this machine."""
    found = psutil.virtual_memory()
    return f"{(found.total - found.available) / 2**30:.1f} of {found.total / 2**30:.0f} GiB"


# What a narrow terminal does without, the first first.
_LESS = ("memory", "note", "bar", "rate", "part", "left")
_BAR = 16  # columns


def drawn(line: Line, width: int, now: float, memory: str, plain: bool = False) -> Text:
    """The line in at most so many columns."""
    from rich.text import Text

    texts = line.texts(now, memory)
    if line.total:
        texts["bar"] = "x" * _BAR
    order = ("stage", "part", "bar", "done", "rate", "left", "memory", "note")
    for name in _LESS:
        if len("  ".join(texts[each] for each in order if each in texts)) <= width:
            break
        texts.pop(name, None)
    shown = Text(no_wrap=True, overflow="ellipsis")
    styles = {"stage": "bold", "left": "cyan", "memory": "dim", "note": "dim"}
    for name in (each for each in order if each in texts):
        shown.append("  " if shown else "")
        shown.append_text(_bar(line, plain)) if name == "bar" else shown.append(texts[name], styles.get(name))
    shown.truncate(width, overflow="ellipsis" if not plain else "crop")
    return shown


def _bar(line: Line, plain: bool) -> Text:
    from rich.text import Text

    full = round(_BAR * min(1.0, line.done / (line.total or 1)))
    mark, rest = ("#", "-") if plain else ("━", "─")
    return Text.assemble((mark * full, "green"), (rest * (_BAR - full), "dim"))


class Shown:
    """The lines of a job on its console, a terminal or not; its results go to another, `out`."""

    def __init__(self, console: Console, out: Console):
        self.console, self.out = console, out
        self.live = console.is_terminal and not console.is_dumb_terminal
        self.plain = not _utf(console)
        self.line: Line | None = None
        self._lock = threading.RLock()

    def say(self, text: str, style: str | None = None) -> None:
        """A line that stays."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        with self._lock:
            self.line = Line(name)
            self.line.begin("starting", now=time.monotonic())
        try:
            with self._living() if self.live else self._told():
                yield
        finally:
            self.line = None

    @contextmanager
    def _living(self) -> Generator[None]:
        from rich.live import Live

        with Live(
            console=self.console,
            get_renderable=self._now,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    @contextmanager
    def _told(self) -> Generator[None]:
        over = threading.Event()

        def tell() -> None:
            while not over.wait(SECONDS):
                with self._lock:
                    texts = self.line.texts(time.monotonic(), memory_used()) if self.line else {}
                self.say(f"{texts.pop('stage')}: {', '.join(texts.values())}") if texts else None

        telling = threading.Thread(target=tell, daemon=True, name="progress")
        telling.start()
        try:
            yield
        finally:
            over.set()
            telling.join()

    def _now(self) -> Text:
        with self._lock:
            width = self.console.width - 1
            return drawn(self.line or Line(""), width, time.monotonic(), memory_used(), self.plain)

    def told(self, news: dict[str, Any]) -> None:
        """What a stage or a worker of it says."""
        with self._lock:
            if self.line and "begin" in news:
                self.line.begin(**news["begin"], now=time.monotonic())
            elif self.line:
                self.line.advance(news["count"], news["note"], now=time.monotonic())


_shown: Shown | None = None
_pending: dict[str, Any] = {"count": 0.0, "told": 0.0}


@contextmanager
def shown_on(console: Console, out: Console) -> Generator[Shown]:
    """Show what this process and its workers do for the time of the block."""
    global _shown
    before, _shown = _shown, Shown(console, out)
    try:
        yield _shown
    finally:
        _shown = before


@contextmanager
def stage(name: str) -> Generator[None]:
    """A stage's line, for the time of the block."""
    if _shown is None:
        yield
        return
    with _shown.stage(name):
        yield


def say(text: str) -> None:
    """A line that stays, where a job shows its progress; in the log, too."""
    logger.info(text)
    if _shown is not None:
        _shown.say(text)


def leave(text: str) -> None:
    """A last line, as the process ends with a stage at work."""
    if _shown is not None:
        _shown.console.show_cursor(True)
        _shown.say(f"\n{text}")


def result(made: str | Callable[[int, bool], Any], log_width: int = 80) -> None:
    """Print a result to standard output: a line, or what is made for a width in columns and, perhaps, ASCII alone.

    Args:
        log_width: columns where there is no terminal.
    """
    from rich.console import Console

    out = _shown.out if _shown else Console()
    if isinstance(made, str):
        out.print(made, markup=False, highlight=False, soft_wrap=True)
        return
    if not out.is_terminal:
        out.width = log_width
    out.print(made(out.width, not _utf(out)), highlight=False)


def _utf(console: Console) -> bool:
    return (console.encoding or "").lower().startswith("utf")


def warn(text: str) -> None:
    """A line that stays, of what somebody should know; the log has it already."""
    if _shown is not None:
        _shown.say(text, "yellow")


def begin(part: str, total: int | None = None, unit: str = "", done: float = 0, note: str = "") -> None:
    """What the stage does now. `note` is shown until the first row is done."""
    flush()
    _tell({"begin": {"part": part, "total": total, "unit": unit, "done": done, "note": note}})


def advance(count: float = 1, note: str = "") -> None:
    """Rows that are done; in a worker gathered, so that a line is printed twice a second at most."""
    _pending["count"] += count
    if _shown is not None or time.monotonic() - _pending["told"] >= _BETWEEN_LINES:
        flush(note)


def flush(note: str = "") -> None:
    """Tell of what is gathered."""
    if _pending["count"] or note:
        count, _pending["count"], _pending["told"] = _pending["count"], 0.0, time.monotonic()
        _tell({"count": count, "note": note})


def _tell(news: dict[str, Any]) -> None:
    if _shown is not None:
        _shown.told(news)
    elif in_worker():
        print(MARK + json.dumps(news), file=sys.stdout, flush=True)


def heard(text: str) -> bool:
    """Whether a line that was printed is a worker's news, which is taken."""
    _, mark, news = text.partition(MARK)
    if mark and _shown is not None:
        with suppress(ValueError, KeyError, TypeError):  # cut short as its worker died
            _shown.told(json.loads(news))
    return bool(mark)
