"""Workers as processes of their own: displayed, started again where they die, stopped when asked,
and none left behind.

Most are small programs that speak as nas.workers.worker does, and die as it may; the last tests
run the real ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console
from stand_ins import Command, Loader, Measure

from nas import cli, search
from nas.cli.signals import StopSignal
from nas.study.config import StudyConfig, load_config, settle
from nas.study.records import finished, read_rows
from nas.view.state import SearchOutcome, SearchState
from nas.view.terminal import LogView
from nas.view.worker_events import EventReplay
from nas.workers import pool as workers
from nas.workers.allocation import WorkerOptions, allocate
from nas.workers.pool import run_workers
from nas.workers.process import Assignment
from space import InputError

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parents[1]
Read = Callable[[], optuna.Study]

# A program that speaks as nas.workers.worker does; `start` counts its starts, from 1.
ACTOR = """
import json, os, pathlib, signal, sys, time
assignment = json.loads(sys.stdin.readline())
index, folder = assignment["index"], pathlib.Path(assignment["runs"])
mark = folder / f"starts-{index}"
start = int(mark.read_text()) + 1 if mark.exists() else 1
mark.write_text(str(start))
def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)
def end(reason="the rest run in other processes", status=0):
    tell("end", reason=reason, status=status)
    sys.exit(status)
"""
DIES = "os.kill(os.getpid(), signal.SIGKILL)\n"
# Waits, and puts its trial back when it is asked to stop.
OBEYS = """
def back(*_):
    (folder / f"back-{index}").touch()
    end("stopped")
signal.signal(signal.SIGTERM, back)
tell("started", number=index, name="new")
time.sleep(120)
"""
STUBBORN = (
    'signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntell("started", number=index, '
    'name="new")\ntime.sleep(120)\n'
)


class Crew:
    """A study without trials (or another), its workers' `body`, and what was shown of them."""

    def __init__(self, folder: Path, study: optuna.Study | None = None) -> None:
        self.folder, self.stop = folder, StopSignal()
        self.study = study or optuna.create_study(
            directions=["maximize", "minimize"], storage=optuna.storages.InMemoryStorage()
        )
        self.shown = io.StringIO()
        self.view = LogView(
            SearchState(study="x", total=9, about=""), Console(file=self.shown, width=200)
        )

    def run(self, body: str, count: int = 1, **config: Any) -> SearchOutcome:
        common = {
            "study": "x.toml",
            "changes": {},
            "runs": str(self.folder),
            "device": "cpu",
            "threads": 1,
        }
        crew = [
            Assignment(index=n + 1, storage="postgresql://me:geheim@host/x", **common)
            for n in range(count)
        ]
        return run_workers(
            crew,
            study=self.study,
            config=StudyConfig(name="x", trials=9, **config),
            view=self.view,
            stop=self.stop,
            program=[sys.executable, "-c", ACTOR + body],
        )

    def starts(self, index: int = 1) -> int:
        return int((self.folder / f"starts-{index}").read_text())

    def signal_when(self, text: str, *numbers: int) -> None:
        """Sends this process signals once `text` is shown."""

        def send() -> None:
            until = time.monotonic() + 60
            while text not in self.shown.getvalue() and time.monotonic() < until:
                time.sleep(0.05)
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(0.3)

        threading.Thread(target=send, daemon=True).start()


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    return Crew(tmp_path)


def test_a_worker_that_dies_is_started_again(crew: Crew) -> None:
    assert crew.run(f"if start == 1: {DIES}end()\n") == SearchOutcome(
        reason="the rest run in other processes"
    )
    assert (
        "worker 1 died (killed by SIGKILL); it is started again" in crew.shown.getvalue()
        and crew.starts() == 2
    )


def test_workers_that_die_again_and_again_end_the_search_with_their_last_words(
    crew: Crew,
) -> None:
    body = (
        'print("Traceback", file=sys.stderr)\nprint("RuntimeError: no driver", '
        "file=sys.stderr)\nsys.exit(3)\n"
    )
    ending = crew.run(body, count=2)
    assert ending.status == 1
    assert ending.reason.endswith(
        "died 3 times before a trial was finished (exit status 3: RuntimeError: no driver)"
    )
    assert [crew.starts(1), crew.starts(2)] == [3, 3]
    log = (crew.folder / "x" / "workers" / "2.log").read_text()
    assert log.count("RuntimeError: no driver") == 3 == log.count("--- 20")


def test_as_long_as_trials_get_finished_deaths_do_not_count(
    tmp_path: Path, run_search: Command, read_study: Read
) -> None:
    run_search("--trials", 3)
    crew = Crew(tmp_path, read_study())
    body = (
        f'if start < 6:\n  tell("started", number=1, name="M1")\n  tell("ended", number=1)\n '
        f" {DIES}end()\n"
    )
    assert crew.run(body).status == 0 and crew.starts() == 6
    assert "worker 1, trial 1 M1: complete" in crew.shown.getvalue()
    assert crew.view.state.running == {} and len(crew.view.state.rows) == 3


def test_what_a_user_must_mend_ends_it_only_where_no_worker_can_go_on(crew: Crew) -> None:
    body = 'if index == 1: end("device cuda:0 is gone", 2)\n'
    assert crew.run(body + "end()\n", count=2).status == 0
    assert (
        "worker 1 has ended: device cuda:0 is gone" in crew.shown.getvalue()
        and crew.starts(1) == 1
    )
    with pytest.raises(InputError, match=r"^device cuda:0 is gone$"):
        crew.run(body, count=1)


def test_one_that_had_nothing_left_to_do_takes_the_place_of_one_that_was_given_up(
    crew: Crew,
) -> None:
    assert crew.run(f"if index == 1: end()\ntime.sleep(0.2)\n{DIES}", count=2).status == 0
    assert [crew.starts(1), crew.starts(2)] == [2, 3]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_asked_to_stop_all_put_their_trials_back(crew: Crew, number: int, status: int) -> None:
    crew.signal_when("trial 2: new starts", number)
    with crew.stop.installed():
        ending = crew.run(OBEYS, count=2)
    assert ending.status == status and "the running trials were put back" in ending.reason
    assert {path.name for path in crew.folder.glob("back-*")} == {"back-1", "back-2"}


def test_a_worker_that_does_not_stop_is_killed(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LEAVE_S", 0.5)
    crew.signal_when("trial 1: new starts", signal.SIGTERM)
    began = time.monotonic()
    with crew.stop.installed():
        assert crew.run(STUBBORN).status == 0
    assert time.monotonic() - began < 45


def test_asked_twice_it_kills_them_at_once(crew: Crew) -> None:
    crew.signal_when("trial 1: new starts", signal.SIGINT, signal.SIGINT)
    began = time.monotonic()
    with crew.stop.installed():
        assert crew.run(STUBBORN).status == 130
    assert time.monotonic() - began < 45


def test_what_is_no_event_is_left_out(crew: Crew) -> None:
    body = (
        'print("hello", flush=True)\nprint(\'{"event": "no\', flush=True)\nprint(7, '
        'flush=True)\ntell("note", text="[b]")\nend()\n'
    )
    assert crew.run(body).status == 0
    assert "worker 1: [b]" in crew.shown.getvalue()


def test_a_trial_that_begins_while_another_s_end_is_shown_stays(
    crew: Crew, run_search: Command, read_study: Read
) -> None:
    run_search("--trials", 3)
    shown = EventReplay(read_study(), crew.view)
    for event in (
        {"event": "started", "number": 1, "name": "M1"},
        {"event": "ended", "number": 1},
        {"event": "started", "number": 2, "name": "new"},
    ):
        shown.show(4, event)
    assert shown.refresh() and not shown.refresh()
    assert (
        crew.view.state.running[4].number == 2
        and "worker 4, trial 1 M1: complete" in crew.shown.getvalue()
    )
    assert not shown.gone(4) and crew.view.state.running == {}


def test_the_same_word_from_several_is_noted_once(crew: Crew) -> None:
    assert crew.run('tell("note", text="no answer")\nend()\n', count=3).status == 0
    assert crew.shown.getvalue().count("no answer") == 1


def test_a_password_is_on_no_command_line_and_in_no_environment(crew: Crew) -> None:
    body = """
secret = assignment["storage"].split(":")[2].split("@")[0].encode()
assert len(secret) == 6
for name in ("cmdline", "environ"):
    assert secret not in pathlib.Path(f"/proc/self/{name}").read_bytes()
end()
"""
    assert crew.run(body).status == 0
    assert "geheim" not in repr(
        Assignment(
            index=1, study="x", changes={}, runs="", storage="geheim", device="cpu", threads=1
        )
    )


def test_a_worker_started_again_has_the_time_that_is_left(crew: Crew) -> None:
    body = (
        f'tell("note", text=str(assignment["changes"]["timeout_min"]))\ntime.sleep(0.3)\nif start '
        f"< 3: {DIES}end()\n"
    )
    assert crew.run(body, timeout_min=0.5).status == 0
    minutes = [
        float(line.split()[-1])
        for line in crew.shown.getvalue().splitlines()
        if line.startswith("worker 1: ")
    ]
    assert len(minutes) == 3 and 0.5 > minutes[0] > minutes[1] + 0.004 > minutes[2] + 0.008


def test_an_assignment_survives_its_way_and_nothing_else_is_taken() -> None:
    one = Assignment(
        index=3,
        study="dark",
        changes={"train.steps": 5},
        runs="r",
        storage=None,
        device="cuda:1",
        threads=2,
    )
    assert Assignment.from_json(one.to_json()) == one
    for text in ("", "{}", "[1]", '{"index": 1}', "no"):
        with pytest.raises(InputError, match="one Assignment as a line of JSON"):
            Assignment.from_json(text)


# The real program, with stand-ins for data and training. Nobody trains before `together` workers
# have a trial.
WORKER = """
import os, sys, time
sys.path[:0] = [{root!r}, {here!r}]
from functools import partial
from stand_ins import Loader, Runner
from nas import cli
from nas.workers import worker
inner = Runner(seconds={seconds}, steps=40)
def runner(*args, directory, **kwargs):
    met = directory.parents[1] / "met"
    met.mkdir(exist_ok=True)
    (met / str(os.getpid())).touch()
    while len(list(met.iterdir())) < {together}:
        time.sleep(0.05)
    return inner(*args, directory=directory, **kwargs)
work = partial(worker.work, runner=runner, load=Loader())
sys.exit(cli.run(lambda argv: worker.main(argv, worker=work)))
"""


def worker_program(seconds: float, together: int = 1) -> list[str]:
    return [
        sys.executable,
        "-c",
        WORKER.format(root=str(ROOT), here=str(HERE), seconds=seconds, together=together),
    ]


@pytest.mark.slow
def test_two_workers_share_a_study(
    tiny: Path, runs: Path, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--study", tiny, "--runs", runs, "--device", "cpu", "--trials", 6, "--workers", 2]

    def main(argv: list[str]) -> int:
        return search.main(
            argv, load=Loader(), measure=Measure(), program=worker_program(0.4, together=2)
        )

    assert cli.run(main, [str(word) for word in words]) == 0
    rows = read_rows(read_study())
    assert [row.kind for row in rows] == ["complete"] * 6 and len(
        {row.digest for row in rows}
    ) == 6
    output = capsys.readouterr().out
    assert (
        "6 trials, cpu, synthetic, 20 steps, sampler structure, 2 workers ->" in output
        and "--workers 2 --trials 12" in output
    )
    assert output.count("complete, ") == 6 and all(f"worker {n}, trial" in output for n in (1, 2))
    assert "all 6 trials finished (6 of 6 trials)" in output and "died" not in output
    again = read_study()
    assert again.user_attrs["baseline_psnr_db"] == pytest.approx(
        again.user_attrs["reference"]["psnr_db"]
    )


@pytest.mark.slow
def test_a_worker_whose_starter_is_gone_puts_its_trial_back(
    run_search: Command, tiny: Path, runs: Path, read_study: Read
) -> None:
    run_search("--trials", 3)
    config = settle(load_config(str(tiny), {"trials": 5, "device": "cpu"}))
    (one,) = allocate(WorkerOptions(), config, study=str(tiny), runs=runs, storage=None)
    with subprocess.Popen(
        worker_program(30), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(one.to_json() + "\n")
        process.stdin.flush()
        for line in process.stdout:
            if json.loads(line).get("phase") == "train":
                break
        process.stdin.close()
        last = [json.loads(line) for line in process.stdout][-1]
        assert (
            process.wait(timeout=60) == 0
            and last["event"] == "end"
            and "put back" in last["reason"]
        )
    rows = read_rows(read_study())
    assert [row.kind for row in rows] == ["complete"] * 3 + ["interrupted", "waiting"]
    assert read_study().trials[4].user_attrs["attempts"] == 0


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(path.parent.name))
    return sorted(found)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.1)
    return holds()


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if re.search(pattern, line):
            return line
    pytest.fail(f"{pattern!r} never came:\n{''.join(seen)}")


@pytest.mark.slow
def test_the_real_command_survives_its_workers_and_its_workers_never_survive_it(
    tiny: Path, runs: Path, read_study: Read
) -> None:
    """Real data, training and latency, small; a worker killed, the command killed, the command
    asked to stop, then the rest.
    """
    words = [
        sys.executable,
        "-m",
        "nas.search",
        "--study",
        str(tiny),
        "--runs",
        str(runs),
        "--device",
        "cpu",
        "--workers",
        "2",
        "--trials",
        "6",
        "--steps",
        "240",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    with start() as first:
        read_until(first, r"worker \d, trial 1: M1 starts")
        crew = children(first.pid)
        assert len(crew) == 2
        time.sleep(1)
        os.kill(crew[1], signal.SIGKILL)
        read_until(first, r"worker \d died \(killed by SIGKILL.*\); it is started again")
        read_until(first, r"worker \d, trial \d+: .* starts")
        crew = children(first.pid)
        assert len(crew) == 2
        first.kill()
        assert wait_until(lambda: all(is_gone(pid) for pid in crew), 90)
    with start() as second:
        read_until(second, "resuming: ")
        read_until(second, r"worker \d, trial \d+: .* starts")
        crew = children(second.pid)
        second.terminate()
        output = second.communicate(timeout=200)[0]
        assert (
            second.returncode == 0
            and "the running trials were put back, and the same command goes on" in output
        ), output
        assert all(is_gone(pid) for pid in crew)
    states = [trial.state for trial in read_study().trials]
    assert TrialState.RUNNING not in states and TrialState.WAITING in states
    with start() as third:
        output = third.communicate(timeout=500)[0]
    assert third.returncode == 0 and "all 6 trials finished" in output, output
    study = read_study()
    rows = read_rows(study)
    verdicts = [row for row in rows if row.is_verdict]
    assert finished(rows) == 6 == len({row.digest for row in verdicts}) == len(verdicts)
    assert all(trial.state.is_finished() for trial in study.trials)
    interrupted = {row.number for row in rows if row.kind == "interrupted" and row.digest}
    assert interrupted and interrupted <= {
        trial.user_attrs.get("retry_of") for trial in study.trials
    }
    for row in verdicts:
        assert (runs / "tiny" / str(row.directory) / "result.json").is_file()
