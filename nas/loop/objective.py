"""One trial of the study: genes to genome, a check whether it is known, the run, and its report.

Limits are hard and soft at once: a genome over the latency limit is never trained (reported as
PRUNED), and how far it is over goes to the sampler as a constraint, so that it learns where not to
search; so does a genome for which the device has too little memory, or whose training diverges.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from nas.cli.parser import is_disk_full, one_line
from nas.loop.claim import TakenOverError
from nas.loop.pruning import Rungs
from nas.loop.reference_device import LatencyDevice
from nas.outputs.notes import note_repeat, note_trial
from nas.outputs.store import shares, upload_outputs
from nas.samplers import suggest
from nas.study.internals import storage_of, trial_id
from nas.study.records import Row, known_networks, mo_latency_ms, on_mos_clock, read_rows
from nas.study.retrying_storage import one_write
from nas.study.schema import END, finite, set_trial_attrs
from nas.study.storage import is_storage_error
from space import DesignSpace, Genome, InputError
from trials.config import TrialConfig
from trials.data.pair import Progress
from trials.device.errors import DeviceLostError
from trials.training import Checkpointer

# Attributes of the network, which a repeat copies from the trial that it repeats.
_OF_LATENCY = ("latency", "ratio_to_mo", "ratio_to_mo_interval", "ratio_drift")
_OF_THE_NETWORK = ("kind", "cost", *_OF_LATENCY, "psnr_db", "ssim", "images", "parts")
# How one genome is measured and trained: `trials.run_trial`, or a quick stand-in in tests.
Runner = Callable[..., Any]
# Kinds reported as PRUNED. No training can mend the first three: they have a constraint above 0.
PRUNED = ("over_limit", "out_of_memory", "diverged", "stopped")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Runs and reports trials of `study`; whatever goes wrong in one trial stays in it."""

    study: optuna.Study
    space: DesignSpace
    config: TrialConfig
    latency_limit_ms: float | None
    data: Any
    runner: Runner
    latency_device: LatencyDevice | None = None
    """What times networks; None: this process."""
    stopping: bool = True
    """Whether trials that are not among the best third at a rung are stopped."""

    def propose(self, trial: optuna.Trial) -> Genome:
        """The genome that the sampler (or the queue) proposes for `trial`, stored."""
        genome = self.space.decode(suggest(trial, self.space))
        set_trial_attrs(trial, genome=genome.to_json())
        return genome

    def acquire(self, trial: optuna.Trial, genome: Genome) -> bool:
        """Marks the network as `trial`'s own; False where another running trial has it already:
        then `trial` ends as interrupted. To be called inside `study_lock`.
        """
        for other in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if other.user_attrs.get("digest") == genome.digest and other.number != trial.number:
                message = f"the same network as trial {other.number}, which runs now"
                set_trial_attrs(trial, message=message)
                self._report(trial, "interrupted", None, None)
                return False
        set_trial_attrs(trial, digest=genome.digest)
        return True

    def find_verdict(self, genome: Genome) -> Row | None:
        """The trial with a verdict about this network that still holds under today's limit."""
        trials = self.study.get_trials(deepcopy=False)
        finished = (trial for trial in trials if trial.state.is_finished())
        if not any(trial.user_attrs.get("digest") == genome.digest for trial in finished):
            return None  # the usual case, known without reading all rows
        row = known_networks(read_rows(self.study)).get(genome.digest)
        if row is not None and row.kind == "over_limit" and not self._is_over(row.latency_ms):
            return None
        return row

    def repeat(self, trial: optuna.Trial, row: Row) -> None:
        """Reports for `trial` what is known since trial `row`, without training."""
        first = self.study.get_trials(deepcopy=False)[row.number].user_attrs
        message = f"the same network as trial {row.number}"
        set_trial_attrs(trial, repeat_of=row.number, message=message)
        for key in _OF_THE_NETWORK:
            if key in first:
                trial.set_user_attr(key, first[key])
        note_repeat(self.study, trial, row.number)
        self._report(trial, row.kind, row.psnr_db, row.latency_ms)

    def run(
        self,
        trial: optuna.Trial,
        genome: Genome,
        directory: Path,
        on_progress: Progress,
        checkpointer: Checkpointer | None = None,
    ) -> str:
        """Measures, trains and reports `genome`; its kind ("error" where it raised).

        Raises only what concerns the whole search: Ctrl-C, a full disk, a failing storage, a lost
        device; and TakenOverError where the trial has ended elsewhere meanwhile.
        """
        of_search = (DeviceLostError, TakenOverError, UpdateFinishedTrialError)
        try:
            set_trial_attrs(trial, directory=f"trials/{directory.name}")
            try:
                result = self._run(trial, genome, directory, on_progress, checkpointer)
            except Exception as error:
                if is_disk_full(error) or is_storage_error(error) or isinstance(error, of_search):
                    raise
                kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                set_trial_attrs(trial, message=f"{kind}{one_line(error)}"[:500])
                self._report(trial, "error", None, None, directory)
                return "error"
            return self._store(trial, result, directory)
        except UpdateFinishedTrialError as error:
            raise TakenOverError from error

    def _run(
        self,
        trial: optuna.Trial,
        genome: Genome,
        directory: Path,
        on_progress: Progress,
        checkpointer: Checkpointer | None,
    ) -> Any:
        timed, device = None, self.latency_device
        if device is not None and not device.is_here:
            waiting = "waiting for the latency device"
            timed = device.wait(trial, lambda: on_progress(waiting, 0, 1, {}))
        rungs = self._rungs(trial, genome)
        return self.runner(
            genome,
            self.config,
            data=self.data,
            directory=directory,
            latency_limit_ms=self.latency_limit_ms,
            mo_latency_ms=self._mo_ms(),
            decide=rungs,
            checkpointer=checkpointer,
            timed=timed,
            # Enough for what is stopped, or is clearly over the limit.
            rough_first=rungs.may_stop or self.latency_limit_ms is not None,
            on_progress=on_progress,
        )

    def _store(self, trial: optuna.Trial, result: Any, directory: Path) -> str:
        values = result.to_dict()
        psnr_db = values.get("psnr_db")
        latency_ms = (values.get("latency") or {}).get("median_ms")
        kind, message = str(result.kind), one_line(values.get("message") or "")
        is_finite = None not in (psnr_db, latency_ms) and math.isfinite(psnr_db + latency_ms)
        if kind == "complete" and not is_finite:
            kind = "diverged"
            message = f"PSNR {psnr_db} dB and latency {latency_ms} ms must be finite"
        keys = ("cost", "latency", "psnr_db", "ssim", "images", "train_seconds")
        attrs = {key: values.get(key) for key in keys}
        if (ratio := values.get("ratio_to_mo")) is not None:
            interval = [ratio["low"], ratio["high"]]
            attrs |= {"ratio_to_mo": ratio["value"], "ratio_to_mo_interval": interval}
            attrs["ratio_drift"] = ratio["drift"]
            latency_ms = on_mos_clock(latency_ms, ratio["value"], self._mo_ms())
        attrs |= {"message": message or None, "parts": shares(values.get("cost") or {})}
        if values.get("rungs") and kind == "complete":
            reached = trial.user_attrs.get("rungs") or []
            attrs["rungs"] = [*reached, {**values["rungs"][-1], "decision": END}]
        with one_write(trial):
            for key, value in attrs.items():
                if value is not None:
                    trial.set_user_attr(key, finite(value))
        self._report(trial, kind, psnr_db, latency_ms, directory)
        return kind

    def _report(
        self,
        trial: optuna.Trial,
        kind: str,
        psnr_db: float | None,
        latency_ms: float | None,
        directory: Path | None = None,
    ) -> None:
        """Ends the trial; before, writes its note and its artifacts from `directory`."""
        if directory is not None:
            files = upload_outputs(trial, directory)
            note_trial(self.study, trial, kind=kind, latency_ms=latency_ms, artifacts=files)
        trial.set_user_attr("kind", kind)
        if self.latency_limit_ms is not None and latency_ms is not None:
            trial.set_constraint("over_latency_limit_ms", latency_ms - self.latency_limit_ms)
        if kind in ("out_of_memory", "diverged"):
            trial.set_constraint(kind, 1.0)
        values, state = None, TrialState.PRUNED if kind in PRUNED else TrialState.FAIL
        if kind == "complete":
            assert psnr_db is not None and latency_ms is not None
            values, state = [psnr_db, latency_ms], TrialState.COMPLETE
        try:
            self.study.tell(trial, values, state=state)
        except ValueError as error:
            if storage_of(self.study).get_trial(trial_id(trial)).state.is_finished():
                raise TakenOverError from error
            raise

    def _rungs(self, trial: optuna.Trial, genome: Genome) -> Rungs:
        """The trial's rungs; baselines, and genomes that a user queued, are never stopped."""
        attrs = trial.user_attrs
        fixed = "fixed_params" in self.study.get_trials(deepcopy=False)[trial.number].system_attrs
        queued = fixed and "baseline" not in attrs and "retry_of" not in attrs
        if queued:
            set_trial_attrs(trial, queued=True)
        return Rungs(
            study=self.study,
            trial=trial,
            digest=genome.digest,
            exempt=queued or "baseline" in attrs or bool(attrs.get("queued")),
            enabled=self.stopping,
        )

    def _mo_ms(self) -> float | None:
        return mo_latency_ms(read_rows(self.study))

    def _is_over(self, latency_ms: float | None) -> bool:
        return self.latency_limit_ms is not None and (latency_ms or 0.0) > self.latency_limit_ms
