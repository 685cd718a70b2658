"""Cases to scores over all labels. `load_scorer` opens any finished scorer's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from mint_ray.errors import ModelError
from mint_ray.scorers.base import ScorerSection
from mint_ray.sections import resolve_kind
from mint_ray.storage import local_copy, location

if TYPE_CHECKING:
    from mint_ray.scorers.base import Scorer


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
        return resolve_kind(ScorerSection, json.loads((folder / "scorer.json").read_text())), folder
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        why = f"in scorer.json, {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
    except (UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        why = f"no readable scorer.json, {type(error).__name__}"
    except ValueError as error:
        why = f"in scorer.json, {error}"
    raise ModelError(f"{folder}: is no scorer's folder ({why}); fit one, or name another")
