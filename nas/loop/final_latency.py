"""The front, measured again: all its networks in turn with MO in one run, longer than a trial can.

Trials are hours apart and each has its moment of the machine. What reports and exports quote is
this run, stored in the study's attribute `final_latency` (see nas/study/store.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna

from nas.study.records import Row
from nas.study.schema import FRONT_LATENCY
from space import BASELINES, Genome, build_model
from trials import measure_all
from trials.config import LatencyConfig
from trials.device.errors import free_memory, is_lost, is_out_of_memory, lost
from trials.latency.rounds import TRIES

# How `trials.measure_all` is called; another in tests.
Measure = Callable[..., Any]
MO = "mo"


def wanting(study: optuna.Study, front: Sequence[Row]) -> list[Row]:
    """The rows of the front that were not measured again yet; MO is the unit and never among them."""
    known = study.user_attrs.get(FRONT_LATENCY, {})
    return [row for row in front if row.baseline != "MO" and row.digest not in known]


def remeasure(
    study: optuna.Study,
    rows: Sequence[Row],
    config: LatencyConfig,
    *,
    device: str,
    on_share: Callable[[float], None] | None = None,
    measure: Measure | None = None,
) -> list[Row]:
    """Measures the networks of `rows` against MO in one run and stores what was found beside what
    is known already.

    Where the device has no memory for all at once, one after the other; the rows that did not fit
    even so come back. `on_share` is told the share of the longest time that is spent. Raises
    DeviceLostError where the device vanishes.
    """
    try:
        _measure_and_store(study, rows, config, device, on_share, measure)
        return []
    except (MemoryError, RuntimeError) as error:
        if is_lost(error, device):
            raise lost(error, device) from error
        if not is_out_of_memory(error):
            raise
        free_memory()
        if len(rows) == 1:
            return list(rows)
    return [
        left
        for row in rows
        for left in remeasure(study, [row], config, device=device, measure=measure)
    ]


def _measure_and_store(
    study: optuna.Study,
    rows: Sequence[Row],
    config: LatencyConfig,
    device: str,
    on_share: Callable[[float], None] | None,
    measure: Measure | None,
) -> None:
    def on_round(tries: int, _: int, share: float) -> None:
        if on_share:
            on_share((tries - 1 + share) / TRIES)

    longer = replace(config, max_seconds=config.front_seconds)
    genomes = [stored_genome(study, row.number) for row in rows]
    mo, found = (measure or measure_all)(
        build_model(BASELINES["MO"]),
        [build_model(genome) for genome in genomes],
        longer,
        device=device,
        on_round=on_round,
    )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known: dict[str, Any] = dict(study.user_attrs.get(FRONT_LATENCY, {}))
    for genome, one in zip(genomes, found, strict=True):
        known[genome.digest] = {
            "ratio_to_mo": one.ratio.to_dict(),
            "latency": one.latency.to_dict(),
            "measured_at": now,
            "device_ratio_to_mo": one.device_ratio.to_dict() if one.device_ratio else None,
        }
    known[MO] = {"latency": mo.to_dict(), "measured_at": now}
    study.set_user_attr(FRONT_LATENCY, known)


def stored_genome(study: optuna.Study, number: int) -> Genome:
    """The genome of trial `number`."""
    return Genome.from_json(study.get_trials(deepcopy=False)[number].user_attrs["genome"])
