"""Precisions by name, and that of a training's forward pass: bfloat16 where the device has it.

That depends on the device alone, so that a study resumed tomorrow trains as it did today.
"""

from __future__ import annotations

import torch

from space import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def training_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype that TrainConfig.dtype means on `device`; InputError for an unknown one."""
    return DTYPES[settled_dtype(dtype, device)]


def settled_dtype(dtype: str, device: torch.device) -> str:
    """`dtype`, "float32" or "bfloat16", with "auto" decided for `device`."""
    if dtype == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    if dtype not in ("float32", "bfloat16"):  # float16 would need its loss scaled
        rule = "train.dtype must be auto, float32 or bfloat16"
        raise InputError(f"{rule}, but got {dtype!r}; change it")
    return dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 itself (elsewhere torch emulates it, slower)."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Since torch 2.6; not public, so it may go.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and supported is not None and bool(supported())
