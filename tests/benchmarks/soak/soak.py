"""Eight workers on PostgreSQL with real trials of seconds, of which 200 are killed: is all in
order afterwards?

    python tests/benchmarks/soak/soak.py --kills 200 --json soak.json
    python tests/benchmarks/soak/soak.py --kills 200 --machines 2    # two runs folders

Each worker is `nas.search` in a process of its own. At random moments one is killed with kill -9
(sometimes three at once, as when a machine dies) or, every tenth time, asked to end with SIGTERM,
and started again. Then all are asked to end, started a last time with a budget that can be
reached, and left alone. The study, its folders and the workers' own journal must agree; exits 1
where a check fails. Trials are real (data, timing, training, scoring), only small. A worker is a
fork of a process that has imported torch already, or 200 starts would cost 15 minutes of imports.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: one thread, so that a fork is whole
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "nas"), str(HERE.parents[2])]

# Some of these are imported only so that no worker has to: torch._dynamo alone takes two seconds.
import alembic.command  # noqa: F401
import optuna
import psycopg  # noqa: F401
import scipy.stats  # noqa: F401
import torch
import torch._dynamo
from checks import Check, Soaked, check_all, figures
from forks import Worker, WorkerPool, in_fork
from journal import Journal, read_journal, witnessed
from servers import SERVERS, Server
from sqlalchemy import text

import trials
from nas import cli, search
from nas.loop import recovery
from nas.study.config import StudyConfig
from nas.study.records import finished, read_rows
from nas.study.storage import open_storage, quiet_optuna

NAME = "soak"
CHECKPOINT_S = 1.0
NEW = {"heartbeat_s": 2.0, "checkpoint_s": CHECKPOINT_S}
# A network's process may die twice; the third time it is given up (nas/loop/recovery.py).
RETRIES = 2
STUDY = """
trials = 1000000
sampler = "tpe"
device = "cpu"
{new}
[data]
scenes = 2
scene_size = 128
held_out = 1
[train]
steps = {steps}
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
# The share of kills that take three workers at once, and of stops that are a SIGTERM.
THREE_AT_ONCE, ASKED = 0.05, 0.1
REAP_S, LOOK_S, LONGEST_WAIT_S, END_S = 0.05, 30.0, 2.0, 420.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--machines",
        type=int,
        default=1,
        help="so many runs folders, the workers shared out among them",
    )
    parser.add_argument(
        "--devices",
        type=int,
        default=4,
        help="so many locks for measurements, shared by the workers: as many GPUs",
    )
    parser.add_argument("--steps", type=int, default=30, help="training steps of a trial")
    parser.add_argument(
        "--lines",
        type=float,
        default=7.0,
        help="mean number of the journal's lines between two kills; a trial has 6",
    )
    parser.add_argument(
        "--asked",
        type=float,
        default=ASKED,
        help="the share of stops that are a SIGTERM, not a kill",
    )
    parser.add_argument("--rest", type=int, default=8, help="new networks after the last kill")
    parser.add_argument("--seed", type=int, default=0, help="fixes whom and when")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--keep", type=Path, help="a folder for everything (a temporary one)")
    return parser.parse_args()


class Soak:
    """One study, its server and its workers."""

    def __init__(self, args: argparse.Namespace, place: Path, url: str) -> None:
        self.args, self.place, self.url = args, place, url
        self.random = random.Random(args.seed)
        self.budget = 10**6
        self.toml = place / f"{NAME}.toml"
        known = {field.name for field in dataclasses.fields(StudyConfig)}
        new = "\n".join(f"{key} = {value}" for key, value in NEW.items() if key in known)
        self.toml.write_text(STUDY.format(steps=args.steps, new=new))
        logs = place / "logs"
        logs.mkdir(exist_ok=True)
        machines = [place / f"machine{index}" for index in range(args.machines)]
        self.folders = [machine / NAME for machine in machines]
        self.crew = WorkerPool(
            [
                Worker(
                    index,
                    lambda life, runs=machines[index % args.machines]: self.work(life, runs),
                    logs / f"{index}.log",
                )  # type: ignore[misc]
                for index in range(args.workers)
            ]
        )

    def work(self, life: int, runs: Path) -> int:
        """One life of a worker: the command itself, with its runner watched."""
        os.environ["DARK_NAS_LOCKS"] = str(self.place / f"locks{life % self.args.devices}")
        trials.run_trial = witnessed(trials.run_trial, Journal(self.place / "journal", life))
        where = ["--study", str(self.toml), "--runs", str(runs), "--storage", self.url]
        return cli.run(search.main, [*where, "--trials", str(self.budget)])

    def look(self) -> dict[str, Any]:
        """The study's trials by kind, asked in a fork."""
        return in_fork(lambda: dict(Counter(row.kind for row in read_rows(open_soaked(self.url)))))

    def ready(self) -> int:
        """How many trials must be finished for the end: those that are, all that wait, and some
        new ones.
        """

        def count() -> int:
            rows = read_rows(open_soaked(self.url))
            return finished(rows) + sum(row.kind in ("waiting", "running") for row in rows)

        return int(in_fork(count)) + int(self.args.rest)

    def kill_and_start(self) -> None:
        """Until so many were killed: a random worker, at a random moment, and after a random while
        it is started again.

        How soon the next one follows is counted in the journal's lines: on a slow machine as much
        gets done between two kills.
        """
        crew, started = self.crew, time.monotonic()
        due = {worker.index: started + 0.3 * worker.index for worker in crew.workers}
        next_line, next_kill, next_look = self.args.workers, None, started + LOOK_S
        while crew.killed < self.args.kills:
            now = time.monotonic()
            for death in crew.reap():
                due[death.index] = now + self.random.uniform(0, 1)
            for worker in crew.workers:
                if worker.pid is None and now >= due[worker.index]:
                    crew.start(worker)
            if next_kill is None and (lines := self.lines()) >= next_line:
                next_line = lines + self.random.expovariate(1 / self.args.lines)
                next_kill = now + self.random.uniform(
                    0, LONGEST_WAIT_S
                )  # not always where a line has just been written
            if next_kill is not None and now >= next_kill and crew.alive:
                next_kill = None
                self.stop_some(self.args.kills - crew.killed - crew.dying)
            if now >= next_look:
                next_look = now + LOOK_S
                print(f"{now - started:5.0f} s, {crew.killed} killed: {self.look()}", flush=True)
            time.sleep(REAP_S)

    def stop_some(self, most: int) -> None:
        """Kills one worker or three, `most` at most, or asks one to end."""
        crew = self.crew
        if self.random.random() < self.args.asked:
            crew.send(self.random.choice(crew.alive), signal.SIGTERM)
            return
        many = min(3 if self.random.random() < THREE_AT_ONCE else 1, len(crew.alive), most)
        for worker in self.random.sample(crew.alive, many):
            crew.send(worker, signal.SIGKILL)

    def lines(self) -> int:
        """How many lines the journal has."""
        path = self.place / "journal"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def end(self) -> list[str]:
        """Asks all to end, then runs them to the budget's end; what went wrong."""
        crew, wrong = self.crew, []
        for worker in crew.alive:
            with contextlib.suppress(ProcessLookupError):
                crew.send(worker, signal.SIGTERM)
        if not crew.wait(90):
            wrong.append("asked to end, a worker was still there after 90 s")
            crew.kill_all()
        self.budget = self.ready()
        print(
            f"all asked to end: {self.look()}; now up to {self.budget} finished trials, in peace",
            flush=True,
        )
        peaceful = len(crew.deaths)
        # A worker of another machine is known dead only after three heartbeats.
        for worker in crew.workers:
            crew.start(worker)
        if not crew.wait(END_S):
            wrong.append(
                f"the search had not ended {END_S:g} s after the last kill: {self.look()}"
            )
            crew.kill_all()
        wrong += [
            f"worker {death.index} left in peace ended with {death.status}"
            for death in crew.deaths[peaceful:]
            if death.status
        ]
        return wrong

    def check(self) -> tuple[list[Check], dict[str, Any]]:
        """All checks and figures; only when no more forks are needed."""
        study = open_soaked(self.url)
        folders = {recovery.folder_id(folder): folder for folder in self.folders}
        runs = read_journal(self.place / "journal")
        soaked = Soaked(
            study=study, folders=folders, runs=runs, checkpoint_s=CHECKPOINT_S, retries=RETRIES
        )
        checks = [*check_all(soaked), self.check_lives(), self.check_server(study)]
        asked = [death for death in self.crew.deaths if signal.SIGTERM in death.by_us]
        result = {
            "killed": self.crew.killed,
            "asked_to_end": len(asked),
            "of_these_killed": sum(one.was_killed for one in asked),
            "lives": len(self.crew.deaths),
            **figures(soaked),
        }
        return checks, result

    def check_lives(self) -> Check:
        """No worker ends by itself while there is work; one that is asked to end exits with 0."""
        check = Check(
            "no worker fails by itself, and one that is asked to end exits 0",
            len(self.crew.deaths),
        )
        for death in self.crew.deaths:
            if death.status and -death.status not in death.by_us:
                check.wrong.append(
                    f"worker {death.index}, life {death.life}: status {death.status} "
                    f"after signals {list(death.by_us)}"
                )
        return check

    def check_server(self, study: optuna.Study) -> Check:
        """The server holds no lock and no connection of the dead."""
        engine = study._storage._backend.engine  # type: ignore[attr-defined]
        with engine.connect() as connection:
            locks = connection.execute(
                text("select count(*) from pg_locks where locktype = 'advisory'")
            ).scalar()
            others = connection.execute(
                text(
                    "select count(*) from pg_stat_activity where usename = 'nas' and pid "
                    "<> pg_backend_pid() "
                    "and client_port <> inet_client_port()"
                )
            ).scalar()
        mine = engine.pool.checkedout() + engine.pool.checkedin()
        wrong = [f"{locks} advisory locks"] * bool(locks) + [f"{others} connections"] * (
            others > mine
        )
        return Check("the server holds no lock and no connection of a dead worker", 1, wrong)


def open_soaked(url: str) -> optuna.Study:
    """The soaked study."""
    quiet_optuna()
    return optuna.load_study(study_name=NAME, storage=open_storage(url))


@contextlib.contextmanager
def serving(place: Path) -> Iterator[Server]:
    """A PostgreSQL server of our own; its log is left in `place`."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        server = Server(folder)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(Exception):
                shutil.copy(folder / "log", place / "server.log")
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(checks: list[Check], result: dict[str, Any]) -> str:
    """Figures, then the checks with what broke them (the first five of each)."""
    lines = [
        f"{key.replace('_', ' '):<38}{f'{value:.2f}' if isinstance(value, float) else value}"
        for key, value in result.items()
    ]
    lines.append("")
    for check in checks:
        lines.append(f"{'ok' if check.holds else 'WRONG':<7}{check.rule} ({check.seen} looked at)")
        lines += [f"       {wrong}" for wrong in check.wrong[:5]]
        lines += [f"       and {len(check.wrong) - 5} more"] * (len(check.wrong) > 5)
    return "\n".join(lines)


def soak(args: argparse.Namespace, place: Path) -> int:
    """The whole soak; 1 where a check failed."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))
    gc.collect()
    gc.freeze()  # forks then share the parent's pages
    started = time.monotonic()
    with serving(place) as server:
        one = Soak(args, place, server.url)
        try:
            one.kill_and_start()
            wrong = one.end()
        finally:
            one.crew.kill_all()
        checks, result = one.check()
        checks.append(Check("the search ends by itself after the last kill", 1, wrong))
    seconds = time.monotonic() - started
    result = {"workers": args.workers, "machines": args.machines, "seconds": seconds, **result}
    print(table(checks, result))
    if args.json:
        rules = [
            {"rule": check.rule, "seen": check.seen, "wrong": check.wrong} for check in checks
        ]
        args.json.write_text(json.dumps({"figures": result, "checks": rules}, indent=1) + "\n")
    return int(not all(check.holds for check in checks))


def main() -> int:
    args = arguments()
    if not SERVERS:
        print("there is no PostgreSQL server here: Debian's package postgresql has it")
        return 2
    if args.keep:
        args.keep.mkdir(parents=True)
        return soak(args, args.keep)
    with tempfile.TemporaryDirectory() as place:
        return soak(args, Path(place))


if __name__ == "__main__":
    sys.exit(main())
