"""What must hold of a study after its workers were killed again and again, and the figures that
tell it.

Two witnesses are held against each other: the study with its folders, and the workers' own
journal.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import optuna
from journal import Run
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import FrozenTrial, TrialState
from safetensors import safe_open

from nas.outputs.store import FILES
from nas.study.records import finished, read_rows
from nas.study.schema import ARTIFACTS, VERDICTS
from space import Genome

TRAINED = ("complete", "stopped")


@dataclass
class Check:
    """One rule: what was looked at (`seen` of them), and everything that broke it."""

    rule: str
    seen: int
    wrong: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.wrong


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """A study after its soak. `folders` are the study's folders by their id
    (nas.recovery.folder_id).
    """

    study: optuna.Study
    folders: Mapping[str, Path]
    runs: Sequence[Run]
    checkpoint_s: float
    retries: int
    """How often a network is queued again after the death of its process."""

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def folder(self, trial: FrozenTrial) -> Path | None:
        """The study's folder in which `trial` ran."""
        if len(self.folders) == 1:
            return next(iter(self.folders.values()))
        return self.folders.get(str(trial.user_attrs.get("folder")))

    def verdicts(self) -> list[FrozenTrial]:
        """The finished trials: each says something about a network, found by itself."""
        done = [
            trial
            for trial in self.trials
            if trial.state.is_finished() and "repeat_of" not in trial.user_attrs
        ]
        return [trial for trial in done if trial.user_attrs.get("kind") in VERDICTS]


def check_all(soaked: Soaked) -> list[Check]:
    """All rules that hold of a study and its folders."""
    return [
        once(soaked),
        whole(soaked),
        ended(soaked),
        told(soaked),
        never_together(soaked.runs),
        little_lost(soaked),
        tried_again(soaked),
        tidy(soaked),
    ]


def once(soaked: Soaked) -> Check:
    """No network was trained to the end in two trials."""
    digests = Counter(str(trial.user_attrs.get("digest")) for trial in soaked.verdicts())
    return Check(
        "every network has one finished trial",
        len(digests),
        [f"{digest} has {count}" for digest, count in digests.items() if count > 1],
    )


def whole(soaked: Soaked) -> Check:
    """Every finished trial has its files, whole, and the same files as artifacts."""
    check = Check("every finished trial has its files, whole, and each as one artifact", 0)
    for trial in soaked.verdicts():
        folder = soaked.folder(trial)
        check.seen += 1
        problems = (
            ["its folder isn't known"]
            if folder is None
            else [*_files(trial, folder), *_artifacts(soaked.study, trial, folder)]
        )
        check.wrong += [f"trial {trial.number}: {problem}" for problem in problems]
    return check


def ended(soaked: Soaked) -> Check:
    """Nothing runs or waits when all workers have gone."""
    open_ = [trial for trial in soaked.trials if not trial.state.is_finished()]
    return Check(
        "no trial runs or waits for ever",
        len(soaked.trials),
        [f"trial {trial.number} is {trial.state.name}" for trial in open_],
    )


def told(soaked: Soaked) -> Check:
    """What a worker found before it went on to another trial is in the study: a finished trial is
    never lost.
    """
    trials = {trial.number: trial for trial in soaked.trials}
    check = Check("what a worker finished is in the study", 0)
    for run in soaked.runs:
        if run.kind is None or run.was_last:
            continue
        check.seen += 1
        kind = trials[run.number].user_attrs.get("kind") if run.number in trials else None
        if kind != run.kind:
            check.wrong.append(f"trial {run.number} ended as {run.kind}, the study says {kind}")
    return check


def never_together(runs: Sequence[Run]) -> Check:
    """No network was trained by two workers at once. A killed run lasts at least until its last
    sign.
    """
    check = Check("no network is trained by two workers at once", len(runs))
    by_digest: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_digest[run.digest].append(run)
    for digest, same in by_digest.items():
        same.sort(key=lambda run: run.began_at)
        for first, second in pairwise(same):
            if second.began_at < first.last_at:
                check.wrong.append(
                    f"{digest} by trials {first.number} and {second.number}, "
                    f"{first.last_at - second.began_at:.1f} s"
                )
    return check


@dataclass(frozen=True)
class Loss:
    """What one retry began without: steps, and seconds between the checkpoint it had and the last
    sign of the killed run.
    """

    number: int
    steps: int
    seconds: float
    allowed_s: float


def losses(soaked: Soaked) -> list[Loss]:
    """One for each killed training that another trial took over in the same folder, by the
    journal.
    """
    by_number = {run.number: run for run in soaked.runs}
    trials = {trial.number: trial for trial in soaked.trials}
    found = []
    for number, run in by_number.items():
        before = (
            by_number.get(trials[number].user_attrs.get("retry_of", -1))
            if number in trials
            else None
        )
        if (
            before is None
            or not before.steps
            or not run.steps
            or soaked.folder(trials[before.number]) != soaked.folder(trials[number])
        ):
            # before its training there is nothing to lose; and another machine has no checkpoint
            continue
        began = run.steps[0][0]
        # When the killed run was where this one begins: the last sign of it that was no later.
        kept_at = max(
            (at for step, at, _ in before.steps if step <= began), default=before.began_at
        )
        gaps = [b[1] - a[1] for a, b in pairwise(before.steps)]
        last_step, last_at, _ = before.steps[-1]
        # A checkpoint is due after the interval, at the end of a step; and steps are told every
        # ten.
        found.append(
            Loss(
                number,
                max(0, last_step - began),
                last_at - kept_at if began < last_step else 0.0,
                soaked.checkpoint_s + 2 * max(gaps, default=0.0),
            )
        )
    return found


def little_lost(soaked: Soaked) -> Check:
    """A resumed trial lost at most one checkpoint interval, and never less than the run before had
    begun with.
    """
    found = losses(soaked)
    check = Check(
        f"a resumed trial lost at most one interval between checkpoints, "
        f"{soaked.checkpoint_s:g} s",
        len(found),
    )
    check.wrong = [
        f"trial {loss.number} lost {loss.steps} steps, {loss.seconds:.1f} s (allowed "
        f"{loss.allowed_s:.1f})"
        for loss in found
        if loss.seconds > loss.allowed_s
    ]
    trials = {trial.number: trial for trial in soaked.trials}
    by_number = {run.number: run for run in soaked.runs}
    for loss in found:
        told = trials[loss.number].user_attrs.get("resumed")
        began = by_number[loss.number].steps[0][0]
        if began and (told is None or told.get("from_step") != began):
            check.wrong.append(
                f"trial {loss.number} went on at step {began}, its attribute `resumed` says {told}"
            )
    return check


def tried_again(soaked: Soaked) -> Check:
    """Every trial whose process died was repeated, by one trial, or given up after so many deaths."""
    again = Counter(
        trial.user_attrs["retry_of"] for trial in soaked.trials if "retry_of" in trial.user_attrs
    )
    check = Check(
        f"every killed trial is repeated once, or given up after {soaked.retries} repeats", 0
    )
    for trial in soaked.trials:
        if trial.user_attrs.get("kind") != "interrupted" or "genome" not in trial.user_attrs:
            continue
        if str(trial.user_attrs.get("message")).startswith("the same network"):
            continue  # left to the one that runs it
        check.seen += 1
        given_up = "given up" in str(trial.user_attrs.get("message"))
        if given_up and int(trial.user_attrs.get("attempts", 0)) < soaked.retries:
            check.wrong.append(
                f"trial {trial.number} was given up after "
                f"{trial.user_attrs.get('attempts', 0)} repeats"
            )
        if again[trial.number] != (0 if given_up else 1):
            check.wrong.append(
                f"trial {trial.number} has {again[trial.number]} repeats "
                f"({trial.user_attrs.get('message')})"
            )
    return check


def tidy(soaked: Soaked) -> Check:
    """No checkpoint or lock of a trial is left, and no half-written file beside those of a
    finished trial.
    """
    check = Check("no checkpoint, lock or half-written file is left", 0)
    for folder in soaked.folders.values():
        left = [
            *(path for path in (folder / "checkpoints").rglob("*") if path.is_file()),
            *folder.glob("trials/*/lock"),
            *(folder / ARTIFACTS).glob(".*"),
        ]
        check.wrong += [f"{path.relative_to(folder)} is left" for path in left]
        check.seen += sum(1 for _ in folder.glob("trials/*"))
    for trial in soaked.verdicts():
        folder_ = soaked.folder(trial)
        if folder_ is not None:
            half = (folder_ / str(trial.user_attrs.get("directory"))).glob(".*")
            check.wrong += [f"{path.relative_to(folder_)} is left" for path in half]
    return check


def figures(soaked: Soaked) -> dict[str, Any]:
    """What the study and the journal came to, as plain JSON values."""
    kinds = Counter(
        str(trial.user_attrs.get("kind", trial.state.name.lower())) for trial in soaked.trials
    )
    lost = losses(soaked)
    resumed = [
        loss
        for loss, run in ((loss, _run(soaked.runs, loss.number)) for loss in lost)
        if run.steps[0][0]
    ]
    half = sum(1 for folder in soaked.folders.values() for _ in folder.glob("trials/*/.*"))
    return {
        "trials": len(soaked.trials),
        "finished": finished(read_rows(soaked.study)),
        "kinds": dict(sorted(kinds.items())),
        "repeats_of_known": sum("repeat_of" in trial.user_attrs for trial in soaked.trials),
        "runs_begun": len(soaked.runs),
        "runs_cut": sum(run.kind is None for run in soaked.runs),
        "ended_but_killed_before_told": _untold(soaked),
        "cut_in_training_and_taken_over": len(lost),
        "of_these_from_a_checkpoint": len(resumed),
        "lost_steps_mean": sum(loss.steps for loss in lost) / len(lost) if lost else None,
        "lost_s_mean": sum(loss.seconds for loss in lost) / len(lost) if lost else None,
        "lost_s_most": max((loss.seconds for loss in lost), default=None),
        "given_up": sum(
            "given up" in str(trial.user_attrs.get("message")) for trial in soaked.trials
        ),
        "half_written_files_in_cut_trials": half,
    }


def _untold(soaked: Soaked) -> int:
    done = {trial.number for trial in soaked.verdicts()}
    return sum(run.kind in VERDICTS and run.number not in done for run in soaked.runs)


def _run(runs: Iterable[Run], number: int) -> Run:
    return next(run for run in reversed(list(runs)) if run.number == number)


def _files(trial: FrozenTrial, folder: Path) -> list[str]:
    """What is wrong with a finished trial's own files."""
    attrs, directory = trial.user_attrs, folder / str(trial.user_attrs.get("directory"))
    wanted = ["genome.json", "result.json"]
    if attrs["kind"] in TRAINED:
        wanted += ["weights.safetensors", "curve.csv", "preview.png"]
    if missing := [name for name in wanted if not (directory / name).is_file()]:
        return [f"{', '.join(missing)} missing in {directory}"]
    problems = []
    try:
        if Genome.from_json((directory / "genome.json").read_text()).digest != attrs["digest"]:
            problems.append("genome.json is of another network")
        result = json.loads((directory / "result.json").read_text())
        if (result["digest"], result["kind"]) != (attrs["digest"], attrs["kind"]) or result[
            "psnr_db"
        ] != attrs.get("psnr_db"):
            problems.append("result.json says another result than the study")
        if attrs["kind"] in TRAINED:
            problems += _trained(directory, attrs)
    except Exception as error:
        problems.append(f"{type(error).__name__}: {error}")
    if attrs["kind"] == "complete" and (
        trial.state != TrialState.COMPLETE or len(trial.values) != 2
    ):
        problems.append(f"complete, but {trial.state.name}")
    return problems


def _trained(directory: Path, attrs: Mapping[str, Any]) -> list[str]:
    problems = []
    with safe_open(directory / "weights.safetensors", "pt") as weights:
        if Genome.from_json(weights.metadata()["genome"]).digest != attrs["digest"]:
            problems.append("weights.safetensors are of another network")
        if not all(bool(weights.get_tensor(name).isfinite().all()) for name in weights.keys()):  # noqa: SIM118
            problems.append("weights.safetensors hold what is no number")
    steps = [
        float(line.split(",")[0])
        for line in (directory / "curve.csv").read_text().splitlines()[1:]
    ]
    if steps != sorted(set(steps)):
        problems.append(f"curve.csv goes back: {steps}")
    if cv2.imread(str(directory / "preview.png")) is None:
        problems.append("preview.png is no picture")
    rungs = [rung["step"] for rung in attrs.get("rungs") or ()]
    if not rungs or rungs != sorted(set(rungs)):
        problems.append(f"its rungs are {rungs}")
    return problems


def _artifacts(study: optuna.Study, trial: FrozenTrial, folder: Path) -> list[str]:
    metas = get_all_artifact_meta(trial, storage=study._storage)
    names = Counter(meta.filename for meta in metas)
    problems = [
        f"artifact {name} is there {count} times" for name, count in names.items() if count > 1
    ]
    directory = folder / str(trial.user_attrs.get("directory"))
    problems += [
        f"{name} is no artifact"
        for name in FILES
        if (directory / name).is_file() and name not in names
    ]
    for meta in metas:
        path = folder / ARTIFACTS / meta.artifact_id
        if not path.is_file():
            problems.append(f"artifact {meta.filename} has no file")
        elif not (directory / meta.filename).is_file():
            problems.append(f"{directory / meta.filename} is gone")
        elif _sha256(path) != _sha256(directory / meta.filename):
            problems.append(f"artifact {meta.filename} is another file than the trial's")
    return problems


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
