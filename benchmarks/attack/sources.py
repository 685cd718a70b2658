"""Malformed sources through Ray Data: rows in = cases + refusals, every file told, and what the readers make of them in one process.

    python benchmarks/attack/sources.py out/sources [--sources 5000] [--first 0]

The sources are those of `tests/corpora/test_malformed.py`, by its grammar and a number; each reader gets its share. The
readers' own datasets, one a source, are joined to a stream of many, so that Ray carries out hundreds of readers at once. What
comes out of it must be, row for row, what the same reader makes of the same source in this process; there every row is a
case or a refusal that quotes nothing, and every path in the folder is read, refused or left out by name.

Results are appended to `<out>/sources.jsonl` batch by batch, and batches that stand there are not repeated.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import logging
import os
import random
import shutil
import sys
import time
import warnings
from collections import Counter
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pyarrow as pa

from benchmarks.attack.results import Results
from mint_ray.cluster import ENVIRONMENT
from mint_ray.corpora.base import Corpus
from mint_ray.corpora.inventory import shown
from mint_ray.errors import CorpusError
from tests.corpora.here import in_this_process
from tests.corpora.test_malformed import CANARY, KINDS, account

BATCH = 25  # sources of one reader in a stream
PATIENCE = 600  # seconds for a batch: then the stacks are printed and the attack ends, for something hangs
Told = Counter  # the rows of a source, by digest


def main() -> None:
    options = arguments()
    warnings.simplefilter("ignore")
    results = Results(options.out.resolve() / "sources.jsonl")
    done = {(row["kind"], row["number"]) for row in results.rows}
    start_ray()
    each = -(-options.sources // len(KINDS))
    for first in range(options.first, options.first + each, BATCH):
        for kind in (kind for kind in KINDS if (f"sources: {kind}", first) not in done):
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            count = min(BATCH, options.first + each - first)
            try_batch(kind, range(first, first + count), options.out.resolve() / kind, results)
            faulthandler.cancel_dump_traceback_later()
    sys.exit(results.differs)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", type=int, default=5_000, help="over all readers")
    parser.add_argument("--first", type=int, default=0, help="number of each reader's first source")
    return parser.parse_args()


def start_ray() -> None:
    os.environ.pop("RAY_ADDRESS", None)
    os.environ |= ENVIRONMENT
    import ray

    ray.init("local", num_cpus=4, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(logging.CRITICAL)  # a plan for each batch, of hundreds of operators


def try_batch(kind: str, numbers: range, folder: Path, results: Results) -> None:
    """Make the sources, read them here and through Ray, and compare."""
    started, corpora, differs, whole = time.monotonic(), {}, [], 0
    expected: dict[int, Told] = {}
    counts = Counter()
    for number in numbers:
        corpora[number] = source(kind, number, folder)
        try:
            expected[number], figures = read_here(corpora[number], folder / str(number))
            counts.update(figures)
        except CorpusError as error:
            whole += 1
            if CANARY in str(error):
                differs.append(f"source {number}: the refusal of the whole tells the canary")
        except Exception as error:
            differs.append(f"source {number}, in one process: {type(error).__name__}: {error}"[:500])
    differs += compared({number: corpora[number] for number in expected}, expected)
    seconds = round(time.monotonic() - started, 1)
    figures = {"cases": counts["cases"], "refusals": counts["refusals"], "files": counts["files"]}
    kept = {"number": numbers[0], "refused_wholly": whole, **figures, "seconds": seconds}
    results.add(f"sources: {kind}", len(numbers), differs, **kept)
    if not differs:
        shutil.rmtree(folder)


def source(kind: str, number: int, folder: Path) -> Corpus:
    """The source of that number, in a folder of its own."""
    shutil.rmtree(folder / str(number), ignore_errors=True)
    (folder / str(number)).mkdir(parents=True)
    return KINDS[kind](random.Random(f"{kind}{number}"), folder / str(number))


def read_here(corpus: Corpus, folder: Path) -> tuple[Told, dict[str, int]]:
    """A source's rows by digest, and its counts.

    Raises:
        CorpusError: the source as a whole is refused.
        AssertionError: a row is lost, a file is not told, or the canary is.
    """
    with in_this_process():
        cases, refusals = account(corpus)
        rows = told(pa.concat_tables(corpus.outcomes(0).tables))
    assert rows.total() == cases + refusals, "a second reading has other rows"
    inventory = corpus.inventory()
    named = [*inventory.taken, *(name for name, _ in [*inventory.refused, *inventory.left_out])]
    missing = [path for path in paths(folder) if not any(is_told(path, shown(name)) for name in named)]
    assert not missing, f"{len(missing)} files are not told, first {missing[0]!r}"
    return rows, {"cases": cases, "refusals": refusals, "files": len(named)}


def paths(folder: Path) -> list[str]:
    """What lies in a folder and is no folder, by its name there."""
    found = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return [shown(path.relative_to(folder).as_posix()) for path in found]


def is_told(path: str, name: str) -> bool:
    """Whether an inventory's name is that path's, or that of a member of it; names may begin with the source's folder."""
    return f"/{name}".endswith(f"/{path}") or f"/{path}!" in f"/{name}"


def told(block: pa.Table) -> Told:
    return Told(hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).hexdigest() for row in block.to_pylist())


def compared(corpora: dict[int, Corpus], expected: dict[int, Told]) -> list[str]:
    """What differs through Ray; where the stream of all fails, each source is tried alone."""
    try:
        found = read_through_ray(corpora)
    except Exception as error:
        if len(corpora) == 1:
            (number,) = corpora
            return [f"source {number}, through Ray: {type(error).__name__}: {error}"[:500]]
        alone = [compared({number: corpus}, expected) for number, corpus in corpora.items()]
        return [each for found in alone for each in found] or ["a stream failed whose sources do not"]
    return [
        f"source {number}: {(expected[number] - found[number]).total()} rows lost through Ray, "
        f"{(found[number] - expected[number]).total()} new"
        for number in corpora
        if expected[number] != found[number]
    ]


def read_through_ray(corpora: dict[int, Corpus]) -> dict[int, Told]:
    """The rows of each source, by digest."""
    found = {number: Told() for number in corpora}
    streams = [
        corpus.outcomes(0).map_batches(partial(_numbered, number=number), batch_format="pyarrow", batch_size=None)
        for number, corpus in corpora.items()
    ]
    if len(streams) > 1:  # Ray Data fails over a union of one
        streams = [streams[0].union(*streams[1:])]
    for row in chain.from_iterable(stream.iter_rows() for stream in streams):
        found[row["number"]][row["digest"]] += 1
    return found


def _numbered(block: pa.Table, number: int) -> pa.Table:
    rows: list[dict[str, Any]] = [{"number": number, "digest": digest} for digest in told(block).elements()]
    return pa.Table.from_pylist(rows, schema=pa.schema([("number", pa.int64()), ("digest", pa.string())]))


if __name__ == "__main__":
    main()
