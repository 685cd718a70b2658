"""What a command does in a run directory: its settings read, the directory taken, Ray started, its end told in a sentence."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from mint_ray import progress
from mint_ray.config import Configuration
from mint_ray.errors import MintError, RayEnded
from mint_ray.line import LINE, function_of
from mint_ray.lock import sole_job
from mint_ray.logs import console, kept
from mint_ray.runs import Run, plain_errors

logger = logging.getLogger(__name__)

PATIENCE = 4.5  # seconds from Ctrl-C to the end, at most


def run_line(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray run`: every stage in its order, each resumed or skipped as it stands."""
    run_stages(config, options, list(LINE))


def run_stage(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray STAGE`."""
    run_stages(config, options, [options.command])


def compare(config: Configuration, options: argparse.Namespace) -> None:
    """`mint-ray compare`: every arm of the comparison. Leaves arms/ and comparison/."""
    from mint_ray.comparison.arms import check_settings
    from mint_ray.comparison.run import clear_arms, works
    from mint_ray.reports.compare import compare_arms

    run = Run(config)
    with working_in(run):
        check_settings(config)
        with session(config, works()):
            if options.fresh:  # only now, when all that it will need is there
                clear_arms(run)
            compare_arms(run)
        progress.result(f"Comparison: {run.dir / 'comparison' / 'report.html'}")


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


def adopt(arguments: list[str]) -> None:
    """`mint-ray adopt`: what became of each stage, a line each."""
    from mint_ray.storage import location

    parser = argparse.ArgumentParser(prog="mint-ray adopt", description="Take over a run of an earlier release.")
    parser.add_argument("run", type=location, help="its run.dir")
    folder = parser.parse_args(arguments).run
    with reported(), sole_job(folder):
        from mint_ray.adopt import adopt

        print(*adopt(folder), sep="\n")


def run_stages(config: Configuration, options: argparse.Namespace, stages: Sequence[str]) -> None:
    """Carry out stages in their order on one Ray session; a `MintError` ends the process with status 1."""
    run = Run(config)
    with working_in(run):
        _carry_out(run, stages, options.fresh)
        if "evaluation" in stages:
            show_metrics(run, options.table)


def show_metrics(run: Run, all_of_them: bool) -> None:
    """End with what the evaluation found, as a chart or as the table of all, and where its report is."""
    from mint_ray.evaluation.inputs import rules_of
    from mint_ray.evaluation.metrics import catalogue
    from mint_ray.reading import read_metrics
    from mint_ray.reports.terminal import LOG_WIDTH, chart, result_table

    found, size = read_metrics(run), run.config.task.answer_size
    if all_of_them:
        rules = rules_of(run.config)
        figures = catalogue(size, rules.depth, rules.tail)
        progress.result(lambda width, _: result_table(found, figures, width), LOG_WIDTH)
    else:
        progress.result(lambda width, plain: chart(found, size, width, plain), LOG_WIDTH)
    progress.result(
        f"Report: {run.dir / 'evaluation' / 'report.html'}" + ("" if all_of_them else "  (all metrics: --table)")
    )


@contextmanager
def working_in(run: Run) -> Generator[None]:
    """A job's work in a run directory: alone in it, its progress shown, and whatever goes wrong told in one sentence."""
    with reported(), soon_ended(), plain_errors(run.dir):
        run.check_home()
        with sole_job(run.dir), progress.shown_on(console(2), console(1)), kept(run.dir) as log, ray_s_report_in(log):
            yield


@contextmanager
def ray_s_report_in(log: Path) -> Generator[None]:
    """Keep Ray's own report in the job's log, and say so."""
    try:
        with plain_errors(log.parent.parent):
            yield
    except RayEnded as error:
        logger.info("Ray's own report:\n%s", report_of(error.__cause__))
        raise RayEnded(f"{error}. Ray's own report: {log}") from None


def report_of(error: BaseException | None) -> str:
    """An error and those that led to it: where each was raised, and what Ray says; what a worker says may be a patient's."""
    parts: list[str] = []
    while error is not None:
        kind = type(error)
        says = str(error) if kind.__module__.startswith("ray.") and not hasattr(error, "cause") else "(not kept)"
        parts.append("".join(traceback.format_tb(error.__traceback__)) + f"{kind.__module__}.{kind.__name__}: {says}\n")
        error = error.__cause__ or error.__context__
    return "\nfrom:\n".join(parts)


def _carry_out(run: Run, stages: Sequence[str], fresh: bool) -> None:
    if not fresh:
        for name in stages:
            run.stage(name).check_owner()
    pending = [name for name in stages if fresh or not run.stage(name).complete]
    if not pending:
        progress.result(f"All done: {', '.join(stages)} complete in {run.dir}. Start over with --fresh.")
        return
    for needed in {each: None for name in pending for each in run.stage(name).inputs if each not in stages}:
        run.stage(needed).require()  # told at once, before Ray is started
    with session(run.config, pending):
        if fresh:  # only now, when all that it will need is there
            run.clear_from(stages[0])
        for name in stages:
            run.carry_out(name, function_of(LINE[name].work))


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

    with progress.stage("models"):  # a packaged one may have to be made first
        check_ready(config, stages)
    with ExitStack() as running:
        with progress.stage("Ray"):
            running.enter_context(ray_session(config.cluster))
            check_capacity(config, stages)
        yield


@contextmanager
def reported() -> Generator[None]:
    """A job's end: a `MintError` as one line with status 1, and Ctrl-C as one with 130."""
    try:
        yield
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(stopped(), file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


@contextmanager
def soon_ended() -> Generator[None]:
    """Have Ctrl-C end the job within seconds, whatever is waited for: a checkpoint, Ray's end, a call that does not return.

    What it is made into on its way up, as a library does that is importing, is Ctrl-C all the same.
    """
    stopping = threading.Event()

    def give_up() -> None:
        progress.leave(stopped())
        os._exit(128 + signal.SIGINT)  # Ray ends with the process that started it

    def interrupted(number: int, frame: FrameType | None) -> None:
        stopping.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        giving_up = threading.Timer(PATIENCE, give_up)
        giving_up.daemon = True
        giving_up.start()
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    here = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    try:
        if here:
            signal.signal(signal.SIGINT, interrupted)
        yield
    except Exception:
        if stopping.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        if here:
            signal.signal(signal.SIGINT, before)


def stopped() -> str:
    """What Ctrl-C is answered with: the same command again, without `--fresh`, which would start over."""
    program, *words = sys.argv
    started = ["mint-ray"] if Path(program).name in ("mint-ray", "__main__.py") else ["python", program]
    again = shlex.join([*started, *(word for word in words if word != "--fresh")])
    return f"Stopped. What is complete is kept. Go on with: {again}"
