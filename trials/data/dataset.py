"""Where a trial's data comes from: procedural scenes, or a folder of real pairs in SID's layout.

Real pairs are decoded once into a cache on disk. On a CPU a crop reads its rows from there; on a
GPU the decoded files live in its memory as long as they fit.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from space import InputError, NetworkInput
from trials.config import DataConfig
from trials.data.cache import DecodedCache, decoder_version
from trials.data.pair import Pair, Progress, TrialData
from trials.data.sid import PairFiles, bayer_only, read_lists, select_split, train_and_val
from trials.data.synthetic import SyntheticData, check_crop
from trials.raw import RawFrame, amplify, channel_gains
from trials.raw.colour import orient

DEFAULT_CACHE = Path("runs") / "cache"
# Part of a GPU's free memory that the data may fill; the rest is the network's.
GPU_SHARE = 0.6

Crop = tuple[int, int, int, int]
"""Index of the pair, top, left and orientation."""


def load_data(
    config: DataConfig,
    *,
    device: str = "cpu",
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> TrialData:
    """The data of a trial: crops to train on and held-out pairs to score.

    `config.source` is "synthetic" (its scenes are stored in `cache_dir`, if given) or a folder in
    SID's layout, which is decoded into `cache_dir` (runs/cache if None). Progress is reported as
    "scenes" or "decode". Raises InputError for a folder, list, row or photo that can't be used.
    """
    if str(config.source) == "synthetic":
        return SyntheticData(config, device, on_progress, cache_dir)
    if config.photos is not None:
        raise InputError(
            "photos must go with synthetic data, as real pairs have a camera's own noise, but the "
            f"data are {config.source}; leave one of them out"
        )
    return RealData(config, device, cache_dir or DEFAULT_CACHE, on_progress)


def load_pairs(
    folder: str | Path,
    split: str = "test",
    *,
    network_input: NetworkInput = NetworkInput(),  # noqa: B008  # frozen
    device: str = "cpu",
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> Sequence[Pair]:
    """The pairs of one split ("train", "val", "test" or "all") of a folder in SID's layout.

    Without a validation list, "val" is the part of the training scenes that is held out, and
    "train" is the rest. A pair is read from the cache when it is accessed. Raises InputError as
    `load_data`, and for a split without pairs.
    """
    cache = DecodedCache(cache_dir or DEFAULT_CACHE)
    pairs = decode_pairs(select_split(folder, split, cache), cache, on_progress)
    return LazyPairs(pairs, network_input, device)


@dataclass(frozen=True, eq=False)
class DecodedPair:
    """A pair of the cache, mapped into memory."""

    files: PairFiles
    frame: RawFrame
    target: NDArray[np.uint16]
    """h w 3, sRGB, 0 to 65535."""

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def scene(self) -> str:
        return self.files.scene

    @property
    def ratio(self) -> float:
        """Exposure ratio, long over short, 1 to 300."""
        return self.files.ratio

    def gains(self, white_balanced: bool) -> tuple[float, float, float]:
        """Amplification of red, green and blue."""
        return channel_gains(self.frame, self.files.ratio, white_balanced=white_balanced)

    def load(self, network_input: NetworkInput, device: str | torch.device = "cpu") -> Pair:
        """The pair on `device`, full size, its mosaic amplified as a network wants it."""
        values = self.frame.for_input(network_input).normalised()
        mosaic = torch.from_numpy(values)[None, None].to(device)
        gains = torch.tensor([self.gains(network_input.white_balanced)], device=device)
        target = torch.from_numpy(self.target.astype(np.float32)).to(device)
        target = (target.permute(2, 0, 1)[None] / 65535).contiguous()
        return Pair(name=self.name, mosaic=amplify(mosaic, gains), target=target)


def decode_pairs(
    rows: Sequence[PairFiles], cache: DecodedCache, on_progress: Progress | None = None
) -> list[DecodedPair]:
    """Every row, decoded or found in the cache. Raises InputError that names the row's photos."""
    pairs = []
    for done, row in enumerate(rows, 1):
        frame = cache.frame(row.short)
        pairs.append(DecodedPair(row, frame, cache.target(row.long, frame)))
        if on_progress:
            on_progress("decode", done, len(rows), {})
    return pairs


class LazyPairs(Sequence[Pair]):
    """Pairs made when they are accessed: a list of full-size photos would not fit in memory."""

    def __init__(
        self, pairs: Sequence[DecodedPair], network_input: NetworkInput, device: str
    ) -> None:
        self._pairs, self._network_input, self._device = pairs, network_input, device

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyPairs": ...
    def __getitem__(self, index: int | slice) -> "Pair | LazyPairs":
        if isinstance(index, slice):
            return LazyPairs(self._pairs[index], self._network_input, self._device)
        return self._pairs[index].load(self._network_input, self._device)


class RealData:
    """Real pairs in SID's layout, on one device."""

    def __init__(
        self, config: DataConfig, device: str, cache_dir: Path, on_progress: Progress | None = None
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        cache = DecodedCache(cache_dir)
        lists, left_out = bayer_only(read_lists(config.source), cache)
        train, val = train_and_val(lists, config.source)
        rows = [*train, *evenly_spaced(val, config.held_out)]
        pairs = decode_pairs(rows, cache, on_progress)
        network_input, held_out = config.network_input, pairs[len(train) :]
        self.pairs = [
            replace(pair, frame=pair.frame.for_input(network_input))
            for pair in pairs[: len(train)]
        ]
        self.held_out = LazyPairs(held_out, network_input, device)
        gains = [pair.gains(network_input.white_balanced) for pair in self.pairs]
        self._gains = torch.tensor(gains, device=self.device)
        fits = _fits_gpu(self.pairs, self.device)
        self._resident = _to_device(self.pairs, self.device) if fits else None
        sizes = [(row.short.stat().st_size, row.long.stat().st_size) for row in rows]
        files = [[row.name, row.long.name, *size] for row, size in zip(rows, sizes, strict=True)]
        identity = [files, len(train), asdict(network_input), decoder_version()]
        self.description: dict[str, Any] = {
            "kind": "real",
            "folder": str(config.source),
            "decoder": decoder_version(),
            "white_balanced_input": network_input.white_balanced,
            "black_corrected_input": network_input.black_corrected,
            "training_pairs": len(train),
            "held_out": [pair.name for pair in held_out],
            "cameras_left_out": left_out,
            "digest": hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16],
        }

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `TrialData.sample`, in all eight orientations.

        A mirrored crop starts one pixel further on, so that red comes first again.
        """
        shares = torch.rand(batch, 4, generator=generator, device=generator.device).cpu().tolist()
        crops = []
        for pair_share, vertical, horizontal, turn_share in shares:
            index = int(pair_share * len(self.pairs))
            height, width = self.pairs[index].frame.size
            check_crop(crop, min(height, width))
            turn = int(turn_share * 8)
            top, turn = crop_start(vertical, height - crop, turn, 2)
            left, turn = crop_start(horizontal, width - crop, turn, 1)
            crops.append((index, top, left, turn))
        read = self._read_disk if self._resident is None else self._read_device
        mosaics, targets = read(crops, crop)
        return amplify(mosaics, self._gains[[index for index, *_ in crops]]), targets / 65535

    def _read_disk(self, crops: Sequence[Crop], size: int) -> tuple[Tensor, Tensor]:
        """As `_read_device`, from disk; every value is copied once: one thread keeps up."""
        mosaics = np.empty((len(crops), 1, size, size), dtype=np.float32)
        targets = np.empty((len(crops), 3, size, size), dtype=np.float32)
        for number, (index, top, left, turn) in enumerate(crops):
            pair = self.pairs[index]
            cells = pair.frame.normalised(_whole_cells(top, size), _whole_cells(left, size))
            part = cells[_in_cells(top, size), _in_cells(left, size)]
            mosaics[number, 0] = _oriented(part, turn)
            picture = pair.target[top : top + size, left : left + size]
            targets[number] = _oriented(picture.transpose(2, 0, 1), turn)
        return torch.from_numpy(mosaics).to(self.device), torch.from_numpy(targets).to(self.device)

    def _read_device(self, crops: Sequence[Crop], size: int) -> tuple[Tensor, Tensor]:
        """Mosaics (b 1 h w, black 0, white 1) and targets (b 3 h w, 0 to 65535)."""
        assert self._resident is not None
        mosaics, targets = [], []
        for index, top, left, turn in crops:
            mosaic, picture, black, white = self._resident[index]
            # Black levels belong to places in the Bayer cell, so cut complete cells first.
            raw = _unsigned(mosaic[_whole_cells(top, size), _whole_cells(left, size)]).float()
            high, wide = raw.shape
            cells = raw.reshape(high // 2, 2, wide // 2, 2) - black[None, :, None, :]
            cells = (cells / (white - black)[None, :, None, :]).clamp(0.0, 1.0)
            part = cells.reshape(high, wide)[_in_cells(top, size), _in_cells(left, size)]
            mosaics.append(orient(part[None], turn))
            target = _unsigned(picture[top : top + size, left : left + size])
            targets.append(orient(target.permute(2, 0, 1), turn))
        return torch.stack(mosaics), torch.stack(targets).float()


def crop_start(share: float, room: int, turn: int, flip: int) -> tuple[int, int]:
    """Where a crop starts on one axis: even, or odd if `turn` has the bit `flip`; and its `turn`.

    A crop as long as the picture has no room to start at an odd place, and is not flipped.
    """
    if turn & flip and room == 0:
        turn &= ~flip
    odd = 1 if turn & flip else 0
    return 2 * int(share * ((room - odd) // 2 + 1)) + odd, turn


def evenly_spaced(rows: list[PairFiles], count: int) -> list[PairFiles]:
    """At most `count` of the rows, evenly spaced over the sorted list."""
    rows = sorted(rows)
    if len(rows) <= count:
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]


def _whole_cells(start: int, size: int) -> slice:
    """The 2 x 2 cells, on one axis, that hold `size` pixels from `start`."""
    odd = start & 1
    return slice(start - odd, start + size + odd)


def _in_cells(start: int, size: int) -> slice:
    """Where in those cells the pixels lie."""
    return slice(start & 1, (start & 1) + size)


def _oriented(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """A view of an array (... h h) in the orientation that `colour.orient` gives."""
    if turn & 1:
        values = values[..., ::-1]
    if turn & 2:
        values = values[..., ::-1, :]
    return values.swapaxes(-1, -2) if turn & 4 else values


def _unsigned(values: Tensor) -> Tensor:
    """0 to 65535 from their bits in int16, which every torch can index on every device."""
    return values.int() & 0xFFFF


def _fits_gpu(pairs: Sequence[DecodedPair], device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    arrays = [*(pair.frame.mosaic for pair in pairs), *_targets(pairs).values()]
    return sum(a.nbytes for a in arrays) <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]


def _to_device(
    pairs: Sequence[DecodedPair], device: torch.device
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Mosaic and target (int16 bits), black and white (2 x 2) of each pair in device memory."""

    def load(values: NDArray[np.uint16]) -> Tensor:
        return torch.from_numpy(np.array(values).view(np.int16)).to(device)

    # Many short exposures share one long one: it is loaded once.
    targets = {path: load(target) for path, target in _targets(pairs).items()}
    return [
        (
            load(pair.frame.mosaic),
            targets[pair.files.long],
            torch.tensor(pair.frame.black, device=device).reshape(2, 2),
            torch.full((2, 2), pair.frame.white_level, device=device),
        )
        for pair in pairs
    ]


def _targets(pairs: Sequence[DecodedPair]) -> dict[Path, NDArray[np.uint16]]:
    return {pair.files.long: pair.target for pair in pairs}
