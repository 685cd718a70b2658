"""Parts by name: what installed packages register as entry points. Ours are registered as everyone's are.

| group              | what an entry names                     | asked for as          |
|--------------------|-----------------------------------------|-----------------------|
| `mint_ray.tasks`   | a subclass of `tasks.base.Task`         | `task.kind`           |
| `mint_ray.corpora` | a subclass of `corpora.base.Corpus`     | `corpus.kind`         |
| `mint_ray.scorers` | a subclass of `scorers.base.ScorerSection` | `scorer.kind`      |
| `mint_ray.models`  | a function that returns a model's folder | `packaged:NAME`      |

Names are read from the packages' metadata. A part's module is imported when the part is asked for, so one that does not
load takes no other with it.
"""

from __future__ import annotations

import difflib
import reprlib
import tomllib
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any

OURS = "mint_ray"


class PartError(ValueError):
    """No part of that name can be had; the text goes on after what was asked for."""


def names(group: str) -> list[str]:
    """What is registered in a group, sorted; nothing is imported."""
    return sorted(_registered(group))


def load(group: str, name: Any) -> Any:
    """The object that an entry names.

    Raises:
        PartError: there is none of that name, several packages have it, or it cannot be imported.
    """
    found = _registered(group).get(name, []) if isinstance(name, str) else []
    if len(found) > 1:
        raise PartError(
            f"is {name}, which {len(found)} packages register: {', '.join(map(_origin, found))}; uninstall all but one"
        )
    if not found:
        raise PartError(f"is {reprlib.repr(name)}; {_hint(name, names(group))}")
    try:
        return found[0].load()
    except Exception as error:
        raise PartError(
            f"is {name}, which {_origin(found[0])} registers as {found[0].value}, and that cannot be imported "
            f"({type(error).__name__}: {error}); mend or uninstall that package"
        ) from error


def packages() -> dict[str, str]:
    """The other packages that register parts, with their versions."""
    return {entry.dist.name: entry.dist.version for entry in _entries() if entry.dist and _name(entry.dist) != OURS}


def _hint(name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
    return f"{f'did you mean {near[0]}? Expected' if near else 'expected'} one of {', '.join(known)}"


@cache
def _registered(group: str) -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for entry in _entries():
        if entry.group == group:
            found.setdefault(entry.name, []).append(entry)
    return found


@cache
def _entries() -> list[EntryPoint]:
    """All entries of all packages, the first on the path of each; ours by the source tree where the code runs from one."""
    ours = _of_the_source_tree()
    found = {OURS: ours} if ours else {}
    for package in distributions():
        if f"[{OURS}." in (package.read_text("entry_points.txt") or ""):  # its name costs more to read
            found.setdefault(_name(package), list(package.entry_points))
    return [entry for entries in found.values() for entry in entries]


def _of_the_source_tree() -> list[EntryPoint]:
    """What pyproject.toml registers beside this code, which may be newer than what is installed; none if there is none."""
    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    except (OSError, ValueError, KeyError):
        return []
    groups: dict[str, dict[str, str]] = project["entry-points"] if project.get("name") == OURS else {}
    return [EntryPoint(name, value, group) for group, entries in groups.items() for name, value in entries.items()]


def _name(package: Distribution) -> str:
    return str(package.name).replace("-", "_")


def _origin(entry: EntryPoint) -> str:
    """The package that registers an entry, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else OURS
