"""The number format that a model is computed in, chosen for the device where a configuration says `auto`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Capabilities of a processor, as torch names them, with which bf16 is faster than fp32.
_BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")


def dtype_of(precision: str, use_gpu: bool) -> torch.dtype:
    """The torch dtype of `bf16`, `fp16` or `fp32`; of `auto`, what suits the device of this process.

    Without instructions for it a processor emulates bf16, about ten times slower than fp32.
    """
    import torch

    if precision == "auto":
        precision = "bf16" if computes_bf16(use_gpu) else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def computes_bf16(use_gpu: bool) -> bool:
    """Whether this process's GPU, or else its processor, has instructions for bf16."""
    import torch

    if use_gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _BF16_INSTRUCTIONS)
