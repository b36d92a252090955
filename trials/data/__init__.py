"""What trials train on and are scored by: synthetic scenes, or a folder of real pairs."""

from trials.data.cache import DecodedCache
from trials.data.dataset import DecodedPair, RealData, decode_pairs, load_data, load_pairs
from trials.data.pair import Pair, Progress, TrialData
from trials.data.sid import PairFiles, select_split
from trials.data.synthetic import SyntheticData

__all__ = [
    "DecodedCache",
    "DecodedPair",
    "Pair",
    "PairFiles",
    "Progress",
    "RealData",
    "SyntheticData",
    "TrialData",
    "decode_pairs",
    "load_data",
    "load_pairs",
    "select_split",
]
