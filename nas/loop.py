"""The search itself: ask, look whether the network is known, run, tell; until the budget is spent.

Every stop (budget, timeout, Ctrl-C, kill -9, full disk) leaves a study that the same command continues.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

from nas.config import StudyConfig
from nas.foresight import Foresight, ForesightedSampler
from nas.front import REFERENCE_RATIO, Reference
from nas.live import View
from nas.notes import note_interrupted
from nas.objective import Objective
from nas.recovery import Claim, asking, recover
from nas.results import Row, finished, mo_latency_ms, read_rows
from nas.samplers import choose_sampler, make_sampler, usable_sampler
from nas.study import enqueue_seeds

# So many repeats in a row and the sampler's proposals are random; so many and the search ends.
REPEATS_TILL_RANDOM = 3
REPEATS_TILL_END = 100
# So many trials in a row that raise, and something is wrong with more than a genome.
ERRORS_TILL_END = 3


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why the search ended, in one line, and the command's exit status."""

    reason: str
    status: int = 0


@dataclass(kw_only=True)
class Search:
    """One process's part of a study. `folder` is the study's; `owns_storage` as in `recovery.recover`."""

    study: optuna.Study
    config: StudyConfig
    objective: Objective
    folder: Path
    owns_storage: bool
    view: View
    clock: Callable[[], float] = time.monotonic
    _last: int = -1

    def __post_init__(self) -> None:
        self._foresight = Foresight(self.study.directions)

    def run(self) -> Ending:
        """Trials until the budget is spent; KeyboardInterrupt passes after the running trial was queued again."""
        started, errors, repeats = self.clock(), 0, 0
        with asking(self.folder):
            self._recover()
            enqueue_seeds(self.study, self.objective.space, self.config.latency_limit_ms)
        self._refresh(None)
        while True:
            minutes = (self.clock() - started) / 60
            if self.config.timeout_min is not None and minutes >= self.config.timeout_min:
                return Ending(reason=f"stopped after {self.config.timeout_min:g} minutes, as asked")
            try:
                kind = self._one(random=repeats >= REPEATS_TILL_RANDOM)
            except BaseException:
                # Ctrl-C, a full disk, a failing storage: the running trial goes back to the queue if that still works.
                with contextlib.suppress(Exception):
                    self._put_back()
                raise
            if isinstance(kind, Ending):
                return kind
            errors = errors + 1 if kind == "error" else 0
            repeats = repeats + 1 if kind == "repeat" else 0
            if errors >= ERRORS_TILL_END:
                last = read_rows(self.study)[self._last].message
                return Ending(reason=f"{errors} trials in a row failed, the last with: {last}", status=1)
            if repeats >= REPEATS_TILL_END:
                return Ending(reason=f"the last {repeats} proposals were known networks: the space seems exhausted")

    def _one(self, *, random: bool) -> str | Ending:
        """Asks for and runs one trial; its kind, "repeat", or why there is none to run."""
        with asking(self.folder):
            self._recover()
            rows = read_rows(self.study)
            done = finished(rows)
            elsewhere = sum(row.kind == "running" for row in rows)
            if done >= self.config.trials:
                return Ending(reason=f"all {self.config.trials} trials finished")
            if done + elsewhere >= self.config.trials:
                return Ending(reason=f"{done} of {self.config.trials} trials finished, the rest run in other processes")
            name = self._set_sampler(rows, random)
            trial = self.study.ask()
            self._last = trial.number
            claim = Claim(self.folder, trial)
        with claim:
            seed = trial.user_attrs.get("seed")
            if seed is None:
                trial.set_user_attr("sampler", name)
            self.view.started(trial.number, seed or "new")
            genome = self.objective.propose(trial)
            if self.view.board.current is not None:
                self.view.board.current.name = seed or genome.digest[:8]
            known = self.objective.known(genome)
            if known is not None:
                self.objective.repeat(trial, known)
                self._refresh(trial.number)
                return "repeat"

            def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
                claim.show_life()
                self.view.progress(phase, done, total, figures)

            kind = self.objective.run(trial, genome, claim.directory, on_progress)
            self._refresh(trial.number)
            return kind

    def _set_sampler(self, rows: Sequence[Row], random: bool) -> str:
        name = choose_sampler(self.config.sampler, self.config.trials)
        name = "random" if random else usable_sampler(name, self.study, rows)
        sampler = make_sampler(name, seed=self.config.seed, number=len(rows), trials=self.config.trials)
        # NSGA-II keeps its generations in the study itself, and a Gaussian process would take the foretold for measured.
        self.study.sampler = ForesightedSampler(sampler, self._foresight) if name == "tpe" else sampler
        return name

    def _recover(self, *, died: bool = True) -> None:
        for number in recover(self.study, self.folder, self.objective.space, owns_storage=self.owns_storage, died=died):
            note_interrupted(self.study, number)
            row = read_rows(self.study)[number]
            self.view.note(f"trial {number} {row.name} was interrupted ({row.message})")

    def _put_back(self) -> None:
        with asking(self.folder):
            self._recover(died=False)

    def _refresh(self, number: int | None) -> None:
        rows = read_rows(self.study)
        if self.view.board.reference is None:
            self.view.board.reference = settle_reference(self.study, rows)
        self.view.ended(rows, number)


def settle_reference(study: optuna.Study, rows: Sequence[Row]) -> Reference | None:
    """The study's reference point, stored as soon as MO's latency and the baseline's PSNR are known."""
    known = study.user_attrs.get("reference")
    if known:
        return Reference(psnr_db=known["psnr_db"], latency_ms=known["latency_ms"])
    mo_ms, baseline = mo_latency_ms(rows), study.user_attrs.get("baseline_psnr_db")
    if mo_ms is None or baseline is None:
        return None
    reference = Reference(psnr_db=baseline, latency_ms=REFERENCE_RATIO * mo_ms)
    study.set_user_attr("reference", {"psnr_db": reference.psnr_db, "latency_ms": reference.latency_ms})
    return reference
