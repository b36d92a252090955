"""One process that tries cases, and who watches it: a native crash, a hang and a file outside the
case's folder are all seen.

The process (`python -m fuzzing.watched SEED PLACE`) reads "KIND INDEX" from its input and answers
with one JSON line for each. A case's chance comes from seed, kind and index alone, so that any
case can be tried again by itself.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).parents[3]
# Address space of the process, GiB: torch alone maps five. A case that asks for much more fails at
# once, and is seen.
MEMORY_GIB = 12
# A case takes milliseconds; a machine that is busy gives it some seconds.
TIMEOUT_S = 30.0
START_S = 180.0
OPENING = {
    "open",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case: accepted, refused, crashed or hung, and in which words."""

    kind: str
    index: int
    outcome: str
    ms: float
    words: str = ""


class Watched:
    """A process that tries cases; it is started anew after it died or hung."""

    def __init__(self, seed: int, timeout_s: float = TIMEOUT_S) -> None:
        self.seed, self.timeout_s = seed, timeout_s
        self.place = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        shutil.rmtree(self.place, ignore_errors=True)

    def try_case(self, kind: str, index: int) -> Outcome:
        """The outcome of one case."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        started = time.perf_counter()
        process.stdin.write(f"{kind} {index}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self.timeout_s)
        line = process.stdout.readline() if ready else ""
        ms = 1000 * (time.perf_counter() - started)
        if line:
            return Outcome(kind=kind, index=index, **json.loads(line))
        errors = self._end(dies=bool(ready))
        if ready:
            return Outcome(
                kind=kind,
                index=index,
                outcome="crashed",
                ms=ms,
                words=f"the process died ({process.returncode}): {errors}",
            )
        return Outcome(
            kind=kind,
            index=index,
            outcome="hung",
            ms=ms,
            words=f"no answer in {self.timeout_s:g} s: {errors}",
        )

    def _start(self) -> subprocess.Popen[str]:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        path = os.pathsep.join([str(ROOT), str(Path(__file__).parents[1])])
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115
            "w+", encoding="utf-8", errors="replace"
        )  # closed in _end
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "fuzzing.watched",
                str(self.seed),
                str(self.place),
            ],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        if not ready or not self._process.stdout.readline():
            raise RuntimeError(f"the process did not start: {self._end()}")
        return self._process

    def _end(self, *, dies: bool = False) -> str:
        """Ends the process (`dies`: it does so by itself); the end of its standard error."""
        process, errors = self._process, self._errors
        self._process = self._errors = None
        if process is None or errors is None:
            return ""
        with suppress(subprocess.TimeoutExpired):
            process.wait(START_S if dies else 0)  # its exit status says how it died
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        with errors:
            errors.seek(0)
            return errors.read()[-1500:]


class Guard:
    """Sees what the process opens and starts while a case runs."""

    def __init__(self, case: Path) -> None:
        self.case = str(case)
        self.seen: list[str] = []
        self.on = False
        # What Python itself reads while it runs.
        self.may_read = (
            str(ROOT),
            sys.prefix,
            sys.base_prefix,
            "/proc/",
            "/sys/",
            "/dev/null",
            "/dev/urandom",
        )
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(f"{event} {args[:1]!r:.200}")
        elif event in OPENING and args and isinstance(args[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(args[0]))
            reading = event == "open" and not (args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if not path.startswith(self.case + "/") and not (
                reading and path.startswith(self.may_read)
            ):
                self.seen.append(f"{event} {path:.200}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.seen.clear()
        self.on = True
        try:
            yield
        finally:
            self.on = False


class Case:
    """The place of one case after the other, with a folder `outside` beside it that nobody may
    touch.
    """

    def __init__(self, place: Path) -> None:
        self.folder, self.outside = place / "case", place / "outside"
        self.place = place

    def fresh(self) -> None:
        for folder in (self.folder, self.outside):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for name in ("secret", "00001_00_0.1s.ARW", "00001_00_10s.ARW"):
            (self.outside / name).write_bytes(b"not yours")

    def there(self) -> dict[str, int]:
        """Every file outside of the case's folder, and its size."""
        return {
            str(path): path.lstat().st_size
            for path in self.place.rglob("*")
            if not path.is_relative_to(self.folder)
        }


def serve(seed: int, place: Path) -> None:
    """Tries cases until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a native library prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GIB << 30, MEMORY_GIB << 30))
    warnings.simplefilter("error")
    from fuzzing.checks import check_words
    from fuzzing.configs import Configs
    from fuzzing.exports import Exports
    from fuzzing.genomes import Genomes
    from fuzzing.lists import Lists
    from fuzzing.pickled import Checkpoints
    from fuzzing.raws import Raws
    from space import InputError

    bases = place / "bases"
    bases.mkdir()
    kinds = {
        kind.name: kind(bases) for kind in (Genomes, Configs, Exports, Lists, Raws, Checkpoints)
    }
    case, here = Case(place), os.getcwd()
    guard = Guard(case.folder)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        kind, _, index = line.strip().partition(" ")
        chance = random.Random(f"{seed} {kind} {index}")
        case.fresh()
        os.chdir(case.folder)
        act = kinds[kind].prepare(chance, case.folder)
        before, words, started = case.there(), "", time.perf_counter()
        try:
            with guard.watching():
                act()
            outcome = "accepted"
        except InputError as error:
            outcome, words = "refused", str(error)
            try:
                check_words(error)
            except AssertionError as wrong:
                outcome, words = "crashed", str(wrong)
        except BaseException:
            outcome, words = "crashed", traceback.format_exc()[-1500:]
        ms = 1000 * (time.perf_counter() - started)
        if guard.seen or case.there() != before:
            outcome, words = (
                "crashed",
                f"something outside of its folder was touched: {guard.seen[:5]} ({words[:300]})",
            )
        os.chdir(here)
        print(json.dumps({"outcome": outcome, "ms": ms, "words": words}), file=answers, flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
