"""The command line, `mint-ray COMMAND ...`: which commands there are, and the function that each one is.

Nothing is imported before the command is known, so that help and mistakes are answered at once.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mint_ray.line import LINE, function_of

if TYPE_CHECKING:
    import argparse

    from mint_ray.config import Configuration

# name: (what it does, the function that does it)
STAGES = {name: (stage.says, stage.work) for name, stage in LINE.items()}
LINES = {
    "run": ("Run the whole line, from cases to the report.", "mint_ray.job:run_line"),
    "compare": ("Run the line in nine variants on one split, and compare them.", "mint_ray.job:compare"),
}
OTHERS = {
    "answer": ("Have a finished run answer new patients.", "mint_ray.answer.command:main"),
    "pool": ("Take finished comparisons with other seeds together.", "mint_ray.job:pool"),
    "adopt": ("Take over a run directory of an earlier release.", "mint_ray.job:adopt"),
    "serve": ("Serve a run's scorer, or its models, over HTTP.", "mint_ray.service.launch:main"),
    "ask": ("Ask a run's model about a patient, by a note or by findings.", "mint_ray.ask:main"),
    "recipes": ("List the configurations that ship with mint_ray; print or copy one.", "mint_ray.recipes.command:main"),
}
PARTS = {"Start with `mint-ray run demo`:": LINES, "One stage of the line:": STAGES, "Beside it:": OTHERS}


def main(*given: str) -> None:
    """The process's command line, with the words given before it; quiet where its reader goes, as of a pipe."""
    try:
        carry_out([*given, *sys.argv[1:]] or ["help"])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains at its end
        sys.exit(1)


def carry_out(words: list[str]) -> None:
    """Carry out a command line; status 2 for a wrong one."""
    name, *arguments = words
    if name in ("-h", "--help", "help"):
        print(overview())
    elif name == "--version":
        from mint_ray import __version__

        print(f"mint_ray {__version__}")
    elif name in LINES or name in STAGES:
        options = config_options(name, arguments)
        config = checked(options)
        function_of("mint_ray.job:run_stage" if name in STAGES else LINES[name][1])(config, options)
    elif name in OTHERS:
        function_of(OTHERS[name][1])(arguments)
    else:
        print(f"mint-ray {name}: is no command; {_nearest(name)}", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """What `mint-ray --help` prints."""
    lines = ["usage: mint-ray COMMAND ...    mint-ray COMMAND --help    mint-ray --version"]
    for title, commands in PARTS.items():
        lines += ["", title, *(f"  {name:12} {says}" for name, (says, _) in commands.items())]
    return "\n".join(lines)


def _nearest(name: str) -> str:
    import difflib

    known = [each for commands in PARTS.values() for each in commands]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def config_options(name: str, arguments: list[str]) -> argparse.Namespace:
    """The command line of what works in a run directory: `command`, `config`, `set`, `fresh`."""
    import argparse

    parser = argparse.ArgumentParser(prog=f"mint-ray {name}", description={**LINES, **STAGES}[name][0])
    parser.add_argument("config", help="a recipe by its name (see `mint-ray recipes`), or a YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting, e.g. run.dir=/data/run1"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start over: remove what this makes, and what was made of it"
    )
    if name in ("run", "evaluation"):
        parser.add_argument("--table", action="store_true", help="end with the table of all metrics")
    return parser.parse_args(arguments, argparse.Namespace(command=name))


def checked(options: argparse.Namespace) -> Configuration:
    """The configuration that a command line names; a wrong setting ends the process with status 2."""
    from mint_ray.errors import ConfigError
    from mint_ray.recipes import settings_file

    try:
        file = settings_file(options.config)
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it looks for some in every installed package
        from mint_ray.config import load_config  # by now there is a file to read

        return load_config(file, options.set)
    except ConfigError as error:
        print(f"{options.config}: {len(error.problems)} setting(s) to mend\n{error}", file=sys.stderr)
        sys.exit(2)
