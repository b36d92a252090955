"""Raw files in, picture files out: read, checked, and brought into one form."""

from trials.raw.amplification import (
    amplify,
    channel_gains,
    check_ratio,
    estimate_ratio,
    reference_ratio,
)
from trials.raw.frame import FullFrame, RawFrame
from trials.raw.full_frame import compare, restore_photo
from trials.raw.images import write_picture
from trials.raw.reader import NotBayerError, read_frame, read_full_frame, read_target

__all__ = [
    "FullFrame",
    "NotBayerError",
    "RawFrame",
    "amplify",
    "channel_gains",
    "check_ratio",
    "compare",
    "estimate_ratio",
    "read_frame",
    "read_full_frame",
    "read_target",
    "reference_ratio",
    "restore_photo",
    "write_picture",
]
