"""Attention by structure is attention by the mask that says the same, in values and in gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from mint_ray.alignment import attention
from mint_ray.alignment.attention import _attention, _by_spans, _products, structured
from mint_ray.alignment.collation import Collator, EncodedPair
from tests.alignment.test_trainer import at_once

ALIKE = [1, 2, 3, 4, 5, 6, 7, 8, 9]  # what the prompts begin with, and what the answers of one pair do
PAIRS = [
    EncodedPair("a", prompt=[10] * 7, chosen=[20] * 5, rejected=[30] * 6),
    EncodedPair("b", prompt=[13] * 3, chosen=[22], rejected=[33] * 4),
    EncodedPair("c", prompt=[*ALIKE, 10], chosen=[*ALIKE, 20], rejected=[*ALIKE, 30, 31]),
    EncodedPair("d", prompt=[*ALIKE, 11, 12], chosen=[20] * 3, rejected=[30]),
]


@pytest.mark.parametrize("attends", [_by_spans, _products])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("answers", [("chosen",), ("chosen", "rejected")])
@pytest.mark.parametrize("groups", [1, 3])
def test_values_and_gradients_are_those_of_the_dense_mask(groups, answers, together, attends, monkeypatch):
    if attends is _products:  # in fp32, which tells more than the bf16 that it is for
        monkeypatch.setattr(attention, "_by_spans", lambda *row, scale, **how: _products(*row, scale))
    batch = Collator(0, answers=answers, together=together)(PAIRS)
    count = len(batch["spans"])
    time, random = batch["input_ids"].shape[1], torch.Generator().manual_seed(0)
    used = torch.tensor([[t < spans[-1].stop for t in range(time)] for spans in batch["spans"]])[..., None, None]
    found = []
    for attend, mask in [
        (sdpa_attention_forward, batch["attention_mask"]),
        (_attention, structured(batch["attention_mask"].clone(), batch["spans"])),
    ]:
        random.manual_seed(0)
        query = torch.randn(count, 2 * groups, time, 8, generator=random, requires_grad=True)
        key, value = (torch.randn(count, 2, time, 8, generator=random, requires_grad=True) for _ in "kv")
        module = nn.Module()
        module.num_key_value_groups = groups
        output = attend(module, query, key, value, mask, scaling=0.3)[0] * used
        (output * torch.randn(output.shape, generator=random)).sum().backward()
        found.append([output, query.grad, key.grad, value.grad])
    for dense, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)


def test_in_bf16_on_a_cpu_it_is_products_and_fp32s_values_but_for_rounding(monkeypatch):
    monkeypatch.setattr(attention, "_by_spans", None)
    batch = Collator(0, together=True)(PAIRS)
    mask, time = batch["attention_mask"], batch["input_ids"].shape[1]
    query, key, value = (torch.randn(1, heads, time, 8) for heads in (6, 2, 2))
    dense = F.scaled_dot_product_attention(query, key, value, mask, enable_gqa=True).transpose(1, 2)
    query, key, value = (x.bfloat16() for x in (query, key, value))
    found = _attention(nn.Module(), query, key, value, structured(mask, batch["spans"]))[0]
    assert found.dtype is torch.bfloat16
    torch.testing.assert_close(found.float(), dense, rtol=0.05, atol=0.05)


def test_the_decoder_gets_the_structure_and_not_the_square(make, encoded, monkeypatch):
    trainer = make()
    square = []
    monkeypatch.setattr(
        "mint_ray.alignment.attention.sdpa_attention_forward", lambda *arguments, **options: square.append(arguments)
    )
    trainer.terms(trainer.model, at_once(trainer.data_collator.collate, encoded[:2]))
    assert square == []
    assert trainer.model.get_decoder().config._attn_implementation == "prompt_and_answers"


def test_a_model_that_attends_in_another_way_is_left_alone_and_has_the_same_loss(make, encoded):
    trainer = make()
    part = at_once(trainer.data_collator.collate, encoded[:3])
    by_structure = trainer.terms(trainer.model, part).loss
    trainer.model.get_decoder().config._attn_implementation_internal = "sdpa"
    torch.testing.assert_close(trainer.terms(trainer.model, part).loss, by_structure, rtol=1e-5, atol=1e-6)
