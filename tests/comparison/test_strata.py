import pytest

from mint_ray.comparison.strata import terciles


@pytest.mark.parametrize(
    ("counts", "ranges"),
    [
        ([1, 2, 3, 4, 5, 6], {"1–2": 2, "3–4": 2, "5–6": 2}),
        ([1, 1, 1, 1, 1, 9], {"1": 5, "9": 1}),
        ([0, 0, 7, 7, 7, 8], {"0": 2, "7": 3, "8": 1}),
        ([4, 4, 4], {}),
        ([], {}),
    ],
)
def test_ranges_are_stated_and_equal_counts_never_part(counts, ranges):
    assert {s.title: int(s.member.sum()) for s in terciles(counts)} == ranges
