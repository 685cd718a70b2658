"""A pair becomes tokens by one renderer; a batch shows each token exactly what a sequence of its own would."""

import pytest
import torch

from mint_ray.alignment.collation import Collator, EncodedPair, InParts, PairOrder, encode_pair, encode_pairs
from mint_ray.errors import RowError
from tests.alignment.conftest import pair

PAIR = EncodedPair("a", prompt=[10, 11, 12], chosen=[20, 21], rejected=[30, 31, 32])
SHORT = EncodedPair("b", prompt=[13, 14], chosen=[22], rejected=[33])


def test_the_prompt_is_what_inference_will_ask_with(tokenizer):
    row = pair(3)
    asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
    assert encode_pair(row, tokenizer, 512).prompt == asked


def test_an_answer_ends_with_the_token_that_ends_generation_and_nothing_after_it(tokenizer):
    encoded = encode_pair(pair(3), tokenizer, 512)
    for answer, message in [(encoded.chosen, pair(3)["chosen"]), (encoded.rejected, pair(3)["rejected"])]:
        assert tokenizer.decode(answer) == message[0]["content"] + "<|im_end|>"


def test_a_pair_that_is_too_long_is_refused_by_count_and_the_others_stay(tokenizer):
    rows = [pair(0), pair(6), pair(1)]
    limit = encode_pair(rows[0], tokenizer, 512).length + 2
    encoded, refused = encode_pairs(rows, tokenizer, limit)
    assert [e.case_id for e in encoded] == ["case-0", "case-1"]
    assert [(r.case_id, r.row, r.reason) for r in refused] == [("case-6", 1, "too-long")]
    assert str(limit) in refused[0].expected


def test_a_template_that_renders_the_prompt_differently_before_an_answer_is_refused(tokenizer):
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{% if not add_generation_prompt %}answered: {% endif %}" + template
        with pytest.raises(RowError, match="prompt-changes"):
            encode_pair(pair(0), tokenizer, 512)
    finally:
        tokenizer.chat_template = template


def test_a_row_holds_the_prompt_once_and_both_answers_start_where_it_ends():
    batch = Collator(pad_token_id=0)([PAIR, SHORT])
    assert batch["input_ids"].tolist() == [[10, 11, 12, 20, 21, 30, 31, 32], [13, 14, 22, 33, 0, 0, 0, 0]]
    assert batch["position_ids"][0].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert batch["case_ids"] == ["a", "b"] and batch["tokens"] == 12


def test_the_rejected_answer_sees_the_prompt_and_itself_but_not_the_chosen_answer():
    mask = Collator(pad_token_id=0)([PAIR])["attention_mask"][0, 0]
    assert mask[4].tolist() == [True] * 5 + [False] * 3
    assert mask[6].tolist() == [True] * 3 + [False] * 2 + [True] * 2 + [False]


def test_only_answer_tokens_are_scored_each_at_the_token_before_it():
    batch = Collator(pad_token_id=0)([PAIR, SHORT])
    scored = list(zip(batch["positions"].tolist(), batch["targets"].tolist(), batch["segments"].tolist(), strict=True))
    first = [(2, 20, 0), (3, 21, 0), (2, 30, 2), (5, 31, 2), (6, 32, 2)]
    assert scored == [*first, (8 + 1, 22, 1), (8 + 1, 33, 3)]


def test_prompt_tokens_are_scored_in_segments_of_their_own_where_the_nll_asks_for_them():
    batch = Collator(pad_token_id=0, score_prompt=True)([PAIR])
    prompt = batch["segments"] == 2
    assert batch["targets"][prompt].tolist() == [11, 12] and batch["positions"][prompt].tolist() == [0, 1]


def test_an_epoch_holds_every_pair_and_fills_its_last_batch_from_its_start():
    order = list(PairOrder([5] * 10, batch=4, seed=1))
    assert len(order) == 12 and set(order) == set(range(10))


def test_the_order_is_fixed_by_the_seed_and_differs_from_epoch_to_epoch():
    lengths = list(range(40))
    orders = [
        list(PairOrder(lengths, 4, seed, epoch=lambda e=epoch: e)) for seed, epoch in [(1, 0), (1, 0), (1, 1), (2, 0)]
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] and orders[0] != orders[3]


def test_a_batch_holds_pairs_of_like_length():
    lengths = [int(n) for n in torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    order = list(PairOrder(lengths, batch=4, seed=3))
    batches = [[lengths[i] for i in order[at : at + 4]] for at in range(0, 64, 4)]
    assert all(max(batch) - min(batch) == 3 for batch in batches)


def test_fewer_pairs_than_a_batch_still_make_one():
    assert sorted(set(PairOrder([3, 4], batch=5, seed=0))) == [0, 1]


def test_a_batch_in_parts_says_in_each_what_the_whole_batch_weighs():
    parts = InParts(Collator(pad_token_id=0, score_prompt=True), 1)([PAIR, SHORT])
    assert [part["case_ids"] for part in parts] == [["a"], ["b"]]
    assert [part["input_ids"].shape[1] for part in parts] == [8, 4]
    # chosen 2 + 1, prompts' tokens after their first 2 + 1
    assert [(part["batch_pairs"], part["batch_likely"]) for part in parts] == [(2, 6)] * 2


def test_a_row_of_the_chosen_answer_alone_is_a_plain_sequence():
    batch = Collator(pad_token_id=0, answers=("chosen",))([PAIR])
    assert batch["input_ids"].tolist() == [[10, 11, 12, 20, 21]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert torch.equal(batch["attention_mask"][0, 0], torch.ones(5, 5, dtype=torch.bool).tril())
    assert batch["segments"].tolist() == [0, 0]


def test_pairs_of_one_row_are_scored_as_in_rows_of_their_own():
    pairs = [PAIR._replace(prompt=[*range(50, 60), 10]), PAIR._replace(case_id="c", prompt=[*range(50, 60), 11])]
    alone, together = (Collator(pad_token_id=0, score_prompt=True, together=is_so)(pairs) for is_so in (False, True))
    assert together["tokens"] == alone["tokens"] - 10
    assert together["likely"] == alone["likely"]
    for batch in (alone, together):
        batch["at"] = [batch["input_ids"].flatten()[p].item() for p in batch["positions"]]
    for name in ("at", "targets", "segments"):
        assert list(alone[name]) == list(together[name])


def test_a_part_holds_as_many_pairs_as_its_tokens_allow_and_one_at_least():
    parts = InParts(Collator(pad_token_id=0), 3, tokens=12)([PAIR, SHORT, SHORT, SHORT, SHORT, SHORT, PAIR])
    assert [part["case_ids"] for part in parts] == [["a", "b"], ["b", "b", "b"], ["b", "a"]]
    parts = InParts(Collator(pad_token_id=0, answers=("chosen",)), 3, tokens=8)([PAIR, SHORT, SHORT])
    assert [part["case_ids"] for part in parts] == [["a", "b"], ["b"]]  # the rejected answers are in no row
    parts = InParts(Collator(pad_token_id=0), 3, tokens=1)([PAIR, SHORT])
    assert [part["case_ids"] for part in parts] == [["a"], ["b"]]
