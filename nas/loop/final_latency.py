"""The front's final latency: all its networks in turn with MO in one run, longer than a trial can.

Trials are hours apart, and so are the states of their machine. Reports and exports quote this run,
stored in the study's attribute `final_latency` (see nas/study/schema.py).
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import optuna

from nas.study.config import StudyConfig
from nas.study.records import Row, read_rows
from nas.study.schema import set_study_attrs, study_attrs
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
    latency device and no trial runs; also those that a changed latency lets onto the front.
    """
    device = study_attrs(study).get("device")
    if device and device["name"] != device_name(config.device):
        return
    unfit = set[str | None]()
    while not any(row.kind == "running" for row in view.state.rows):
        known = {*study_attrs(study).get("final_latency", {}), *unfit}
        others = [row for row in view.state.front if row.baseline != "MO"]  # MO is the unit
        rows = [row for row in others if row.digest not in known]
        if not rows:
            return
        networks = f"{len(rows)} network{'s' * (len(rows) > 1)}"
        view.note(f"timing {networks} of the front again, in turn with MO in one run")
        view.started(-1, "front")

        def on_share(share: float) -> None:
            view.progress("timing", round(100 * share), 100, {})

        where: dict[str, Any] = {"device": config.device, "measure": measure}
        for row in remeasure(study, rows, config.latency, on_share=on_share, **where):
            unfit.add(row.digest)
            view.note(f"{row.name} was not timed again: out of memory; its trial's figure stays")
        view.ended(read_rows(study), None)


def remeasure(
    study: optuna.Study,
    rows: Sequence[Row],
    config: LatencyConfig,
    *,
    device: str,
    on_share: Callable[[float], object] = lambda _: None,
    measure: Measure,
) -> list[Row]:
    """Measures the networks of `rows` against MO in one run, and stores their latencies.

    Where the device has no memory for all at once, one after the other; the rows that did not fit
    even so come back. `on_share` gets the share of the longest time that is spent. Raises
    DeviceLostError where the device vanishes.
    """

    def on_round(tries: int, _: int, share: float) -> None:
        on_share((tries - 1 + share) / TRIES)

    genomes = [stored_genome(study, row.number) for row in rows]
    mo = measured = None
    try:
        with device_errors(device):
            # Not by a local name, which would hold the models' memory on the device.
            mo, measured = measure(
                build_model(BASELINES["MO"]),
                [build_model(genome) for genome in genomes],
                replace(config, max_seconds=config.front_seconds),
                device=device,
                on_round=on_round,
            )
    except DeviceMemoryError:
        if len(rows) == 1:
            return list(rows)
    if mo is None or measured is None:  # outside the clause, whose error holds the memory
        one_by_one = (remeasure(study, [r], config, device=device, measure=measure) for r in rows)
        return list(itertools.chain.from_iterable(one_by_one))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    latencies = dict(study_attrs(study).get("final_latency", {}))
    for genome, one in zip(genomes, measured, strict=True):
        latencies[genome.digest] = {
            "ratio_to_mo": one.ratio.to_dict(),
            "latency": one.latency.to_dict(),
            "measured_at": now,
            "device_ratio_to_mo": one.device_ratio.to_dict() if one.device_ratio else None,
        }
    latencies[MO] = {"latency": mo.to_dict(), "measured_at": now}
    set_study_attrs(study, final_latency=latencies)
    return []


def stored_genome(study: optuna.Study, number: int) -> Genome:
    """The genome of trial `number`."""
    return Genome.from_json(study.get_trials(deepcopy=False)[number].user_attrs["genome"])
