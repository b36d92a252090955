"""A trial that is stopped or killed on its way goes on from its last checkpoint, to the same
weights.
"""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from stopping import StopAt

from space import BASELINES, Genome
from trials import (
    Checkpointer,
    DataConfig,
    LatencyConfig,
    PreemptedError,
    TrainConfig,
    TrialConfig,
    load_data,
    run_trial,
)
from trials import trial as trial_run

CONFIG = TrialConfig(
    data=DataConfig(scenes=2, scene_size=192, held_out=2),
    train=TrainConfig(steps=36, batch=2, crop=64),
    latency=LatencyConfig(height=64, width=64, warmup_runs=2, min_runs=5, max_seconds=0.5),
)
SMALL = Genome(
    skip_width=16,
    skip_block="residual",
    skip_blocks=1,
    merge_width=16,
    merge_groups=1,
    head="add",
    head_kernel=3,
)


@pytest.fixture(scope="module")
def data():
    return load_data(CONFIG.data, device="cpu")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("unbroken")
    return run_trial(
        SMALL, CONFIG, data=data, directory=folder, decide=lambda score: True
    ), load_file(folder / "weights.safetensors")


def broken_off(tmp_path, data, step):
    """A trial that is asked to stop after `step` steps."""
    with pytest.raises(PreemptedError):
        run_trial(
            SMALL,
            CONFIG,
            data=data,
            directory=tmp_path / "first",
            decide=lambda score: True,
            checkpointer=StopAt(tmp_path / "checkpoints", step, every_s=0.0),
        )
    assert not (tmp_path / "first" / "result.json").exists()


def resume(tmp_path, data, *, config=CONFIG, genome=SMALL, decide=lambda score: True):
    """The same trial again: the step and seconds it resumed at, its checkpointer, its result."""
    reports = []
    checkpointer = Checkpointer(folder=tmp_path / "checkpoints")
    result = run_trial(
        genome,
        config,
        data=data,
        directory=tmp_path / "second",
        decide=decide,
        checkpointer=checkpointer,
        on_progress=lambda *report: reports.append(report),
    )
    ((_, step, _, figures),) = (report for report in reports if report[0] == "resume")
    return (step, figures["seconds"]), checkpointer, result


@pytest.mark.parametrize("step", [1, 7, 12, 13, 35])
def test_it_ends_with_the_weights_of_an_unbroken_one(tmp_path, data, unbroken, step):
    broken_off(tmp_path, data, step)
    rungs = []
    resumed, _, result = resume(
        tmp_path, data, decide=lambda score: rungs.append(score.step) or True
    )
    assert resumed[0] == step and resumed[1] > 0
    assert rungs == ([12] if step < 12 else []), "a rung is decided once"
    whole, weights = unbroken
    for name, tensor in load_file(tmp_path / "second" / "weights.safetensors").items():
        assert torch.equal(tensor, weights[name]), name
    assert [(rung.step, rung.psnr_db) for rung in result.rungs] == [
        (rung.step, rung.psnr_db) for rung in whole.rungs
    ]
    assert (tmp_path / "checkpoints").exists(), (
        "killed before its result is stored, it must not begin anew"
    )


def test_it_is_not_timed_again(tmp_path, data, monkeypatch):
    broken_off(tmp_path, data, 5)
    monkeypatch.setattr(
        trial_run, "time_network", lambda *args, **kwargs: pytest.fail("timed again")
    )
    _, _, result = resume(tmp_path, data)
    assert (
        result.latency.median_ms > 0
        and result.ratio_to_mo.rounds > 0
        and result.latency.device_name
    )


def test_another_model_of_device_times_it_again(tmp_path, data, monkeypatch):
    broken_off(tmp_path, data, 5)
    monkeypatch.setattr("trials.training.checkpoints.device_name", lambda device: "another")
    seen = []
    monkeypatch.setattr(
        trial_run,
        "time_network",
        lambda *args, **kwargs: seen.append(1) or (_ for _ in ()).throw(ZeroDivisionError),
    )
    with pytest.raises(ZeroDivisionError):
        resume(tmp_path, data)
    assert seen


def test_a_torn_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, data, unbroken):
    broken_off(tmp_path, data, 9)
    newest = max((tmp_path / "checkpoints").glob("step_*.ckpt"))
    assert newest.name == "step_00000009.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed, checkpointer, _ = resume(tmp_path, data)
    assert resumed[0] == 8 and checkpointer.damaged == [newest]
    weights = load_file(tmp_path / "second" / "weights.safetensors")
    assert all(torch.equal(tensor, unbroken[1][name]) for name, tensor in weights.items())
    checkpointer.discard()
    assert not (tmp_path / "checkpoints").exists()


def test_where_all_are_torn_it_starts_anew(tmp_path, data):
    broken_off(tmp_path, data, 9)
    for path in (tmp_path / "checkpoints").glob("step_*.ckpt"):
        path.write_bytes(b"")
    resumed, checkpointer, result = resume(tmp_path, data)
    assert resumed[0] == 0 and len(checkpointer.damaged) == 2 and result.kind == "complete"


@pytest.mark.parametrize("what", ["recipe", "seed", "network"])
def test_a_checkpoint_of_another_trial_is_not_used(tmp_path, data, what):
    broken_off(tmp_path, data, 9)
    config = {
        "recipe": replace(CONFIG, train=replace(CONFIG.train, learning_rate=1e-3)),
        "seed": replace(CONFIG, seed=1),
        "network": CONFIG,
    }[what]
    genome = replace(SMALL, merge_width=24) if what == "network" else SMALL
    assert genome != BASELINES["MO"]
    resumed, _, _ = resume(tmp_path, data, config=config, genome=genome)
    assert resumed[0] == 0
