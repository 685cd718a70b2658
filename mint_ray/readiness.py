"""What a run will need, looked at before its first stage: what is missing would else be noticed hours later.

Each stage has its looks. They open no corpus and load no weights, and everything that is missing is told at once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path

from mint_ray.config import Configuration
from mint_ray.errors import ConfigError, MintError
from mint_ray.places import check_knowledge, check_places
from mint_ray.storage import remote

Look = Callable[[Configuration], None]


def check_ready(config: Configuration, stages: Iterable[str]) -> None:
    """See that what these stages will need is there.

    Raises:
        ConfigError: with everything that is not, by its setting.
        MintError: what is not, where it is one thing that has an error of its own.
    """
    found: list[MintError] = []
    for look in dict.fromkeys(look for stage in stages for look in LOOKS.get(stage, ())):
        try:
            look(config)
        except MintError as error:
            found.append(error)
    lines = list(dict.fromkeys(line for error in found for line in getattr(error, "problems", [str(error)])))
    if len(lines) == 1:
        raise found[0]
    if found:
        raise ConfigError(lines)


def _corpus(config: Configuration) -> None:
    check_places(config.corpus, "corpus")
    if getattr(config.corpus, "label_list", None):
        config.corpus.labels()


def _scorer(config: Configuration) -> None:
    from mint_ray.models import resolve_model

    scorer = config.scorer
    check_places(scorer, "scorer")
    if (folder := scorer.folder) and not remote(folder) and not _holds(folder, "scorer.json", "config.json"):
        raise ConfigError(
            [f"scorer.folder is {folder}, which holds no scorer (no scorer.json): fit one, or name another"]
        )
    if label_list := getattr(scorer, "label_list", None):
        from mint_ray.scorers.labels import read_label_list

        read_label_list(label_list)
    for name in ("pretrained", "checkpoint"):
        if model := getattr(scorer, name, None):
            resolve_model(model)


def _aligned(config: Configuration) -> None:
    from mint_ray.alignment.check import check_alignment

    check_alignment(config.alignment.model_copy(update={"start": None}))


def _start(config: Configuration) -> None:
    from mint_ray.alignment.check import check_start

    if start := config.alignment.start:
        check_places(config.alignment, "alignment")
        check_start(start)


def _room(config: Configuration) -> None:
    from mint_ray.alignment.size import disk_shortfall

    if not remote(config.run.dir) and (problem := disk_shortfall(config.alignment, config.run.dir.absolute())):
        raise ConfigError([problem])


def _asked_model(config: Configuration) -> None:
    from mint_ray.models import resolve_model

    if not config.inference.endpoint:
        resolve_model(config.alignment.model)


def _rounds(config: Configuration) -> None:
    if config.alignment.rounds:
        _engine(config)


def _engine(config: Configuration) -> None:
    name = "httpx" if config.inference.endpoint else config.inference.engine
    if importlib.util.find_spec(name) is None:
        raise ConfigError(
            [f"inference.engine is {config.inference.engine!r}, which is not installed here: see docs/install.md"]
        )


def _retrieval(config: Configuration) -> None:
    if config.inference.retrieval:
        check_knowledge(config.inference.retrieval, "inference.retrieval")


def _holds(folder: Path, *names: str) -> bool:
    return any((folder / name).is_file() for name in names)


LOOKS: dict[str, tuple[Look, ...]] = {
    "cases": (_corpus,),
    "scorer": (_scorer,),
    "alignment": (_aligned, _start, _room, _rounds),
    "answers": (_engine, _asked_model, _retrieval),
}
