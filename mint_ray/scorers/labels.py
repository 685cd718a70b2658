"""Label lists of scorers from elsewhere, and how they meet a run's labels."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mint_ray.errors import ModelError
from mint_ray.tasks.base import Label


def read_label_list(path: Path) -> list[Label]:
    """Labels in the order of a model's outputs.

    Args:
        path: JSON, either `{index: name}` as GestaltMML's disease_dict.json, or a list as a run's labels.json.

    Raises:
        ModelError: it is neither, or the indices are not 0 ... n - 1.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        if isinstance(data, list):
            return [Label.model_validate(label) for label in data]
        names = {int(index): str(name) for index, name in data.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path}: is no label list ({type(error).__name__}); expected {{index: name}}, or labels"
        ) from None
    if sorted(names) != list(range(len(names))):
        raise ModelError(f"{path}: its {len(names)} indices are not 0 to {len(names) - 1}")
    return [Label(id=str(index), name=names[index]) for index in range(len(names))]


def label_positions(wanted: list[Label], known: list[Label], origin: str) -> list[int]:
    """Where each label of a run stands among a scorer's: by id, else by name or synonym, read without case and marks.

    Raises:
        ModelError: some are not among them, or two of the run's are the same one.
    """
    by_id = {label.id: i for i, label in enumerate(known)}
    by_name = {
        _plain(name): i for i, label in reversed(list(enumerate(known))) for name in (*label.synonyms, label.name)
    }
    found = [by_id.get(label.id, _first(by_name, [label.name, *label.synonyms])) for label in wanted]
    if missing := [label.id for label, position in zip(wanted, found, strict=True) if position is None]:
        raise ModelError(
            f"{origin}: does not know {len(missing)} of the run's {len(wanted)} labels, e.g. {', '.join(missing[:3])}; "
            "take another scorer, fit one, or leave these labels out of the corpus"
        )
    if len(set(found)) < len(found):
        twice = next(label.id for i, label in enumerate(wanted) if found[i] in found[:i])
        raise ModelError(f"{origin}: {twice} and another of the run's labels are one label of the scorer")
    return [position for position in found if position is not None]


def _first(positions: dict[str, int], names: list[str]) -> int | None:
    return next((positions[_plain(name)] for name in names if _plain(name) in positions), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name.lower()).strip()
