"""What a command does in a run directory: its settings read, the directory taken, Ray started, its end told in a sentence."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path

from mint_ray.command import STAGES, function_of
from mint_ray.config import Configuration
from mint_ray.errors import MintError, RayEnded
from mint_ray.lock import sole_job
from mint_ray.runs import Run, StageReport, plain_errors, write_atomically

Work = Callable[[Run], StageReport]


def run_line(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray run`: every stage in its order, each resumed or skipped as it stands."""
    run_stages(config, options, list(STAGES))


def run_stage(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray STAGE`."""
    run_stages(config, options, [options.command])


def compare(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray compare`: every arm of the comparison. Leaves arms/ and comparison/."""
    from mint_ray.comparison.arms import check_settings
    from mint_ray.comparison.run import clear_arms, works
    from mint_ray.readiness import check_ready
    from mint_ray.reports.compare import compare_arms

    run = Run(config)
    with working_in(run):
        check_settings(config)
        if options.fresh:
            check_ready(config, works())  # before anything is lost
            clear_arms(run)
        with session(config, works()):
            compare_arms(run)
    print(f"Comparison: {run.dir / 'comparison' / 'report.html'}")


def pool(arguments: list[str]) -> None:
    """`mint-ray pool`: is an arm better, or was one training of it?"""
    from mint_ray.storage import location

    parser = argparse.ArgumentParser(
        prog="mint-ray pool", description="Take finished comparisons that differ in their seed alone together."
    )
    parser.add_argument("runs", type=location, nargs="+", help="run.dir of each, after `mint-ray compare`")
    parser.add_argument("--to", type=location, required=True, help="where pooled.json and report.html are left")
    chosen = parser.parse_args(arguments)
    with reported(), plain_errors(chosen.to):
        from mint_ray.reports.pool import pool

        pool(chosen.runs, chosen.to)
    print(f"Pooled: {chosen.to / 'report.html'}")


def run_stages(config: Configuration, options: argparse.Namespace, stages: Sequence[str]) -> None:
    """Carry out stages in their order on one Ray session; a `MintError` ends the process with status 1."""
    from mint_ray.readiness import check_ready

    run = Run(config)
    with working_in(run):
        if options.fresh:
            check_ready(run.config, stages)  # before anything is lost
            run.clear_from(stages[0])
        _carry_out(run, stages)
    if "evaluation" in stages:
        print(f"Report: {run.dir / 'evaluation' / 'report.html'}")


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


def _carry_out(run: Run, stages: Sequence[str]) -> None:
    for name in stages:
        run.stage(name).check_owner()
    pending = [name for name in stages if not run.stage(name).complete]
    if not pending:
        print(f"All done: {', '.join(stages)} complete in {run.dir}. Start over with --fresh.")
        return
    with session(run.config, pending):
        for name in stages:
            run.carry_out(name, function_of(STAGES[name][1]))


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
