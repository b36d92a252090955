"""The device lock: training overlaps with training, a measurement with nothing; a dead process
holds nothing.
"""

import multiprocessing
import os
import signal
import time

import pytest

from space import InputError
from trials.device.lock import DeviceLock, device_key, lock_folder

SPAWN = multiprocessing.get_context("spawn")


def hold(kind, folder, inside, leave):
    with getattr(DeviceLock("cpu", folder), kind)():
        inside.set()
        leave.wait(120)


def take(kind, folder, inside):
    with getattr(DeviceLock("cpu", folder), kind)():
        inside.set()


def train_steps(folder, end):
    lock = DeviceLock("cpu", folder)
    while not end.is_set():
        with lock.shared():
            time.sleep(0.02)


@pytest.fixture
def start():
    """Starts processes that are gone when the test ends."""
    started = []

    def start(target, *args):
        process = SPAWN.Process(target=target, args=args, daemon=True)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
        process.close()


@pytest.mark.parametrize(
    ("first", "second", "may_enter"),
    [
        ("shared", "shared", True),
        ("shared", "alone", False),
        ("alone", "shared", False),
        ("alone", "alone", False),
    ],
)
def test_who_may_be_in_together(tmp_path, start, first, second, may_enter):
    inside, leave, entered = SPAWN.Event(), SPAWN.Event(), SPAWN.Event()
    start(hold, first, tmp_path, inside, leave)
    assert inside.wait(120)
    start(take, second, tmp_path, entered)
    assert entered.wait(30 if may_enter else 3) is may_enter
    leave.set()
    assert entered.wait(120)


@pytest.mark.parametrize("kind", ["shared", "alone"])
def test_a_lock_dies_with_its_process(tmp_path, start, kind):
    inside, leave = SPAWN.Event(), SPAWN.Event()
    process = start(hold, kind, tmp_path, inside, leave)
    assert inside.wait(120)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    began = time.monotonic()
    with DeviceLock("cpu", tmp_path).alone():
        assert time.monotonic() - began < 5


def test_overlapping_steps_do_not_keep_a_measurement_waiting(tmp_path, start):
    """Three processes whose steps overlap without a gap: without the gate the room would never be
    empty.
    """
    end = SPAWN.Event()
    for _ in range(3):
        start(train_steps, tmp_path, end)
    time.sleep(2)
    began = time.monotonic()
    for _ in range(10):
        with DeviceLock("cpu", tmp_path).alone():
            pass
    end.set()
    assert time.monotonic() - began < 10


def test_devices_do_not_wait_for_each_other(tmp_path):
    with DeviceLock("cpu", tmp_path).alone(), DeviceLock("meta", tmp_path).alone():
        pass
    assert device_key("cpu") == "cpu"


def test_the_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("DARK_NAS_LOCKS", str(tmp_path / "locks"))
    assert lock_folder() == tmp_path / "locks"
    with DeviceLock("cpu").alone():
        assert {path.name for path in (tmp_path / "locks").iterdir()} == {"cpu.gate", "cpu.room"}


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        InputError, match="the folder of device locks must be writable, but .*set DARK_NAS_LOCKS"
    ):
        DeviceLock("cpu", tmp_path / "file" / "locks")
