"""One process's part of a study, alone or as one of many workers: device, data, then trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from nas.cli.signals import StopSignal
from nas.loop.objective import Objective, Runner
from nas.loop.recovery import runs_now
from nas.loop.reference_device import LatencyDevice, settle_latency_device
from nas.loop.search_loop import Search
from nas.study.config import StudyConfig
from nas.study.lock import study_lock
from nas.study.schema import set_study_attrs, study_attrs
from nas.study.store import check_data
from nas.view.state import SearchOutcome
from nas.view.terminal import View
from space import DesignSpace

Load = Callable[..., Any]


def run_search_process(
    study: optuna.Study,
    config: StudyConfig,
    folder: Path,
    view: View,
    stop: StopSignal,
    *,
    owns_storage: bool,
    runner: Runner | None = None,
    load: Load | None = None,
) -> SearchOutcome:
    """Stores what trials of `study` need, and runs them in this process until its budget is spent.

    `runner` and `load` replace trials.run_trial and trials.load_data. Raises InputError where the
    device or the data don't go with the study, and KeyboardInterrupt where `stop` comes before the
    first trial.
    """
    from trials import amplified_psnr_db, run_trial
    from trials.latency.measure import device_name
    from trials.latency.trial_timing import time_network

    is_here = settle_device(study, config, folder, owns_storage=owns_storage)
    data = _load(study, config, folder, view, load)
    if "baseline_psnr_db" not in study_attrs(study):
        set_study_attrs(study, baseline_psnr_db=amplified_psnr_db(data.held_out))
    both: dict[str, Any] = {"study": study, "config": config.for_trial()}
    timer = LatencyDevice(is_here=is_here, time_network=time_network, **both)
    objective = Objective(
        space=DesignSpace(),
        latency_limit_ms=config.latency_limit_ms,
        data=data,
        runner=runner or run_trial,
        stopping=config.stopping,
        latency_device=timer if config.latency_device else None,
        **both,
    )
    search = Search(
        study=study,
        config=config,
        objective=objective,
        folder=folder,
        owns_storage=owns_storage,
        view=view,
        stop=stop,
        latency_device=config.latency_device or device_name(config.device),
    )
    return search.run()


def settle_device(
    study: optuna.Study, config: StudyConfig, folder: Path, *, owns_storage: bool
) -> bool:
    """Whether networks may be timed on the config's device; InputError where it may not join."""
    from trials.latency.measure import device_name

    kind, name = config.device.partition(":")[0], device_name(config.device)
    with study_lock(folder, study):
        is_begun = runs_now(study, folder, owns_storage=owns_storage)
        return settle_latency_device(study, kind, name, config.latency_device, is_begun=is_begun)


def prepare(
    study: optuna.Study, config: StudyConfig, folder: Path, view: View, load: Load | None = None
) -> None:
    """Caches the data, once for all workers; InputError where they don't go with the study."""
    _load(study, dataclasses.replace(config, device="cpu"), folder, view, load)


def _load(
    study: optuna.Study, config: StudyConfig, folder: Path, view: View, load: Load | None
) -> Any:
    from trials import load_data

    view.started(-1, "data")
    data = (load or load_data)(
        config.data, device=config.device, cache_dir=folder / "cache", on_progress=view.progress
    )
    check_data(study, data.description)
    return data
