"""LoRA's layers without the passes over memory that PEFT's own forward makes."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant
from torch import Tensor, nn


def add_in_place(model: nn.Module) -> None:
    """Have LoRA's linear layers add to what the frozen layer gave, in the product itself: the same, in fewer passes."""
    for module in model.modules():
        if isinstance(module, Linear):
            # PEFT casts inputs up to the adapter's fp32; here the product has the frozen layer's precision. Told once:
            # gradient checkpointing calls layers again in the backward pass, outside of any context of the forward's.
            module.cast_input_dtype_enabled = False
            for adapter in module.lora_A:
                module.lora_variant.setdefault(adapter, _AddedInPlace())


class _AddedInPlace(LoraVariant):
    @staticmethod
    def forward(module: Linear, active_adapter: str, x: Tensor, result: Tensor, **options: Any) -> Tensor:
        a, b = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        x = module.lora_dropout[active_adapter](x).to(result.dtype)
        return _Added.apply(result, x, a, b, module.scaling[active_adapter])


class _Added(torch.autograd.Function):
    """result + scaling * x @ a.T @ b.T, written over `result` (..., out)."""

    @staticmethod
    def forward(ctx, result, x, a, b, scaling):
        x = x.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            low = x @ a.to(x.dtype).T
            result.view(-1, result.shape[-1]).addmm_(low, b.to(x.dtype).T, alpha=scaling)
        ctx.mark_dirty(result)
        ctx.save_for_backward(x, low, a, b)
        ctx.scaling = scaling
        return result

    @staticmethod
    def backward(ctx, gradient):
        x, low, a, b = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        below = (rows @ b.to(x.dtype)).mul_(ctx.scaling)
        to_b = (rows.T @ low).to(b.dtype).mul_(ctx.scaling)
        to_x = (below @ a.to(x.dtype)).view(*gradient.shape[:-1], -1) if ctx.needs_input_grad[1] else None
        return gradient, to_x, (below.T @ x).to(a.dtype), to_b, None
