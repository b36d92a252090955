"""Processes that really die: the command itself as a subprocess, killed in the middle, and what
the next one finds.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from stand_ins import start

from nas.study.records import finished, read_rows
from nas.study.storage import default_url
from space import BASELINES

ROOT = Path(__file__).parents[3]
Read = Callable[[], optuna.Study]
# The stand-ins in a process of their own: trials of a second or so.
SLOW = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from stand_ins import Loader, Measure, Runner
from nas import cli, search
runner = Runner(seconds={seconds}, steps=60)
run = lambda argv: search.main(argv, runner=runner, load=Loader(), measure=Measure())
sys.exit(cli.run(run, sys.argv[1:]))
"""


@pytest.fixture
def stand_in(tiny: Path, runs: Path) -> Callable[..., subprocess.Popen[str]]:
    def run(seconds: float, *flags: object) -> subprocess.Popen[str]:
        program = SLOW.format(root=str(ROOT), here=str(Path(__file__).parents[1]), seconds=seconds)
        words = ["-c", program, "--study", tiny, "--runs", runs, "--device", "cpu", *flags]
        return start([str(word) for word in words])

    return run


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"{text!r} never came:\n{''.join(seen)}")


@pytest.mark.slow
def test_a_killed_trial_is_known_at_once_and_tried_again_once(
    stand_in: Callable[..., subprocess.Popen[str]], read_study: Read
) -> None:
    first = stand_in(1.5)
    read_until(first, "trial 1: M1 starts")
    time.sleep(0.5)
    first.kill()
    first.communicate()
    assert [trial.state for trial in read_study().trials][:2] == [
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]
    told = stand_in(0.05).communicate(timeout=120)[0]
    assert (
        "resuming: 1 of 5 trials finished" in told
        and "trial 1 M1 was interrupted (its process was killed)" in told
    )
    study = read_study()
    rows = read_rows(study)
    assert [row.kind for row in rows if row.baseline == "M1"] == ["interrupted", "complete"]
    assert finished(rows) == 5 and all(row.kind != "waiting" for row in rows)
    again = next(trial for trial in study.trials if trial.user_attrs.get("retry_of") == 1)
    assert (
        again.user_attrs["digest"] == BASELINES["M1"].digest and again.user_attrs["attempts"] == 1
    )
    assert sum(row.baseline == "MO" for row in rows) == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.slow
def test_asked_to_stop_it_ends_cleanly(
    stand_in: Callable[..., subprocess.Popen[str]], read_study: Read, number: int, status: int
) -> None:
    process = stand_in(1.5)
    read_until(process, "trial 1: M1 starts")
    process.send_signal(number)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == status and "Traceback" not in told
    assert "the same command goes on" in told and "Pareto front" in told
    rows = read_rows(read_study())
    assert [row.kind for row in rows] == ["complete", "interrupted", "waiting", "waiting"]
    assert [row.baseline for row in rows] == ["MO", "M1", "M2", "M1"]
    assert read_study().trials[3].user_attrs["attempts"] == 0  # not the network's fault


@pytest.mark.slow
def test_two_processes_share_the_work_and_neither_takes_the_other_for_dead(
    stand_in: Callable[..., subprocess.Popen[str]], read_study: Read
) -> None:
    first = stand_in(1.0)
    read_until(first, "trial 0: MO starts")
    second = stand_in(1.0)
    told = [process.communicate(timeout=180)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert "interrupted" not in "".join(told)
    rows = read_rows(read_study())
    assert [row.kind for row in rows] == ["complete"] * 5
    assert len({row.digest for row in rows}) == 5
    assert all("complete" in text for text in told)  # each had a part


def command(study: Path, runs: Path, trials: int) -> list[str]:
    """The real command's words."""
    flags = ["--study", str(study), "--runs", str(runs), "--device", "cpu"]
    return ["-m", "nas.search", *flags, "--trials", str(trials)]


@pytest.mark.slow
def test_the_real_command_is_killed_and_goes_on(tiny: Path, runs: Path, read_study: Read) -> None:
    """Real data, training and latency, at tiny sizes."""
    words = command(tiny, runs, 4)
    first = start(words)
    read_until(first, "trial 1: M1 starts")
    time.sleep(1.0)
    first.kill()
    first.communicate()
    before = read_study().trials
    again = start(words)
    told = again.communicate(timeout=300)[0]
    assert again.returncode == 0, told
    after = read_study().trials
    ended = [trial for trial in before if trial.state == TrialState.COMPLETE]
    assert ended and all(after[trial.number].values == trial.values for trial in ended)
    rows = read_rows(read_study())
    assert finished(rows) == 4
    assert {row.baseline for row in rows if row.kind == "complete"} >= set(BASELINES)
    for row in rows:
        if row.kind == "complete":
            folder = runs / "tiny" / str(row.directory)
            files = {path.name for path in folder.iterdir()}
            assert {"weights.safetensors", "genome.json", "result.json", "curve.csv"} <= files
            assert "preview.png" in files


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_and_ends_as_an_unbroken_one(
    tiny: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle of a real training: what is lost is at most a checkpoint's interval,
    and the PSNR is the same.
    """
    tiny.write_text("checkpoint_s = 0.3\n" + tiny.read_text().replace("steps = 20", "steps = 400"))

    unbroken = start(command(tiny, tmp_path / "unbroken", 3))
    broken = start(command(tiny, tmp_path / "broken", 3))
    checkpoints = tmp_path / "broken" / "tiny" / "checkpoints" / BASELINES["M1"].digest
    until = time.monotonic() + 1200
    while not any(path.name >= "step_00000030" for path in checkpoints.glob("step_*.ckpt")):
        assert broken.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.2)  # past a checkpoint
    broken.kill()
    broken.communicate()
    told = start(command(tiny, tmp_path / "broken", 3)).communicate(timeout=600)[0]
    assert (
        "trial 1 M1 was interrupted (its process was killed)" in told
        and " goes on with trial 1 from step " in told
    )
    assert unbroken.communicate(timeout=600) and unbroken.returncode == 0

    def trained(runs: str) -> FrozenTrial:
        url = default_url(tmp_path / runs / "tiny")
        trials = optuna.load_study(study_name="tiny", storage=url).trials
        trials = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        return next(trial for trial in trials if trial.user_attrs.get("baseline") == "M1")

    one, other = trained("unbroken"), trained("broken")
    assert one.values[0] == other.values[0], "the same weights"
    resumed = other.user_attrs["resumed"]
    # 0.3 and a step, on a machine that may be busy.
    assert resumed["from_step"] >= 20 and 0 <= resumed["lost_s"] <= 5.0
    assert not checkpoints.exists()
