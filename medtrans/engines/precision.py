"""Arithmetic precision of training and inference: names for it, and what this machine does best."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from medtrans.errors import InputError

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def has_fast_bf16(device: torch.device) -> bool:
    """Whether ``device`` computes bfloat16 in hardware (Ampere and later GPUs; CPUs with AMX or AVX512-BF16)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capable = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return bool(
        device.type == "cpu" and (capable() or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    )


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The autocast type for a precision name; None is full float32.

    Args:
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"``: bf16 where ``device`` has it in hardware.
        device: where it runs.

    Raises:
        InputError: unknown name.
    """
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r}", "is unknown", f"Use one of {', '.join(PRECISIONS)}, auto")
    return PRECISIONS[precision]


def autocast(dtype: torch.dtype | None, device: torch.device) -> AbstractContextManager:
    """Autocast to ``dtype`` on ``device``; does nothing for None."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
