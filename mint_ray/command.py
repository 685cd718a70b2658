"""The command line that all jobs share: one configuration file, `--set key=value`, `--fresh`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from mint_ray.config import Configuration, load_config
from mint_ray.errors import ConfigError, MintError
from mint_ray.lock import sole_job
from mint_ray.runs import STAGES, Run, StageReport, plain_errors
from mint_ray.storage import check_there, locations

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
    config, fresh = parse_command(description)
    run = Run(config)
    with working_in(run):
        if fresh:
            run.clear_from(next(iter(stages)))
        _carry_out(run, stages)
    return run


@contextmanager
def working_in(run: Run) -> Iterator[None]:
    """A job's work in a run directory: alone in it, and with whatever goes wrong told in one sentence."""
    with reported(), plain_errors(run.dir):
        run.check_home()
        with sole_job(run.dir):
            yield


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
def session(config: Configuration, stages: Iterable[str]) -> Iterator[None]:
    """A Ray for these stages.

    Raises:
        ConfigError: it does not have what they ask for.
        StorageError: what they read of object stores is not there, or refused.
    """
    from mint_ray.capacity import check_capacity
    from mint_ray.cluster import ray_session

    check_sources(config, stages)
    with ray_session(config.cluster):
        check_capacity(config, stages)
        yield


def check_sources(config: Configuration, stages: Iterable[str]) -> None:
    """See that what stages read from object stores is there, at once and not after an hour.

    Raises:
        StorageError: what is not, and why.
        ConfigError: a text is a URL that leads nowhere.
    """
    for section in dict.fromkeys(name for stage in stages for name in STAGES[stage][0]):
        try:
            places = list(locations(getattr(config, section)))
        except ValueError as error:
            raise ConfigError([f"{section}: {error}"]) from None
        for place in places:
            check_there(place)


@contextmanager
def reported() -> Iterator[None]:
    """A job's work: its log on the terminal, and a `MintError` as one line with status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        yield
    except MintError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
