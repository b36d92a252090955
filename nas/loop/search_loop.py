"""The search itself: propose, look for repeats, run, report, until the budget is spent.

Every stop (budget, timeout, Ctrl-C, kill -9, full disk) leaves a study that the same command
continues.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.cli.signals import StopSignal
from nas.loop.claim import Claim, TakenOverError, checkpoints_folder, trial_directory
from nas.loop.objective import Objective
from nas.loop.recovery import recover, runs_here, sweep
from nas.loop.reference_device import check_latency_device
from nas.outputs.notes import note_interrupted
from nas.samplers import Request, choose_sampler, make_sampler, usable_sampler
from nas.study.config import StudyConfig
from nas.study.lock import study_lock
from nas.study.pareto import settle_reference
from nas.study.records import Row, finished, read_rows
from nas.study.retrying_storage import one_write
from nas.study.schema import set_trial_attrs, trial_attrs
from nas.study.store import enqueue_baselines
from nas.view.state import SearchOutcome
from nas.view.terminal import View
from trials.device.lock import DeviceLock
from trials.training import Checkpointer

# So many repeats in a row and the sampler's proposals are random; so many and the search ends.
REPEATS_TILL_RANDOM = 3
REPEATS_TILL_END = 100
# So many trials in a row that raise, and something is wrong with more than a genome.
ERRORS_TILL_END = 3
# Seconds between two checks whether the last trials, which run on other machines, are alive.
WAIT_S = 2.0
# Phases of a trial that end at a step when a stop is requested.
AT_A_STEP = ("resume", "train", "evaluate")
STOPPED = "stopped; the running trial was put back, and the same command goes on"


@dataclass(kw_only=True)
class Search:
    """One process's part of a study; `folder` is the study's, `owns_storage` as in `recover`."""

    study: optuna.Study
    config: StudyConfig
    objective: Objective
    folder: Path
    owns_storage: bool
    view: View
    stop: StopSignal = field(default_factory=StopSignal)
    latency_device: str | None = None
    """The name of the device model that must time networks; None: any."""
    _last: int = -1
    _waits: bool = False

    def run(self) -> SearchOutcome:
        """Runs trials until the budget is spent or a stop is requested, which queues the running
        one again.
        """
        try:
            return self._run()
        except KeyboardInterrupt:
            if not self.stop.requested():
                raise
            return SearchOutcome(reason=STOPPED, status=self.stop.status)

    def _run(self) -> SearchOutcome:
        started, errors, repeats = time.monotonic(), 0, 0
        with study_lock(self.folder, self.study):
            self._recover()
            sweep(self.study, self.folder)
            enqueue_baselines(self.study, self.objective.space, self.config.latency_limit_ms)
        self._refresh(None)
        while True:
            self.stop.deferring = False
            if self.stop.requested():
                return SearchOutcome(reason=STOPPED, status=self.stop.status)
            if self.objective.latency_device is not None:
                for number in self.objective.latency_device.serve():
                    self.view.note(f"timed trial {number}'s network, which runs on another device")
            minutes = self.config.timeout_min
            if minutes is not None and (time.monotonic() - started) / 60 >= minutes:
                return SearchOutcome(reason=f"stopped after {minutes:g} minutes, as requested")
            try:
                kind = self._run_one(random=repeats >= REPEATS_TILL_RANDOM)
            except TakenOverError:
                self.view.note(f"trial {self._last} was cut off for long: it runs elsewhere now")
                shutil.rmtree(trial_directory(self.folder, self._last), ignore_errors=True)
                continue
            except BaseException:
                # Ctrl-C, a full disk, a failing storage: the trial is queued again if that works.
                self.stop.deferring = True
                with contextlib.suppress(Exception), study_lock(self.folder, self.study):
                    self._recover(put_back=self._last)
                raise
            if isinstance(kind, SearchOutcome):
                return kind
            errors = errors + 1 if kind == "error" else 0
            repeats = repeats + 1 if kind == "repeat" else 0
            if errors >= ERRORS_TILL_END:
                last = read_rows(self.study)[self._last].message
                reason = f"{errors} trials in a row failed, the last with: {last}"
                return SearchOutcome(reason=reason, status=1)
            if repeats >= REPEATS_TILL_END:
                known = f"the last {repeats} proposals were known networks"
                return SearchOutcome(reason=f"{known}: the space seems exhausted")

    def _run_one(self, *, random: bool) -> str | SearchOutcome:
        """Requests and runs one trial; its kind, "repeat", "waits", or why there is none."""
        with contextlib.ExitStack() as claims:
            requested = self._request(claims, random)
            return self._run_claimed(*requested) if isinstance(requested, tuple) else requested

    def _request(
        self, claims: contextlib.ExitStack, random: bool
    ) -> tuple[optuna.Trial, Claim, str] | str | SearchOutcome:
        """A trial, its claim (until `claims` ends) and its sampler's name; or as `_run_one`."""
        with study_lock(self.folder, self.study):
            self._recover()
            rows = read_rows(self.study)
            done, budget = finished(rows), self.config.trials
            if done >= budget:
                sweep(self.study, self.folder)
                return SearchOutcome(reason=f"all {budget} trials finished")
            if done + sum(row.kind == "running" for row in rows) >= budget:
                if self._runs_far_away():
                    return self._wait()
                others = "the rest run in other processes"
                return SearchOutcome(reason=f"{done} of {budget} trials finished, {others}")
            if self.latency_device is not None:
                check_latency_device(self.study, self.latency_device)
            name = self._set_sampler(rows, random)
            # In one piece: a stop in between would leave a trial that seems a dead process's.
            with self.stop.defer_signals():
                trial = self.study.ask()
                self._last = trial.number
                return trial, claims.enter_context(Claim(self.folder, trial)), name

    def _run_claimed(self, trial: optuna.Trial, claim: Claim, sampler: str) -> str:
        """Runs a claimed trial; its kind, or "repeat"."""
        baseline = trial.user_attrs.get("baseline")
        self.view.started(trial.number, baseline or "new")
        with self._outside_measurements(), one_write(trial):
            if baseline is None:
                set_trial_attrs(trial, sampler=sampler)
            genome = self.objective.propose(trial)
        if self.view.state.current is not None:
            self.view.state.current.name = baseline or genome.digest[:8]
        # Two processes must not train the same network, at once or one after the other.
        with study_lock(self.folder, self.study):
            known = self.objective.find_verdict(genome)
            acquired = known is None and self.objective.acquire(trial, genome)
        if known is not None:
            self.objective.repeat(trial, known)
        if not acquired:
            self._refresh(trial.number)
            return "repeat"
        checkpointer = Checkpointer(
            folder=checkpoints_folder(self.folder, genome.digest),
            every_s=self.config.checkpoint_s,
            stop=self.stop.requested,
        )

        def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            self.stop.deferring = phase in AT_A_STEP
            if phase == "train":
                claim.show_life(done, figures.get("seconds", 0.0))
            elif phase == "resume":
                self._note_resumed(trial, done, figures["seconds"])
            elif phase == "latency" and done and baseline == "MO":
                # All other trials are reported in units of MO's, and may end before MO does.
                set_trial_attrs(trial, latency={"median_ms": figures["latency_ms"]})
            self.view.progress(phase, done, total, figures)

        kind = self.objective.run(trial, genome, claim.directory, on_progress, checkpointer)
        for path in checkpointer.damaged:
            self.view.note(f"trial {trial.number}: checkpoint {path.name} was damaged, left out")
        checkpointer.discard()  # only now: killed before its report, the trial would begin anew
        self._refresh(trial.number)
        return kind

    def _outside_measurements(self) -> contextlib.AbstractContextManager[None]:
        """On a CPU, a sampler's work would disturb what another worker measures."""
        device = self.objective.config.device
        return DeviceLock(device).shared() if device == "cpu" else contextlib.nullcontext()

    def _note_resumed(self, trial: optuna.Trial, step: int, seconds: float) -> None:
        """Stores and shows what the interruption of the trial that this one repeats has cost."""
        attrs = trial_attrs(trial)
        if "retry_of" not in attrs:
            return
        reached = attrs.get("reached") or {"step": step, "seconds": seconds}
        lost_steps, lost_s = max(0, reached["step"] - step), max(0.0, reached["seconds"] - seconds)
        resumed = {"from_step": step, "lost_steps": lost_steps, "lost_s": round(lost_s, 3)}
        set_trial_attrs(trial, resumed=resumed)
        self.view.note(
            f"trial {trial.number} goes on with trial {attrs['retry_of']} from step {step}: "
            f"{lost_steps} steps ({lost_s:.0f} s) were lost"
        )

    def _runs_far_away(self) -> bool:
        """Whether a running trial is another machine's, whose death only its heartbeat tells."""
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return any(not runs_here(trial, self.folder, self.owns_storage) for trial in running)

    def _wait(self) -> str:
        if not self._waits:
            self.view.note("the last trials run on other machines: waiting, in case one dies")
            self._waits = True
        time.sleep(WAIT_S)
        return "waits"

    def _set_sampler(self, rows: Sequence[Row], random: bool) -> str:
        name = choose_sampler(self.config.sampler, self.config.trials)
        name = "random" if random else usable_sampler(name, self.study)
        space, reference = self.objective.space, settle_reference(self.study, rows)
        request = Request(config=self.config, space=space, number=len(rows), reference=reference)
        self.study.sampler = make_sampler(name, request)
        return name

    def _recover(self, *, put_back: int | None = None) -> None:
        """To be called inside `study_lock`."""
        where, owns = (self.study, self.folder, self.objective.space), self.owns_storage
        for number in recover(*where, owns_storage=owns, put_back=put_back):
            note_interrupted(self.study, number)
            row = read_rows(self.study)[number]
            self.view.note(f"trial {number} {row.name} was interrupted ({row.message})")

    def _refresh(self, number: int | None) -> None:
        rows = read_rows(self.study)
        if self.view.state.reference is None:
            self.view.state.reference = settle_reference(self.study, rows)
        self.view.ended(rows, number)
