"""Workers as tasks of a real Ray cluster: of two nodes, one of which is killed, and of one that
the search makes itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from servers import PASSWORD, postgresql, shows_password
from stand_ins import Command

from nas.study.records import Row, finished, read_rows
from nas.study.storage import open_storage
from nas.workers import ray_cluster
from space import InputError

ROOT, HERE = Path(__file__).parents[3], Path(__file__).parents[1]
Read = Callable[[], optuna.Study]
Search = Callable[..., subprocess.Popen[str]]
SERVER = f"postgresql+psycopg://nas:{PASSWORD[:6]}@host/x"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install ".[ray]"')

# The search, and its workers, with quick stand-ins for data and training.
SEARCH = """
import sys
from stand_ins import Loader, Measure
from nas import cli, search
program = [sys.executable, "-c", {worker!r}]
def main(argv):
    return search.main(argv, load=Loader(), measure=Measure(), program=program)
sys.exit(cli.run(main, sys.argv[1:]))
"""
WORKER = """
import functools, sys
from stand_ins import Loader, Runner
from nas import cli
from nas.workers import worker
work = functools.partial(worker.work, runner=Runner(seconds={seconds}, steps=40), load=Loader())
sys.exit(cli.run(lambda argv: worker.main(argv, worker=work)))
"""
# Two nodes with a CPU each; "kill" kills the second and puts another in its place, "jobs" tells
# what Ray knows of those who joined.
NODES = """
import json, os, sys
from ray.cluster_utils import Cluster
small = {"num_cpus": 1, "object_store_memory": 100 * 1024**2, "include_dashboard": False}
# Ray writes the cluster's address there, wherever its temp_dir is.
os.makedirs("/tmp/ray", exist_ok=True)
cluster = Cluster()
def add(**more):  # Ray gives a node a fixed 30 s to start, too little on a busy machine
    for attempts_left in (2, 1, 0):
        try:
            return cluster.add_node(**small, **more)
        except Exception as error:
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
add(temp_dir=sys.argv[1])
second = add()
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "kill\\n":
        cluster.remove_node(second, allow_graceful=False)
        second = add()
        print("killed", flush=True)
    else:
        jobs = cluster.global_state.job_table()
        print(json.dumps([job["Entrypoint"] for job in jobs]), flush=True)
cluster.shutdown()
"""


def start(words: list[object], **options: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": f"{ROOT}:{HERE}",
    }
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def search(tiny: Path, runs: Path) -> Iterator[Search]:
    """Starts the search with stand-ins; whatever is left of one at the end is killed."""
    begun: list[subprocess.Popen[str]] = []

    def run(*flags: object, seconds: float = 1.0) -> subprocess.Popen[str]:
        program = SEARCH.format(worker=WORKER.format(seconds=seconds))
        words = [
            "-c",
            program,
            "--study",
            tiny,
            "--runs",
            runs,
            "--device",
            "cpu",
            "--workers",
            2,
            *flags,
        ]
        begun.append(start(words, stderr=subprocess.STDOUT))
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Nodes:
    """The cluster of two nodes, which runs as long as this process's `ask` reaches it."""

    def __init__(self, folder: Path) -> None:
        self._errors = folder / "errors"
        with self._errors.open("w") as errors:
            self._process = start(["-c", NODES, folder], stderr=errors)
        try:
            self.address = self._read()
        except BaseException:
            self.end()
            raise

    def ask(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        try:
            self._process.communicate(timeout=30)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            pytest.fail(self._errors.read_text())
        return line


def read_until(process: subprocess.Popen[str], *texts: str) -> str:
    """What `process` writes until each of `texts` has come."""
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if all(any(text in line for line in seen) for text in texts):
            return "".join(seen)
    pytest.fail(f"{texts} never came:\n{''.join(seen)}")


def task_pids(search: subprocess.Popen[str], worker: int) -> list[int]:
    """The process of `worker`'s task: Ray names it so."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            named = path.read_bytes().startswith(f"ray::nas.workers.worker {worker}".encode())
            if named and os.getsid(int(path.parent.name)) == os.getsid(search.pid):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found


def check_each_network_once(rows: list[Row], trials: int) -> None:
    assert finished(rows) == trials and not [
        row.number for row in rows if row.kind in ("running", "waiting")
    ]
    complete = [row.digest for row in rows if row.kind == "complete" and row.repeat_of is None]
    assert len(complete) == len(set(complete)) == trials


@needs_ray
@pytest.mark.slow
def test_a_node_is_killed_and_the_search_ends_with_all_its_trials(
    runs: Path, search: Search
) -> None:
    with (
        postgresql() as server,
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
    ):
        nodes = Nodes(Path(folder))
        try:
            process = search("--ray", nodes.address, "--storage", server.url, "--trials", 12)
            output = read_until(process, "worker 1, trial", "worker 2, trial", ": complete")
            jobs = json.loads(nodes.ask("jobs"))
            command_line = Path(f"/proc/{process.pid}/cmdline").read_text()
            nodes.ask("kill")
            output += process.communicate(timeout=300)[0]
            assert process.returncode == 0, output
            assert output.count("its machine died; it goes on on another") == 1, output
            study = optuna.load_study(study_name="tiny", storage=open_storage(server.url))
            rows = read_rows(study)
            check_each_network_once(rows, 12)
            assert len([row for row in rows if row.kind == "interrupted"]) <= 1
            assert (
                "Traceback" not in output and "Warning" not in output and "\n[20" not in output
            ), output  # Ray's own lines
            assert any("--storage" in job for job in jobs) and not shows_password(
                str(jobs) + command_line
            )
            assert not shows_password(output)
            logs = [path for path in Path(folder).rglob("*") if path.is_file()]
            assert len(logs) > 10 and not [
                path for path in logs if shows_password(path.read_text(errors="replace"))
            ]
        finally:
            nodes.end()


@needs_ray
@pytest.mark.slow
def test_a_worker_that_is_killed_or_preempted_is_started_again(
    read_study: Read, search: Search
) -> None:
    process = search("--ray", "local", "--trials", 10, seconds=1.5)
    output = read_until(process, "worker 1, trial", "worker 2, trial")
    for worker, number in ((1, signal.SIGKILL), (2, signal.SIGTERM)):
        (pid,) = task_pids(process, worker)
        os.kill(pid, number)
    output += process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "Traceback" not in output, output
    assert "worker 1 died (" in output and "it is started again" in output, output
    assert "worker 2: its machine is taken away; it goes on on another" in output, output
    rows = read_rows(read_study())
    check_each_network_once(rows, 10)
    assert len([row for row in rows if row.kind == "interrupted"]) == 2


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_asked_to_stop_the_tasks_put_their_trials_back(
    read_study: Read, search: Search, number: int, status: int
) -> None:
    process = search("--ray", "local", seconds=20)
    output = read_until(process, "worker 1, trial", "worker 2, trial")
    time.sleep(1)
    # Ctrl-C reaches all processes of the terminal.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    output += process.communicate(timeout=300)[0]
    assert process.returncode == status and "the running trials were put back" in output, output
    assert "Traceback" not in output
    assert not task_pids(process, 1) + task_pids(process, 2)
    rows = read_rows(read_study())
    assert [row.message for row in rows if row.kind == "interrupted"] == [
        "stopped by the user"
    ] * 2
    assert (
        len([row for row in rows if row.kind == "waiting"]) == 3
    )  # M2, and the two that were put back


def test_without_ray_the_extra_is_named(
    run_search: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_search("--ray", "local", "--workers", 2) == 2
    output = capfd.readouterr().err
    assert (
        output.startswith("error: --ray needs the Python package ray")
        and '".[ray]"' in output
        and output.count("\n") == 1
    )
    with (
        pytest.raises(InputError, match="needs the Python package ray"),
        ray_cluster.joined("local", "sqlite:///x.db", cpus=1),
    ):
        pass


@needs_ray
def test_machines_of_a_cluster_cannot_share_a_file(
    run_search: Command, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for flags in ([], ["--storage", f"sqlite:///{tmp_path}/x.db"]):
        assert run_search("--ray", "127.0.0.1:6379", *flags) == 2
        output = capfd.readouterr().err
        assert (
            output.startswith("error: --ray 127.0.0.1:6379 needs a database server")
            and output.count("\n") == 1
        )


@needs_ray
@pytest.mark.parametrize(
    "address", ["nonsense", "ray://127.0.0.1:10001", "host:", ":6379", "host:x1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with (
        pytest.raises(InputError, match="--ray must be local, auto or HOST:PORT"),
        ray_cluster.joined(address, SERVER, cpus=1),
    ):
        pass


@needs_ray
def test_an_address_where_nobody_answers_is_told_in_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = time.monotonic()
    with (
        pytest.raises(
            InputError,
            match=r"^--ray 127\.0\.0\.1:1 must be a running Ray cluster, but: Connection refused",
        ),
        ray_cluster.joined("127.0.0.1:1", SERVER, cpus=1),
    ):
        pass
    monkeypatch.setattr(ray_cluster, "REHEARSAL_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(InputError, match="did not answer within 2 s"),
            ray_cluster.joined(address, SERVER, cpus=1),
        ):
            pass
    assert time.monotonic() - began < 50
    assert "ray" not in sys.modules


@needs_ray
def test_why_ray_did_not_join_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray_cluster,
        "_JOIN",
        "raise RuntimeError('Version mismatch: started with\\n    Ray: 2.1\\nThis has Ray: 2.6')",
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            pytest.raises(
                InputError,
                match="but: RuntimeError: Version mismatch: .* Ray: 2.1 This has Ray: 2.6; "
                "start one",
            ),
            ray_cluster.joined(address, SERVER, cpus=1),
        ):
            pass


@needs_ray
def test_a_command_line_that_cannot_be_hidden_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "command_line", lambda: ["python", f"--storage={SERVER}"])
    monkeypatch.setitem(
        sys.modules, "ray", SimpleNamespace()
    )  # a version without the function that rewrites it
    with pytest.raises(InputError, match="would show the storage's password") as error:
        ray_cluster.hide(SERVER)
    assert PASSWORD[:6] not in str(error.value)
