"""One trial's checkpoints, in its own words: what they are of, and what a resumed trial takes from
them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from space import Genome
from trials.config import TrialConfig
from trials.data.pair import TrialData
from trials.latency.measure import Latency, device_name
from trials.latency.statistics import LatencyRatio
from trials.training.checkpointer import Checkpointer
from trials.training.loop import Keep, TrainLog
from trials.training.rungs import RungScore

if TYPE_CHECKING:
    from trials.trial import TrialResult


class TrialCheckpoint:
    """What was kept of the trial of `genome` before this process took it; nothing where there is
    no such thing.
    """

    def __init__(
        self, keeper: Checkpointer, genome: Genome, config: TrialConfig, data: TrialData
    ) -> None:
        self._keeper, self._device = keeper, config.device
        self._identity = {
            "digest": genome.digest,
            "train": asdict(config.train),
            "latency": asdict(config.latency),
            "seed": config.seed,
            "data": json.dumps(data.description, sort_keys=True, default=str),
            "device": data.device.type,
        }
        self._state: Mapping[str, Any] = keeper.found(self._identity) or {}

    def timed(self) -> tuple[Latency, LatencyRatio] | None:
        """Latency and ratio to MO as they were measured, where that was on the same model of
        device.
        """
        told = self._state.get("latency")
        if told is None or told["device_name"] != device_name(self._device):
            return None
        return Latency.from_dict(told), LatencyRatio(**self._state["ratio_to_mo"])

    def training(self) -> Mapping[str, Any] | None:
        """The training's state, as trials.training.loop takes it."""
        return self._state.get("training")

    def rungs(self) -> list[RungScore]:
        """The scores of the rungs that were reached."""
        return [RungScore(**rung) for rung in self._state.get("rungs", [])]

    def keeping(self, found: TrialResult, rungs: list[RungScore]) -> Keep:
        """What trials.training.loop is to call after each step: keeps the training together with what was
        `found` before it.
        """
        assert found.latency is not None and found.ratio_to_mo is not None
        before = {
            "identity": self._identity,
            "latency": found.latency.to_dict(),
            "ratio_to_mo": found.ratio_to_mo.to_dict(),
        }

        def keep(log: TrainLog, state: Callable[[], dict[str, Any]], is_rung: bool) -> None:
            def whole() -> dict[str, Any]:
                return {**before, "rungs": [rung.to_dict() for rung in rungs], "training": state()}

            self._keeper.keep(log.steps, whole, due=is_rung)

        return keep
