"""The control that must fail: every case is given the ranking, and the answers, of another case of its split."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mint_ray.parquet import parquet_dataset
from mint_ray.records import Case, arrow_schema, from_table


@dataclass(frozen=True)
class Donors:
    """Whose ranking each case is given, by case id; and the files that hold all cases."""

    by_case: dict[str, str]
    files: list[Path]

    def of(self, cases: Sequence[Case]) -> list[Case]:
        """The donors of these cases, in their order. The column of ids is read through once."""
        wanted = [self.by_case[case.case_id] for case in cases]
        stored = parquet_dataset(self.files, arrow_schema(Case))
        found = {
            case.case_id: case for case in from_table(stored.to_table(filter=pc.field("case_id").isin(wanted)), Case)
        }
        return [found[case_id] for case_id in wanted]


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
