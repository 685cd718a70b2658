"""What a corpus costs, stage by stage: peak memory of each process, disk, files, seconds; and what another case costs.

    python -m benchmarks.scale --folder /tmp/scale --cases 2000 10000 [--kind table image] [--steps 40] [--before]

A corpus of so many cases of 28 labels: text patients (`table`), or 32 x 32 pictures (`image`). Its scorer costs nothing and says
nothing; the language model has two tiny layers and random weights, and trains `--steps` steps of 8 pairs, so that what grows
with the corpus is seen and not the training. `answers` are written, not generated. Each size runs in a process of its own
with a Ray of its own, whose processes are looked at every quarter of a second: their unique memory (USS), by kind; the object store is the most that
the raylet had shared. A stage that is complete is not run again: large sizes can be made in pieces, `--until STAGE`.

With `--before` the pairs are read once more as they were until November 2026, all as lists in one process, which is then told
beside alignment. The last table has what one more case costs, between the sizes.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from mint_ray.cluster import ray_session
from mint_ray.config import ClusterSection, Configuration
from mint_ray.corpora.store import case_table
from mint_ray.corpora.table import Table
from mint_ray.hpo import ontology
from mint_ray.inference.store import answer_folder
from mint_ray.line import LINE, function_of
from mint_ray.models import load_tokenizer, resolve_model
from mint_ray.parquet import write_part
from mint_ray.rankings.build import build_rankings
from mint_ray.records import Answer, arrow_schema
from mint_ray.runs import Run, StageReport
from mint_ray.scorers.base import ScorerSection
from mint_ray.storage import files_below
from mint_ray.tasks.base import Label, View
from tests.tiny_model import save_tiny_llama

LABELS = [Label(id=f"OMIM:{100 + i}", name=f"Syndrome {i}") for i in range(28)]
ROWS = 4096  # of a file of the corpus
STAGES = ("cases", "scorer", "rankings", "preferences", "alignment", "answers", "evaluation")
MIB = 2**20


class NoScorer(ScorerSection):
    def fit(self, run: Run, folder: Path) -> dict[str, Any]:
        return {}

    def load(self, folder: Path, device: str = "cpu") -> Nothing:
        return Nothing()


class Nothing:
    """Scores that hang on the bytes that are seen, at the cost of a checksum."""

    name, digest, modalities, labels = "nothing", "0" * 16, ("text", "image"), LABELS

    def scores(self, views: list[View]) -> np.ndarray:
        seen = np.array([zlib.crc32(view.image or (view.text or "").encode()) for view in views], np.uint64)
        mixed = (seen[:, None] * np.arange(1, 2 * len(LABELS), 2, dtype=np.uint64)) % np.uint64(65_521)
        return -(mixed.astype(np.float32) + 1) / 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cases", type=int, nargs="+", default=[2000, 10_000])
    parser.add_argument("--kind", nargs="+", choices=["table", "image"], default=["table"])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1])
    parser.add_argument("--before", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one_size(options)
        return
    for kind in options.kind:
        found = {}
        for cases in options.cases:
            command = [
                sys.executable,
                "-m",
                "benchmarks.scale",
                "--one",
                "--folder",
                str(options.folder),
                "--kind",
                kind,
            ]
            command += ["--cases", str(cases), "--steps", str(options.steps), "--until", options.until]
            command += ["--workers", str(options.workers), *(["--before"] if options.before else [])]
            subprocess.run(command, check=True)
            found[cases] = json.loads((place(options.folder, kind, cases) / "scale.json").read_text())
            show(kind, cases, found[cases])
        for (small, less), (large, more) in itertools.pairwise(found.items()):
            show_slopes(kind, small, less, large, more)


def place(folder: Path, kind: str, cases: int) -> Path:
    return folder / f"{kind}-{cases}"


def one_size(options: argparse.Namespace) -> None:
    """Run the stages of one size, and keep what was seen of each in `scale.json`."""
    (kind,), (cases,) = options.kind, options.cases
    folder = place(options.folder, kind, cases)
    record, run = folder / "scale.json", Run(configuration(folder, kind, cases, options))
    if not (folder / "corpus").exists():
        make_corpus(folder / "corpus", kind, cases)
    seen = json.loads(record.read_text()) if record.exists() else {}
    with ray_session(ClusterSection(cpus=4)):
        for name in STAGES[: STAGES.index(options.until) + 1]:
            if run.stage(name).complete:
                continue
            with Watch() as watch:
                run.carry_out(name, work_of(name))
            files = files_below(run.stage(name).path)
            disk = {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
            seen[name] = {"seconds": watch.seconds, **watch.peaks, **disk}
            record.write_text(json.dumps(seen, indent=1))
            print(f"{kind}, {cases} cases: {name}: {seen[name]}", flush=True)
    if options.before and "alignment" in seen and "alignment, as it was" not in seen:
        with Watch() as watch:
            held = as_it_was(run)
        seen["alignment, as it was"] = {"seconds": watch.seconds, **watch.peaks, "files": 0, "bytes": 0}
        record.write_text(json.dumps(seen, indent=1))
        print(f"{kind}, {cases} cases: {held} pairs as lists", flush=True)


def configuration(folder: Path, kind: str, cases: int, options: argparse.Namespace) -> Configuration:
    pairs = round(0.7 * cases)
    return Configuration.model_validate(
        {
            "run": {"dir": folder / "run", "seed": 7},
            "task": {"kind": "rare_disease" if kind == "table" else "tissue", "answer_size": 3},
            "corpus": Table(kind="table", path=folder / "corpus"),
            "scorer": NoScorer(kind="nothing"),
            "rankings": {"part_rows": 1024, "cpus_per_actor": 0.5, "actors": 2},
            "preferences": {"chosen": 3, "rejected": 6, "cut": 5},
            "alignment": {
                "model": str(language_model(options.folder, kind)),
                "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
                "precision": "fp32",
                "batch_size": 8 // options.workers,
                "workers": options.workers,
                "epochs": options.steps * 8 / pairs,
                "save_steps": 10**6,
            },
            "inference": {"models": ["base"], "samples": 1},
            "evaluation": {"worked_cases": 2},
        }
    )


def language_model(folder: Path, kind: str) -> Path:
    """A tiny model that reads, or that sees."""
    made, packaged = folder / f"model-{kind}", resolve_model("packaged:smollm2-135m-instruct")
    if not made.exists():
        made.mkdir(parents=True)
        if kind == "table":
            save_tiny_llama(made, load_tokenizer(packaged))
        else:
            from tests.alignment.seeing import FAMILIES

            FAMILIES["idefics3"](made, packaged)
    return made


def make_corpus(folder: Path, kind: str, cases: int) -> None:
    """Files of a table: a patient a case, with six of 400 findings; or a picture of 256, and no text."""
    rng, names = (
        np.random.default_rng(0),
        [(t.id, t.name) for t in itertools.islice(ontology().terms.values(), 50, 450)],
    )
    pictures = [picture(number) for number in range(256)]
    for start in range(0, cases, ROWS):
        rows = []
        for number in range(start, min(start + ROWS, cases)):
            label = LABELS[number % len(LABELS)]
            row = {
                "case_id": f"p{number}",
                "group_id": f"g{number // 2}",
                "label_id": label.id,
                "label_name": label.name,
            }
            if kind == "table":
                found = [names[i] for i in rng.choice(len(names), 6, replace=False)]
                row |= {
                    "sex": "female",
                    "phenotypes": [{"id": i, "name": name, "excluded": False} for i, name in found],
                }
            else:
                row |= {"image": pictures[rng.integers(len(pictures))]}
            rows.append(row)
        write_part(pa.Table.from_pylist(rows), folder / f"part-{start // ROWS:05d}.parquet")


def picture(number: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((128, 128), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def work_of(name: str) -> Callable[[Run], StageReport]:
    if name == "scorer":
        return lambda run: StageReport()
    if name == "rankings":
        return partial(build_rankings, load=Nothing)
    return write_answers if name == "answers" else function_of(LINE[name].work)


def write_answers(run: Run) -> StageReport:
    """What a model that draws names by chance would answer."""
    rng, task, rows = np.random.default_rng(1), run.config.task, 0
    asked = case_table(run, ["case_id", "group_id", "label_id"], ["test"])
    for number, batch in enumerate(asked.to_batches(max_chunksize=ROWS)):
        drawn = rng.integers(0, len(LABELS), (batch.num_rows, 3))
        said = [task.answer([LABELS[i].name for i in names]) for names in drawn]
        fixed = {"model": "base", "model_digest": "0" * 16, "finish_reason": "stop"}
        fixed |= {"prompt_tokens": 1, "completion_tokens": 1, "adapter_digest": None, "retrieved": None}
        table = pa.Table.from_pylist(
            [row | {"text": text} | fixed for row, text in zip(batch.to_pylist(), said, strict=True)],
            schema=arrow_schema(Answer),
        )
        write_part(table, answer_folder(run, "base") / f"part-{number:05d}.parquet")
        rows += batch.num_rows
    return StageReport(rows, rows)


def as_it_was(run: Run) -> int:
    """The training pairs as alignment held them: lists of integers, all at once."""
    from mint_ray.alignment.collation import encode_pairs
    from mint_ray.alignment.vision import vision_inputs
    from mint_ray.preferences.store import pair_dataset

    section = run.config.alignment
    model = resolve_model(section.model)
    pairs, _ = encode_pairs(pair_dataset(run, "train"), load_tokenizer(model), section.max_length, vision_inputs(model))
    return len(pairs)


class Watch:
    """Looks at the memory of this process and those below it until the block ends."""

    def __init__(self, pause: float = 0.25):
        self.pause, self.peaks = pause, defaultdict[str, float](float)
        self._end = threading.Event()

    def __enter__(self) -> Watch:
        self._before, self._started = psutil.Process().memory_full_info().uss, time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = round(time.monotonic() - self._started, 1)
        self._end.set()
        self._thread.join()
        self.peaks = {name: round(value / MIB, 1) for name, value in self.peaks.items()}

    def _look(self) -> None:
        while not self._end.wait(self.pause):
            for name, size in sizes():
                self.peaks[name] = max(self.peaks[name], size)
            self.peaks["driver grew"] = max(self.peaks["driver grew"], self.peaks["driver"] - self._before)


def sizes() -> Iterator[tuple[str, int]]:
    """Bytes that belong to a process alone, by its kind; of the object store those that the raylet has touched."""
    yield "driver", psutil.Process().memory_full_info().uss
    for process in psutil.Process().children(recursive=True):
        try:
            title, memory = " ".join(process.cmdline()), process.memory_full_info()
        except psutil.Error:
            continue
        if title.startswith("ray::"):
            yield "worker", memory.uss
        elif "raylet/raylet" in title:
            yield "object store", memory.shared


COLUMNS = ("seconds", "driver", "driver grew", "worker", "object store", "files", "bytes")


def show(kind: str, cases: int, seen: dict[str, dict[str, float]]) -> None:
    print(f"\n{kind}, {cases:,} cases (MiB)\n{'stage':22}" + "".join(f"{name:>14}" for name in COLUMNS))
    for name, row in seen.items():
        print(f"{name:22}" + "".join(f"{row.get(column, 0):>14,.1f}" for column in COLUMNS), flush=True)


def show_slopes(kind: str, small: int, less: dict, large: int, more: dict) -> None:
    """What another case costs, between two sizes: milliseconds, and bytes of memory and disk."""
    print(f"\n{kind}: one case more, from {small:,} to {large:,}\n{'stage':22}{'ms':>10}"
          + "".join(f"{name + ', B':>18}" for name in ("driver", "worker", "object store", "disk")))  # fmt: skip
    for name in less.keys() & more.keys():
        gap = {key: more[name].get(key, 0) - less[name].get(key, 0) for key in COLUMNS}
        each = [MIB * gap[key] / (large - small) for key in ("driver grew", "worker", "object store")]
        print(f"{name:22}{1e3 * gap['seconds'] / (large - small):>10.2f}"
              + "".join(f"{value:>18,.0f}" for value in [*each, gap["bytes"] / (large - small)]), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
