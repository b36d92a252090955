"""A Ray cluster, joined or made for one search: quietly, in seconds or not at all, and without
showing it a password.

Ray waits for ever for an address where nothing answers, tells every cluster the command line of
those who join it, and takes the process's signals for itself. Here it does none of that.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nas.cli.parser import one_line
from nas.study.storage import mask_password
from nas.workers.allocation import LOCAL
from space import InputError

AUTO = "auto"
CONNECT_S = 5.0
# For a process that imports Ray, joins the cluster and leaves it again.
REHEARSAL_S = 60.0
START_ATTEMPTS = 3
OBJECT_STORE_BYTES = 100 * 1024**2
# What keeps Ray's hints out of the terminal, and its statistics at home.
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_JOIN = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"


def check_cluster(address: str, url: str) -> None:
    """Raises InputError where a search with --ray `address` and its storage at `url` can't begin:
    what shows within seconds.
    """
    if find_spec("ray") is None:
        raise InputError(
            "--ray needs the Python package ray, which is not there; install it: pip "
            'install ".[ray]"'
        )
    if address == LOCAL:
        return
    if url.startswith("sqlite"):
        raise InputError(
            f"--ray {address} needs a database server, but the study is in a file, which "
            f"other machines can't "
            f"share; give --storage postgresql+psycopg://..., or --ray {LOCAL}"
        )
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise InputError(
            f"--ray must be {LOCAL}, {AUTO} or HOST:PORT (a Ray head's, 6379 by default), "
            f"but got {address!r}; "
            "run the search on a machine of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _refused(address, getattr(error, "strerror", None) or one_line(error)) from error


@contextmanager
def joined(address: str, url: str, *, cpus: int) -> Iterator[Any]:
    """Ray's module, while this process is part of a cluster: that at `address` (HOST:PORT, or
    "auto" for the one on this machine), or one that is made here, with `cpus`, and ends with it
    ("local").

    The storage's `url` is kept from what Ray shows. Raises InputError where no cluster of this
    Ray's version answers within seconds.
    """
    check_cluster(address, url)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address != LOCAL:
        _rehearse(address)
    hide(url)
    import ray

    own = Path(tempfile.mkdtemp(prefix="ray-")) if address == LOCAL else None
    try:
        _init(ray, address, cpus, own)
        yield ray
    finally:
        ray.shutdown()
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def _init(ray: Any, address: str, cpus: int, own: Path | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    terminated = False
    try:
        if own is not None:
            quiet |= {
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": str(own),
            }
            _start_local(ray, quiet)
        else:
            ray.init(address=address, **quiet)
    except SystemExit:  # what Ray makes of a SIGTERM
        terminated = True
    except Exception as error:
        raise _refused(address, one_line(error)) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if terminated:
        signal.raise_signal(signal.SIGTERM)


def _start_local(ray: Any, options: dict[str, Any]) -> None:
    """A cluster of this machine alone. Ray gives it 30 s to start, which nobody can change and a
    busy machine may need twice.
    """
    for attempts_left in range(START_ATTEMPTS - 1, -1, -1):
        try:
            ray.init(address=LOCAL, **options)
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
            ray.shutdown()


def hide(url: str) -> None:
    """Rewrites this process's command line where it holds a password: Ray reads it there, keeps it
    and shows it on its dashboard. Raises InputError where that can't be done.
    """
    if mask_password(url) == url or not any(url in word for word in command_line()):
        return
    with suppress(
        AttributeError, ImportError
    ):  # an inner function of Ray's; whether it did its work is seen below
        inner: Any = importlib.import_module("ray._raylet")
        inner.setproctitle(" ".join(word.replace(url, mask_password(url)) for word in command_line()))
    if any(url in word for word in command_line()):
        raise InputError(
            "this Ray would show the storage's password to the whole cluster, as part of "
            "the command line; "
            "leave it out of --storage (PostgreSQL reads ~/.pgpass), or use another version of Ray"
        )


def command_line() -> list[str]:
    """This process's, as others see it."""
    words = Path("/proc/self/cmdline").read_bytes().decode(errors="replace").split("\0")
    return [word for word in words if word]


def _rehearse(address: str) -> None:
    """InputError unless a process can join the cluster at `address`: another one, which can be
    ended when it hangs.
    """
    try:
        told = subprocess.run(
            [sys.executable, "-c", _JOIN, address],
            capture_output=True,
            text=True,
            timeout=REHEARSAL_S,
        )
    except subprocess.TimeoutExpired as error:
        raise _refused(
            address, f"what listens there did not answer within {REHEARSAL_S:.0f} s"
        ) from error
    if told.returncode:
        # What a traceback ends with: the error's name, and all lines of what it says.
        said = re.split(r"^(?=[\w.]+(?:Error|Exception): )", told.stderr, flags=re.MULTILINE)[-1]
        raise _refused(address, one_line(said)[:300] or f"exit status {told.returncode}")


def _refused(address: str, why: str) -> InputError:
    if address == LOCAL:
        return InputError(
            f"a Ray cluster could not be started here: {why}; without --ray, --workers N "
            f"needs none"
        )
    return InputError(
        f"--ray {address} must be a running Ray cluster, but: {why}; start one with ray "
        f"start --head, "
        f"or give --ray {LOCAL}"
    )
