"""What a training's forward pass computes in: bfloat16 where the device has instructions for it.

It depends on the device alone, not on a clock, so that a study that goes on tomorrow trains as it
did today.
"""

from __future__ import annotations

import torch

from space import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def training_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch dtype that TrainConfig.dtype means on `device`; InputError for a word that is
    none.
    """
    return DTYPES[settled_dtype(dtype, device)]


def settled_dtype(dtype: str, device: torch.device) -> str:
    """ "float32" or "bfloat16": `dtype`, with "auto" decided for `device`."""
    if dtype == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    if dtype not in DTYPES:
        raise InputError(
            f"train.dtype must be auto, {' or '.join(DTYPES)}, but got {dtype!r}; change it"
        )
    return dtype


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 by itself (elsewhere torch would do it in float32,
    and slower).
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(
        torch.cpu, "_is_avx512_bf16_supported", None
    )  # since torch 2.6; not public, so it may go
    return device.type == "cpu" and supported is not None and bool(supported())
