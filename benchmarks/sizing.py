"""What more cases need, from a run that is done: hours on the same hardware, disk, and the driver's memory.

    python benchmarks/sizing.py runs/demo --cases 1000000

Hours and disk grow with the rows from what the manifests and folders of the run say; a short run's hours hold its
start-up too, so they are too many rather than too few. Memory is what the driver keeps of a row in Python, measured
here on the run's own rows: the process that a job starts, on the head node of a cluster.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mint_ray.config import load_config
from mint_ray.corpora.cohort import Member
from mint_ray.corpora.store import case_table
from mint_ray.line import LINE
from mint_ray.models import resolve_model
from mint_ray.preferences.store import pair_dataset
from mint_ray.rankings.store import ranking_table
from mint_ray.runs import Run

GROWING = (
    "cases",
    "rankings",
    "preferences",
    "answers",
    "evaluation",
)  # folders that grow with the corpus; models do not
GIB = 2**30
SAMPLE = 256  # pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory with complete stages")
    parser.add_argument("--cases", type=int, default=1_000_000)
    options = parser.parse_args()
    run = Run(load_config(options.run / "config.yaml", [f"run.dir={options.run}"]))
    growth = options.cases / run.stage("cases").manifest["rows"]["in"]
    table = Table(
        "stage", "rows", "s", "bytes a row", title=f"{options.run}, and {options.cases:,} cases: x {growth:,.0f}"
    )
    for title in ("rows then", "hours then", "disk then, GiB", "driver: bytes a row", "driver then, GiB"):
        table.add_column(title, justify="right")
    for name in LINE:
        if run.stage(name).complete:
            table.add_row(name, *cells(run, name, growth))
    Console(width=140).print(table)


def cells(run: Run, name: str, growth: float) -> list[str]:
    """A stage as measured, and grown."""
    manifest, size = run.stage(name).manifest, folder_bytes(run.stage(name).path)
    rows, seconds = manifest["rows"]["in"], manifest["seconds"]
    kept_rows, kept = driver_bytes(run, name)
    return [
        f"{rows:,}",
        f"{seconds:,.0f}",
        f"{size / rows:,.0f}",
        f"{rows * growth:,.0f}",
        f"{seconds * growth / 3600:,.1f}",
        f"{size * (growth if name in GROWING else 1) / GIB:,.1f}",
        f"{kept:,.0f}" if kept else "",
        f"{kept * kept_rows * growth / GIB:,.1f}" if kept else "",
    ]


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def driver_bytes(run: Run, name: str) -> tuple[int, float]:
    """How many rows the stage's driver keeps as Python objects, and the bytes of one; nothing where it keeps none."""
    kept: dict[str, Callable[[Run], tuple[int, list]]] = {
        "cases": _members,
        "alignment": _pairs,
        "evaluation": _rankings,
    }
    if name not in kept:
        return 0, 0.0
    rows, held = kept[name](run)  # once without being watched, for what is imported and cached
    del held
    tracemalloc.start()
    _, held = kept[name](run)
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return rows, traced / len(held)


def _members(run: Run) -> tuple[int, list]:
    rows = case_table(run, list(Member._fields)).to_pylist()
    members = [Member(**row) for row in rows]
    return len(members), members


def _rankings(run: Run) -> tuple[int, list]:
    rankings = ranking_table(run, splits=[run.config.inference.split], columns=["case_id", "label_ids"]).to_pylist()
    return len(rankings), rankings


def _pairs(run: Run) -> tuple[int, list]:
    from transformers import AutoTokenizer

    from mint_ray.alignment.collation import encode_pairs
    from mint_ray.alignment.vision import vision_inputs

    model = resolve_model(run.config.alignment.model)
    tokenizer, vision = AutoTokenizer.from_pretrained(model), vision_inputs(model)
    pairs = pair_dataset(run, "train")
    sample = pairs.select(range(min(SAMPLE, len(pairs))))
    return len(pairs), encode_pairs(sample, tokenizer, run.config.alignment.max_length, vision)[0]


if __name__ == "__main__":
    main()
