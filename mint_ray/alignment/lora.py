"""LoRA's layers without the passes over memory that PEFT's own forward makes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear
from torch import Tensor, nn


def add_in_place(model: nn.Module) -> None:
    """Have LoRA's linear layers add to what the frozen layer gives, in the product itself: the same, in fewer passes."""
    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear and not module.lora_variant:
            module.__class__ = _InPlace


class _InPlace(Linear):
    """PEFT's layer with one adapter over a frozen layer as one function, forth and back; PEFT's own in all other cases."""

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        weight, kind = self.base_layer.weight, x.device.type
        computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        plain = not (self.disable_adapters or self.merged or arguments or options or weight.requires_grad)
        if not plain or len(self.active_adapters) != 1 or computed != weight.dtype:
            return super().forward(x, *arguments, **options)
        (adapter,) = self.active_adapters
        x = x.to(computed)
        a, b = self.lora_A[adapter].weight, self.lora_B[adapter].weight
        dropped = self.lora_dropout[adapter](x)
        return _Added.apply(x, dropped, weight, self.base_layer.bias, a, b, self.scaling[adapter])


class _Added(torch.autograd.Function):
    """x @ weight.T + bias + scaling * dropped @ a.T @ b.T, of x (..., in); `dropped` is x itself where nothing is dropped."""

    @staticmethod
    def forward(ctx, x, dropped, weight, bias, a, b, scaling):
        ctx.dropping = dropped is not x
        dropped = dropped.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):
            result = F.linear(x, weight, bias)
            low = dropped @ a.to(x.dtype).T
            result.view(-1, result.shape[-1]).addmm_(low, b.to(x.dtype).T, alpha=scaling)
        ctx.save_for_backward(dropped, low, weight, a, b)
        ctx.scaling = scaling
        return result

    @staticmethod
    def backward(ctx, gradient):
        dropped, low, weight, a, b = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        below = (rows @ b.to(rows.dtype)).mul_(ctx.scaling)
        to_a, to_b = (below.T @ dropped).to(a.dtype), (rows.T @ low).to(b.dtype).mul_(ctx.scaling)
        to_x = to_dropped = None
        if ctx.needs_input_grad[0]:
            to_x, a = (rows @ weight).view(*gradient.shape[:-1], -1), a.to(rows.dtype)
            if ctx.dropping:
                to_dropped = (below @ a).view_as(to_x)
            else:
                to_x.view(-1, to_x.shape[-1]).addmm_(below, a)
        return to_x, to_dropped, None, None, to_a, to_b, None
