"""What trials train on and are scored by: synthetic scenes, or a folder of real pairs."""

from trials.data.cache import DecodedCache
from trials.data.dataset import DecodedPair, RealData, decode_pairs
from trials.data.pair import Pair, Progress
from trials.data.sid import PairFiles, select_split

__all__ = [
    "DecodedCache",
    "DecodedPair",
    "Pair",
    "PairFiles",
    "Progress",
    "RealData",
    "decode_pairs",
    "select_split",
]
