"""The command line that all jobs share: one configuration file, `--set key=value`, `--fresh`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from mint_ray.config import Configuration, load_config
from mint_ray.errors import ConfigError, MintError, RayEnded
from mint_ray.lock import sole_job
from mint_ray.runs import Run, StageReport, plain_errors, write_atomically

Work = Callable[[Run], StageReport]


def parse_command(description: str, arguments: list[str] | None = None) -> tuple[Configuration, bool]:
    """The checked configuration and whether to start over; a wrong setting ends the process with status 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="a YAML file, e.g. configs/demo.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting, e.g. run.dir=/data/run1"
    )
    parser.add_argument("--fresh", action="store_true", help="start over: remove this stage and what was made from it")
    options = parser.parse_args(arguments)
    try:
        return load_config(options.config, options.set), options.fresh
    except ConfigError as error:
        print(f"{options.config}: {len(error.problems)} setting(s) to mend\n{error}", file=sys.stderr)
        sys.exit(2)


def run_stages(description: str, stages: dict[str, Callable[[], Work]]) -> Run:
    """Carry out stages in their order on one Ray session; a `MintError` ends the process with status 1.

    Args:
        stages: stage name to a function that imports and returns its work, so that nothing heavy is
            loaded before the settings are known to be right.
    """
    from mint_ray.readiness import check_ready

    config, fresh = parse_command(description)
    run = Run(config)
    with working_in(run):
        if fresh:
            check_ready(config, stages)  # before anything is lost
            run.clear_from(next(iter(stages)))
        _carry_out(run, stages)
    return run


@contextmanager
def working_in(run: Run) -> Generator[None]:
    """A job's work in a run directory: alone in it, and with whatever goes wrong told in one sentence."""
    with reported(), logged(run.dir), plain_errors(run.dir):
        run.check_home()
        with sole_job(run.dir):
            yield


@contextmanager
def logged(run_dir: Path) -> Generator[None]:
    """Keep Ray's own report in a file of the run, and say in which."""
    try:
        yield
    except RayEnded as error:
        path = run_dir / "logs" / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.log"
        try:
            write_atomically(path, report_of(error.__cause__))
        except (OSError, MintError):  # never in place of what ended the job
            raise error from None
        raise RayEnded(f"{error}. Ray's own report: {path}") from None


def report_of(error: BaseException | None) -> str:
    """An error and those that led to it: where each was raised, and what Ray says; what a worker says may be a patient's."""
    parts: list[str] = []
    while error is not None:
        kind = type(error)
        says = str(error) if kind.__module__.startswith("ray.") and not hasattr(error, "cause") else "(not kept)"
        parts.append("".join(traceback.format_tb(error.__traceback__)) + f"{kind.__module__}.{kind.__name__}: {says}\n")
        error = error.__cause__ or error.__context__
    return "\nfrom:\n".join(parts)


def _carry_out(run: Run, stages: dict[str, Callable[[], Work]]) -> None:
    for name in stages:
        run.stage(name).check_owner()
    pending = [name for name in stages if not run.stage(name).complete]
    if not pending:
        print(f"All done: {', '.join(stages)} complete in {run.dir}. Start over with --fresh.")
        return
    with session(run.config, pending):
        for name, work in stages.items():
            run.carry_out(name, work())


@contextmanager
def session(config: Configuration, stages: Iterable[str]) -> Generator[None]:
    """A Ray for these stages.

    Raises:
        ConfigError: it does not have what they ask for.
        MintError: something else that they will need is not there; see `check_ready`.
    """
    from mint_ray.capacity import check_capacity
    from mint_ray.cluster import ray_session
    from mint_ray.readiness import check_ready

    check_ready(config, stages)
    with ray_session(config.cluster):
        check_capacity(config, stages)
        yield


@contextmanager
def reported() -> Generator[None]:
    """A job's work: its log on the terminal, a `MintError` as one line with status 1, and Ctrl-C as one with 130."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        yield
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped. What is complete is kept: the same command goes on.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
