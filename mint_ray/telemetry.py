"""What the line counts, in Ray's own metrics: Prometheus and the dashboard show it with everything else of the cluster.

| metric (Ray puts `ray_` before it)   | kind    | tags beside `run` and `stage` | counted                             |
|--------------------------------------|---------|-------------------------------|-------------------------------------|
| `mint_ray_rows_read_total`           | counter |                               | when a stage ends: rows in          |
| `mint_ray_rows_written_total`        | counter |                               | when a stage ends: rows out         |
| `mint_ray_rows_refused_total`        | counter | `reason`                      | when a stage ends                   |
| `mint_ray_cases_ranked_total`        | counter |                               | as parts are scored                 |
| `mint_ray_pairs_total`               | counter |                               | as parts are scored                 |
| `mint_ray_steps_total`               | counter |                               | at each optimiser step              |
| `mint_ray_loss`                      | gauge   |                               | at each optimiser step              |
| `mint_ray_answers_total`             | counter | `model`                       | as answers are written              |
| `mint_ray_tokens_total`              | counter | `kind`: prompt, completion; `model` | as answers are written        |

`run` is the name of the run's directory. Counters say how much work was done, repeated work too; the account of a
run is its manifests. No tag holds anything of a case. Without a running Ray nothing is counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mint_ray.cluster import ray_runs

if TYPE_CHECKING:
    pass

DESCRIPTIONS = {
    "rows_read": "Rows that a finished stage read",
    "rows_written": "Rows that a finished stage wrote",
    "rows_refused": "Rows that a finished stage refused, by reason",
    "cases_ranked": "Cases ranked by the scorer",
    "pairs": "Preference pairs made",
    "steps": "Optimiser steps",
    "loss": "Loss of the last step",
    "answers": "Cases answered by a model",
    "tokens": "Tokens read (prompt) and written (completion) by a model",
}


def count(name: str, amount: float, run: str, stage: str, **tags: str) -> None:
    """Add to a counter of the table above; nothing where no Ray runs."""
    if amount and ray_runs():
        values = {"run": run, "stage": stage, **tags}
        _metric("Counter", name, tuple(values), _process()).inc(amount, values)


def show(name: str, value: float, run: str, stage: str) -> None:
    """Set a gauge of the table above; nothing where no Ray runs."""
    if ray_runs():
        values = {"run": run, "stage": stage}
        _metric("Gauge", name, tuple(values), _process()).set(value, values)


def _process() -> str:
    """This process in this Ray: what was made in another is heard of no more."""
    import ray

    return ray.get_runtime_context().get_worker_id()


@lru_cache
def _metric(kind: str, name: str, tags: tuple[str, ...], process: str) -> Any:
    from ray.util import metrics

    return getattr(metrics, kind)(f"mint_ray_{name}", DESCRIPTIONS[name], tags)
