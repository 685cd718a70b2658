import numpy as np
import pytest

from mint_ray.errors import EvaluationError
from mint_ray.evaluation.intervals import Interval, bootstrap, holm


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    # 400 cases, each its own group, half of them right: 0.5 +- 1.96 * sqrt(0.25 / 400) = 0.451 to 0.549
    values = np.repeat([0.0, 1.0], 200)[:, None]
    (interval,) = bootstrap(values, [f"g{i}" for i in range(400)], draws=4000, seed=0).intervals()
    assert interval.value == 0.5
    assert interval.low == pytest.approx(0.451, abs=0.006)
    assert interval.high == pytest.approx(0.549, abs=0.006)


def test_cases_of_one_group_move_together():
    # The same 400 values in 20 groups of 20 alike: 0.5 +- 1.96 * sqrt(0.25 / 20) = 0.281 to 0.719
    values = np.repeat([0.0, 1.0], 200)[:, None]
    (interval,) = bootstrap(values, [f"g{i // 20}" for i in range(400)], draws=4000, seed=0).intervals()
    assert interval.low == pytest.approx(0.281, abs=0.04)
    assert interval.high == pytest.approx(0.719, abs=0.04)


def test_the_mean_is_over_cases_not_over_groups():
    groups = ["a", "a", "a", "b", "c", "d", "e"]
    values = np.array([1.0, 1, 1, 0, 0, 0, 0])[:, None]
    assert bootstrap(values, groups, draws=100, seed=0).intervals()[0].value == pytest.approx(3 / 7)


def test_the_difference_is_paired():
    # The second model is right wherever the first is and in every other case beside: the gap never varies.
    groups = [f"g{i}" for i in range(50)]
    first = np.random.default_rng(0).random((50, 1))
    gap = bootstrap(first + 0.25, groups, 500, seed=1).difference(bootstrap(first, groups, 500, seed=1))
    assert (gap[0].value, gap[0].low, gap[0].high) == pytest.approx((0.25, 0.25, 0.25))


def test_missing_figures_count_nowhere():
    groups = [f"g{i}" for i in range(6)]
    values = np.array([[1.0, np.nan], [0.0, np.nan], [np.nan, np.nan], [1.0, np.nan], [1.0, np.nan], [1.0, np.nan]])
    some, none = bootstrap(values, groups, 200, seed=0).intervals()
    assert some.value == pytest.approx(4 / 5)
    assert none == Interval(None, None, None)


def test_order_of_the_cases_and_repetition_change_nothing():
    groups, values = ["a", "b", "c", "d", "e", "e"], np.arange(6.0)[:, None]
    first = bootstrap(values, groups, 300, seed=5).intervals()
    assert bootstrap(values[::-1], groups[::-1], 300, seed=5).intervals() == first


def test_too_few_groups_are_refused():
    with pytest.raises(EvaluationError, match="2 groups"):
        bootstrap(np.zeros((4, 1)), ["a", "a", "b", "b"], 100, seed=0)


def test_a_p_value_agrees_with_the_interval():
    groups, generator = [f"g{i}" for i in range(60)], np.random.default_rng(2)
    noise = generator.normal(0, 1, (60, 1))
    for shift, clear in [(0.0, False), (2.0, True)]:
        values = bootstrap(noise - noise.mean() + shift, groups, 1000, seed=1)
        other = bootstrap(np.zeros((60, 1)), groups, 1000, seed=1)
        (interval,), (p,) = values.difference(other), values.p_values(other)
        assert (p < 0.05) == clear == (not interval.low <= 0 <= interval.high)
    assert p == pytest.approx(2 / 1001)


def test_holm_by_hand():
    # 3 x 0.01; 2 x 0.04; then 0.03 x 1 would be below the one before it and is raised to it.
    assert holm([0.04, 0.01, 0.9]) == pytest.approx([0.08, 0.03, 0.9])
    assert holm([0.02, 0.021, 0.022]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.8, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("at_once", [1, 50, 333, 10**9])
def test_resamples_are_the_same_however_many_are_held_at_once(at_once, monkeypatch):
    groups, values = [f"g{i % 17}" for i in range(90)], np.random.default_rng(2).random((90, 3))
    values[values < 0.2] = np.nan
    whole = bootstrap(values, groups, draws=101, seed=8)
    monkeypatch.setattr("mint_ray.evaluation.intervals._AT_ONCE", at_once)
    found = bootstrap(values, groups, draws=101, seed=8)
    assert np.array_equal(found.means, whole.means) and found.draws.shape == (101, 3)
    assert found.draws == pytest.approx(whole.draws, rel=1e-12, nan_ok=True)
