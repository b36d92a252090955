"""A study mixes no devices: who may join it, and how a worker on another device gets its networks
timed.
"""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from stand_ins import figures

from nas.loop.claim import Claim
from nas.loop.recovery import runs_now
from nas.loop.reference_device import (
    LatencyDevice,
    Timed,
    check_latency_device,
    settle_latency_device,
)
from nas.study.schema import DIRECTIONS
from nas.study.storage import open_storage
from space import BASELINES, Genome, InputError
from trials import Latency, LatencyRatio, TrialConfig


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(
        directions=list(DIRECTIONS),
        study_name="s",
        storage=open_storage(f"sqlite:///{tmp_path / 'study.db'}"),
    )


def measured(study: optuna.Study) -> None:
    trial = study.ask()
    trial.set_user_attr("latency", {"median_ms": 20.0})
    study.tell(trial, [20.0, 20.0])


def refused(*words: Any, **flags: bool) -> str:
    with pytest.raises(InputError) as caught:
        settle_latency_device(*words, **flags)
    return str(caught.value)


def test_the_first_device_is_the_latency_device_and_another_is_refused(
    study: optuna.Study,
) -> None:
    assert settle_latency_device(study, "cuda", "H200", None)
    assert settle_latency_device(study, "cuda", "L4", None), "nothing has been timed yet"
    measured(study)
    told = refused(study, "cuda", "H200", None)
    rule = "study 's' must be timed on one model of device"
    assert told.startswith(f"{rule}, which is L4, but this is H200; run it there")
    assert "--latency-device 'L4'" in told and "--runs DIR" in told
    assert settle_latency_device(study, "cuda", "L4", None)


def test_with_a_latency_device_others_may_join_and_only_train(study: optuna.Study) -> None:
    assert not settle_latency_device(study, "cuda", "H200", "L4")
    assert settle_latency_device(study, "cuda", "L4", "L4")
    measured(study)
    assert not settle_latency_device(study, "cuda", "H200", "L4")
    assert (
        "--latency-device must be L4, which has timed this study so far, but got H200"
        in refused(study, "cuda", "H200", "H200")
    )


def test_of_two_that_join_at_the_same_moment_one_is_the_latency_device(
    study: optuna.Study, tmp_path: Path
) -> None:
    for name in ("H200", "L4"):
        assert settle_latency_device(study, "cuda", name, None)
    with pytest.raises(InputError, match=r"^study 's' is timed on L4, .*, and not on H200; "):
        check_latency_device(study, "H200")
    check_latency_device(study, "L4")
    # Had the first already begun a trial, the second would have been refused.
    told = refused(study, "cuda", "H200", None, is_begun=True)
    assert "must be timed on one model of device, which is L4" in told
    assert not runs_now(study, tmp_path, owns_storage=True)
    (trial := study.ask()).set_user_attr("genome", BASELINES["MO"].to_json())
    assert not runs_now(study, tmp_path, owns_storage=True)  # asked for, and its process died
    with Claim(tmp_path, trial):
        assert runs_now(study, tmp_path, owns_storage=True)


def latency_of(genome: Genome) -> Timed:
    ms = figures(genome)[1]
    plain: Any = dict.fromkeys(Latency.__dataclass_fields__, 1)
    times = {
        "median_ms": ms,
        "low_ms": ms,
        "high_ms": ms,
        "device_time": None,
        "gpu": [],
        "device_name": "L4",
    }
    return Latency(**{**plain, **times}), LatencyRatio(
        value=ms / 24, low=ms / 25, high=ms / 23, rounds=9, drift=0.0
    )


def latency_device(
    study: optuna.Study,
    *,
    is_here: bool,
    time_network: Any = lambda genome, config: latency_of(genome),
) -> LatencyDevice:
    return LatencyDevice(
        study=study, config=TrialConfig(), is_here=is_here, time_network=time_network
    )


def ask(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    trial.set_user_attr("genome", BASELINES["M1"].to_json())
    return trial


def serve_until_served(one: LatencyDevice) -> None:
    for _ in range(200):
        if one.serve():
            return
        threading.Event().wait(0.05)
    pytest.fail("nothing was to be timed")


def test_a_network_is_timed_elsewhere_with_the_very_figures(study: optuna.Study) -> None:
    trial = ask(study)
    told = SimpleNamespace(waits=0)
    there = threading.Thread(target=serve_until_served, args=[latency_device(study, is_here=True)])

    def waits() -> None:
        told.waits += 1
        if told.waits == 1:
            there.start()

    found = latency_device(
        study, is_here=False, time_network=lambda *_: pytest.fail("it may not time")
    ).wait(trial, waits)
    there.join()
    assert found == latency_of(BASELINES["M1"])
    assert latency_device(study, is_here=True).serve() == [], "a network is timed once"
    assert latency_device(study, is_here=False).wait(trial, waits) == found, (
        "a trial that goes on asks no more"
    )


def test_what_can_not_be_timed_is_told(study: optuna.Study) -> None:
    trial = ask(study)
    trial.set_user_attr("wants_timing", True)

    def fails(*_: Any) -> Timed:
        raise RuntimeError("out of memory\nmore")

    assert latency_device(study, is_here=True, time_network=fails).serve() == [trial.number]
    with pytest.raises(InputError, match="the latency device could not time it: out of memory"):
        latency_device(study, is_here=False).wait(trial, lambda: None)


def test_another_device_times_for_nobody(study: optuna.Study) -> None:
    trial = ask(study)
    trial.set_user_attr("wants_timing", True)
    assert latency_device(study, is_here=False).serve() == []
    assert "timed" not in study.trials[0].user_attrs
