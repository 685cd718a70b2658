"""Places that settings name: files, folders and objects of a store, seen to be there before they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mint_ray.config import TASKS_OWN, Configuration, RetrievalSection
from mint_ray.errors import ConfigError
from mint_ray.storage import DRIVERS, check_there, location, remote

Look = Callable[[Configuration], None]


def check_knowledge(section: RetrievalSection, key: str) -> None:
    """See that what passages are made of is there.

    Raises:
        ConfigError, StorageError: it is not.
    """
    if section.knowledge != TASKS_OWN:
        _check_place(_expanded(f"{key}.knowledge", section.knowledge), f"{key}.knowledge")


def check_places(section: BaseModel, key: str) -> None:
    """See that every path that a section names, one of this machine or a URL, leads to something.

    Raises:
        ConfigError: with all that do not.
        StorageError: a store has nothing by that name, or refuses.
    """
    named = dict(_paths(section, key))
    problems = []
    for name, path in named.items():
        within = [other / path for other in named.values() if other is not path and not remote(path)]
        try:
            if not any(map(_is_there, within)):
                _check_place(path, name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def _paths(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _paths(getattr(value, name), f"{key}.{name}")
    elif remote(value) or isinstance(value, Path):
        yield key, value
    elif isinstance(value, str) and value.startswith(tuple(f"{scheme}://" for scheme in DRIVERS)):
        yield key, _expanded(key, value)


def _expanded(key: str, text: str) -> Path:
    try:
        return location(text).expanduser()
    except ValueError as error:
        raise ConfigError([f"{key} is {text!r}: {error}"]) from None


def _check_place(path: Path, key: str) -> None:
    if remote(path):
        check_there(path)
    elif not _is_there(path):
        where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        raise ConfigError([f"{key} is {path}: there is nothing by that name{where}; mend the path, or put it there"])


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # it may not be looked at
        return False
