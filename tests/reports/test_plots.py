"""Names in plots: what is drawn is what the name is."""

import warnings

import pytest

from mint_ray.evaluation.intervals import Interval
from mint_ray.reports.comparison_page import title_of
from mint_ray.reports.comparison_plots import curves, ladder
from mint_ray.reports.plots import svg
from tests.reports.test_report import Collected

NAMES = ["$x^$", "_x", "<b>&amp;", "歌舞伎 😀", 'a id="axes_1" xmlns="y" #0b0b01']


@pytest.mark.parametrize(
    "paint",
    [
        ladder({name: Interval(0.5, 0.4, 0.6) for name in NAMES}, None, "points"),
        curves({name: [(1, i), (2, i)] for i, name in enumerate(NAMES)}, "step"),
    ],
    ids=["ticks", "legend"],
)
def test_a_name_is_drawn_as_it_is(paint):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = Collected(svg('a "quoted" <title>', paint))
    assert set(NAMES) <= set(drawn.drawn)
    (_, attributes), *_ = drawn.tags
    assert (attributes["role"], attributes["aria-label"]) == ("img", 'a "quoted" <title>')
    assert not {"width", "height"} & set(attributes)


def test_an_arm_is_titled_in_one_short_line():
    assert title_of("mint") == "MINT (ORPO)" and title_of("other") == "Other"
    assert title_of("a\n\x1b[31m" + "b" * 99) == "A \ufffd[31m" + "b" * 33 + " …"
