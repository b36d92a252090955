"""`nas.retrain`: what it leaves, what it refuses; and killed at any moment it ends with the same
weights bit for bit.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import optuna
import pytest
from safetensors.torch import load_file
from stand_ins import Command, start

from nas import cli
from nas.cli.networks import load_network
from nas.retrain import main
from nas.training.folder import claimed
from space import BASELINES, Genome, NetworkInput, build_model
from trials import Checkpointer, DataConfig, load_data, score_images
from trials.outputs import write_weights
from trials.training.checkpoints import DamagedError, read

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
OUTPUTS = {
    "genome.json",
    "weights.safetensors",
    "result.json",
    "curve.csv",
    "curve.svg",
    "preview.png",
    "training.json",
    "before_cooldown.ckpt",
    "log.txt",
    ".lock",
}


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    path.write_text(SMALL.to_json())
    return path


@pytest.fixture
def words(tiny: Path, genome: Path, runs: Path, tmp_path: Path) -> list[str]:
    flags = ["--study", tiny, "--genome", genome, "--runs", runs, "--out", tmp_path / "out"]
    return [str(word) for word in [*flags, "--device", "cpu", "--threads", 1]]


@pytest.fixture
def retrain(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def run(*flags: object) -> tuple[int, str, str]:
        status = cli.run(main, [*words, *map(str, flags)])
        return status, *capsys.readouterr()

    return run


def refused(outcome: tuple[int, str, str]) -> str:
    status, _, err = outcome
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1, outcome
    return err


def test_it_leaves_a_folder_like_a_trials(
    retrain: Callable[..., Any], tmp_path: Path, tiny: Path
) -> None:
    status, out, err = retrain("--steps", 40, "--eval-steps", 10)
    assert (status, err) == (0, "") and "% of it waiting for data" in out and "left" in out
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == OUTPUTS  # and no checkpoint
    result = json.loads((folder / "result.json").read_text())
    assert (
        result["kind"] == "complete"
        and result["digest"] == SMALL.digest
        and result["cost"]["parameters"] > 0
    )
    assert result["training"]["settings"]["train.steps"] == 40
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    scored = [row for row in rows if row["psnr_db"]]
    assert [int(row["step"]) for row in scored] == [10, 20, 30, 40] and len(rows) == 40
    assert float(scored[-1]["psnr_db"]) == pytest.approx(result["psnr_db"])
    assert cv2.imread(str(folder / "preview.png")) is not None
    assert "PSNR" in (folder / "curve.svg").read_text()
    network = load_network(str(folder), None)
    data = load_data(DataConfig(scenes=4, scene_size=128, held_out=2))
    scores = score_images(network.model, data.held_out)
    assert network.input == NetworkInput()
    assert sum(score.psnr_db for score in scores) / 2 == pytest.approx(result["psnr_db"], abs=1e-3)


def test_the_same_command_again_says_that_it_is_finished(
    retrain: Callable[..., Any], tmp_path: Path
) -> None:
    retrain("--steps", 5)
    before = (tmp_path / "out" / "weights.safetensors").stat().st_mtime_ns
    status, out, _ = retrain("--steps", 5)
    assert status == 0 and "finished already" in out and "dB" in out
    assert (tmp_path / "out" / "weights.safetensors").stat().st_mtime_ns == before


def test_a_changed_setting_is_refused_by_its_keys(retrain: Callable[..., Any]) -> None:
    retrain("--steps", 5)
    error = refused(retrain("--steps", 6, "--batch", 2, "--eval-steps", 1))
    assert (
        "train.steps was 5, is 6" in error
        and "train.batch was 1, is 2" in error
        and "another --out" in error
    )
    assert "data." not in error
    assert "data.scenes was 4, is 3" in refused(retrain("--steps", 5, "--scenes", 3))


def test_a_folder_that_holds_something_else_is_refused(
    retrain: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"x")
    assert "holds something else (holiday.jpg)" in refused(retrain())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["holiday.jpg"]
    assert "a file is in the way" in refused(retrain("--out", tmp_path / "small.json"))


def test_damaged_settings_are_refused(retrain: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training.json").write_text("{")
    assert "is damaged" in refused(retrain())
    (tmp_path / "out" / "training.json").write_text('{"schema": 9, "settings": {}}')
    assert "must have schema 3, but has 9" in refused(retrain())


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--genome", "none.json"], "there is no none.json"),
        (["--trial", "0"], "got both --trial and --genome"),
        (["--data", "/nowhere"], "there is none at /nowhere"),
        (["--steps", "0"], "steps and batch must be at least 1"),
        (["--crop", "66"], "crop must be a multiple of 8"),
        (["--learning-rate", "0"], "--learning-rate must be above 0"),
        (["--checkpoint-min", "0"], "--checkpoint-min must be above 0"),
        (["--eval-steps", "-1"], "--eval-steps must be at least 1"),
        (["--from-trial-weights"], "needs a trial, but there is only a genome"),
        (["--weights", "none.safetensors"], "there is none at none.safetensors"),
        (["--device", "abacus"], "device must be"),
    ],
)
def test_bad_flags_are_refused(
    retrain: Callable[..., Any], tmp_path: Path, flags: list[str], error: str
) -> None:
    assert error in refused(retrain(*flags))
    assert not (tmp_path / "out" / "training.json").exists()


def test_a_damaged_genome_is_refused(retrain: Callable[..., Any], genome: Path) -> None:
    genome.write_text('{"half": ')
    assert str(genome) in refused(retrain())


def test_a_study_is_needed_for_a_trial(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def error(*flags: object) -> str:
        status = cli.run(
            main, ["--out", str(tmp_path / "o"), "--runs", str(tmp_path), *map(str, flags)]
        )
        return refused((status, *capsys.readouterr()))

    assert "got neither --trial nor --genome" in error()
    assert "must come with its --study" in error("--trial", 1)
    assert "there is no study at sqlite:" in error("--study", "dark", "--trial", 1)
    assert "must come from one place" in error(
        "--genome", "MO", "--from-trial-weights", "--weights", "a.safetensors"
    )


def test_trials_of_a_study(
    run_search: Command,
    read_study: Callable[[], optuna.Study],
    runs: Path,
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The study is made with stand-ins, so its trials have genomes and no weights; one is given
    weights.
    """
    assert run_search("--trials", 3) == 0
    capsys.readouterr()

    def run(number: int, out: str, *flags: object) -> tuple[int, str, str]:
        words = ["--study", tiny, "--trial", number, "--runs", runs, "--out", tmp_path / out]
        words += ["--threads", 1, *flags]
        return cli.run(main, [str(word) for word in words]), *capsys.readouterr()

    assert "there is no 99: it has 0 to 2" in refused(run(99, "a"))
    assert "must have left weights to begin with" in refused(run(0, "a", "--from-trial-weights"))
    trial = runs / "tiny" / str(read_study().trials[0].user_attrs["directory"])
    trial.mkdir(parents=True, exist_ok=True)
    (trial / "genome.json").write_text(BASELINES["MO"].to_json())
    (trial / "result.json").write_text(
        json.dumps({"latency": {"median_ms": 1.5, "height": 64, "width": 64}})
    )
    write_weights(trial / "weights.safetensors", build_model(BASELINES["MO"]), NetworkInput())
    status, out, err = run(0, "a", "--from-trial-weights", "--steps", 1)
    assert (status, err) == (0, "") and "from trial's weights" in out
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert result["latency"]["median_ms"] == 1.5 and result["digest"] == BASELINES["MO"].digest
    assert result["training"]["settings"]["data.scenes"] == 4  # the study's own
    status, out, _ = run(0, "b", "--steps", 1)
    assert status == 0 and "from scratch" in out
    unbalanced = ["--from-trial-weights", "--steps", 1]
    write_weights(
        trial / "weights.safetensors",
        build_model(BASELINES["MO"]),
        NetworkInput(False),
    )
    assert "want it not white-balanced" in refused(run(0, "c", *unbalanced))


def test_a_divergence_ends_with_1(retrain: Callable[..., Any], tmp_path: Path) -> None:
    status, out, err = retrain("--steps", 400, "--learning-rate", 1e30)
    assert (
        (status, err) == (1, "") and "diverged: " in out and "there was no checkpoint yet" in out
    )
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_divergence_keeps_the_last_good_checkpoint(
    retrain: Callable[..., Any], tmp_path: Path
) -> None:
    status, out, _ = retrain("--steps", 400, "--learning-rate", 1e30, "--checkpoint-min", 1e-9)
    (checkpoint,) = [word.rstrip(";") for word in out.split() if ".ckpt" in word]
    assert status == 1 and intact(tmp_path / "out")
    assert Path(checkpoint).is_file()


def checkpoints(out: Path) -> list[Path]:
    return Checkpointer(folder=out / "checkpoints").paths()


def intact(out: Path) -> bool:
    """Whether there is an intact checkpoint."""
    for path in checkpoints(out):
        with contextlib.suppress(DamagedError):
            return bool(read(path))
    return False


def begin(words: list[str], *flags: object) -> subprocess.Popen[str]:
    return start(["-m", "nas.retrain", *words, *map(str, flags)])


def wait_for(process: subprocess.Popen[str], path: Path, pattern: str) -> None:
    until = time.monotonic() + 60
    while not any(path.glob(pattern)):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_asked_to_stop_it_writes_a_checkpoint(
    words: list[str], tmp_path: Path, number: int, status: int
) -> None:
    process = begin(words, "--steps", 100_000, "--checkpoint-min", 0.002)
    wait_for(process, tmp_path / "out" / "checkpoints", "step_*")
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == status and "Traceback" not in output
    last = output.strip().splitlines()[-1]
    step = read(checkpoints(tmp_path / "out")[0])["log"]["steps"]
    assert (
        f"stopped at step {step:,} of 100,000; the same command goes on: python -m nas.retrain"
        in last
    )


def test_a_second_process_in_the_same_folder_is_refused(
    retrain: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    with claimed(folder) as known:
        assert known is None
        assert "only one process may train in a folder" in refused(retrain())
    assert retrain("--steps", 1)[0] == 0  # the lock has gone with its holder


def test_a_full_disk_is_one_line(retrain: Callable[..., Any], tmp_path: Path) -> None:
    place = tmp_path / "small_disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        error = refused(retrain("--out", place / "out", "--steps", 5))
        outputs = [path.name for path in (place / "out").rglob("*.png*")]
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert "the disk is full" in error and "run the command again" in error
    assert not any(name.startswith(".") for name in outputs)  # nothing half written


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_with_the_same_weights(
    words: list[str], tmp_path: Path
) -> None:
    """kill -9, ten times, three of them while a checkpoint is being written."""
    chance = random.Random(os.environ.get("KILL_SEED", "4"))
    flags = ["--steps", "2400", "--checkpoint-min", "0.004", "--eval-steps", "400"]
    unbroken = [
        str(tmp_path / "unbroken") if word == str(tmp_path / "out") else word for word in words
    ]
    process = begin(unbroken, *flags)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    out = tmp_path / "out"
    resumed = torn = 0
    for kill in range(10):
        before = checkpoints(out)
        process = begin(words, *flags)
        assert process.stdout is not None
        while "resuming" not in (line := process.stdout.readline()) and " steps from " not in line:
            assert line, f"it ended before kill {kill}"
        resumed += "resuming" in line
        time.sleep(chance.uniform(0.0, 0.5))
        if kill % 3 == 0:  # in the middle of writing
            until = time.monotonic() + 30
            while (
                not list((out / "checkpoints").glob(".step_*"))
                and process.poll() is None
                and time.monotonic() < until
            ):
                pass
        process.kill()
        process.communicate()
        torn += bool(list((out / "checkpoints").glob(".step_*")))
        assert before == [] or intact(out)
        assert not (out / "result.json").exists(), (
            "it finished before it was killed ten times: more steps"
        )
    assert resumed >= 5 and torn >= 1, (resumed, torn)
    process = begin(words, *flags)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    # Not the files' bytes: safetensors writes its metadata in any order.
    whole, broken = (
        load_file(tmp_path / folder / "weights.safetensors") for folder in ("unbroken", "out")
    )
    assert whole.keys() == broken.keys()
    assert all(whole[name].numpy().tobytes() == broken[name].numpy().tobytes() for name in whole)
    curves = [
        (tmp_path / folder / "curve.csv").read_text().splitlines()
        for folder in ("unbroken", "out")
    ]
    without_seconds = [[line.rpartition(",")[0] for line in curve] for curve in curves]
    assert without_seconds[0] == without_seconds[1] and len(without_seconds[0]) > 400
    assert not (out / "checkpoints").exists()


def test_continued_it_is_the_longer_training_bit_for_bit(
    retrain: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short, longer, whole = (tmp_path / name for name in ("out", "longer", "whole"))
    assert retrain("--steps", 10)[0] == 0
    flags = ["--continue", short, "--steps", 40, "--out", longer]
    words = [str(word) for word in flags]
    assert cli.run(main, words) == 0, capsys.readouterr()
    assert retrain("--steps", 40, "--out", whole)[0] == 0
    one, other = (load_file(folder / "weights.safetensors") for folder in (longer, whole))
    assert all((one[name] == other[name]).all() for name in one)
    curves = []
    for folder in (longer, whole):
        with (folder / "curve.csv").open() as file:
            curves.append([(row["step"], row["loss"]) for row in csv.DictReader(file)])
    assert curves[0][-1] == curves[1][-1]
    # The same again says that it is finished; and the longer one can be gone on with too.
    assert cli.run(main, words) == 0 and "finished already" in capsys.readouterr().out
    again = ["--continue", str(longer), "--steps", "50", "--out", str(tmp_path / "again")]
    assert cli.run(main, again) == 0


def test_what_cannot_be_continued_is_refused(
    retrain: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrain("--steps", 20)
    short, new = tmp_path / "out", tmp_path / "new"

    def error(*flags: object) -> str:
        status = cli.run(main, [str(flag) for flag in flags])
        return refused((status, *capsys.readouterr()))

    to = ("--continue", short, "--out", new)
    other = error(*to, "--steps", 40, "--learning-rate", 1e-3, "--batch", 2, "--seed", 9)
    assert all(
        words in other
        for words in ("train.learning_rate was 0.014, is 0.001", "train.batch was 1, is 2")
    )
    assert "seed was" in other and "train.steps" not in other
    assert "leave that out" in error(*to, "--steps", 40, "--genome", "MO")
    assert "add --steps" in error(*to)
    assert "done already" in error(*to, "--steps", 15)
    assert "another folder" in error("--continue", short, "--out", short, "--steps", 40)
    assert "no before_cooldown.ckpt" in error("--continue", new, "--out", short, "--steps", 40)
    state = short / "before_cooldown.ckpt"
    state.write_bytes(state.read_bytes()[:-9])
    assert "damaged" in error(*to, "--steps", 40)
