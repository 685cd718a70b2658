"""Attention over rows of a prompt and its answers, by their structure: no answer is computed against another.

The rows' mask says the same (`Collator`), and costs what a full square costs. It is given to the model all the same:
a model that hands it to its layers unchanged gets the structure with it, any other attends by the mask.
Models that would do neither are refused (`check_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mint_ray.alignment.rows import Span
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


def structured(mask: Tensor, spans: Sequence[Sequence[Span]]) -> Tensor:
    """The mask (rows, 1, time, time) with what it stands for: the spans of each row."""
    mask.spans = spans
    return mask


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """In the interface of transformers: (rows, heads, time, width) to (rows, time, heads, width)."""
    spans = getattr(attention_mask, "spans", None)
    if spans is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    # Rotating them makes both fp32 again where weights are fp32 under autocast.
    query, key = query.to(value.dtype), key.to(value.dtype)
    scale, dropout = options.get("scaling") or query.shape[-1] ** -0.5, options.get("dropout", 0.0)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and not dropout:
        attend = partial(_products, scale=scale)
    else:
        attend = partial(_by_spans, scale=scale, dropout_p=dropout, enable_gqa=query.shape[1] != key.shape[1])
    rows = [attend(query[i], key[i], value[i], row) for i, row in enumerate(spans)]
    # What is padding looks at nothing; nobody reads it.
    return torch.stack([F.pad(row, (0, 0, 0, 0, 0, query.shape[2] - row.shape[0])) for row in rows]), None


def _by_spans(query: Tensor, key: Tensor, value: Tensor, spans: Sequence[Span], **how: Any) -> Tensor:
    """A row, (heads, time, width) to (time, heads, width); a call of torch's kernel for each span."""
    found = []
    for span in spans:
        keys, values = _seen(key, span)[None], _seen(value, span)[None]
        mask = causal_lower_right(span.stop - span.start, keys.shape[2])
        found.append(F.scaled_dot_product_attention(query[None, :, span.start : span.stop], keys, values, mask, **how))
    return torch.cat(found, 2)[0].transpose(0, 1)


def _seen(x: Tensor, span: Span) -> Tensor:
    """What a span sees of (heads, time, width), itself last."""
    ranges = [*span.before, (span.start, span.stop)]
    return torch.cat([x[:, start:stop] for start, stop in ranges], 1)


def _products(query: Tensor, key: Tensor, value: Tensor, spans: Sequence[Span], scale: float) -> Tensor:
    """The same as products of whole matrices: torch's kernel for bf16 on a CPU takes twice their time."""
    return cast(Tensor, _Products.apply(query, key, value, spans, scale))  # pyright: ignore[reportUnknownMemberType]


class _Products(torch.autograd.Function):
    """The heads that share a key are rows of one matrix, (key heads, time * group, width), so no key is repeated.

    Nothing of a span's size squared is kept: weights are computed once more on the way back.
    """

    @staticmethod
    def forward(ctx, query, key, value, spans, scale):
        query = _grouped(query, len(key)).mul_(scale)
        key, value = key.contiguous(), value.contiguous()
        ctx.spans, ctx.scale = spans, scale
        ctx.save_for_backward(query, key, value)
        found = torch.zeros_like(query)  # padding sees nothing
        for span in spans:
            rows = _rows(query, key, span)
            torch.bmm(_weights(query[:, rows], key, span), _seen(value, span), out=found[:, rows])
        return _apart(found, key.shape[1])

    @staticmethod
    def backward(ctx, gradient):
        query, key, value = ctx.saved_tensors
        gradient = _grouped(gradient.transpose(0, 1), len(key))
        to_query, to_key, to_value = (torch.zeros_like(x) for x in (query, key, value))
        for span in ctx.spans:
            rows = _rows(query, key, span)
            weights = _weights(query[:, rows], key, span)
            _add_seen(to_value, span, weights.transpose(1, 2) @ gradient[:, rows])
            slopes = gradient[:, rows] @ _seen(value, span).transpose(1, 2)
            torch._softmax_backward_data(slopes, weights, -1, weights.dtype, grad_input=slopes)
            torch.bmm(slopes, _seen(key, span), out=to_query[:, rows])
            _add_seen(to_key, span, slopes.transpose(1, 2) @ query[:, rows])
        return _apart(to_query.mul_(ctx.scale), key.shape[1]).transpose(0, 1), to_key, to_value, None, None


def _grouped(x: Tensor, key_heads: int) -> Tensor:
    """(heads, time, width) to a copy (key heads, time * group, width)."""
    return x.unflatten(0, (key_heads, -1)).transpose(1, 2).clone(memory_format=torch.contiguous_format).flatten(1, 2)


def _apart(x: Tensor, time: int) -> Tensor:
    """What `_grouped` made, as (time, heads, width)."""
    return x.unflatten(1, (time, -1)).transpose(0, 1).flatten(1, 2)


def _rows(query: Tensor, key: Tensor, span: Span) -> slice:
    """A span in the rows of a grouped query."""
    group = query.shape[1] // key.shape[1]
    return slice(span.start * group, span.stop * group)


def _weights(query: Tensor, key: Tensor, span: Span) -> Tensor:
    """How much a span's rows (key heads, length * group, width) look at each of what it sees."""
    length = span.stop - span.start
    scores = query @ _seen(key, span).transpose(1, 2)
    later = torch.full((length, length), -torch.inf, dtype=scores.dtype).triu_(1)
    scores.unflatten(1, (length, -1))[..., -length:].add_(later[:, None])
    return torch.softmax(scores, -1, out=scores)


def _add_seen(to: Tensor, span: Span, part: Tensor) -> None:
    """Add to (heads, time, width) where a span sees it."""
    at = 0
    for start, stop in [*span.before, (span.start, span.stop)]:
        to[:, start:stop] += part[:, at : at + stop - start]
        at += stop - start
