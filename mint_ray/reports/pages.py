"""What the pages of a report share: templates, the run behind the figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from mint_ray.reports.tables import plain
from mint_ray.runs import write_atomically

if TYPE_CHECKING:
    from mint_ray.config import Configuration


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


def provenance(config: Configuration, synthetic: float, manifest: dict[str, Any] | None) -> dict[str, Any]:
    """What every page says of itself: task, corpus, share of simulated cases, versions, configuration, time."""
    return {
        "task": config.task.kind.replace("_", " "),
        "corpus": config.corpus.kind.replace("_", " "),
        "synthetic": synthetic,
        **made_by((manifest or {}).get("hands", [])),
        "config": config.as_yaml(),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def made_by(hands: list[dict[str, Any]]) -> dict[str, Any]:
    """The commits that had a hand in a stage, in their order, and the versions of the last of them."""
    commits = [f"{hand['commit']}{'+changes' if hand['dirty'] else ''}" for hand in hands if hand["commit"]]
    return {"commit": ", ".join(dict.fromkeys(commits)), "versions": hands[-1]["versions"] if hands else {}}
