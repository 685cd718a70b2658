"""`auto` follows the device; everything else is taken at its word."""

import pytest
import torch

from mint_ray.precision import dtype_of


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"bf16": True}, torch.bfloat16),
        ({"bf16": False}, torch.float32),
    ],
)
def test_auto_is_bf16_only_where_the_processor_has_instructions_for_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert dtype_of("auto", use_gpu=False) is expected


def test_a_named_precision_is_taken_whatever_the_device(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert [dtype_of(name, use_gpu=False) for name in ("bf16", "fp16", "fp32")] == [
        torch.bfloat16,
        torch.float16,
        torch.float32,
    ]
