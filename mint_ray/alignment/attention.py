"""Attention over rows of a prompt and its answers, by their structure: no answer is computed against another.

The rows' mask says the same (`Collator`), and costs what a full square costs. It is given to the model all the same:
a model that hands it to its layers unchanged gets the structure with it, any other attends by the mask.
Models that would do neither are refused (`check_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mint_ray.errors import ModelError

_NAME = "prompt_and_answers"
_ATTENDING = {"full_attention", "sliding_attention", "chunked_attention"}  # of the kinds of layers in transformers


def check_attention(model: PreTrainedModel) -> None:
    """Refuse a model whose decoder does not attend as the rows' mask says: an answer would be learnt from the other.

    Raises:
        ModelError: with what it does instead.
    """
    text, decoder = model.config.get_text_config(), model.get_decoder()
    if decoder.config._attn_implementation not in ("sdpa", _NAME):
        raise ModelError(
            f"the model attends by {decoder.config._attn_implementation!r}, which training's mask does not reach: remove "
            "attn_implementation from its config.json, or take a model that attends by sdpa"
        )
    kinds = set(getattr(text, "layer_types", None) or ())
    if getattr(model, "_is_stateful", False) or kinds - _ATTENDING:
        raise ModelError(
            "the model has layers that read on from one answer into the next (recurrent or convolutional), which "
            "training's rows of two answers do not allow: take a model whose layers attend"
        )


def attend_by_structure(model: PreTrainedModel) -> None:
    """Have a model's decoder attend by the structure of the masks that `structured` made, and by others as before."""
    check_attention(model)
    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    decoder = model.get_decoder()
    if decoder.config._attn_implementation == "sdpa":
        decoder.set_attn_implementation(_NAME)


def structured(mask: Tensor, spans: Sequence[Sequence[int]]) -> Tensor:
    """The mask (rows, 1, time, time) with what it stands for: the lengths of each row's prompt and answers."""
    mask.spans = spans
    return mask


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """In the interface of transformers: (rows, heads, time, width) to (rows, time, heads, width)."""
    spans = getattr(attention_mask, "spans", None)
    if spans is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    how = {
        "dropout_p": options.get("dropout", 0.0),
        "scale": options.get("scaling"),
        "enable_gqa": query.shape[1] != key.shape[1],
    }
    rows = [
        _row(query[i, None], key[i, None], value[i, None], lengths, how).transpose(1, 2)
        for i, lengths in enumerate(spans)
    ]
    # What is padding looks at nothing; nobody reads it.
    return torch.cat([F.pad(row, (0, 0, 0, 0, 0, query.shape[2] - row.shape[1])) for row in rows]), None


def _row(query: Tensor, key: Tensor, value: Tensor, spans: Sequence[int], how: dict[str, Any]) -> Tensor:
    """The prompt attends to itself, each answer to the prompt and to itself."""
    prompt, *answers = spans
    found = [
        F.scaled_dot_product_attention(
            query[:, :, :prompt], key[:, :, :prompt], value[:, :, :prompt], is_causal=True, **how
        )
    ]
    start = prompt
    for length in answers:
        keys, values = (torch.cat([x[:, :, :prompt], x[:, :, start : start + length]], 2) for x in (key, value))
        found.append(
            F.scaled_dot_product_attention(
                query[:, :, start : start + length], keys, values, causal_lower_right(length, prompt + length), **how
            )
        )
        start += length
    return torch.cat(found, 2)
