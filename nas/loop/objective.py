"""One trial of the study: genes to genome, a look whether it is known, the run, and what Optuna is
told.

Limits are hard and soft at once: a genome over the latency limit is never trained (told as
PRUNED), and how far it is over goes to the sampler as a constraint, so that it learns where not to
look; so does a genome for which the device has too little memory, or whose training diverges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from nas.cli.parser import is_disk_full, one_line
from nas.loop.pruning import Rungs
from nas.loop.recovery import TakenOverError
from nas.loop.reference_device import LatencyDevice, Timed
from nas.outputs.notes import note_repeat, note_trial
from nas.outputs.store import leave, shares
from nas.samplers.registry import suggest
from nas.study.records import Row, known_networks, mo_latency_ms, on_mos_clock, read_rows
from nas.study.retrying_storage import one_write
from nas.study.schema import END
from nas.study.storage import is_storage_error
from space import DesignSpace, Genome, InputError
from trials.config import TrialConfig
from trials.data.pair import Progress
from trials.device.errors import DeviceLostError
from trials.training.checkpointer import Checkpointer
from trials.training.rungs import Decide

# The attributes that a repeat takes over from the trial whose network it repeats.
_OF_THE_NETWORK = (
    "kind",
    "cost",
    "latency",
    "ratio_to_mo",
    "ratio_to_mo_interval",
    "ratio_drift",
    "psnr_db",
    "ssim",
    "images",
    "parts",
)


# Kinds that no training can mend: told as PRUNED with a constraint above 0, so that samplers learn
# where not to look.
INFEASIBLE = ("over_limit", "out_of_memory", "diverged")
PRUNED = (*INFEASIBLE, "stopped")


class Runner(Protocol):
    """How one genome is measured and trained: `trials.run_trial`, or a quick stand-in in tests."""

    def __call__(
        self,
        genome: Genome,
        config: TrialConfig,
        *,
        data: Any,
        directory: Path,
        latency_limit_ms: float | None,
        mo_latency_ms: float | None,
        decide: Decide,
        keeper: Checkpointer | None,
        timed: Timed | None,
        rough_first: bool,
        on_progress: Progress | None,
    ) -> Any:
        """A trials.TrialResult."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Runs asked trials of `study` and tells their outcome; whatever goes wrong in one trial stays
    in it.
    """

    study: optuna.Study
    space: DesignSpace
    config: TrialConfig
    latency_limit_ms: float | None
    data: Any
    runner: Runner
    judge: LatencyDevice | None = None
    """Whose clock counts; None: this process's own."""
    stopping: bool = True
    """Whether trials that are not among the best third at a rung are stopped."""

    def propose(self, trial: optuna.Trial) -> Genome:
        """The genome that the sampler (or the queue) proposes for `trial`, stored."""
        genome = self.space.decode(suggest(trial, self.space))
        trial.set_user_attr("genome", genome.to_json())
        return genome

    def take(self, trial: optuna.Trial, genome: Genome) -> int | None:
        """Marks the network as `trial`'s own; or tells `trial` as interrupted and gives the number
        of the running trial whose network it is already. To be called where nobody else can take
        one.
        """
        for other in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if other.user_attrs.get("digest") == genome.digest and other.number != trial.number:
                trial.set_user_attr(
                    "message", f"the same network as trial {other.number}, which runs now"
                )
                self._tell(trial, "interrupted", None, None)
                return other.number
        trial.set_user_attr("digest", genome.digest)
        return None

    def known(self, genome: Genome) -> Row | None:
        """The trial that has already a verdict about this network, which still holds under today's
        limit.
        """
        trials = self.study.get_trials(deepcopy=False)
        if not any(
            trial.user_attrs.get("digest") == genome.digest and trial.state.is_finished()
            for trial in trials
        ):
            return None  # the usual case, known without reading all rows
        row = known_networks(read_rows(self.study)).get(genome.digest)
        if row is not None and row.kind == "over_limit" and not self._is_over(row.latency_ms):
            return None
        return row

    def repeat(self, trial: optuna.Trial, row: Row) -> None:
        """Tells `trial` what is known since trial `row`, without training."""
        first = self.study.get_trials(deepcopy=False)[row.number].user_attrs
        trial.set_user_attr("repeat_of", row.number)
        trial.set_user_attr("message", f"the same network as trial {row.number}")
        for key in _OF_THE_NETWORK:
            if key in first:
                trial.set_user_attr(key, first[key])
        note_repeat(self.study, trial, row.number)
        self._tell(trial, row.kind, row.psnr_db, row.latency_ms)

    def run(
        self,
        trial: optuna.Trial,
        genome: Genome,
        directory: Path,
        on_progress: Progress,
        keeper: Checkpointer | None = None,
    ) -> str:
        """Measures and trains `genome`, tells `trial`, and gives back its kind ("error" where it
        raised).

        Raises only what the whole search must know: Ctrl-C, a full disk, a failing storage, a
        vanished device; and TakenOverError where the trial has ended elsewhere meanwhile.
        """
        try:
            return self._run(trial, genome, directory, on_progress, keeper)
        except UpdateFinishedTrialError as error:
            raise TakenOverError from error

    def _run(
        self,
        trial: optuna.Trial,
        genome: Genome,
        directory: Path,
        on_progress: Progress,
        keeper: Checkpointer | None,
    ) -> str:
        trial.set_user_attr("directory", f"trials/{directory.name}")
        try:
            timed = None
            if self.judge is not None and not self.judge.is_here:
                timed = self.judge.wait(
                    trial, lambda: on_progress("waiting for a judge", 0, 1, {})
                )
            rungs = self._rungs(trial, genome)
            # What is stopped, or is clearly over the limit, needs no more.
            rough = rungs.may_stop or self.latency_limit_ms is not None
            result = self.runner(
                genome,
                self.config,
                data=self.data,
                directory=directory,
                latency_limit_ms=self.latency_limit_ms,
                mo_latency_ms=self._mo_ms(),
                decide=rungs,
                keeper=keeper,
                timed=timed,
                rough_first=rough,
                on_progress=on_progress,
            )
        except Exception as error:
            whole = (DeviceLostError, TakenOverError, UpdateFinishedTrialError)
            if is_disk_full(error) or is_storage_error(error) or isinstance(error, whole):
                raise
            said = one_line(error)
            message = said if isinstance(error, InputError) else f"{type(error).__name__}: {said}"
            return self._fail(trial, message, directory)
        return self._store(trial, result, directory)

    def _fail(self, trial: optuna.Trial, message: str, directory: Path) -> str:
        trial.set_user_attr("message", message[:500])
        self._show(trial, "error", None, directory)
        self._tell(trial, "error", None, None)
        return "error"

    def _store(self, trial: optuna.Trial, result: Any, directory: Path) -> str:
        values = result.to_dict()
        latency, psnr_db = values.get("latency") or {}, values.get("psnr_db")
        latency_ms = latency.get("median_ms")
        kind, message = result.kind, one_line(values.get("message") or "")
        if kind == "complete" and not (_is_finite(psnr_db) and _is_finite(latency_ms)):
            kind, message = (
                "diverged",
                f"PSNR {psnr_db} dB and latency {latency_ms} ms must be finite",
            )
        attrs = {
            key: values.get(key)
            for key in ("cost", "latency", "psnr_db", "ssim", "images", "train_seconds")
        }
        if (ratio := values.get("ratio_to_mo")) is not None:
            attrs |= {
                "ratio_to_mo": ratio["value"],
                "ratio_to_mo_interval": [ratio["low"], ratio["high"]],
                "ratio_drift": ratio["drift"],
            }
            latency_ms = on_mos_clock(latency_ms, ratio["value"], self._mo_ms())
        attrs |= {"message": message or None, "parts": shares(values.get("cost") or {})}
        if values.get("rungs") and kind == "complete":
            reached = trial.user_attrs.get("rungs") or []
            attrs["rungs"] = [*reached, {**values["rungs"][-1], "decision": END}]
        with one_write(trial):
            for key, value in attrs.items():
                if value is not None:
                    trial.set_user_attr(key, _without_nan(value))
        self._show(trial, kind, latency_ms, directory)
        self._tell(trial, kind, psnr_db, latency_ms)
        return str(kind)

    def _show(
        self, trial: optuna.Trial, kind: str, latency_ms: float | None, directory: Path
    ) -> None:
        """Leaves what viewers show of a trial that ends; before it is told, since a told trial
        takes no more attributes.
        """
        note_trial(
            self.study, trial, kind=kind, latency_ms=latency_ms, artifacts=leave(trial, directory)
        )

    def _tell(
        self, trial: optuna.Trial, kind: str, psnr_db: float | None, latency_ms: float | None
    ) -> None:
        trial.set_user_attr("kind", kind)
        if self.latency_limit_ms is not None and latency_ms is not None:
            trial.set_constraint("over_latency_limit_ms", latency_ms - self.latency_limit_ms)
        if kind in ("out_of_memory", "diverged"):
            trial.set_constraint(kind, 1.0)
        values = None
        if kind == "complete":
            assert psnr_db is not None and latency_ms is not None
            values = [psnr_db, latency_ms]
        state = (
            TrialState.COMPLETE
            if values
            else TrialState.PRUNED
            if kind in PRUNED
            else TrialState.FAIL
        )
        try:
            self.study.tell(trial, values, state=state)
        except ValueError as error:
            if self.study._storage.get_trial(trial._trial_id).state.is_finished():
                raise TakenOverError from error
            raise

    def _rungs(self, trial: optuna.Trial, genome: Genome) -> Rungs:
        """What is asked at the trial's rungs: seeds, and genomes that a user queued, are never
        stopped.
        """
        attrs = trial.user_attrs
        fixed = "fixed_params" in self.study.get_trials(deepcopy=False)[trial.number].system_attrs
        if fixed and "baseline" not in attrs and "retry_of" not in attrs:
            trial.set_user_attr("queued", True)
            attrs = trial.user_attrs
        exempt = "baseline" in attrs or bool(attrs.get("queued"))
        return Rungs(
            study=self.study,
            trial=trial,
            digest=genome.digest,
            exempt=exempt,
            enabled=self.stopping,
        )

    def _mo_ms(self) -> float | None:
        return mo_latency_ms(read_rows(self.study))

    def _is_over(self, latency_ms: float | None) -> bool:
        return self.latency_limit_ms is not None and (latency_ms or 0.0) > self.latency_limit_ms


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _without_nan(value: Any) -> Any:
    """`value` with NaN and infinities as None: JSON has no such numbers, and some databases refuse
    them.
    """
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
