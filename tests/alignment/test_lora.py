"""LoRA's product added in place is PEFT's, in values, gradients and what is saved."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from mint_ray.alignment.lora import add_in_place


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def layer(request):
    torch.manual_seed(0)
    model = get_peft_model(
        nn.Sequential(nn.Linear(6, 5, bias=request.param), nn.Tanh(), nn.Linear(5, 4, bias=request.param)),
        LoraConfig(r=2, lora_alpha=3, lora_dropout=0.0, target_modules=["0", "2"], init_lora_weights=False),
    )
    return model


def results(model, x):
    x = x.clone().requires_grad_()
    output = model(x)
    output.square().sum().backward()
    return [output, x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]


def test_values_and_gradients_are_pefts(layer):
    ours, x = copy.deepcopy(layer), torch.randn(2, 3, 6)
    add_in_place(ours)
    for found, expected in zip(results(ours, x), results(layer, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_dropout_is_pefts(layer):
    for module in layer.modules():
        if isinstance(module, Linear):
            module.lora_dropout["default"] = nn.Dropout(0.5)
    ours, x, found = copy.deepcopy(layer), torch.randn(2, 3, 6), []
    add_in_place(ours)
    for model in (ours, layer):
        torch.manual_seed(0)
        found.append(results(model, x))
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-6)


def test_with_the_adapter_off_the_frozen_layer_answers(layer):
    x = torch.randn(2, 6)
    with layer.disable_adapter():
        before = layer(x)
    add_in_place(layer)
    with layer.disable_adapter():
        assert torch.equal(layer(x), before)
    assert not torch.allclose(layer(x), before)


def test_in_bf16_products_are_bf16_and_gradients_fp32(layer):
    for module in layer.modules():
        if hasattr(module, "base_layer"):
            module.base_layer.to(torch.bfloat16)
    exact = copy.deepcopy(layer).float()
    add_in_place(layer)
    x = torch.randn(4, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    output.float().sum().backward()
    exact(x.float()).sum().backward()
    assert output.dtype is torch.bfloat16
    for ours, expected in zip(layer.parameters(), exact.parameters(), strict=True):
        if ours.requires_grad:
            assert ours.grad.dtype is torch.float32
            torch.testing.assert_close(ours.grad, expected.grad, rtol=0.1, atol=0.1)
