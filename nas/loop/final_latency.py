"""The front's final latency: all its networks in turn with MO in one run, longer than a trial can.

Trials are hours apart, and so are the states of their machine. Reports and exports quote this run,
stored in the study's attribute `final_latency` (see nas/study/store.py).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna

from nas.study.config import StudyConfig
from nas.study.records import Row, read_rows
from nas.study.schema import FRONT_LATENCY
from nas.view.terminal import View
from space import BASELINES, Genome, build_model
from trials.config import LatencyConfig
from trials.device import DeviceMemoryError, device_errors
from trials.latency.measure import device_name
from trials.latency.rounds import TRIES

# How `trials.measure_all` is called; another in tests.
Measure = Callable[..., Any]
MO = "mo"


def time_front(study: optuna.Study, config: StudyConfig, view: View, measure: Measure) -> None:
    """Measures the networks of the front without a final latency, where this is the study's
    latency device and no trial runs.

    A latency that changes may let another network onto the front: then that is measured too.
    """
    device = study.user_attrs.get("device", {}).get("name")
    if device not in (None, device_name(config.device)):
        return
    unfit = set[str | None]()
    while not any(row.kind == "running" for row in view.state.rows):
        known = {*study.user_attrs.get(FRONT_LATENCY, {}), *unfit}
        # MO is the unit.
        front = [row for row in view.state.front if row.baseline != "MO"]
        rows = [row for row in front if row.digest not in known]
        if not rows:
            return
        networks = f"{len(rows)} network{'s' * (len(rows) > 1)}"
        view.note(f"timing {networks} of the front again, in turn with MO in one run")
        view.started(-1, "front")
        for row in remeasure(
            study,
            rows,
            config.latency,
            device=config.device,
            measure=measure,
            on_share=lambda share: view.progress("timing", round(100 * share), 100, {}),
        ):
            unfit.add(row.digest)
            view.note(f"{row.name} was not timed again: out of memory; its trial's figure stays")
        view.ended(read_rows(study), None)


def remeasure(
    study: optuna.Study,
    rows: Sequence[Row],
    config: LatencyConfig,
    *,
    device: str,
    on_share: Callable[[float], None] | None = None,
    measure: Measure,
) -> list[Row]:
    """Measures the networks of `rows` against MO in one run, and stores their latencies.

    Where the device has no memory for all at once, one after the other; the rows that did not fit
    even so come back. `on_share` gets the share of the longest time that is spent. Raises
    DeviceLostError where the device vanishes.
    """
    try:
        with device_errors(device):
            _measure_and_store(study, rows, config, device, on_share, measure)
        return []
    except DeviceMemoryError:
        if len(rows) == 1:
            return list(rows)
    return [
        unfit
        for row in rows
        for unfit in remeasure(study, [row], config, device=device, measure=measure)
    ]


def _measure_and_store(
    study: optuna.Study,
    rows: Sequence[Row],
    config: LatencyConfig,
    device: str,
    on_share: Callable[[float], None] | None,
    measure: Measure,
) -> None:
    def on_round(tries: int, _: int, share: float) -> None:
        if on_share:
            on_share((tries - 1 + share) / TRIES)

    genomes = [stored_genome(study, row.number) for row in rows]
    mo, measured = measure(
        build_model(BASELINES["MO"]),
        [build_model(genome) for genome in genomes],
        replace(config, max_seconds=config.front_seconds),
        device=device,
        on_round=on_round,
    )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    latencies: dict[str, Any] = dict(study.user_attrs.get(FRONT_LATENCY, {}))
    for genome, one in zip(genomes, measured, strict=True):
        latencies[genome.digest] = {
            "ratio_to_mo": one.ratio.to_dict(),
            "latency": one.latency.to_dict(),
            "measured_at": now,
            "device_ratio_to_mo": one.device_ratio.to_dict() if one.device_ratio else None,
        }
    latencies[MO] = {"latency": mo.to_dict(), "measured_at": now}
    study.set_user_attr(FRONT_LATENCY, latencies)


def stored_genome(study: optuna.Study, number: int) -> Genome:
    """The genome of trial `number`."""
    return Genome.from_json(study.get_trials(deepcopy=False)[number].user_attrs["genome"])
