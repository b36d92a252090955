"""The bounds of a study's config: a range for each number, and what its name may be.

They are far from what makes sense, on purpose: they keep out what would overflow, fill the memory
or never end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from space import InputError
from space.errors import brief

SECONDS = (1e-3, 86_400.0)
# key: (smallest, largest)
RANGES: dict[str, tuple[float, float]] = {
    "trials": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "timeout_min": (1e-6, 10_000_000.0),
    "latency_limit_ms": (1e-6, 1e9),
    "checkpoint_s": (1e-6, 10_000_000.0),
    "heartbeat_s": (1, 10_000_000.0),
    "data.scenes": (1, 1_000_000),
    "data.scene_size": (32, 16_384),
    "data.held_out": (1, 100_000),
    "data.iso_min": (1, 10_000_000),
    "data.iso_max": (1, 10_000_000),
    "data.ratio_min": (1, 1e6),
    "data.ratio_max": (1, 1e6),
    "data.seed": (0, 2**32 - 1),
    "train.steps": (1, 1_000_000_000),
    "train.batch": (1, 65_536),
    "train.crop": (64, 16_384),
    "train.learning_rate": (1e-12, 1e3),
    "train.warmup_steps": (0, 1_000_000_000),
    "train.grad_clip": (1e-12, 1e12),
    "train.ema_decay": (0, 1 - 1e-9),
    "train.ms_ssim_weight": (0, 1),
    "train.first_rung": (1, 1_000_000_000),
    "latency.height": (1, 65_536),
    "latency.width": (1, 65_536),
    "latency.threads": (1, 1024),
    "latency.warmup_runs": (1, 1_000_000),
    "latency.min_runs": (1, 1_000_000),
    "latency.precision": (1e-6, 1e6),
    "latency.max_seconds": SECONDS,
    "latency.front_seconds": SECONDS,
}
# The first may not be above the second; the sizes of real photos are known only once read.
ORDERED = (
    ("data.iso_min", "data.iso_max"),
    ("data.ratio_min", "data.ratio_max"),
    ("train.crop", "data.scene_size"),
)
# Characters of a study's name, which is a folder's too.
LONGEST_NAME = 100


def check_ranges(flat: Mapping[str, Any]) -> None:
    """InputError, with the key and its range, where a number of a config (flat: "train.steps") is
    out of bounds. None is allowed anywhere.
    """
    for key, (low, high) in RANGES.items():
        value = flat.get(key)
        if value is not None and not low <= value <= high:
            raise InputError(
                f"{key} must be from {low:.12g} to {high:.12g}, but got {brief(value)}; change it"
            )
    for smaller, larger in ORDERED if flat.get("data.source") == "synthetic" else ():
        one, other = flat.get(smaller), flat.get(larger)
        if one is not None and other is not None and one > other:
            raise InputError(
                f"{smaller} must not be above {larger}, but they are {one:.12g} and {other:.12g}; "
                "lower the first or raise the second"
            )


def check_name(name: str) -> str:
    """`name`; InputError where it can't be a study's, which is a folder's name in --runs."""
    is_word = name.isprintable() and name and "/" not in name and not name.startswith(".")
    if not is_word or len(name.encode("utf-8")) > LONGEST_NAME:
        raise InputError(
            f"a study's name must be one word for a folder, at most {LONGEST_NAME} bytes, without "
            f"a slash and not beginning with a dot, but got {brief(name)}; rename it"
        )
    return name
