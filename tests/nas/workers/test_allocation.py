"""Devices and threads shared out, and the flags for it that can't be met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stand_ins import Command, replaced

from nas.study.config import StudyConfig, load_config, settle
from nas.workers.allocation import WorkerOptions, allocate, flat, gpus
from nas.workers.process import Assignment
from space import InputError

SQLITE = "sqlite:///x.db"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has none: torch is made to say that there are two of one model."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")


def shared(device: str, **flags: Any) -> list[Assignment]:
    wanted, config = WorkerOptions(**flags), StudyConfig(name="x", device=device)
    wanted.check(device, SQLITE)
    return allocate(wanted, config, study="dark", runs=Path("r"), storage=None)


def refused(device: str, **flags: Any) -> str:
    with pytest.raises(InputError) as caught:
        shared(device, **flags)
    return str(caught.value)


def test_cores_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert [(one.index, one.device, one.threads) for one in shared("cpu", workers=3)] == [
        (n, "cpu", 2) for n in (1, 2, 3)
    ]
    assert {one.threads for one in shared("cpu", workers=4)} == {2}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert {one.threads for one in shared("cpu", workers=4)} == {1}


def test_gpus_take_turns(two_gpus: None) -> None:
    assert [one.device for one in shared("cuda", workers=2)] == ["cuda:0", "cuda:1"]
    assert [one.device for one in shared("cuda", workers=3, per_gpu=2)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    assert [one.device for one in shared("cuda", per_gpu=2)] == ["cuda:0", "cuda:1"] * 2
    assert [one.device for one in shared("cuda:1", workers=2, per_gpu=2)] == ["cuda:1"] * 2
    assert len(shared("cuda")) == 1 and gpus("cuda:1") == ["cuda:1"] and gpus("cpu") == []
    assert (
        "--workers 3 are too many for 2 GPUs with 1 on each; give --per-gpu 2, or fewer"
        in refused("cuda", workers=3)
    )


def test_gpus_of_two_models_need_a_latency_device(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_name", lambda device: "L4" if str(device)[-1] == "1" else "H200"
    )
    assert (
        "must be of one model, but there are H200 and L4; give one --device, or the "
        "--latency-device" in refused("cuda", workers=2)
    )
    config = StudyConfig(name="x", device="cuda", latency_device="L4")
    assert (
        len(allocate(WorkerOptions(workers=2), config, study="dark", runs=Path("r"), storage=None))
        == 2
    )


def test_all_workers_get_the_study_as_it_is_here(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may have other cores: the settled config travels, and comes out the same."""
    monkeypatch.chdir(tmp_path)
    config = settle(
        replaced(
            load_config(str(tiny), {"latency_limit_ms": 60.0, "device": "cpu"}),
            train__first_rung=4,
        )
    )
    assert config.latency.threads is not None
    one = allocate(
        WorkerOptions(workers=2), config, study="tiny.toml", runs=Path("r"), storage=None
    )[1]
    assert load_config(one.study, {**one.changes, "device": one.device}) == config
    assert one.runs == str(tmp_path / "r") and flat(config)["train.steps"] == 20


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"workers": 0}, "--workers must be at least 1, but got 0"),
        ({"per_gpu": 0}, "--per-gpu must be at least 1, but got 0"),
        ({"per_gpu": 2}, "--per-gpu 2 needs a GPU, but the study is on the CPU; use --workers"),
        (
            {"gpu_per_worker": 0.5},
            "--gpu-per-worker 0.5 is for --ray; on one machine give --per-gpu",
        ),
        (
            {"ray": "local", "gpu_per_worker": 1.0},
            "--gpu-per-worker must be left out on a CPU, but got 1 for --device cpu",
        ),
        (
            {"ray": "local", "gpu_per_worker": -1.0},
            "--gpu-per-worker must be left out on a CPU, but got -1",
        ),
    ],
)
def test_flags_that_cannot_be_met(flags: dict[str, Any], line: str) -> None:
    assert refused("cpu", **flags).startswith(line)


def test_flags_of_ray_and_of_one_machine_don_t_mix(two_gpus: None) -> None:
    assert "--per-gpu 2 is for one machine; with --ray give --gpu-per-worker 0.5" in refused(
        "cuda", ray="local", per_gpu=2
    )
    for share in (0.0, -1.0, 2.0, float("inf"), float("nan")):
        assert f"must be above 0 and at most 1, one GPU for a trial, but got {share:g}" in refused(
            "cuda", ray="local", gpu_per_worker=share
        )


def test_too_many_workers_for_a_sqlite_file() -> None:
    assert "PostgreSQL" in refused("cpu", workers=100_000) or "postgresql" in refused(
        "cpu", workers=100_000
    )


def test_the_command_says_it_in_one_line(
    run_search: Command, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search("--workers", 0) == 2
    assert (
        capsys.readouterr().err
        == "error: --workers must be at least 1, but got 0; leave it out for 1\n"
    )
    assert run_search("--workers", "two") == 2 and "invalid int value" in capsys.readouterr().err
    assert run_search("--per-gpu", 2) == 2 and not runs.exists()
