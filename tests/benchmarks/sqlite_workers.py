"""How many worker processes one SQLite file bears.

    python tests/benchmarks/sqlite_workers.py [--workers 1 4 8] [--seconds 30]

Each process runs trials through Optuna as a search does (under the study's lock, 49 parameters and
25 attributes a trial, the table read three times), each lasting 2 s without the storage's part,
which is what is measured. Real trials last minutes; then the file bears as much more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from nas.study.lock import study_lock
from nas.study.storage import open_storage, quiet_optuna

PARAMS, ATTRIBUTES, TRIAL_S = 49, 25, 2.0


def work(url: str, folder: Path, seconds: float) -> dict[str, Any]:
    """One worker: its trials, its longest wait in the storage, its seconds there, and what went
    wrong.
    """
    notices: list[str] = []
    study = optuna.load_study(
        study_name="s",
        storage=open_storage(url, report=notices.append),
        sampler=optuna.samplers.RandomSampler(),
    )
    print("ready", flush=True)
    sys.stdin.readline()
    waits: list[float] = []
    errors: list[str] = []

    def timed(act: Callable[..., Any], *words: Any) -> Any:
        began = time.perf_counter()
        try:
            return act(*words)
        finally:
            waits.append(time.perf_counter() - began)

    def ask() -> optuna.Trial:
        with study_lock(folder, study):
            study.get_trials(deepcopy=False)
            trial = study.ask()
            study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
            return trial

    trials, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        try:
            trial = timed(ask)
            for number in range(PARAMS):
                timed(trial.suggest_int, f"gene{number}", 0, 15)
            timed(study.get_trials, False)
            time.sleep(TRIAL_S)
            for number in range(ATTRIBUTES):
                timed(trial.set_user_attr, f"key{number}", {"value": "x" * 100})
            timed(study.tell, trial, [1.0, 2.0])
            timed(study.get_trials, False)
            trials += 1
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    return {
        "trials": trials,
        "seconds": time.perf_counter() - began,
        "longest": max(waits),
        "in_storage": sum(waits),
        "calls": len(waits),
        "over_1_s": sum(wait > 1 for wait in waits),
        "notices": notices,
        "errors": errors,
    }


def measure(count: int, seconds: float, within: Path) -> dict[str, Any]:
    """`count` workers on a fresh file for `seconds`."""
    with tempfile.TemporaryDirectory(dir=within) as folder:
        url = f"sqlite:///{folder}/study.db"
        study = optuna.create_study(
            study_name="s", storage=open_storage(url), directions=["maximize", "minimize"]
        )
        words = [sys.executable, __file__, "--url", url, "--seconds", str(seconds)]
        processes = [
            subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for _ in range(count)
        ]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
        numbers = [trial.number for trial in study.get_trials(deepcopy=False)]
        assert numbers == list(range(len(numbers))), "two trials have the same number"
        assert all(
            len(trial.params) == PARAMS for trial in study.trials if trial.state.is_finished()
        )
    total = sum(one["trials"] for one in results)
    return {
        "workers": count,
        "trials": total,
        "per_s": sum(one["trials"] / one["seconds"] for one in results),
        "storage_s": sum(one["in_storage"] for one in results) / max(1, total),
        "longest": max(one["longest"] for one in results),
        "over_1_s": sum(one["over_1_s"] for one in results),
        "notices": sum(len(one["notices"]) for one in results),
        "errors": [error for one in results for error in one["errors"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where the file lies"
    )
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet_optuna()
    if options.url:
        folder = Path(options.url.removeprefix("sqlite:///")).parent
        print(json.dumps(work(options.url, folder, options.seconds)))
        return
    print(
        f"{PARAMS} parameters and {ATTRIBUTES} attributes a trial, trials of {TRIAL_S:g} "
        f"s, {os.cpu_count()} cores\n"
    )
    print("workers  trials/s  storage s/trial  longest wait s  waits > 1 s  notices  errors")
    for count in options.workers:
        one = measure(count, options.seconds, options.folder)
        print(
            f"{count:7d}  {one['per_s']:8.2f}  {one['storage_s']:15.2f}  "
            f"{one['longest']:14.2f}  {one['over_1_s']:11d}  "
            f"{one['notices']:7d}  {len(one['errors']):6d}",
            flush=True,
        )
        for error in sorted(set(one["errors"]))[:3]:
            print(f"         {error[:150]}")


if __name__ == "__main__":
    main()
