"""mint_ray: multimodal knowledge transferred to a unimodal language model, on Ray.

The line, and the package that owns each station:

    corpora -> scorers -> rankings -> preferences -> alignment -> inference -> evaluation -> reports
     cases     a scorer   rankings    pairs          adapter      answers      metrics       pages

What `__all__` names is the public face (docs/api.md); all else may change. A name's module is imported with its first use.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "AsyncScorerClient",
    "Case",
    "Corpus",
    "Label",
    "MintError",
    "Phenotype",
    "QueryCase",
    "Run",
    "ScorerClient",
    "ScorerSection",
    "Task",
    "bootstrap",
    "grounded_metrics",
    "load_config",
    "load_scorer",
    "open_run",
    "orpo_loss",
    "published_metrics",
    "rank_case",
    "read_answers",
    "read_cases",
    "read_metrics",
    "read_pairs",
    "read_rankings",
    "to_dataset",
]

if TYPE_CHECKING:
    from mint_ray.alignment.losses import orpo as orpo_loss
    from mint_ray.client import AsyncScorerClient, QueryCase, ScorerClient
    from mint_ray.config import load_config
    from mint_ray.corpora.base import Corpus
    from mint_ray.errors import MintError
    from mint_ray.evaluation.intervals import bootstrap
    from mint_ray.evaluation.metrics import grounded as grounded_metrics
    from mint_ray.evaluation.metrics import published as published_metrics
    from mint_ray.reading import (
        rank_case,
        read_answers,
        read_cases,
        read_metrics,
        read_pairs,
        read_rankings,
        to_dataset,
    )
    from mint_ray.records import Case, Phenotype
    from mint_ray.runs import Run, open_run
    from mint_ray.scorers import load_scorer
    from mint_ray.scorers.base import ScorerSection
    from mint_ray.tasks.base import Label, Task

# module: {public name: its name there}, as above
_WHERE = {
    "alignment.losses": {"orpo_loss": "orpo"},
    "client": {name: name for name in ("AsyncScorerClient", "QueryCase", "ScorerClient")},
    "config": {"load_config": "load_config"},
    "corpora.base": {"Corpus": "Corpus"},
    "errors": {"MintError": "MintError"},
    "evaluation.intervals": {"bootstrap": "bootstrap"},
    "evaluation.metrics": {"grounded_metrics": "grounded", "published_metrics": "published"},
    "reading": {name: name for name in __all__ if name.startswith("read_") or name in ("rank_case", "to_dataset")},
    "records": {"Case": "Case", "Phenotype": "Phenotype"},
    "runs": {"Run": "Run", "open_run": "open_run"},
    "scorers": {"load_scorer": "load_scorer"},
    "scorers.base": {"ScorerSection": "ScorerSection"},
    "tasks.base": {"Label": "Label", "Task": "Task"},
}


def __getattr__(name: str) -> Any:
    for module, names in _WHERE.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"mint_ray.{module}"), names[name])
    raise AttributeError(f"module 'mint_ray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
