"""Where a trial's data comes from: procedural scenes, or a folder of real pairs in SID's layout.

Real pairs are decoded once into a cache on disk. On a CPU a crop reads its rows from there; on a
GPU the decoded files live in its memory as long as they fit.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.config import DataConfig
from trials.data.cache import DecodedCache, DecodedShort, decoder_version
from trials.data.pair import Pair, Progress, TrialData
from trials.data.sid import Row, read_lists
from trials.data.splits import bayer_only, part_rows, split_rows
from trials.data.synthetic import SyntheticData, check_crop
from trials.raw.colour import mosaic_gains, orient, scale_mosaic

DEFAULT_CACHE = Path("runs") / "cache"
# Part of a GPU's free memory that the data may fill; the rest is the network's.
GPU_SHARE = 0.6


def load_data(
    config: DataConfig,
    *,
    device: str = "cpu",
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> TrialData:
    """The data of a trial: crops to train on and held-out pairs to judge by.

    `config.source` is "synthetic" (its scenes are kept in `cache_dir`, if given) or a folder in
    SID's layout, which is decoded into `cache_dir` (runs/cache if None). Progress is told as
    "scenes" or "decode". Raises InputError for a folder, list, row or photo that can't be used.
    """
    if str(config.source) == "synthetic":
        return SyntheticData(config, device, on_progress, cache_dir)
    return RealData(config, device, cache_dir or DEFAULT_CACHE, on_progress)


def load_pairs(
    folder: str | Path,
    split: str = "test",
    *,
    white_balanced_input: bool = True,
    device: str = "cpu",
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> Sequence[Pair]:
    """The pairs of one split ("train", "val", "test", or "all" for every list once) of a folder in
    SID's layout.

    Without a validation list, "val" is the part of the training scenes that is held out, and
    "train" is the rest. A pair is read from the cache when it is asked for. Raises InputError as
    `load_data`, and for a split without pairs.
    """
    cache = DecodedCache(cache_dir or DEFAULT_CACHE)
    rows = split_rows(folder, split, cache)
    shots = decode(rows, cache, on_progress)
    return LazyPairs([partial(make_pair, shot, white_balanced_input, device) for shot in shots])


class Shot:
    """A decoded pair."""

    def __init__(self, row: Row, short: DecodedShort, target: NDArray[np.uint16]) -> None:
        self.row = row
        self.short = short
        self.target = target

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.short.values.shape
        return height, width

    def gains(self, white_balanced: bool) -> tuple[float, float, float]:
        """Amplification of red, green and blue: the exposure ratio, and the white balance if asked
        for.

        The smallest gain of the balance counts as one, as in LibRaw's development, so that white
        stays white.
        """
        return channel_gains(
            self.row.ratio, self.short.note.white_balance if white_balanced else (1.0, 1.0, 1.0)
        )


def decode(rows: Sequence[Row], cache: DecodedCache, on_progress: Progress | None) -> list[Shot]:
    """Every row decoded (or found in the cache). Raises InputError that names the row's photos."""
    shots = []
    for index, row in enumerate(rows):
        short = cache.short(row.short)
        shots.append(Shot(row, short, cache.target(row.long, short)))
        if on_progress:
            on_progress("decode", index + 1, len(rows), {})
    return shots


def channel_gains(ratio: float, balance: tuple[float, float, float]) -> tuple[float, float, float]:
    """Amplification of red, green and blue by `ratio` and a white balance, whose smallest gain
    counts as one.
    """
    red, green, blue = (ratio * gain / min(balance) for gain in balance)
    return red, green, blue


def amplify(mosaic: Tensor, gains: Tensor) -> Tensor:
    """What a network is fed with: mosaics (b 1 h w, black 0, white 1) times gains (b 3), cut off
    at 1.
    """
    return scale_mosaic(mosaic, mosaic_gains(gains)).clamp_(max=1.0)


def make_pair(shot: Shot, white_balanced: bool, device: str | torch.device) -> Pair:
    """The whole picture of a decoded pair."""
    height, width = shot.size
    mosaic = torch.from_numpy(shot.short.rows(0, 0, height, width))[None, None].to(device)
    gains = torch.tensor([shot.gains(white_balanced)], device=device)
    target = (
        torch.from_numpy(shot.target.astype(np.float32)).to(device).permute(2, 0, 1)[None] / 65535
    )
    return Pair(name=shot.row.name, mosaic=amplify(mosaic, gains), target=target.contiguous())


class LazyPairs(Sequence[Pair]):
    """Pairs that are made when asked for: a list of full-size photos would not fit in memory."""

    def __init__(self, makers: Sequence[Callable[[], Pair]]) -> None:
        self._makers = makers

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyPairs": ...
    def __getitem__(self, index: int | slice) -> "Pair | LazyPairs":
        return (
            LazyPairs(self._makers[index]) if isinstance(index, slice) else self._makers[index]()
        )

    def __iter__(self) -> Iterator[Pair]:
        return (make() for make in self._makers)


class RealData:
    """Real pairs in SID's layout, on one device."""

    def __init__(
        self, config: DataConfig, device: str, cache_dir: Path, on_progress: Progress | None = None
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        cache = DecodedCache(cache_dir)
        lists, left_out = bayer_only(read_lists(config.source), cache)
        train_rows, held_rows = part_rows(lists, config.source)
        held_rows = spread(held_rows, config.held_out)
        shots = decode([*train_rows, *held_rows], cache, on_progress)
        self.shots = shots[: len(train_rows)]
        balanced = config.white_balanced_input
        self.held_out = LazyPairs(
            [partial(make_pair, shot, balanced, device) for shot in shots[len(train_rows) :]]
        )
        self._gains = torch.tensor(
            [shot.gains(balanced) for shot in self.shots], device=self.device
        )
        self._resident = hold_on_device(self.shots, self.device)
        self.description = self._describe(shots, len(train_rows), left_out)

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`batch` crops: mosaic (b 1 h w, amplified, in [0, 1]) and target (b 3 h w, sRGB), h = w
        = `crop`.

        Crops come in all eight orientations. A mirrored crop starts one pixel further on, so that
        red comes first again.
        """
        picks = torch.rand(batch, 4, generator=generator, device=generator.device).cpu().tolist()
        places = []
        for which, vertical, horizontal, turn_share in picks:
            index = int(which * len(self.shots))
            height, width = self.shots[index].size
            check_crop(crop, min(height, width))
            turn = int(turn_share * 8)
            top, turn = place(vertical, height - crop, turn, 2)
            left, turn = place(horizontal, width - crop, turn, 1)
            places.append((index, top, left, turn))
        mosaics, targets = (self._read if self._resident is None else self._gather)(places, crop)
        return amplify(mosaics, self._gains[[index for index, *_ in places]]), targets / 65535

    def _read(
        self, places: Sequence[tuple[int, int, int, int]], crop: int
    ) -> tuple[Tensor, Tensor]:
        """Crops (index, top, left, turn) out of the cache on disk, as `_gather`.

        Every value is copied once, straight to where it belongs, so that one thread keeps up with
        any training.
        """
        mosaics = np.empty((len(places), 1, crop, crop), dtype=np.float32)
        targets = np.empty((len(places), 3, crop, crop), dtype=np.float32)
        for number, (index, top, left, turn) in enumerate(places):
            shot, odd_top, odd_left = self.shots[index], top & 1, left & 1
            cells = shot.short.rows(
                top - odd_top, left - odd_left, crop + 2 * odd_top, crop + 2 * odd_left
            )
            inner = cells[odd_top : odd_top + crop, odd_left : odd_left + crop]
            mosaics[number, 0] = turned(inner, turn)
            picture = np.asarray(shot.target[top : top + crop, left : left + crop])
            targets[number] = turned(picture.transpose(2, 0, 1), turn)
        return torch.from_numpy(mosaics).to(self.device), torch.from_numpy(targets).to(self.device)

    def _gather(
        self, places: Sequence[tuple[int, int, int, int]], crop: int
    ) -> tuple[Tensor, Tensor]:
        """Mosaics (b 1 h w, black 0, white 1) and targets (b 3 h w, 0 to 65535) of crops in the
        device's memory.
        """
        cuts = [(self._cut(index, top, left, crop), turn) for index, top, left, turn in places]
        mosaics = torch.stack([orient(mosaic, turn) for (mosaic, _), turn in cuts])
        return mosaics, torch.stack([orient(target, turn) for (_, target), turn in cuts]).float()

    def _cut(self, index: int, top: int, left: int, crop: int) -> tuple[Tensor, Tensor]:
        """Mosaic (1 h w, black 0, white 1) and target (3 h w, 0 to 65535) of one crop at any
        place.
        """
        # Black levels belong to places in the Bayer cell, so cut whole cells and then the crop out
        # of them.
        cell_top, cell_left = top & ~1, left & ~1
        odd_top, odd_left = top - cell_top, left - cell_left
        high, wide = crop + 2 * odd_top, crop + 2 * odd_left
        inner = slice(odd_top, odd_top + crop), slice(odd_left, odd_left + crop)
        assert self._resident is not None
        short, whole, black, white = self._resident[index]
        raw = unsigned(short[cell_top : cell_top + high, cell_left : cell_left + wide]).float()
        cells = raw.reshape(high // 2, 2, wide // 2, 2) - black[None, :, None, :]
        values = (cells / (white - black)[None, :, None, :]).clamp(0.0, 1.0).reshape(high, wide)
        target = whole[top : top + crop, left : left + crop]
        return values[inner][None], unsigned(target).permute(2, 0, 1)

    def _describe(
        self, shots: Sequence[Shot], trained: int, left_out: Sequence[str]
    ) -> dict[str, Any]:
        files = [
            [s.row.name, s.row.long.name, s.row.short.stat().st_size, s.row.long.stat().st_size]
            for s in shots
        ]
        parts = [files, trained, self.config.white_balanced_input, decoder_version()]
        return {
            "kind": "real",
            "folder": str(self.config.source),
            "decoder": decoder_version(),
            "white_balanced_input": self.config.white_balanced_input,
            "training_pairs": trained,
            "held_out": [shot.row.name for shot in shots[trained:]],
            "cameras_left_out": list(left_out),
            "digest": hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16],
        }


def turned(values: NDArray[Any], turn: int) -> NDArray[Any]:
    """A view of an array (... h h) in the orientation that `camera.orient` gives."""
    if turn & 1:
        values = values[..., ::-1]
    if turn & 2:
        values = values[..., ::-1, :]
    return values.swapaxes(-1, -2) if turn & 4 else values


def place(share: float, room: int, turn: int, flip: int) -> tuple[int, int]:
    """Where a crop starts on one axis: even, or odd if the turn flips this axis. A crop as long as
    the picture has no room for that, and is not flipped.
    """
    if turn & flip and room == 0:
        turn &= ~flip
    odd = 1 if turn & flip else 0
    return 2 * int(share * ((room - odd) // 2 + 1)) + odd, turn


def spread(rows: list[Row], count: int) -> list[Row]:
    """At most `count` of the rows, spread evenly over the sorted list."""
    rows = sorted(rows)
    if len(rows) <= count:
        return rows
    return [rows[index * len(rows) // count] for index in range(count)]


def unsigned(values: Tensor) -> Tensor:
    """Sensor values 0 to 65535 from their bits in int16, which every torch can index on every
    device.
    """
    return values.int() & 0xFFFF


def hold_on_device(
    shots: Sequence[Shot], device: torch.device
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]] | None:
    """Short, target, black (2 x 2) and white of every pair in GPU memory; None on a CPU or where
    they don't fit.
    """
    if device.type != "cuda":
        return None
    # Many short exposures share one long one: it is held once.
    targets = {str(shot.row.long): shot.target for shot in shots}
    needed = sum(shot.short.values.nbytes for shot in shots) + sum(
        target.nbytes for target in targets.values()
    )
    if needed > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
        return None
    held = {
        name: torch.from_numpy(np.array(target).view(np.int16)).to(device)
        for name, target in targets.items()
    }
    resident = []
    for shot in shots:
        black = torch.tensor(shot.short.note.black, device=device).reshape(2, 2)
        white = torch.full((2, 2), shot.short.note.white_level, device=device)
        values = torch.from_numpy(np.array(shot.short.values).view(np.int16)).to(device)
        resident.append((values, held[str(shot.row.long)], black, white))
    return resident
