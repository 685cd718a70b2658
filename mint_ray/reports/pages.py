"""What the pages of a report share: templates, the run behind the figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.compute as pc

from mint_ray.corpora.store import case_table
from mint_ray.reports.tables import plain
from mint_ray.runs import Run, write_atomically


def write_page(path: Path, template: str, page: dict[str, Any]) -> None:
    """Render a template of this folder beside `path`, then rename it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    write_atomically(path, environment.get_template(template).render(page))


def _plain(value: Any) -> Any:
    """What a template is about to show; markup of ours is left as it is."""
    return plain(value) if type(value) is str else value


def provenance(run: Run, manifest: dict[str, Any] | None) -> dict[str, Any]:
    """What every page says of itself: task, corpus, share of simulated cases, versions, configuration, time."""
    return {
        "task": run.config.task.kind.replace("_", " "),
        "corpus": run.config.corpus.kind.replace("_", " "),
        "synthetic": synthetic_share(run),
        "versions": (manifest or {}).get("versions", {}),
        "commit": (manifest or {}).get("commit"),
        "config": run.config.as_yaml(),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def synthetic_share(run: Run) -> float:
    """The share of the run's cases that were simulated."""
    synthetic: Any = case_table(run, ["synthetic"])["synthetic"].cast(pa.int8())
    return pc.mean(synthetic).as_py() or 0.0
