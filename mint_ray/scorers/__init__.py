"""Cases to scores over all labels. `load_scorer` opens any finished scorer's folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mint_ray.errors import ModelError
from mint_ray.storage import local_copy, location

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer, ScorerSection


def load_scorer(folder: Path | str, device: str = "cpu") -> Scorer:
    """The scorer of a folder that `scorer.json` describes, ready to score.

    Raises:
        ModelError: the folder is no scorer's, or its weights cannot be loaded.
    """
    section, folder = scorer_section(folder)
    return section.load(folder, device)


def scorer_section(folder: Path | str) -> tuple[ScorerSection, Path]:
    """The settings that `scorer.json` holds, and the folder on this node.

    Raises:
        ModelError: the folder is no scorer's.
    """
    try:
        folder = local_copy(location(folder) if isinstance(folder, str) else folder)
        section = json.loads((folder / "scorer.json").read_text())
        kind = importlib.import_module(f"mint_ray.scorers.{section['kind']}").KIND
        return kind.model_validate(section), folder
    except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise ModelError(
            f"{folder}: is no scorer's folder (no readable scorer.json, {type(error).__name__}); fit one, or name another"
        ) from None
