"""The soak of tests/benchmarks/soak in its short form, and that each of its checks can fail."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from servers import SERVERS
from stand_ins import Command

from nas.loop.recovery import folder_id

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak"
sys.path.insert(0, str(SOAK))

import checks
from journal import Journal, Run, read_journal


@pytest.mark.slow
@pytest.mark.parametrize("machines", [1, 2])
def test_killed_again_and_again_nothing_finished_is_lost(tmp_path: Path, machines: int) -> None:
    if not SERVERS:
        pytest.skip("there is no PostgreSQL server here: Debian's package postgresql has it")
    flags = f"--workers 3 --kills 6 --rest 2 --steps 60 --machines {machines} --json"
    file = tmp_path / "soak.json"
    command = [sys.executable, str(SOAK / "soak.py"), *flags.split(), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(file.read_text())
    assert result["figures"]["killed"] == 6 and result["figures"]["finished"] >= 3
    assert len(result["checks"]) == 11 and not any(check["wrong"] for check in result["checks"])


@pytest.fixture
def soaked(run_search: Command, read_study: Any, runs: Path) -> checks.Soaked:
    """A small finished study, of stand-ins: its files are few, but what is stored is whole."""
    assert run_search() == 0
    folder = runs / "tiny"
    study = optuna.load_study(study_name="tiny", storage=read_study()._storage)
    return checks.Soaked(
        study=study, folders={folder_id(folder): folder}, runs=[], checkpoint_s=0.5, retries=2
    )


def run(number: int, life: int, digest: str, began: float, last: float, **more: Any) -> Run:
    return Run(number, life, digest, began, last, **more)


def change(soaked: checks.Soaked, number: int, **attrs: Any) -> None:
    """Changes what the study says of trial `number`."""
    storage = soaked.study._storage._backend  # type: ignore[attr-defined]
    trial = soaked.trials[number]
    with storage.engine.begin() as connection:
        for key, value in attrs.items():
            connection.exec_driver_sql(
                "DELETE FROM trial_user_attributes WHERE trial_id = ? AND key = ?",
                (trial._trial_id, key),
            )
            row = (trial._trial_id, key, json.dumps(value))
            connection.exec_driver_sql(
                "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
                row,
            )


def again(soaked: checks.Soaked) -> checks.Soaked:
    """The same, read afresh."""
    storage = soaked.study._storage._backend  # type: ignore[attr-defined]
    return dataclasses.replace(soaked, study=optuna.load_study(study_name="tiny", storage=storage))


def test_a_sound_study_passes(soaked: checks.Soaked) -> None:
    for check in (
        checks.once,
        checks.ended,
        checks.reported,
        checks.little_lost,
        checks.tried_again,
        checks.tidy,
    ):
        assert check(soaked).holds, check(soaked).wrong
    # What stand-ins leave is missing a real trial's files.
    assert (
        all("weights.safetensors" in wrong for wrong in checks.whole(soaked).wrong)
        and checks.whole(soaked).seen == 5
    )
    assert checks.figures(soaked)["finished"] == 5


def test_a_network_finished_twice_is_found(soaked: checks.Soaked) -> None:
    change(soaked, 1, digest=soaked.trials[0].user_attrs["digest"])
    assert checks.once(again(soaked)).wrong == [f"{soaked.trials[0].user_attrs['digest']} has 2"]


def test_what_waits_for_ever_is_found(soaked: checks.Soaked) -> None:
    soaked.study.enqueue_trial(soaked.trials[3].params)
    assert checks.ended(soaked).wrong == ["trial 5 is WAITING"]


def test_a_lost_result_is_found(soaked: checks.Soaked) -> None:
    runs = [
        run(7, 1, "a", 0, 1, kind="complete", was_last=False),
        run(0, 1, "b", 1, 2, kind="complete", was_last=False),
    ]
    assert checks.reported(dataclasses.replace(soaked, runs=runs)).wrong == [
        "trial 7 ended as complete, the study says None"
    ]


def test_twins_are_found() -> None:
    one, two = run(3, 1, "a", 10.0, 14.0), run(4, 2, "a", 13.0, 20.0)
    assert len(checks.never_together([one, two]).wrong) == 1
    assert checks.never_together(
        [one, run(4, 2, "a", 14.5, 20.0), run(5, 2, "b", 10.0, 30.0)]
    ).holds


def test_too_much_lost_is_found(soaked: checks.Soaked) -> None:
    digest = soaked.trials[3].user_attrs["digest"]
    steps = [(10 * k, 0.2 * k, 0.2 * k) for k in range(7)]
    killed = run(3, 1, digest, 0.0, 1.2, steps=steps)
    change(soaked, 4, retry_of=3, resumed={"from_step": 40, "lost_steps": 20, "lost_s": 0.4})
    little = dataclasses.replace(
        again(soaked), runs=[killed, run(4, 2, digest, 2.0, 3.0, steps=[(40, 2.0, 0.8)])]
    )
    assert checks.little_lost(little).holds and checks.losses(little)[0].steps == 20
    much = dataclasses.replace(
        little, runs=[killed, run(4, 2, digest, 2.0, 3.0, steps=[(0, 2.0, 0.0)])]
    )
    assert checks.little_lost(much).wrong == ["trial 4 lost 60 steps, 1.2 s (allowed 0.9)"]


def test_what_is_left_over_is_found(soaked: checks.Soaked) -> None:
    folder = next(iter(soaked.folders.values()))
    left = [
        folder / "checkpoints" / "ab" / "step_00000010.ckpt",
        folder / "trials" / "0002" / "lock",
        folder / "trials" / "0001" / ".weights.safetensors.77",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sorted(checks.tidy(soaked).wrong) == sorted(
        f"{path.relative_to(folder)} is left" for path in left
    )


def test_a_killed_trial_that_nobody_repeats_is_found(soaked: checks.Soaked) -> None:
    change(soaked, 2, kind="interrupted", message="its process was killed")
    assert checks.tried_again(again(soaked)).wrong == [
        "trial 2 has 0 repeats (its process was killed)"
    ]


def test_the_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "journal", 1), Journal(tmp_path / "journal", 2)
    first.write("begin", 0, digest="a")
    second.write("begin", 1, digest="b")
    first.write("resume", 0, step=20, seconds=1.0)
    first.write("train", 0, step=30, seconds=1.5)
    first.write("end", 0, digest="a", kind="stopped")
    first.write("begin", 2, digest="c")
    one, two, three = read_journal(tmp_path / "journal")
    assert (one.number, one.kind, one.was_last, [step for step, _, _ in one.steps]) == (
        0,
        "stopped",
        False,
        [20, 30],
    )
    assert (
        (two.number, two.kind, two.was_last) == (1, None, True)
        and three.digest == "c"
        and one.last_at <= three.began_at
    )
