"""What sequences begin with alike lies in a row once; each token sees its own sequence, in order, and nothing else."""

import pytest

from mint_ray.alignment.rows import Row, Span, mask_of

LONG = list(range(100, 110))


@pytest.fixture
def row():
    return Row()


def test_what_two_begin_with_is_laid_out_once(row):
    first, second = row.add([*LONG, 1, 2]), row.add([*LONG, 3])
    assert row.tokens == [*LONG, 1, 2, 3]
    assert second == [*first[:10], 12]
    assert row.positions == [*range(12), 10]
    assert row.spans() == (Span(0, 10), Span(10, 12, ((0, 10),)), Span(12, 13, ((0, 10),)))


def test_a_beginning_too_short_to_be_worth_it_is_laid_out_again(row):
    row.add([1, 2, 3, 4])
    row.add([1, 2, 3, 5])
    assert row.tokens == [1, 2, 3, 4, 1, 2, 3, 5]
    assert row.spans() == (Span(0, 4), Span(4, 8))


def test_a_few_tokens_more_alike_than_a_branch_do_not_make_another(row):
    row.add([*LONG, 1, 2])
    row.add([*LONG, 3, 4])
    row.add([*LONG, 3, 5])
    assert row.tokens == [*LONG, 1, 2, 3, 4, 3, 5]
    assert [span.before for span in row.spans()] == [(), *[((0, 10),)] * 3]


def test_what_follows_a_token_shares_it_however_short(row):
    prompt = row.add([1, 2])
    chosen, rejected = row.add([3, 4], after=prompt[-1]), row.add([5], after=prompt[-1])
    assert (prompt, chosen, rejected) == ([0, 1], [2, 3], [4])
    assert row.positions == [0, 1, 2, 3, 2]


def test_every_token_sees_its_own_sequence_alone(row):
    sequences = [[*LONG, 1, 2], [*LONG, 3, *LONG, 4], [*LONG, 3, *LONG, 5], [7, *LONG], [*LONG]]
    places = [row.add(sequence) for sequence in sequences]
    mask = mask_of(row.spans(), len(row.tokens) + 2)
    for sequence, there in zip(sequences, places, strict=True):
        assert [row.tokens[i] for i in there] == sequence
        for place, index in enumerate(there):
            assert mask[index].nonzero().flatten().tolist() == there[: place + 1]
            assert row.positions[index] == place
    assert mask[-1].nonzero().flatten().tolist() == [len(row.tokens) + 1]
