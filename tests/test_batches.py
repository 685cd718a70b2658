"""A row that cannot be read is refused; a model that is broken refuses nothing."""

import numpy as np
import pytest

from mint_ray.batches import Batches, Unsound
from mint_ray.errors import EndpointError, ModelError, RowError


class Doubler:
    """Doubles numbers. Negative ones have a reason of their own, None breaks it alone; from `breaks_at` calls on all fail."""

    def __init__(self, breaks_at=10**9):
        self.calls, self.breaks_at = [], breaks_at

    def __call__(self, items):
        self.calls.append(list(items))
        if len(self.calls) >= self.breaks_at:
            raise RuntimeError("CUDA error at patient Jane Doe")
        if any(item is not None and item < 0 for item in items):
            raise RowError("negative", "number", "one below 0", "one from 0")
        if any(item == 13 for item in items):
            raise Unsound(RowError("unlucky", "number", "13", "another"))
        return [2 * item for item in items]


def told(rows):
    return [(row.reason, row.seen) if isinstance(row, RowError) else row for row in rows]


def test_a_batch_that_passes_is_one_call():
    model = Doubler()
    assert Batches(model, "it")([1, 2]) == [2, 4]
    assert model.calls == [[1, 2]]


def test_no_items_make_no_rows():
    assert Batches(Doubler(), "it")([]) == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [(-1, ("negative", "one below 0")), (None, ("not-scorable", "TypeError")), (13, ("unlucky", "13"))],
)
@pytest.mark.parametrize("at", range(3))
def test_one_bad_row_costs_itself_alone_wherever_it_stands(bad, why, at):
    items, rows = [1, 2], [2, 4]
    items.insert(at, bad)
    rows.insert(at, why)
    assert told(Batches(Doubler(), "it")(items)) == rows


def test_rows_that_give_a_reason_never_make_a_model_broken():
    assert told(Batches(Doubler(), "it")([-1, -2])) == [("negative", "one below 0")] * 2


@pytest.mark.parametrize("bad", [None, 13])
def test_where_nothing_has_ever_passed_a_batch_that_fails_at_every_row_is_the_models_fault(bad):
    with pytest.raises(
        ModelError, match=r"^it is broken: it fails at every row, (TypeError at test_batches.py:\d|unlucky)"
    ):
        Batches(Doubler(), "it")([bad, -1, bad])


@pytest.mark.parametrize("earlier", [[], [[1, 2]]])
def test_rows_that_all_fail_are_refused_where_the_model_still_reads_what_it_read_before(earlier):
    batches = Batches(Doubler(), "it", probe=[5])
    for items in earlier:
        batches(items)
    assert told(batches([None])) == [("not-scorable", "TypeError")]
    assert told(batches([None, 13])) == [("not-scorable", "TypeError"), ("unlucky", "13")]


# Whole batches of four: calls 1, 2 ...; the batch with a bad row is call 2, its rows alone calls 3 to 6.
@pytest.mark.parametrize("breaks_at", [1, 2, 3, 4, 5, 6])
def test_a_model_that_breaks_refuses_nothing_whenever_it_breaks(breaks_at):
    batches = Batches(Doubler(breaks_at), "the scorer", probe=[5])
    with pytest.raises(ModelError, match=r"the scorer is broken.* RuntimeError at test_batches\.py:\d+") as raised:
        for items in ([1, 2, 3, 4], [5, -6, 7, 8], [9]):
            batches(items)
    assert "Jane" not in str(raised.value)


def test_rows_that_pass_after_one_that_failed_are_sign_enough():
    model = Doubler()
    Batches(model, "it", probe=[5])([1, None, 2])
    assert model.calls == [[1, None, 2], [1], [None], [2]]


def test_the_whole_batch_that_passed_is_asked_again_since_one_row_needs_less_memory():
    model = Doubler()
    batches = Batches(model, "it", probe=[5])
    batches([1, 2, 3])
    batches([None])
    assert model.calls == [[1, 2, 3], [None], [None], [1, 2, 3]]


@pytest.mark.parametrize("error", [ModelError("m"), EndpointError("e"), ConnectionError("c"), TimeoutError("t")])
def test_what_speaks_of_the_model_or_the_way_to_it_is_raised_at_once(error):
    calls = []

    def gone(items):
        calls.append(items)
        raise error

    with pytest.raises(type(error)) as raised:
        Batches(gone, "it")([1, 2])
    assert raised.value is error
    assert len(calls) == 1


def test_a_way_that_is_lost_between_two_rows_is_raised_as_it_is():
    def work(items):
        if len(items) > 1:
            raise RowError("one-of-them")
        if items == [2]:
            raise ConnectionError("gone")
        return items

    with pytest.raises(ConnectionError):
        Batches(work, "it")([1, 2])


def test_rows_may_be_those_of_an_array():
    def work(items):
        if None in items:
            raise ValueError("none")
        return np.array([[item, item] for item in items])

    (first, _, last) = Batches(work, "it")([1, None, 2])
    assert (first.tolist(), last.tolist()) == ([1, 1], [2, 2])
