"""A trial that is stopped or killed on its way goes on from its last checkpoint, to the same
weights.
"""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

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


def broken_off(tmp_path, data, step, *, config=CONFIG, every_s=0.0):
    """A trial that was asked to stop after `step` steps."""
    asked = []
    keeper = Checkpointer(
        folder=tmp_path / "kept",
        every_s=every_s,
        stop=lambda: asked.append(1) or len(asked) >= step,
    )
    with pytest.raises(PreemptedError):
        run_trial(
            SMALL,
            config,
            data=data,
            directory=tmp_path / "first",
            decide=lambda score: True,
            keeper=keeper,
        )
    assert not (tmp_path / "first" / "result.json").exists()


def gone_on(tmp_path, data, *, config=CONFIG, genome=SMALL, decide=lambda score: True):
    """The same trial again: what it told of going on, its keeper and its result."""
    told = []
    keeper = Checkpointer(folder=tmp_path / "kept")
    result = run_trial(
        genome,
        config,
        data=data,
        directory=tmp_path / "second",
        decide=decide,
        keeper=keeper,
        on_progress=lambda *what: told.append(what),
    )
    return [what for what in told if what[0] == "resume"], keeper, result


@pytest.mark.parametrize("step", [1, 7, 12, 13, 35])
def test_it_ends_with_the_weights_of_an_unbroken_one(tmp_path, data, unbroken, step):
    broken_off(tmp_path, data, step)
    asked = []
    resumed, _, result = gone_on(
        tmp_path, data, decide=lambda score: asked.append(score.step) or True
    )
    assert [what[1] for what in resumed] == [step] and resumed[0][3]["seconds"] > 0
    assert asked == ([12] if step < 12 else []), "a rung is asked about once"
    whole, weights = unbroken
    for name, tensor in load_file(tmp_path / "second" / "weights.safetensors").items():
        assert torch.equal(tensor, weights[name]), name
    assert [(rung.step, rung.psnr_db) for rung in result.rungs] == [
        (rung.step, rung.psnr_db) for rung in whole.rungs
    ]
    assert (tmp_path / "kept").exists(), "it is not told yet: killed now, it must not begin anew"


def test_it_is_not_timed_again(tmp_path, data, monkeypatch):
    broken_off(tmp_path, data, 5)
    monkeypatch.setattr(
        trial_run, "time_network", lambda *args, **kwargs: pytest.fail("timed again")
    )
    _, _, result = gone_on(tmp_path, data)
    assert (
        result.latency.median_ms > 0
        and result.ratio_to_mo.rounds > 0
        and result.latency.device_name
    )


def test_another_model_of_device_times_it_again(tmp_path, data, monkeypatch):
    broken_off(tmp_path, data, 5)
    monkeypatch.setattr("trials.training.trial_checkpoint.device_name", lambda device: "another")
    seen = []
    monkeypatch.setattr(
        trial_run,
        "time_network",
        lambda *args, **kwargs: seen.append(1) or (_ for _ in ()).throw(ZeroDivisionError),
    )
    with pytest.raises(ZeroDivisionError):
        gone_on(tmp_path, data)
    assert seen


def test_a_torn_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, data, unbroken):
    broken_off(tmp_path, data, 9)
    newest = max((tmp_path / "kept").glob("step_*.ckpt"))
    assert newest.name == "step_00000009.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed, keeper, _ = gone_on(tmp_path, data)
    assert [what[1] for what in resumed] == [8] and keeper.damaged == [newest]
    weights = load_file(tmp_path / "second" / "weights.safetensors")
    assert all(torch.equal(tensor, unbroken[1][name]) for name, tensor in weights.items())
    keeper.discard()
    assert not (tmp_path / "kept").exists()


def test_where_all_are_torn_it_starts_anew(tmp_path, data):
    broken_off(tmp_path, data, 9)
    for path in (tmp_path / "kept").glob("step_*.ckpt"):
        path.write_bytes(b"")
    resumed, keeper, result = gone_on(tmp_path, data)
    assert (
        [what[1] for what in resumed] == [0]
        and len(keeper.damaged) == 2
        and result.kind == "complete"
    )


@pytest.mark.parametrize("what", ["recipe", "seed", "network"])
def test_what_was_kept_of_something_else_is_not_used(tmp_path, data, what):
    broken_off(tmp_path, data, 9)
    config = {
        "recipe": replace(CONFIG, train=replace(CONFIG.train, learning_rate=1e-3)),
        "seed": replace(CONFIG, seed=1),
        "network": CONFIG,
    }[what]
    genome = replace(SMALL, merge_width=24) if what == "network" else SMALL
    assert genome != BASELINES["MO"]
    resumed, _, _ = gone_on(tmp_path, data, config=config, genome=genome)
    assert [told[1] for told in resumed] == [0]


def test_it_is_kept_by_time_and_at_rungs(tmp_path):
    now = [0.0]
    keeper = Checkpointer(folder=tmp_path / "kept", every_s=10.0, clock=lambda: now[0])
    made = []

    def keep(step, at, due=False):
        now[0] = at
        keeper.keep(step, lambda: made.append(step) or {"identity": {}, "step": step}, due=due)

    keep(1, 5.0)
    keep(2, 10.0)
    keep(3, 19.0)
    keep(4, 19.5, due=True)
    keep(5, 29.0)
    keep(6, 29.5)
    assert made == [2, 4, 6]
    assert Checkpointer(folder=tmp_path / "kept").found({}) == {"identity": {}, "step": 6}
    keeper.discard()
    assert (
        not (tmp_path / "kept").exists()
        and Checkpointer(folder=tmp_path / "kept").found({}) is None
    )
