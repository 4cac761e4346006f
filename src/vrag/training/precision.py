"""Mixed precision: fp32 weights, bf16 arithmetic where it is safe and quick."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

# "auto": bf16 where the hardware has it, fp32 elsewhere
Precision = Literal["auto", "fp32", "bf16"]


def autocast(model: Any, precision: Precision) -> AbstractContextManager[Any]:
    """bf16 also pays on CPUs that have it in hardware (1.6 times per step on AVX-512 BF16). RL that must
    reproduce the rollout's log-probabilities to 1e-5 stays in fp32.
    """
    if not in_bf16(model.device, precision):
        return nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)


def in_bf16(device: torch.device, precision: Precision) -> bool:
    """Whether matrix products there are in bf16."""
    return precision == "bf16" or (precision == "auto" and has_bf16(device))


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16. Where it doesn't, PyTorch emulates it: on a CPU with AVX2 alone a product
    takes 350 times as long as in fp32. False too where PyTorch can't tell.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


@contextmanager
def flushed_denormals() -> Generator[None]:
    """Treat denormal numbers as 0 while training, which drifts into them; on CPU they made a step 5 times as long.

    Worker threads inherit the setting when they start, so enter this before the first computation. It is taken
    back at the end: elsewhere in the process floats are as IEEE 754 has them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
