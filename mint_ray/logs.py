"""A job's log, `<run.dir>/logs/<time>-<pid>.log`: everything that anybody prints but the job itself, which has the terminal.

Ray, torch, vLLM and transformers print and log to wherever `sys.stdout`, `sys.stderr` and file descriptors 1 and 2 lead;
for the time of a job that is the log. What our workers print comes there by way of Ray. An error's own words may quote a
patient, so of a traceback the frames and the type are kept, no more.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from mint_ray import progress, storage
from mint_ray.errors import MintError

if TYPE_CHECKING:
    from rich.console import Console

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"\((?:[\w.()<>-]+ )*pid=[^)]*\) ?")  # of a worker's line, as Ray prints it
_RAISED = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Refused|Unsound)\w*):.*")
_RECORD = re.compile(r"(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|DEBUG|INFO|WARNING|ERROR|CRITICAL|\[|Traceback )|$")


class Unquoted:
    """Lines as a log may keep them: of a traceback where each error was raised and its type, not what it says."""

    def __init__(self):
        self._after_error = False  # the lines of a message that has several

    def __call__(self, line: str) -> str | None:
        """The line, or what of it may be kept; None for nothing."""
        prefix = found[0] if (found := _PREFIX.match(line)) else ""
        text = line[len(prefix) :]
        if raised := _RAISED.match(text):
            self._after_error = True
            kept = text if raised[1].startswith(("mint_ray.errors.", "ray.exceptions.")) else f"{raised[1]}: (not kept)"
            return prefix + kept
        if self._after_error and not _RECORD.match(text) and not text.startswith(("  File ", "During ", "The above ")):
            return None
        self._after_error = False
        return line


class Log(io.TextIOBase):
    """What stands in for `sys.stdout` and `sys.stderr`: whole lines into a file, news of progress to whom they are for."""

    def __init__(self, file: IO[str]):
        self._file, self._lock = file, threading.RLock()
        self._begun: dict[int, str] = {}  # by thread, a line that is not whole yet
        self._unquoted: dict[str, Unquoted] = {}  # by worker

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "utf-8"

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, rest = (self._begun.pop(threading.get_ident(), "") + text).split("\n")
            if rest:
                self._begun[threading.get_ident()] = rest
            for line in lines:
                self._keep(line)
        return len(text)

    def _keep(self, line: str) -> None:
        line = _ESCAPES.sub("", line).rpartition("\r")[2]
        if progress.heard(line):
            return
        who = found[0] if (found := _PREFIX.match(line)) else ""
        if (kept := self._unquoted.setdefault(who, Unquoted())(line)) is not None:
            with suppress(OSError, ValueError):  # a full disk is told by the stage, which needs it more
                self._file.write(f"{kept}\n")
                self._file.flush()


@contextmanager
def kept(run_dir: Path) -> Generator[Path]:
    """Have whatever is printed and logged kept in a file of the run, which is given, for the time of the block."""
    path = run_dir / "logs" / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
    with _file_of(path) as file, _descriptors_to(file):
        log, before = Log(file), (sys.stdout, sys.stderr)
        sys.stdout = sys.stderr = cast(Any, log)
        try:
            with _handling(log):
                yield path
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def _handling(log: Log) -> Generator[None]:
    """Log records to the log; our warnings, and the errors of all, to whoever watches, too."""
    root, to_log, to_screen = logging.getLogger(), logging.StreamHandler(cast(Any, log)), _ToScreen(logging.WARNING)
    to_log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    level = root.level
    root.setLevel(logging.INFO)
    for handler in (to_log, to_screen):
        root.addHandler(handler)
    try:
        yield
    finally:
        root.setLevel(level)
        for handler in (to_log, to_screen):
            root.removeHandler(handler)


class _ToScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("mint_ray") or record.levelno >= logging.ERROR:
            progress.warn(record.getMessage())


@contextmanager
def _file_of(path: Path) -> Generator[IO[str]]:
    """The log, written as it comes; in a store, which cannot append, a file of this machine that is put at the end."""
    if not storage.remote(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        return
    with NamedTemporaryFile("w+", encoding="utf-8", errors="backslashreplace", suffix=".log") as file:
        try:
            yield cast("IO[str]", file)
        finally:
            with suppress(OSError, MintError), storage.written(path) as out:  # never in place of what ended the job
                out.write(Path(file.name).read_bytes())


@contextmanager
def _descriptors_to(file: IO[str]) -> Generator[None]:
    """Lead what is written past Python, by libraries and child processes, into a file."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in kept:
            os.dup2(file.fileno(), number)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)


class _Way(io.TextIOBase):
    """A way to whoever started the job. Where it ends, as a pipe does whose reader goes, the work goes on unseen."""

    def __init__(self, number: int, encoding: str):
        self._number, self._encoding, self._open = os.dup(number), encoding, True

    def write(self, text: str) -> int:
        data = text.encode(self._encoding, "replace")
        while data and self._open:
            try:
                data = data[os.write(self._number, data) :]
            except OSError:
                self._open = False
        return len(text)

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def fileno(self) -> int:
        return self._number

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._encoding


def console(number: int, log_width: int | None = None) -> Console:
    """Standard output (1) or error (2) as they are now: it leads there still when both lead into the log.

    Args:
        log_width: columns where it is no terminal.
    """
    from rich.console import Console

    stream = sys.stdout if number == 1 else sys.stderr
    way = _Way(number, getattr(stream, "encoding", None) or "utf-8")
    width, height = os.get_terminal_size(number) if way.isatty() else (log_width, None)
    return Console(file=cast(Any, way), width=width, height=height)
