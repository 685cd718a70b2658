"""The control that must fail: every case is given the ranking, and the answers, of another case of its split."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa


def draw_donors(cases: pa.Table, seed: int) -> dict[str, str]:
    """Each case's donor: a permutation within every split, fixed by the seed, in which no case keeps its own place.

    Only a split of one case has none but itself to give.

    Args:
        cases: the columns `case_id` and `split`.
    """
    chance = np.random.default_rng([seed, zlib.crc32(b"shuffled")])
    donors = {}
    by_split: dict[str, list[str]] = {}
    for row in cases.to_pylist():
        by_split.setdefault(row["split"] or "", []).append(row["case_id"])
    for _, case_ids in sorted(by_split.items()):
        # One cycle through all of a split: everyone is given the ranking of the next.
        cycle = chance.permutation(sorted(case_ids)).tolist()
        donors |= dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    return donors
