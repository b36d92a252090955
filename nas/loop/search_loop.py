"""The search itself: ask, look whether the network is known, run, tell; until the budget is spent.

Every stop (budget, timeout, Ctrl-C, kill -9, full disk) leaves a study that the same command
continues.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.cli.signals import StopSignal
from nas.loop.objective import Objective
from nas.loop.recovery import (
    Claim,
    TakenOverError,
    checkpoints_folder,
    recover,
    runs_here,
    sweep,
    trial_directory,
)
from nas.loop.reference_device import check_latency_device
from nas.outputs.notes import note_interrupted
from nas.samplers.fresh import DeduplicatingSampler
from nas.samplers.imputation import Imputation, ImputingSampler
from nas.samplers.registry import choose_sampler, make_sampler, usable_sampler
from nas.samplers.surrogate import StructureSampler
from nas.study.config import StudyConfig
from nas.study.lock import study_lock
from nas.study.pareto import REFERENCE_RATIO, Reference
from nas.study.records import Row, finished, mo_latency_ms, read_rows
from nas.study.retrying_storage import one_write
from nas.study.store import enqueue_baselines
from nas.view.terminal import View
from trials.device.lock import DeviceLock
from trials.training.checkpointer import Checkpointer

# So many repeats in a row and the sampler's proposals are random; so many and the search ends.
REPEATS_TILL_RANDOM = 3
REPEATS_TILL_END = 100
# So many trials in a row that raise, and something is wrong with more than a genome.
ERRORS_TILL_END = 3
# While the last trials run on other machines, this one looks so often whether they live.
WAIT_S = 2.0
# Phases of a trial that end at a step when the process is asked to stop.
AT_A_STEP = ("resume", "train", "evaluate")


STOPPED = "stopped; the running trial was put back, and the same command goes on"


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Why the search ended, in one line, and the command's exit status."""

    reason: str
    status: int = 0


@dataclass(kw_only=True)
class Search:
    """One process's part of a study. `folder` is the study's; `owns_storage` as in
    `recovery.recover`.
    """

    study: optuna.Study
    config: StudyConfig
    objective: Objective
    folder: Path
    owns_storage: bool
    view: View
    asked: StopSignal = field(default_factory=StopSignal)
    """Told by the process's signals."""
    judge: str | None = None
    """The device whose clock must count, by name; None: whichever does."""
    clock: Callable[[], float] = time.monotonic
    _last: int = -1
    _waits: bool = False

    def __post_init__(self) -> None:
        self._foresight = Imputation(self.study.directions)

    def run(self) -> SearchOutcome:
        """Trials until the budget is spent or the process is asked to stop: then the running trial
        is queued again.
        """
        try:
            return self._run()
        except KeyboardInterrupt:
            if not self.asked():
                raise
            return SearchOutcome(reason=STOPPED, status=self.asked.status)

    def _run(self) -> SearchOutcome:
        started, errors, repeats = self.clock(), 0, 0
        with study_lock(self.folder, self.study):
            self._recover()
            sweep(self.study, self.folder)
            enqueue_baselines(self.study, self.objective.space, self.config.latency_limit_ms)
        self._refresh(None)
        while True:
            self.asked.deferring = False
            if self.asked():
                return SearchOutcome(reason=STOPPED, status=self.asked.status)
            if self.objective.judge is not None:
                for number in self.objective.judge.serve():
                    self.view.note(
                        f"timed the network of trial {number}, which runs on another device"
                    )
            minutes = (self.clock() - started) / 60
            if self.config.timeout_min is not None and minutes >= self.config.timeout_min:
                return SearchOutcome(
                    reason=f"stopped after {self.config.timeout_min:g} minutes, as asked"
                )
            try:
                kind = self._one(random=repeats >= REPEATS_TILL_RANDOM)
            except TakenOverError:
                self.view.note(
                    f"trial {self._last} was cut off for so long that it runs elsewhere "
                    f"by now: left to that"
                )
                shutil.rmtree(trial_directory(self.folder, self._last), ignore_errors=True)
                continue
            except BaseException:
                # Ctrl-C, a full disk, a failing storage: the running trial goes back to the queue
                # if that still works.
                self.asked.deferring = True
                with contextlib.suppress(Exception):
                    self._put_back()
                raise
            if isinstance(kind, SearchOutcome):
                return kind
            errors = errors + 1 if kind == "error" else 0
            repeats = repeats + 1 if kind == "repeat" else 0
            if errors >= ERRORS_TILL_END:
                last = read_rows(self.study)[self._last].message
                return SearchOutcome(
                    reason=f"{errors} trials in a row failed, the last with: {last}", status=1
                )
            if repeats >= REPEATS_TILL_END:
                return SearchOutcome(
                    reason=f"the last {repeats} proposals were known networks: the space seems "
                    f"exhausted"
                )

    def _one(self, *, random: bool) -> str | SearchOutcome:
        """Asks for and runs one trial; its kind, "repeat", "waits", or why there is none to run."""
        with contextlib.ExitStack() as claimed:
            if isinstance(found := self._ask(claimed, random), tuple):
                return self._run_claimed(*found)
            return found

    def _ask(
        self, claimed: contextlib.ExitStack, random: bool
    ) -> tuple[optuna.Trial, Claim, str] | str | SearchOutcome:
        """A trial, claimed until `claimed` ends, and its sampler's name; or "waits", or why there
        is none.
        """
        with study_lock(self.folder, self.study):
            self._recover()
            rows = read_rows(self.study)
            done = finished(rows)
            elsewhere = sum(row.kind == "running" for row in rows)
            if done >= self.config.trials:
                sweep(self.study, self.folder)
                return SearchOutcome(reason=f"all {self.config.trials} trials finished")
            if done + elsewhere >= self.config.trials and self._runs_far_away():
                return self._wait()
            if done + elsewhere >= self.config.trials:
                return SearchOutcome(
                    reason=f"{done} of {self.config.trials} trials finished, the rest run in "
                    f"other processes"
                )
            if self.judge is not None:
                check_latency_device(self.study, self.judge)
            name = self._set_sampler(rows, random)
            # In one piece: who is asked to stop in the middle would leave a trial that looks like
            # a dead process's.
            with self.asked.held():
                trial = self.study.ask()
                self._last = trial.number
                return trial, claimed.enter_context(Claim(self.folder, trial)), name

    def _run_claimed(self, trial: optuna.Trial, claim: Claim, name: str) -> str:
        """Runs an asked and claimed trial; its kind, or "repeat"."""
        baseline = trial.user_attrs.get("baseline")
        self.view.started(trial.number, baseline or "new")
        with self._beside_nobodys_clock(), one_write(trial):
            if baseline is None:
                trial.set_user_attr("sampler", name)
            genome = self.objective.propose(trial)
        if self.view.board.current is not None:
            self.view.board.current.name = baseline or genome.digest[:8]
        with study_lock(
            self.folder, self.study
        ):  # two processes must not take the same network, at once or one after the other
            known = self.objective.known(genome)
            twin = None if known else self.objective.take(trial, genome)
        if known is not None:
            self.objective.repeat(trial, known)
        if known is not None or twin is not None:
            self._refresh(trial.number)
            return "repeat"
        keeper = Checkpointer(
            folder=checkpoints_folder(self.folder, genome.digest),
            every_s=self.config.checkpoint_s,
            stop=self.asked,
        )

        def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            self.asked.deferring = phase in AT_A_STEP
            if phase == "train":
                claim.show_life(done, figures.get("seconds", 0.0))
            elif phase == "resume":
                self._resumed(trial, done, figures["seconds"])
            elif phase == "latency" and done and baseline == "MO":
                # All other trials are told on MO's clock, and may be done before MO is.
                trial.set_user_attr("latency", {"median_ms": figures["latency_ms"]})
            self.view.progress(phase, done, total, figures)

        kind = self.objective.run(trial, genome, claim.directory, on_progress, keeper)
        for path in keeper.damaged:
            self.view.note(
                f"trial {trial.number}: checkpoint {path.name} was damaged and is left out"
            )
        keeper.discard()  # only now: killed before it was told, the trial would have begun anew
        self._refresh(trial.number)
        return kind

    def _beside_nobodys_clock(self) -> contextlib.AbstractContextManager[None]:
        """On a CPU, a sampler's thinking would disturb what another worker measures."""
        device = self.objective.config.device
        return DeviceLock(device).shared() if device == "cpu" else contextlib.nullcontext()

    def _resumed(self, trial: optuna.Trial, step: int, seconds: float) -> None:
        """Stores and tells what the interruption of the trial that this one repeats has cost."""
        reached = trial.user_attrs.get("reached") or {"step": step, "seconds": seconds}
        if "retry_of" in trial.user_attrs:
            lost_s = max(0.0, reached["seconds"] - seconds)
            lost = {
                "from_step": step,
                "lost_steps": max(0, reached["step"] - step),
                "lost_s": round(lost_s, 3),
            }
            trial.set_user_attr("resumed", lost)
            self.view.note(
                f"trial {trial.number} goes on with trial {trial.user_attrs['retry_of']} "
                f"from step {step}: "
                f"{lost['lost_steps']} steps ({lost_s:.0f} s) were lost"
            )

    def _runs_far_away(self) -> bool:
        """Whether a running trial is another machine's: if that dies, only its heartbeat will
        tell.
        """
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return any(not runs_here(trial, self.folder, self.owns_storage) for trial in running)

    def _wait(self) -> str:
        if not self._waits:
            self.view.note(
                "the last trials run on other machines: waiting, in case one of them dies"
            )
            self._waits = True
        time.sleep(WAIT_S)
        return "waits"

    def _set_sampler(self, rows: Sequence[Row], random: bool) -> str:
        name = choose_sampler(self.config.sampler, self.config.trials)
        name = "random" if random else usable_sampler(name, self.study, rows)
        seed, number, space = self.config.seed, len(rows), self.objective.space
        if name == "structure":
            reference = settle_reference(self.study, rows)
            structured = StructureSampler(
                space,
                seed=seed,
                reference=lambda: reference,
                is_known=self._is_known,
                limit_ms=self.config.latency_limit_ms,
                stops=self.config.stopping,
            )
            self.study.sampler = ImputingSampler(structured, self._foresight)
            return name
        sampler = make_sampler(name, seed=seed, number=number, trials=self.config.trials)
        if name == "tpe":
            fresh = DeduplicatingSampler(sampler, space, self._is_known, seed=number)
            sampler = ImputingSampler(fresh, self._foresight)
        # NSGA-II keeps its generations in the study itself, and a Gaussian process would take the
        # foretold for measured.
        self.study.sampler = sampler
        return name

    def _is_known(self, digest: str) -> bool:
        return digest in self._foresight.digests

    def _recover(self, *, put_back: int | None = None) -> None:
        """To be called inside `study_lock`."""
        space, owns = self.objective.space, self.owns_storage
        for number in recover(
            self.study, self.folder, space, owns_storage=owns, put_back=put_back
        ):
            note_interrupted(self.study, number)
            row = read_rows(self.study)[number]
            self.view.note(f"trial {number} {row.name} was interrupted ({row.message})")

    def _put_back(self) -> None:
        with study_lock(self.folder, self.study):
            self._recover(put_back=self._last)

    def _refresh(self, number: int | None) -> None:
        rows = read_rows(self.study)
        if self.view.board.reference is None:
            self.view.board.reference = settle_reference(self.study, rows)
        self.view.ended(rows, number)


def settle_reference(study: optuna.Study, rows: Sequence[Row]) -> Reference | None:
    """The study's reference point, stored as soon as MO's latency and the baseline's PSNR are
    known.
    """
    known = study.user_attrs.get("reference")
    if known:
        return Reference(psnr_db=known["psnr_db"], latency_ms=known["latency_ms"])
    mo_ms, baseline = mo_latency_ms(rows), study.user_attrs.get("baseline_psnr_db")
    if mo_ms is None or baseline is None:
        return None
    reference = Reference(psnr_db=baseline, latency_ms=REFERENCE_RATIO * mo_ms)
    study.set_user_attr(
        "reference", {"psnr_db": reference.psnr_db, "latency_ms": reference.latency_ms}
    )
    return reference
