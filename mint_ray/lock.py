"""One job at a time in a run directory, on one machine or on several that share its file system or object store.

<run.dir>/jobs/
  00001.json     who worked here: host, process, the job's name in Ray, when it started and ended
  00002.json     the last: at work as long as it is alive and has no end

A job takes the next number by creating a file that must not exist yet, which a file system or a store grants to one
process alone; no file is ever removed. So two jobs that both find the last one dead cannot both follow it.

A job of this machine is alive while its process is. One of another machine is alive while it touches its file,
every `BEAT` seconds (in a store: writes it anew); after `STALE` seconds of silence it counts as dead. How long it has
been silent is told by the clock of the server that keeps the file. A file system may take its times from the machines
instead, whose clocks differ: so a silent file is watched for some beats before its job is followed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import psutil
from pydantic import TypeAdapter

from mint_ray import storage
from mint_ray.errors import MintError, RunError

logger = logging.getLogger(__name__)

BEAT = 15.0  # seconds
STALE = 180.0  # seconds; a file system that hangs for a minute ends no job
WATCHED = 3  # beats
_NAME = re.compile(r"[0-9]{5,9}\.json")  # whatever else lies there is none of ours


@dataclass(frozen=True)
class Holder:
    """A process that works, or worked, in a run directory.

    Args:
        machine: what its pid counts in: boot and pid namespace, since containers may share a host's name.
        process_started: seconds since the epoch; tells it from a later process of the same pid.
        job: its submission id, where Ray's job server started it.
    """

    host: str = "an unknown host"
    machine: str = ""
    pid: int = 0
    process_started: float = 0.0
    job: str | None = None
    started: str = "just now"
    ended: str | None = None

    def __str__(self) -> str:
        job = f", Ray job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}, started {self.started}"


_HOLDER = TypeAdapter(Holder)
_followed = threading.Event()


def followed() -> bool:
    """Whether another job has taken this process's for dead, and works in its directory: nothing more may be written."""
    return _followed.is_set()


@contextmanager
def sole_job(run_dir: Path) -> Generator[None]:
    """Be the only job in a run directory for the time of the block.

    Raises:
        RunError: another job is at work there, named by host, process and job; or nothing can be written there.
        StorageError: the store that it lies in refuses.
    """
    try:
        path, holder = _take(run_dir)
    except OSError as error:
        met = OSError(error.errno, error.strerror, str(run_dir))
        why = storage.disk_trouble(met, run_dir) or f"{run_dir} cannot be written ({error.strerror or error})"
        raise RunError(why) from error
    _followed.clear()
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, holder, over), daemon=True, name="run-lock")
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        _say_ended(path, holder)


def _take(run_dir: Path) -> tuple[Path, Holder]:
    folder = run_dir / "jobs"
    names = (path.name for path in storage.files_in(folder, "*.json"))
    last = max((int(Path(name).stem) for name in names if _NAME.fullmatch(name)), default=0)
    if last:
        _refuse_if_alive(run_dir, _path(folder, last))
    path, holder = _path(folder, last + 1), _this_process()
    try:
        storage.create(path, _text(holder))
    except FileExistsError:
        if _read(path) != holder:  # another job was faster; else the store did it, and its answer was lost
            return _take(run_dir)
    if storage.remote(path):
        _see_that_it_was_granted(path, holder)
    return path, holder


def _see_that_it_was_granted(path: Path, holder: Holder) -> None:
    """Say so where a store takes no notice of the condition that a file must not exist yet."""
    try:
        storage.create(path, _text(holder))
    except FileExistsError:
        return
    logger.warning(
        "%s: this store knows no conditional writes: of two jobs that start at once neither is refused", path
    )


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder), indent=1)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.json"


def _refuse_if_alive(run_dir: Path, path: Path) -> None:
    holder = _read(path)
    if holder.ended:
        return
    if holder.machine == _machine():
        if _runs(holder):
            raise RunError(f"{run_dir} is in use by {holder}. {_ways_out(holder)}")
    elif (silent := storage.last_seen(path)) < STALE or _beats(path, holder):
        silent = silent if silent < STALE else 0
        raise RunError(
            f"{run_dir} is in use by {holder}, last seen {max(silent, 0):.0f} s ago. {_ways_out(holder)} "
            f"A job that was killed may be followed {STALE:.0f} s after it was last seen."
        )
    logger.warning("following a job that did not end: %s", holder)


def _beats(path: Path, holder: Holder) -> bool:
    """Whether a file is written anew as one watches, whatever the clocks say."""
    before, until = storage.last_change(path), time.monotonic() + WATCHED * BEAT
    logger.warning("%s seems to be silent: watching for %.0f s before following it", holder, WATCHED * BEAT)
    while time.monotonic() < until:
        time.sleep(BEAT / 5)
        if storage.last_change(path) != before:
            return True
    return False


def _ways_out(holder: Holder) -> str:
    stop = f"stop it (ray job stop {holder.job})" if holder.job else "stop it"
    return f"Wait for it, {stop}, or take another run.dir."


def _read(path: Path) -> Holder:
    try:
        with storage.opened(path) as file:
            return _HOLDER.validate_json(file.read())
    except (FileNotFoundError, ValueError):  # created and not yet written, or damaged
        return Holder()


def _runs(holder: Holder) -> bool:
    """Whether a process of this machine is the holder still."""
    try:
        process = psutil.Process(holder.pid)
        # The clock that start times are told by may be set while a process runs.
        same = abs(process.create_time() - holder.process_started) < 5
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _this_process() -> Holder:
    # What Ray's job server puts into the environment of the process that it starts.
    submitted: dict[str, Any] = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}").get("metadata") or {}
    return Holder(
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        job=submitted.get("job_submission_id"),
        started=_now(),
    )


def _machine() -> str:
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _beat(path: Path, holder: Holder, over: threading.Event) -> None:
    """Touch the file until the block is over; stop the job where another has followed it, taking it for dead."""
    next_path, follower = _path(path.parent, int(path.stem) + 1), None
    while not over.wait(BEAT):
        with suppress(Exception):  # whatever a file system or a store says: the next beat may reach it
            storage.touch(path, _text(holder))
        with suppress(Exception):
            follower = _read(next_path) if next_path.exists() else None
        if follower:
            _followed.set()
            logger.error("this job was silent for too long and was followed by %s: stopping", follower)
            # As `ray job stop` does: it wakes the main thread from whatever it waits for. SIGINT is ignored in background jobs.
            signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGTERM)
            return


def _say_ended(path: Path, holder: Holder) -> None:
    try:
        with storage.written(path) as file:
            file.write(_text(replace(holder, ended=_now())).encode())
    except (OSError, MintError) as error:  # never in place of what ended the job
        logger.warning("that this job has ended could not be written: %s", error)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
