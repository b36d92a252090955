"""The command as a user meets it, with stand-ins for data and training: budget, order, resuming,
what is told.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from stand_ins import Command, Loader, Runner, mo_latency_ms

from nas.study.records import finished, read_rows
from space import BASELINES, DesignSpace, Genome

Read = Callable[[], optuna.Study]
OF_BASELINES = [genome.digest for genome in BASELINES.values()]


def digests(runner: Runner) -> list[str]:
    """Of the networks that were trained."""
    return [genome.digest for genome in runner.calls]


def test_baselines_first_then_the_sampler_and_the_budget_counts_both(
    run_search: Command, read_study: Read
) -> None:
    runner = Runner()
    assert run_search(runner=runner) == 0
    assert digests(runner)[:3] == OF_BASELINES
    assert len(digests(runner)) == len(set(digests(runner))) == 5
    trials = read_study().trials
    assert [trial.user_attrs.get("baseline") for trial in trials] == ["MO", "M1", "M2", None, None]
    assert all(trial.user_attrs["sampler"] == "structure" for trial in trials[3:])


def test_the_contract_with_the_dashboards(
    run_search: Command, read_study: Read, runs: Path
) -> None:
    run_search()
    study = read_study()
    assert study.metric_names == ["PSNR, dB (held-out)", "latency, ms"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    attrs = study.user_attrs
    assert {"schema", "config", "fixed", "device", "data"} <= attrs.keys()
    assert attrs["schema"] == 1 and attrs["config"]["train"]["steps"] == 20
    assert attrs["reference"]["latency_ms"] == pytest.approx(8 * mo_latency_ms())
    assert attrs["reference"]["psnr_db"] == pytest.approx(attrs["baseline_psnr_db"])
    for trial in study.trials:
        told = trial.user_attrs
        assert trial.state == TrialState.COMPLETE and told["kind"] == "complete"
        assert all(type(value) in (int, str) for value in trial.params.values())
        genome = Genome.from_json(told["genome"])
        assert genome.digest == told["digest"] == DesignSpace().decode(trial.params).digest
        assert trial.values == pytest.approx([told["psnr_db"], told["latency"]["median_ms"]])
        assert told["ratio_to_mo"] == pytest.approx(told["latency"]["median_ms"] / mo_latency_ms())
        assert {"cost", "images", "ssim", "train_seconds"} <= told.keys()
        directory = runs / "tiny" / told["directory"]
        assert directory.name == f"{trial.number:04d}" and (directory / "result.json").is_file()
        assert not (directory / "lock").exists()


def test_the_same_command_goes_on_and_more_trials_may_be_asked(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, loader = Runner(), Runner(), Loader()
    assert run_search("--trials", 4, runner=first) == 0
    capsys.readouterr()
    assert run_search("--trials", 4, runner=second, load=loader) == 0
    told = capsys.readouterr().out
    assert second.calls == [] and loader.calls == 0
    for text in ("all 4 trials were finished already", "--trials 8", "Pareto front"):
        assert text in told
    assert run_search("--trials", 6, runner=second) == 0
    assert "resuming: 4 of 6 trials finished" in capsys.readouterr().out
    assert len(second.calls) == 2
    assert not set(digests(second)) & set(digests(first))
    assert sum("baseline" in trial.user_attrs for trial in read_study().trials) == 3


def test_the_end_names_what_to_try(
    run_search: Command, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search("--trials", 3)
    told = capsys.readouterr().out
    folder = runs / "tiny"
    assert f"python -m dashboards --study tiny --runs {runs}\n" in told
    assert f"python -m nas.describe {folder}/trials/" in told and "MO (baseline)" in told
    assert f"python -m dashboards.report --study tiny --runs {runs} --out report.html" in told
    assert "hypervolume" in told and "dB x octaves" in told


def test_diverged_and_out_of_memory_are_told_and_the_study_goes_on(
    run_search: Command, read_study: Read
) -> None:
    assert run_search(runner=Runner(script=["complete", "diverged", "out_of_memory"])) == 0
    rows = read_rows(read_study())
    kinds = ["complete", "diverged", "out_of_memory", "complete", "complete"]
    assert [row.kind for row in rows] == kinds
    trials = read_study().trials
    assert trials[1].state == TrialState.PRUNED and trials[1].constraints == {"diverged": 1.0}
    # Too large for the device's memory: infeasible, and the sampler learns it.
    assert trials[2].state == TrialState.PRUNED and trials[2].constraints == {"out_of_memory": 1.0}
    assert trials[1].user_attrs["message"] == "it diverged" and rows[1].ratio_to_mo is not None


def test_an_unexpected_error_stays_in_its_trial(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(script=["complete", ValueError("two\nlines"), "complete", KeyError("x")])
    assert run_search(runner=runner) == 0
    trials = read_study().trials
    assert trials[1].state == TrialState.FAIL
    assert trials[1].user_attrs["message"] == "ValueError: two lines"
    # A genome that raised has no verdict: five others were found.
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == 5
    assert len(runner.calls) == 7
    assert "ValueError: two lines" in capsys.readouterr().out


def test_three_errors_in_a_row_end_it(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(runner=Runner(script=[RuntimeError("no driver")] * 9)) == 1
    reason = "3 trials in a row failed, the last with: RuntimeError: no driver"
    assert reason in capsys.readouterr().err
    # Mended, the same command tries the baselines again, each once.
    runner = Runner()
    assert run_search(runner=runner) == 0
    assert digests(runner)[:3] == OF_BASELINES
    assert sum("baseline" in trial.user_attrs for trial in read_study().trials) == 6


def test_over_the_limit_nothing_is_trained(run_search: Command, read_study: Read) -> None:
    limit = mo_latency_ms() + 1
    assert run_search("--latency-limit-ms", limit, "--trials", 12) == 0
    trials = read_study().trials
    over = [trial for trial in trials if trial.user_attrs["kind"] == "over_limit"]
    assert {"M1", "M2"} <= {trial.user_attrs.get("baseline") for trial in over}
    for trial in trials:
        assert trial.constraints["over_latency_limit_ms"] == pytest.approx(
            trial.user_attrs["latency"]["median_ms"] - limit
        )
        assert (trial.state == TrialState.PRUNED) == (trial in over)
    assert all(trial.values is None for trial in over)
    assert len({row.digest for row in read_rows(read_study())}) == 12  # those over the limit count


def test_a_machine_that_slows_down_reorders_nothing(run_search: Command, read_study: Read) -> None:
    """After MO everything takes twice as long; the ratios, timed in turn, stay, and so do the
    values told.
    """

    class Slower(Runner):
        def __call__(self, genome: Genome, *args: Any, **kwargs: Any) -> Any:
            result = super().__call__(genome, *args, **kwargs)
            values, mo = result.to_dict(), genome == BASELINES["MO"]
            values["latency"]["median_ms"] *= 1 if mo else 2
            return SimpleNamespace(kind=result.kind, to_dict=lambda: values)

    assert run_search("--trials", 5, runner=Slower()) == 0
    for trial, row in zip(read_study().trials, read_rows(read_study()), strict=True):
        right_ms = trial.user_attrs["ratio_to_mo"] * mo_latency_ms()
        assert trial.values[1] == row.latency_ms == pytest.approx(right_ms)
        slowed = trial.user_attrs["latency"]["median_ms"] / right_ms
        assert slowed == pytest.approx(1 if trial.user_attrs.get("baseline") == "MO" else 2)


def test_queued_networks_come_after_the_baselines_once_and_are_never_stopped(
    run_search: Command, read_study: Read, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space, rungs = DesignSpace(), (20, 60, 180)
    genomes = [space.decode(space.sample(random.Random(seed))) for seed in (5, 6)]
    files = [tmp_path / f"{genome.digest}.json" for genome in genomes]
    for genome, file in zip(genomes, files, strict=True):
        file.write_text(genome.to_json())
    flags = ("--steps", 180, "--queue", files[0], "MO", files[1], files[0])
    for trials in (4, 9):  # the same command again queues nothing twice
        assert run_search(*flags, "--trials", trials, runner=Runner(rungs=rungs)) == 0
    trials = read_study().trials
    assert [trial.user_attrs.get("baseline") for trial in trials[:3]] == ["MO", "M1", "M2"]
    queued = [genome.digest for genome in genomes]
    assert [trial.user_attrs["digest"] for trial in trials[3:5]] == queued
    assert [trial.user_attrs["kind"] for trial in trials[:5]] == ["complete"] * 5
    assert all(trial.user_attrs["queued"] for trial in trials[3:5])
    assert sum(trial.user_attrs["digest"] in queued for trial in trials) == 2
    outside = tmp_path / "outside.json"
    outside.write_text(Genome(skip_width=17, skip_blocks=0, merge_width=0, head="none").to_json())
    for network, told in (
        (outside, "skip_width must be one of"),
        (tmp_path / "none.json", "there is no"),
    ):
        assert run_search("--steps", 180, "--queue", network, "--trials", 12) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    assert len(read_study().trials) == len(trials)


def test_a_rough_look_comes_first_only_where_it_may_be_enough(run_search: Command) -> None:
    free, limited = Runner(), Runner()
    flags = ("--stopping", "off", "--trials", 4)
    run_search(*flags, runner=free)
    run_search(*flags, "--latency-limit-ms", mo_latency_ms() + 1, "--trials", 6, runner=limited)
    assert free.rough == [False] * 4 and all(limited.rough)


def test_a_limit_that_nothing_meets_is_told(
    run_search: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search("--latency-limit-ms", 0.5, "--trials", 4) == 0
    told = capsys.readouterr().out
    assert "no network met the limit of 0.5 ms; the fastest of 4 was" in told


def test_an_unsteady_latency_is_marked(
    run_search: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of MO its milliseconds, since it is the unit; of the others the ratio to it."""

    class Unsteady(Runner):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            result = super().__call__(*args, **kwargs)
            values = result.to_dict()
            values["latency"]["steady"] = False
            # Its interval is 20 % wide.
            values["ratio_to_mo"]["drift"] = 0.3 if result.genome == BASELINES["M2"] else 0.1
            return SimpleNamespace(kind=result.kind, to_dict=lambda: values)

    run_search("--trials", 3, runner=Unsteady())
    told = capsys.readouterr().out
    assert f"~{mo_latency_ms():.2f} ms (1.00 x MO)" in told
    assert "~ drifted while it was timed" in told
    assert re.search(r"trial 1 M1: .* \d+\.\d\d ms", told)
    assert re.search(r"trial 2 M2: .* ~\d+\.\d\d ms", told)
    assert not re.search(r"trial 1 M1: .* ~", told)


def test_a_looser_limit_gives_the_baselines_their_trial(
    run_search: Command, read_study: Read
) -> None:
    run_search("--latency-limit-ms", mo_latency_ms() + 1, "--trials", 3)
    kinds = ["complete", "over_limit", "over_limit"]
    assert [row.kind for row in read_rows(read_study())] == kinds
    assert run_search("--trials", 5) == 0
    rows = read_rows(read_study())
    assert [row.kind for row in rows if row.baseline == "M1"] == ["over_limit", "complete"]
    assert [row.kind for row in rows if row.baseline == "M2"] == ["over_limit", "complete"]
    assert [row.kind for row in rows if row.baseline == "MO"] == ["complete"]


def test_a_known_network_is_told_its_values_and_not_trained(
    run_search: Command, read_study: Read
) -> None:
    run_search("--trials", 4)
    study, space = read_study(), DesignSpace()
    study.enqueue_trial(space.encode(BASELINES["M1"]))
    runner = Runner()
    assert run_search("--trials", 5, runner=runner) == 0
    assert len(runner.calls) == 1 and runner.calls[0].digest != BASELINES["M1"].digest
    trials = read_study().trials
    assert trials[4].user_attrs["repeat_of"] == 1 and trials[4].values == trials[1].values
    assert "directory" not in trials[4].user_attrs
    assert "repeat_of" not in trials[5].user_attrs


def test_endless_repeats_end(
    run_search: Command,
    monkeypatch: pytest.MonkeyPatch,
    read_study: Read,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mo = BASELINES["MO"]
    monkeypatch.setattr("nas.loop.objective.suggest", lambda trial, space: space.encode(mo))
    monkeypatch.setattr("nas.loop.search_loop.REPEATS_TILL_END", 8)
    runner = Runner()
    assert run_search(runner=runner) == 0
    assert len(runner.calls) == 1
    reason = "the last 8 proposals were known networks: the space seems exhausted"
    assert reason in capsys.readouterr().out
    samplers = [trial.user_attrs["sampler"] for trial in read_study().trials[3:]]
    assert samplers == ["structure"] + ["random"] * 5


def test_timeout_starts_no_new_trial(
    run_search: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(seconds=0.4)
    assert run_search("--timeout-min", 0.01, runner=runner) == 0
    assert 1 <= len(runner.calls) < 5
    told = capsys.readouterr().out
    assert "stopped after 0.01 minutes" in told and "go on" in told


@pytest.mark.slow
def test_proposals_do_not_depend_on_the_number_of_commands(
    run_search: Command, tiny: Path, tmp_path: Path
) -> None:
    whole, parts = Runner(), Runner()
    run_search("--trials", 6, "--runs", tmp_path / "a", runner=whole)
    flags = ("--sampler", "structure", "--runs", tmp_path / "b")
    for trials in (2, 5, 6):
        run_search(*flags, "--trials", trials, runner=parts)
    assert digests(whole) == digests(parts)
    other = Runner()
    run_search("--trials", 5, "--seed", 1, "--runs", tmp_path / "c", runner=other)
    assert not set(digests(other)[3:]) & set(digests(whole)[3:])


def test_one_worker_is_this_very_process(
    run_search: Command, read_study: Read, runs: Path
) -> None:
    runner = Runner()
    assert run_search("--workers", 1, "--trials", 3, runner=runner) == 0
    assert len(runner.calls) == 3 == finished(read_rows(read_study()))
    assert not (runs / "tiny" / "workers").exists()


def test_ctrl_c_puts_the_trial_back(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = Runner(script=["complete", KeyboardInterrupt()])
    assert run_search(runner=runner) == 130
    told = capsys.readouterr().out
    assert "the running trial was put back, and the same command goes on" in told
    assert "Pareto front" in told
    trials = read_study().trials
    assert trials[1].user_attrs["kind"] == "interrupted" and trials[1].state == TrialState.FAIL
    assert run_search(runner=runner) == 0
    rows = read_rows(read_study())
    assert [row.kind for row in rows if row.baseline == "M1"] == ["interrupted", "complete"]
    assert "resuming: 1 of 5 trials finished" in capsys.readouterr().out
    assert json.loads(json.dumps(read_study().trials[3].user_attrs))["retry_of"] == 1
