"""Simulated pictures to score networks on: fresh procedural scenes, and natural photos."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from space import NetworkInput
from trials.config import DataConfig
from trials.data.natural import natural_pairs
from trials.data.pair import Pair, Progress
from trials.data.synthetic import SyntheticData


@dataclass(frozen=True, eq=False)
class SimulatedPicture:
    """One scene, with the same noise for networks that want other inputs."""

    name: str
    scene: str
    place: int
    pairs: Callable[[NetworkInput], Sequence[Pair]]
    """All pictures' pairs, as a network wants them."""
    ratio: float = math.nan
    """Each is drawn, and not kept."""

    def load(self, network_input: NetworkInput, device: str | torch.device = "cpu") -> Pair:
        """The pair on `device`."""
        pair = self.pairs(network_input)[self.place]
        return Pair(pair.name, pair.mosaic.to(device), pair.target.to(device))


def synthetic_pictures(
    config: DataConfig,
    *,
    seed: int,
    scenes: int,
    cache_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> list[SimulatedPicture]:
    """The first `scenes` held-out scenes of `seed`, as `config` draws and photographs them.

    None is a training scene, of that seed or of another one. Progress is reported as "scenes".
    Raises InputError as `load_data`.
    """
    # One training scene is the fewest there may be; it is not used.
    fresh = replace(config, seed=seed, scenes=1, held_out=scenes, photos=None)

    def pairs(network_input: NetworkInput) -> Sequence[Pair]:
        now = fresh.for_input(network_input)
        return SyntheticData(now, "cpu", on_progress, cache_dir).held_out

    return _pictures(pairs, scene_of=lambda name: name)


def natural_pictures(
    config: DataConfig, on_progress: Progress | None = None
) -> list[SimulatedPicture]:
    """Cuts of natural photos that no recipe has seen; a scene is a photo. As `natural_pairs`."""

    def pairs(network_input: NetworkInput) -> Sequence[Pair]:
        return natural_pairs(config.for_input(network_input), on_progress)

    return _pictures(pairs, scene_of=lambda name: name.rsplit("_", 1)[0])


def _pictures(
    pairs: Callable[[NetworkInput], Sequence[Pair]], scene_of: Callable[[str], str]
) -> list[SimulatedPicture]:
    made = functools.cache(pairs)
    return [
        SimulatedPicture(one.name, scene_of(one.name), place, made)
        for place, one in enumerate(made(NetworkInput()))
    ]
