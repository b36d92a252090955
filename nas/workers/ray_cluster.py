"""A Ray cluster, joined or made for one search: quietly, within seconds, and without a password.

Ray waits for ever for an address where nothing answers, shows every cluster the command line of
those who join it, and takes over the process's signals. Here it does none of that.
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
from space import InputError

LOCAL, AUTO = "local", "auto"
CONNECT_S = 5.0
# For a process that imports Ray, joins the cluster and leaves it again.
REHEARSAL_S = 60.0
START_ATTEMPTS = 3
OBJECT_STORE_BYTES = 100 * 1024**2
# Keeps Ray's hints out of the terminal, and its usage statistics at home.
_QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_JOIN = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"


def check_cluster(address: str, url: str) -> None:
    """InputError where a search at `address`, its storage at `url`, clearly can't begin."""
    if find_spec("ray") is None:
        raise InputError('--ray needs the Python package ray, but has none; pip install ".[ray]"')
    if address == LOCAL:
        return
    if url.startswith("sqlite"):
        raise InputError(
            f"--ray {address} needs a database server, but the study is in a file, which other "
            f"machines can't share; give --storage postgresql+psycopg://..., or --ray {LOCAL}"
        )
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise InputError(
            f"--ray must be {LOCAL}, {AUTO} or HOST:PORT (a Ray head's, 6379 by default), but got "
            f"{address!r}; run the search on a machine of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise _refused(address, getattr(error, "strerror", None) or one_line(error)) from error


@contextmanager
def joined(address: str, url: str, *, cpus: int) -> Iterator[Any]:
    """Ray's module, while this process is part of the cluster at `address`: HOST:PORT, "auto" for
    the one on this machine, or "local" for one with `cpus` that is made here, and ends here.

    The storage's `url` stays hidden from Ray. Raises InputError where no cluster of this Ray's
    version answers within seconds.
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
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if own is not None:
        options |= {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
            "_temp_dir": str(own),
        }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    terminated = False
    try:
        _init_patiently(ray, address, options)
    except SystemExit:  # what Ray makes of a SIGTERM
        terminated = True
    except Exception as error:
        raise _refused(address, one_line(error)) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if terminated:
        signal.raise_signal(signal.SIGTERM)


def _init_patiently(ray: Any, address: str, options: dict[str, Any]) -> None:
    """Ray gives its own cluster a fixed 30 s to start, too little on a busy machine."""
    for attempts_left in reversed(range(START_ATTEMPTS)):
        try:
            ray.init(address=address, **options)
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or not attempts_left:
                raise
            ray.shutdown()


def hide(url: str) -> None:
    """Hides a password in this process's command line, which Ray shows; InputError if it can't."""
    if mask_password(url) == url or not any(url in word for word in command_line()):
        return
    # An inner function of Ray's; whether it did its work is seen below.
    with suppress(AttributeError, ImportError):
        inner: Any = importlib.import_module("ray._raylet")
        masked = (word.replace(url, mask_password(url)) for word in command_line())
        inner.setproctitle(" ".join(masked))
    if any(url in word for word in command_line()):
        raise InputError(
            "this version of Ray would show the storage's password to the whole cluster; leave it "
            "out of --storage (PostgreSQL reads ~/.pgpass)"
        )


def command_line() -> list[str]:
    """This process's, as others see it."""
    words = Path("/proc/self/cmdline").read_bytes().decode(errors="replace").split("\0")
    return [word for word in words if word]


def _rehearse(address: str) -> None:
    """InputError unless another process, which can be ended when it hangs, joins the cluster."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _JOIN, address],
            capture_output=True,
            text=True,
            timeout=REHEARSAL_S,
        )
    except subprocess.TimeoutExpired as error:
        why = f"what listens there did not answer within {REHEARSAL_S:.0f} s"
        raise _refused(address, why) from error
    if done.returncode:
        # A traceback's end: the error's name, and all lines of its message.
        end = re.split(r"^(?=[\w.]+(?:Error|Exception): )", done.stderr, flags=re.MULTILINE)[-1]
        raise _refused(address, one_line(end)[:300] or f"exit status {done.returncode}")


def _refused(address: str, why: str) -> InputError:
    if address == LOCAL:
        return InputError(
            f"a Ray cluster could not be started here: {why}; --workers N alone needs none"
        )
    return InputError(
        f"--ray {address} must be a running Ray cluster, but: {why}; start one with ray start "
        f"--head, or give --ray {LOCAL}"
    )
