"""Disasters in the middle of a real search (data, training and timing are real, only small): what
is lost is told, and it is little.

Workers are forks of one process of the test's own, which has imported torch once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas import cli, search
from nas.study.records import finished, read_rows
from nas.study.storage import default_url
from space import BASELINES
from trials import Checkpointer, run_trial

ROOT = Path(__file__).parents[3]
SOAK = ROOT / "tests" / "benchmarks" / "soak"
STEPS = 60
STUDY = f"""
trials = 3
device = "cpu"
checkpoint_s = 0.2
[data]
scenes = 4
scene_size = 128
held_out = 2
[train]
steps = {STEPS}
batch = 1
crop = 64
dtype = "float32"
[latency]
height = 64
width = 64
threads = 1
warmup_runs = 1
min_runs = 5
precision = 1.0
max_seconds = 0.1
front_seconds = 0.1
"""
# Reads one JSON line after the other: {"start": N, "argv": [...]}, {"send": SIGNAL} or {"wait":
# SECONDS}; answers each.
POOL = """
import json, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {soak!r}]
from forks import Worker, WorkerPool
import alembic.command, torch._dynamo, torch  # once for all workers
from nas import cli, search
import trials
torch.set_num_threads(1)
print("ready", flush=True)
pool, argv = WorkerPool([]), []
for line in sys.stdin:
    told = json.loads(line)
    if "start" in told:
        argv[:] = told["argv"]
        body = lambda life: cli.run(search.main, argv)
        logs = [Path(told["logs"]) / f"{{index}}.log" for index in range(told["start"])]
        pool.workers = [Worker(index, body, log) for index, log in enumerate(logs)]
        for worker in pool.workers:
            pool.start(worker)
    elif "send" in told:
        for worker in pool.alive:
            pool.send(worker, told["send"])
    else:
        pool.wait(told["wait"])
        pool.kill_all()
    print(json.dumps([death.status for death in pool.deaths]), flush=True)
pool.kill_all()
"""


class Hands:
    """Starts workers, and sends them signals."""

    def __init__(self, process: subprocess.Popen[str], logs: Path) -> None:
        self._process, self.logs = process, logs

    def tell(self, **words: Any) -> list[int]:
        """The statuses of all workers that have ended so far."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({**words, "logs": str(self.logs)}) + "\n")
        self._process.stdin.flush()
        answer: list[int] = json.loads(self._process.stdout.readline())
        return answer

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.logs.iterdir()))


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    program = POOL.format(root=str(ROOT), soak=str(SOAK))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    (tmp_path / "logs").mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, cwd=ROOT, env=environment, **pipes) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        try:
            yield Hands(process, tmp_path / "logs")
        finally:
            process.communicate("", timeout=60)


@pytest.fixture
def argv(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command's words; its study is RUNS/losses."""
    path = tmp_path / "losses.toml"
    path.write_text(STUDY)
    monkeypatch.setenv("DARK_NAS_LOCKS", str(tmp_path / "locks"))
    return ["--study", str(path), "--runs", str(runs)]


def go_on(argv: list[str]) -> int:
    """The same command again, in this process."""
    return cli.run(search.main, argv)


def read(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="losses", storage=default_url(folder))


def checkpoints(folder: Path) -> dict[str, list[int]]:
    """The steps of the checkpoints that are there, newest first, by network."""
    return {
        path.name: [int(one.stem[5:]) for one in Checkpointer(folder=path).paths()]
        for path in (folder / "checkpoints").glob("*")
    }


def wait_for(what: Callable[[], bool], hands: Hands, seconds: float = 180.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        if time.monotonic() > until:
            pytest.fail(f"it did not come to that in {seconds:g} s:\n{hands.said()[-2000:]}")
        time.sleep(0.01)


def resumed(folder: Path, before: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """What the trials after trial `before` of each network stored about going on, by network."""
    return {
        digest: dict(trial.user_attrs["resumed"])
        for trial in read(folder).trials
        if (digest := str(trial.user_attrs.get("digest"))) in before
        and trial.number > before[digest]
        and "resumed" in trial.user_attrs
    }


def running(folder: Path) -> dict[str, int]:
    """The number of the latest trial of each network that was begun."""
    return {
        str(trial.user_attrs["digest"]): trial.number
        for trial in read(folder).trials
        if "digest" in trial.user_attrs
    }


@pytest.mark.slow
def test_killed_with_a_torn_checkpoint_and_asked_to_stop(
    hands: Hands, argv: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three workers train MO, M1 and M2: first they are killed, and a checkpoint is torn; then
    they are asked to stop.
    """
    folder, mo = runs / "losses", BASELINES["MO"].digest
    argv = [*argv, "--steps", "5000"]  # nobody waits for the end
    hands.tell(start=3, argv=argv)
    wait_for(
        lambda: len(kept := checkpoints(folder)) == 3 and min(map(len, kept.values())) == 2, hands
    )
    hands.tell(send=signal.SIGKILL)
    assert hands.tell(wait=10) == [-signal.SIGKILL] * 3
    dead, kept = running(folder), checkpoints(folder)
    torn, before = kept[mo]
    path = Checkpointer(folder=folder / "checkpoints" / mo).paths()[0]
    os.truncate(path, path.stat().st_size // 2)

    hands.tell(start=3, argv=argv)
    wait_for(lambda: len(resumed(folder, dead)) == 3, hands)
    again = resumed(folder, dead)
    # The torn one is set aside, and the one before it used; of the others the newest.
    for digest, steps in kept.items():
        assert again[digest]["from_step"] == (before if digest == mo else steps[0])
    assert path.with_name(path.name + ".damaged").is_file()
    assert again[mo]["lost_steps"] >= torn - before - 10
    going = running(folder)
    wait_for(
        lambda: all(
            steps[0] > again[digest]["from_step"] for digest, steps in checkpoints(folder).items()
        ),
        hands,
    )
    hands.tell(send=signal.SIGTERM)
    assert hands.tell(wait=90)[3:] == [0, 0, 0], hands.said()
    kept = checkpoints(folder)
    assert [row.kind for row in read_rows(read(folder))] == ["interrupted"] * 6 + ["waiting"] * 3

    hands.tell(start=3, argv=argv)
    wait_for(lambda: len(resumed(folder, going)) == 3, hands)
    last = resumed(folder, going)
    assert all(last[digest]["from_step"] == steps[0] for digest, steps in kept.items())
    assert [told["lost_steps"] for told in last.values()] == [0, 0, 0]
    # One death each: to be asked to stop is not the network's fault.
    assert [trial.user_attrs["attempts"] for trial in read(folder).trials[6:]] == [1, 1, 1]
    capsys.readouterr()
    names = {genome.digest: name for name, genome in BASELINES.items()}
    for what, told in (("killed, MO's last checkpoint torn", again), ("asked to stop", last)):
        lost = ", ".join(
            f"{names[digest]} {one['lost_steps']} steps ({one['lost_s']} s)"
            for digest, one in told.items()
        )
        print(f"{what}: lost {lost}; nothing finished")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 240 MiB small."""
    place, mount = tmp_path / "disk", shutil.which("mount")
    place.mkdir()
    if os.geteuid() != 0 or mount is None:
        pytest.skip("needs root to mount a file system")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=240m", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("file systems can't be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("left_bytes", [pytest.param(0, marks=pytest.mark.slow), 300_000])
@pytest.mark.slow
def test_a_full_disk_costs_at_most_the_running_trial(
    argv: list[str],
    small_disk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    left_bytes: int,
) -> None:
    """The database is elsewhere: it is the folder's disk that has no room, or too little for a
    checkpoint, when M1 trains.
    """
    filler, folder = small_disk / "filler", small_disk / "losses"
    url = f"sqlite:///{tmp_path}/study.db"
    argv = ["--study", argv[1], "--runs", str(small_disk), "--storage", url]

    def filling(genome: Any, *args: Any, on_progress: Any, **more: Any) -> Any:
        def told(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            if genome == BASELINES["M1"] and phase == "train" and done == STEPS // 2:
                fill(filler, left_bytes)
            on_progress(phase, done, total, figures)

        return run_trial(genome, *args, on_progress=told, **more)

    status = cli.run(lambda words: search.main(words, runner=filling), argv)
    said = capsys.readouterr()
    study = optuna.load_study(study_name="losses", storage=url)
    before = [row for row in read_rows(study) if row.kind == "complete"]
    files = {path: path.read_bytes() for path in folder.glob("trials/0000/*")}
    assert status == 2 and "the disk is full" in said.err and said.err.count("\n") == 1
    assert len(before) == 1 and "weights.safetensors" in {path.name for path in files}
    kinds = ["complete", "interrupted", "waiting", "waiting"]
    assert [row.kind for row in read_rows(study)] == kinds
    filler.unlink()
    assert cli.run(search.main, argv) == 0
    rows = read_rows(study)
    assert finished(rows) == 3
    for row in before:
        again = rows[row.number]
        assert (again.psnr_db, again.latency_ms) == (row.psnr_db, row.latency_ms)
    assert {path: path.read_bytes() for path in files} == files
    retry = next(trial for trial in study.trials if trial.user_attrs.get("retry_of") == 1)
    resumed = retry.user_attrs["resumed"]
    assert 0 < resumed["from_step"] <= STEPS // 2 and resumed["lost_s"] < 2.0
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    capsys.readouterr()
    print(f"a full disk: lost {resumed}, nothing finished")


def fill(path: Path, left_bytes: int) -> None:
    """Writes to `path` until its disk has `left_bytes` left."""
    usage = shutil.disk_usage(path.parent)
    with path.open("wb") as file:
        file.write(bytes(max(0, usage.free - left_bytes)))
