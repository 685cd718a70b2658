"""`mint-ray recipes`: list, print, copy out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mint_ray.errors import ConfigError
from mint_ray.recipes import names, recipe, title


def main(arguments: list[str]) -> None:
    """The command. Ends with status 2 for a recipe that does not exist, 1 for a file that cannot be written."""
    parser = argparse.ArgumentParser(prog="mint-ray recipes", description="List the recipes; print or copy one.")
    parser.add_argument("recipe", nargs="?", help="its name; without: list all")
    parser.add_argument("--to", type=Path, metavar="FILE", help="copy it there, to be edited; nothing is overwritten")
    options = parser.parse_args(arguments)
    if options.to and not options.recipe:
        parser.error("--to: name the recipe that is to be copied")
    try:
        text = recipe(options.recipe).read_text(encoding="utf-8") if options.recipe else listing()
    except ConfigError as error:
        print(error.problems[0], file=sys.stderr)
        sys.exit(2)
    if options.to:
        sys.exit(write_new(options.to, text))
    print(text, end="")


def listing() -> str:
    """All recipes with what each says of itself."""
    width = max(map(len, names()))
    return "".join(f"{name:{width}}  {title(name)}\n" for name in names())


def write_new(path: Path, text: str) -> str | None:
    """Write a file that does not exist yet; why not, where it cannot be."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return f"{path} exists already, and is kept: name another file"
    except OSError as error:
        return f"{path} cannot be written ({error.strerror})"
    return None
