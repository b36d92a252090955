"""Stopping inside a search: who may be stopped, what the study then holds, and what a restart
makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from stand_ins import Command, Runner, figures

from nas import cli, export
from nas.study.ranking import RungEntry, is_promoted
from nas.study.records import finished, read_rows
from space import DesignSpace, Genome
from trials import rung_steps

Read = Callable[[], Any]
RUNGS = (20, 60, 180)
SETTINGS = ("--steps", RUNGS[-1], "--trials", 16, "--sampler", "random")


def rungs_of(trial: Any) -> list[tuple[int, str]]:
    return [(rung["step"], rung["decision"]) for rung in trial.user_attrs.get("rungs", [])]


@pytest.fixture
def searched(run_search: Command) -> None:
    assert run_search(*SETTINGS, runner=Runner(rungs=RUNGS)) == 0


def test_some_are_stopped_and_the_study_tells_where(searched: None, read_study: Read) -> None:
    trials = [t for t in read_study().trials if "repeat_of" not in t.user_attrs]
    stopped = [t for t in trials if t.user_attrs["kind"] == "stopped"]
    whole = [t for t in trials if t.user_attrs["kind"] == "complete"]
    assert len(stopped) >= 4 and len(stopped) + len(whole) == 16 == finished(
        read_rows(read_study())
    )
    for trial in stopped:
        *passed, (step, decision) = rungs_of(trial)
        assert trial.state == TrialState.PRUNED and decision == "stopped"
        assert {decision for _, decision in passed} <= {"on"}
        assert trial.user_attrs["psnr_db"] == trial.user_attrs["rungs"][-1]["psnr_db"]
        assert trial.user_attrs["message"].startswith(f"stopped at step {step} of 180")
    for trial in whole:
        assert trial.state == TrialState.COMPLETE and rungs_of(trial)[-1] == (180, "end")
        assert [step for step, _ in rungs_of(trial)] == list(RUNGS)


def test_baselines_are_never_stopped(searched: None, read_study: Read) -> None:
    seeds = [t for t in read_study().trials if "baseline" in t.user_attrs]
    assert [rungs_of(t) for t in seeds] == [[(20, "exempt"), (60, "exempt"), (180, "end")]] * 3


def test_every_decision_follows_from_what_the_study_held_then(
    searched: None, read_study: Read
) -> None:
    """One worker: at a rung a trial met those before it, and no others."""
    seen: dict[int, dict[str, RungEntry]] = {step: {} for step in RUNGS}
    decided = 0
    for trial in read_study().trials:
        for rung in trial.user_attrs.get("rungs", []):
            figures = {key: rung[key] for key in ("psnr_db", "latency_ms")}
            one = RungEntry(digest=trial.user_attrs["digest"], **figures)
            if rung["decision"] in ("on", "stopped"):
                assert (rung["decision"] == "on") == is_promoted(one, seen[rung["step"]].values())
                decided += 1
            seen[rung["step"]][one.digest] = one
    assert decided >= 13


def test_a_killed_and_resumed_search_decides_like_an_unbroken_one(
    run_search: Command, read_study: Read, runs: Path, tmp_path: Path
) -> None:
    """Trial 7 dies past its first rung; the same network is judged again among the same others,
    itself counted once.
    """

    def decided() -> dict[str, tuple[str, Any]]:
        return {
            t.user_attrs["digest"]: (t.user_attrs["kind"], rungs_of(t))
            for t in read_study().trials
            if t.user_attrs["kind"] in ("complete", "stopped") and "repeat_of" not in t.user_attrs
        }

    script: list[str | BaseException] = ["complete"] * 7 + [KeyboardInterrupt()]
    status = run_search(*SETTINGS, runner=Runner(rungs=RUNGS, script=script))
    assert status in (0, cli.EXIT_INTERRUPTED)
    run_search(*SETTINGS, runner=Runner(rungs=RUNGS))
    broken = decided()
    (runs / "tiny").rename(tmp_path / "first")
    run_search(*SETTINGS, runner=Runner(rungs=RUNGS))
    whole = decided()
    both = broken.keys() & whole.keys()
    assert len(both) >= 8 and all(
        broken[digest] == whole[digest] for digest in list(whole)[:8] if digest in both
    )


def test_a_queued_genome_is_never_stopped(
    run_search: Command, read_study: Read, runs: Path
) -> None:
    """The slowest and worst network there is, put into the queue by a user."""
    run_search(*SETTINGS, "--trials", 8, runner=Runner(rungs=RUNGS))
    study: optuna.Study = read_study()
    space = DesignSpace()
    genomes = [
        space.decode({gene.name: gene.choices[k % len(gene.choices)] for gene in space.genes})
        for k in range(4)
    ]
    slow = max(genomes, key=lambda genome: figures(genome)[1])
    study.enqueue_trial(space.encode(slow))
    run_search(*SETTINGS, "--trials", 9, runner=Runner(rungs=RUNGS))
    queued = next(t for t in read_study().trials if t.user_attrs.get("digest") == slow.digest)
    assert queued.user_attrs["kind"] == "complete" and queued.user_attrs["queued"] is True
    assert [decision for _, decision in rungs_of(queued)] == ["exempt", "exempt", "end"]


def test_without_stopping_all_are_trained_to_the_end(
    run_search: Command, read_study: Read
) -> None:
    run_search(*SETTINGS, "--stopping", "off", runner=Runner(rungs=RUNGS))
    trials = [
        t
        for t in read_study().trials
        if "baseline" not in t.user_attrs and "repeat_of" not in t.user_attrs
    ]
    assert {decision for t in trials for _, decision in rungs_of(t)} == {"on", "end"}


def test_a_stopped_network_proposed_again_is_not_trained_again(
    searched: None, run_search: Command, read_study: Read
) -> None:
    study: optuna.Study = read_study()
    stopped = next(t for t in study.trials if t.user_attrs["kind"] == "stopped")
    study.enqueue_trial(DesignSpace().encode(Genome.from_json(stopped.user_attrs["genome"])))
    runner = Runner(rungs=RUNGS)
    run_search(*SETTINGS, "--trials", 17, runner=runner)
    trials = read_study().trials
    repeat = next(t for t in trials if t.user_attrs.get("repeat_of") == stopped.number)
    assert repeat.state == TrialState.PRUNED
    assert stopped.user_attrs["digest"] not in [genome.digest for genome in runner.calls]


def test_the_table_tells_who_was_stopped(
    run_search: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search(*SETTINGS, runner=Runner(rungs=RUNGS))
    text = capsys.readouterr().out
    assert "stopped: stopped at step" not in text and "stopped at step 20 of 180" in text


def refused(run: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run() == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    return line


def test_bad_input_is_one_line(
    searched: None,
    run_search: Command,
    read_study: Read,
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = next(t.number for t in read_study().trials if t.user_attrs["kind"] == "stopped")
    argv = ["--study", "tiny", "--runs", str(runs), "--trial", str(number)]
    argv += ["--out", str(tmp_path / "out")]
    told = refused(lambda: cli.run(export.main, argv), capsys)
    rule = "an exported trial must be complete"
    assert f"{rule}, but trial {number} is stopped: stopped at step" in told
    told = refused(lambda: run_search(*SETTINGS, "--stopping", "perhaps", runner=Runner()), capsys)
    assert "--stopping: must be on or off, but got 'perhaps'" in told
    toml = tmp_path / "tiny.toml"
    toml.write_text(toml.read_text().replace("[train]\n", "[train]\nfirst_rung = 30\n", 1))
    told = refused(lambda: run_search(*SETTINGS, runner=Runner(rungs=RUNGS)), capsys)
    assert "train.first_rung was None, is 30" in told
    toml.write_text(toml.read_text().replace("first_rung = 30", "first_rung = 500"))
    told = refused(lambda: run_search(*SETTINGS, runner=Runner(rungs=RUNGS)), capsys)
    assert "train.first_rung must be from 1 to train.steps, 20, but got 500" in told


def test_the_rungs_lie_a_factor_of_three_apart() -> None:
    assert rung_steps(450) == [17, 50, 150, 450]
    assert rung_steps(180) == [20, 60, 180] and rung_steps(20) == [20] and rung_steps(1) == [1]
    assert rung_steps(450, 50) == [50, 150, 450] and rung_steps(450, 450) == [450]
    assert rung_steps(27, 1) == [1, 3, 9, 27]
