"""Training: it learns, repeats itself, resumes bit for bit, and notices when it diverges."""

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stopping import StopAt
from torch import Tensor, nn

from space import BASELINES, DarkUNet, Genome, InputError, build_model
from trials import DataConfig, TrainConfig, load_data, psnr_db, score_images, train
from trials.data.pair import Pair
from trials.data.synthetic import SyntheticData
from trials.device.lock import DeviceLock
from trials.device.precision import has_bfloat16, settled_dtype
from trials.training.checkpoints import Checkpointer, DamagedError, PreemptedError, read
from trials.training.divergence import DivergenceDetector
from trials.training.log import TrainLog, write_curve
from trials.training.optimizer_step import restoration_loss
from trials.training.prefetch import AHEAD, Batches
from trials.training.trainer import Trainer, cooldown_start, learning_rate

QUICK = TrainConfig(steps=12, batch=2, crop=64)
SMALL = Genome(
    skip_width=16, skip_block="residual", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These networks and crops are too small to share, and sharing is slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> SyntheticData:
    made = load_data(DataConfig(scenes=4, scene_size=96, held_out=2, seed=3))
    assert isinstance(made, SyntheticData)
    return made


def new_model(seed: int = 0) -> DarkUNet:
    torch.manual_seed(seed)
    return build_model(BASELINES["MO"])


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def mean_psnr(model: DarkUNet, data: SyntheticData) -> float:
    scores = score_images(model, data.held_out)
    return sum(score.psnr_db for score in scores) / len(scores)


def test_training_makes_it_better(data: SyntheticData) -> None:
    model = new_model()
    before = mean_psnr(model.eval(), data)
    log = train(model, data, replace(QUICK, steps=60), seed=0)
    assert mean_psnr(model, data) > before + 3
    assert not log.diverged and log.steps == 60 and log.seconds > 0
    assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    assert [row["step"] for row in log.rows] == [10, 20, 30, 40, 50, 60]
    assert set(log.rows[0]) == {"step", "loss", "lr", "seconds"}
    assert not model.training


def test_same_seed_same_weights_bit_for_bit(data: SyntheticData) -> None:
    first, again, other = new_model(), new_model(), new_model()
    train(first, data, QUICK, seed=5)
    torch.rand(100)  # the global generator must not matter
    train(again, data, QUICK, seed=5)
    train(other, data, QUICK, seed=6)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


class Spoilt:
    """Data whose crops turn bad after a few steps, that is one sample more."""

    def __init__(self, data: SyntheticData, good: int, factor: float) -> None:
        self.device, self.held_out, self.description = data.device, data.held_out, data.description
        self._data, self._left, self._factor = data, good + 1, factor

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mosaic, target = self._data.sample(batch, crop, generator)
        self._left -= 1
        return mosaic, target if self._left >= 0 else target * self._factor


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_training(factor: float, data: SyntheticData) -> None:
    model = new_model()
    log = train(model, Spoilt(data, 4, factor), QUICK, seed=0)
    assert log.diverged and log.steps == 5
    assert all(bool(torch.isfinite(weight).all()) for weight in weights(model)), (
        "the bad step was not taken"
    )


def test_a_loss_that_runs_away_ends_the_training(data: SyntheticData) -> None:
    log = train(new_model(), Spoilt(data, 30, 1e4), replace(QUICK, steps=60), seed=0)
    assert log.diverged and 30 < log.steps < 60


def test_a_rate_far_too_high_is_noticed_or_survived(data: SyntheticData) -> None:
    log = train(
        new_model(), data, replace(QUICK, steps=40, learning_rate=1e4, grad_clip=1e9), seed=0
    )
    assert log.diverged


def test_a_single_bad_step_is_no_divergence() -> None:
    detector = DivergenceDetector()
    assert all(detector.update(0.1, 1.0) for _ in range(100))
    assert detector.update(0.3, 5.0)
    assert all(detector.update(0.1, 1.0) for _ in range(20))
    assert not all(detector.update(1.0, 1.0) for _ in range(60))


def test_what_the_caller_raises_passes_through(data: SyntheticData) -> None:
    def interrupt(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        assert (phase, done, total) == ("train", 10, 12) and math.isfinite(figures["loss"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(new_model(), data, QUICK, seed=0, on_progress=interrupt)


def test_the_rate_rises_stays_and_falls_to_zero_only_in_a_cool_down() -> None:
    recipe = TrainConfig(steps=200, warmup_steps=20, learning_rate=1e-3, cooldown=0.25)
    start = cooldown_start(200, recipe)
    rates = [learning_rate(step, recipe) for step in range(200)]
    assert rates[0] == pytest.approx(5e-5) and rates[:20] == sorted(rates[:20])
    assert start == 150 and set(rates[19:]) == {1e-3}
    cooled = [learning_rate(step, recipe, cooling_to=200) for step in range(start, 200)]
    assert cooled[0] == 1e-3 and cooled[-1] == pytest.approx(1e-3 / 50)
    assert cooled == sorted(cooled, reverse=True)
    assert learning_rate(0, replace(recipe, warmup_steps=0)) == 1e-3
    assert cooldown_start(7, replace(recipe, cooldown=0)) == 7


def test_the_average_forgets_where_it_began(data: SyntheticData) -> None:
    """A short run must not end near its initial weights because the decay is long."""
    plain, averaged = new_model(), new_model()
    train(plain, data, replace(QUICK, steps=30, ema_decay=0.0), seed=0)
    train(averaged, data, replace(QUICK, steps=30, ema_decay=0.999), seed=0)
    start = weights(new_model())
    moved = sum(float((a - b).square().sum()) for a, b in zip(weights(plain), start, strict=True))
    averaged_moved = sum(
        float((a - b).square().sum()) for a, b in zip(weights(averaged), start, strict=True)
    )
    assert averaged_moved > 0.25 * moved


def test_the_loss_is_a_blend() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 48, 48, generator=generator)
    output = target + 0.1
    assert float(
        restoration_loss(output, target, TrainConfig(loss="l1", ms_ssim_weight=0.0))
    ) == pytest.approx(0.1, abs=1e-6)
    pure = float(restoration_loss(output, target, TrainConfig(loss="l1", ms_ssim_weight=1.0)))
    assert 0 < pure < 1
    assert float(
        restoration_loss(output, target, TrainConfig(loss="l1", ms_ssim_weight=0.25))
    ) == pytest.approx(0.075 + 0.25 * pure, abs=1e-5)


def test_ms_ssim_trains_too(data: SyntheticData) -> None:
    log = train(new_model(), data, replace(QUICK, ms_ssim_weight=0.5), seed=0)
    assert not log.diverged


def test_the_clamped_float_image_is_scored(data: SyntheticData) -> None:
    model = new_model().eval()
    (score, _) = score_images(model, data.held_out)
    with torch.no_grad():
        output = model(data.held_out[0].mosaic)
    assert output.min() >= 0 and output.max() <= 1
    assert score.psnr_db == pytest.approx(
        float(psnr_db(output, data.held_out[0].target, peak=1.0))
    )
    assert score.name == data.held_out[0].name and 0 <= score.ssim <= 1


def test_any_even_size_is_scored() -> None:
    pair = Pair("odd", torch.rand(1, 1, 50, 70), torch.rand(1, 3, 50, 70))
    (score,) = score_images(new_model().eval(), [pair])
    assert math.isfinite(score.psnr_db)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": 48}, "crop must be a multiple of 32"),
        ({"steps": 0}, "steps and batch must be at least 1"),
        ({"batch": 0}, "steps and batch must be at least 1"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"ms_ssim_weight": 2.0}, "ms_ssim_weight"),
        ({"crop": 128}, "at most 96"),
    ],
)
def test_what_is_refused(change: dict[str, float], words: str, data: SyntheticData) -> None:
    with pytest.raises(InputError, match=words):
        train(new_model(), data, replace(QUICK, **change), seed=0)  # type: ignore[arg-type]


def test_rungs_change_nothing_in_the_training(data: SyntheticData) -> None:
    """A copy is scored: the final weights are those of a training without rungs, bit for bit."""
    plain, scored = new_model(), new_model()
    train(plain, data, QUICK, seed=5)
    seen: list[tuple[int, float]] = []

    def score(network: DarkUNet, log: TrainLog) -> bool:
        assert not network.training and network is not scored
        seen.append((log.steps, mean_psnr(network, data)))
        return True

    log = train(scored, data, QUICK, seed=5, rungs=[4, 8, 12], score=score)
    assert [step for step, _ in seen] == [4, 8, 12]
    assert not log.stopped and log.steps == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(scored), strict=True))


def test_a_rung_is_judged_as_a_training_of_its_length_would_end(data: SyntheticData) -> None:
    """A copy is cooled down there, bit for bit; and the log goes on as if nothing had been."""
    seen: dict[int, list[Tensor]] = {}

    def score(network: DarkUNet, log: TrainLog) -> bool:
        seen[log.steps] = weights(network)
        return True

    recipe = replace(QUICK, steps=36)
    log = train(new_model(), data, recipe, seed=5, row_steps=5, rungs=[4, 12, 36], score=score)
    for steps, found in seen.items():
        alone = new_model()
        train(alone, data, replace(recipe, steps=steps), seed=5)
        assert all(torch.equal(a, b) for a, b in zip(weights(alone), found, strict=True)), steps
    assert sorted(seen) == [4, 12, 36] and log.steps == 36
    assert [row["step"] for row in log.rows] == [4, 5, 10, 12, 15, 20, 25, 30, 35, 36]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gone_on_with_it_is_the_longer_training_bit_for_bit(
    data: SyntheticData, precision: torch.dtype
) -> None:
    states: list[Any] = []
    longer, model = new_model(), new_model()
    log = train(
        new_model(),
        data,
        replace(QUICK, steps=15),
        seed=5,
        precision=precision,
        before_cooldown=states.append,
    )
    assert log.steps == 15 and [state["log"]["steps"] for state in states] == [12]
    train(longer, data, replace(QUICK, steps=40), seed=5, precision=precision)
    train(model, data, replace(QUICK, steps=40), seed=5, precision=precision, state=states[0])
    assert all(torch.equal(a, b) for a, b in zip(weights(longer), weights(model), strict=True))


def test_evaluations_change_nothing_and_come_before_the_cool_down_too(
    data: SyntheticData,
) -> None:
    plain, scored = new_model(), new_model()
    train(plain, data, QUICK, seed=5)
    seen: list[int] = []

    def score(network: DarkUNet, log: TrainLog) -> bool:
        seen.append(log.steps)
        return True

    log = train(scored, data, QUICK, seed=5, evaluations={3, 10, 11}, score=score)
    assert seen == [3, 10, 11, 12] and {3, 10, 11, 12} <= {row["step"] for row in log.rows}
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(scored), strict=True))


def test_stopped_at_a_rung_it_has_the_weights_that_were_scored(data: SyntheticData) -> None:
    model, seen = new_model(), []

    def score(network: DarkUNet, log: TrainLog) -> bool:
        seen.append((weights(network), log.loss))
        return log.steps < 8

    log = train(model, data, QUICK, seed=5, rungs=[4, 8, 12], score=score)
    assert (
        log.stopped
        and log.steps == 8
        and len(seen) == 2
        and not model.training
        and not log.diverged
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(model), seen[-1][0], strict=True))
    assert 0 < seen[1][1] != seen[0][1] > 0, "the loss at the rung, smoothed"


def test_what_a_step_computes_in_is_a_setting(data: SyntheticData) -> None:
    """bfloat16 where the processor has it: other numbers, much the same network; an unknown word
    is refused.
    """
    plain, half = new_model(), new_model()
    train(plain, data, replace(QUICK, dtype="float32", steps=60), seed=5)
    train(half, data, replace(QUICK, dtype="bfloat16", steps=60), seed=5)
    assert any(not torch.equal(a, b) for a, b in zip(weights(plain), weights(half), strict=True))
    assert mean_psnr(half, data) == pytest.approx(mean_psnr(plain, data), abs=1.0)
    assert settled_dtype("auto", torch.device("cpu")) == (
        "bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"
    )
    with pytest.raises(
        InputError,
        match=r"train\.dtype must be auto, float32 or bfloat16, but got 'float8'; change it",
    ):
        train(new_model(), data, replace(QUICK, dtype="float8"), seed=0)


def run(
    data: Any, checkpointer: Checkpointer, precision: torch.dtype = torch.float32, **hooks: Any
) -> tuple[DarkUNet, TrainLog]:
    torch.manual_seed(0)
    model = build_model(SMALL)
    log = train(
        model,
        data,
        QUICK,
        seed=3,
        precision=precision,
        row_steps=3,
        rungs=[5, 12],
        score=hooks.get("score", lambda network, log: True),
        save=checkpointer.save,
        state=checkpointer.load({}),
    )
    return model, log


def timeless(log: TrainLog) -> list[dict[str, float]]:
    return [{**row, "seconds": 0} for row in log.rows]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("every", [1, 5])
def test_broken_off_and_resumed_it_is_the_same_bit_for_bit(
    data: SyntheticData, tmp_path: Path, precision: torch.dtype, every: int
) -> None:
    whole, unbroken = run(data, StopAt(tmp_path / "whole"), precision)
    for step in range(every, 12, every):
        with pytest.raises(PreemptedError):
            run(data, StopAt(tmp_path / "parts", step), precision)
    resumed, log = run(data, StopAt(tmp_path / "parts"), precision)
    assert log.steps == 12 and not log.stopped and log.last_rung == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert timeless(log) == timeless(unbroken) and log.waited_s > 0
    assert [row["step"] for row in log.rows] == [3, 5, 6, 9, 12]


def test_weights_do_not_depend_on_when_checkpoints_are_written(
    data: SyntheticData, tmp_path: Path
) -> None:
    often, never = StopAt(tmp_path / "often", every_s=0.0), StopAt(tmp_path / "never")
    pairs = zip(weights(run(data, often)[0]), weights(run(data, never)[0]), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [path.name for path in often.paths()] == ["step_00000011.ckpt", "step_00000010.ckpt"]
    assert [path.name for path in never.paths()] == ["step_00000004.ckpt"], (
        "before a rung's cool-down"
    )


def test_a_stop_during_an_evaluation_loses_nothing(data: SyntheticData, tmp_path: Path) -> None:
    def stop(network: DarkUNet, log: TrainLog) -> bool:
        checkpointer.at = log.steps
        raise PreemptedError

    whole, unbroken = run(data, StopAt(tmp_path / "whole"))
    checkpointer = StopAt(tmp_path / "part")
    with pytest.raises(PreemptedError):
        run(data, checkpointer, score=stop)
    assert checkpointer.step == 4
    rungs: list[int] = []
    resumed, log = run(
        data, StopAt(tmp_path / "part"), score=lambda _, log: rungs.append(log.steps) is None
    )
    assert rungs == [5, 12] and timeless(log) == timeless(unbroken)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_divergence_leaves_the_good_checkpoints(data: SyntheticData, tmp_path: Path) -> None:
    checkpointer = StopAt(tmp_path, every_s=0.0)
    _, log = run(Spoilt(data, 6, math.nan), checkpointer)
    # Of the six good batches a rung's cool-down took one, and the step after it that one again.
    assert log.diverged and log.steps == 6
    state = read(checkpointer.paths()[0])
    assert state["log"]["steps"] == 5
    assert all(bool(torch.isfinite(mean).all()) for mean in state["trainer"]["average"])


def running_ahead(init: Callable[..., None]) -> Callable[..., None]:
    """Trainer.__init__ of a trainer that runs ahead of the host, as on a GPU."""

    def ahead(self: Trainer, *args: Any, **words: Any) -> None:
        init(self, *args, **words)
        self._ahead = True

    return ahead


def test_a_divergence_that_is_seen_at_a_checkpoint_ends_the_training(
    data: SyntheticData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "__init__", running_ahead(Trainer.__init__))
    monkeypatch.setattr(Batches, "is_ready", True)
    checkpointer = StopAt(tmp_path, step=8)
    _, log = run(Spoilt(data, 6, math.nan), checkpointer)
    assert log.diverged and [path.name for path in checkpointer.paths()] == ["step_00000004.ckpt"]


def test_a_checkpoint_of_another_network_is_refused(data: SyntheticData, tmp_path: Path) -> None:
    run(data, StopAt(tmp_path))
    state = StopAt(tmp_path).load({})
    with pytest.raises(ValueError, match="must be of the same network"):
        train(new_model(), data, QUICK, seed=3, state=state)


@settings(max_examples=25, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    checkpointer = Checkpointer(folder=tmp_path_factory.mktemp("flipped"))
    checkpointer.save(7, lambda: {"values": torch.arange(64.0), "step": 7}, due=True)
    (path,) = checkpointer.paths()
    assert torch.equal(read(path)["values"], torch.arange(64.0))
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read(path)
    assert checkpointer.load({}) is None and checkpointer.damaged == [path]


def test_checkpoints_are_written_by_time_and_on_demand(tmp_path: Path) -> None:
    now, made = [0.0], list[int]()
    checkpointer = Checkpointer(folder=tmp_path / "c", every_s=10.0, clock=lambda: now[0])
    for step, at, due in [(1, 5, False), (2, 10, False), (3, 19, False), (4, 19.5, True),
                          (5, 29, False), (6, 29.5, False)]:  # fmt: skip
        now[0] = at
        checkpointer.save(step, lambda step=step: made.append(step) or {"step": step}, due=due)
    assert made == [2, 4, 6]
    (tmp_path / "c" / ".step_00000007.ckpt.77").write_bytes(b"half written")
    assert Checkpointer(folder=tmp_path / "c").load({}) == {"identity": {}, "step": 6}
    assert Checkpointer(folder=tmp_path / "c").load({"seed": 1}) is None
    assert len(list((tmp_path / "c").iterdir())) == 2
    checkpointer.discard()
    assert not (tmp_path / "c").exists() and Checkpointer(folder=tmp_path / "c").load({}) is None


def batches(data: SyntheticData, crop: int = 64, count: int = 6) -> Batches:
    return Batches(data, 2, crop, generator=torch.Generator().manual_seed(1), count=count)


def test_batches_continue_from_the_state_of_the_last_that_was_used(data: SyntheticData) -> None:
    with batches(data) as prefetched:
        first = [(prefetched.next(), prefetched.generator_state) for _ in range(6)]
        assert prefetched.waited_s > 0
    generator = torch.Generator()
    generator.set_state(first[3][1])
    with Batches(data, 2, 64, generator=generator, count=2) as late:
        for (mosaic, target), _ in first[4:]:
            again = late.next()
            assert torch.equal(mosaic, again[0]) and torch.equal(target, again[1])
    assert not torch.equal(first[0][0][0], first[1][0][0])


def test_what_preparing_a_batch_raises_is_raised_where_it_is_used(data: SyntheticData) -> None:
    with batches(data, crop=200) as failing, pytest.raises(InputError, match="at most 96"):
        failing.next()
    assert not failing._thread.is_alive()
    with batches(data, count=10 * AHEAD) as unread:
        pass
    assert not unread._thread.is_alive()


def test_a_measurement_is_not_kept_waiting(
    data: SyntheticData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the gate of the lock, so no batch is prepared: a training that runs ahead must not
    wait for one while it holds the lock.
    """
    monkeypatch.setattr(Trainer, "__init__", running_ahead(Trainer.__init__))
    measured: list[int] = []

    def measure() -> None:
        while not done.is_set():
            with DeviceLock("cpu").alone():
                measured.append(1)

    done = threading.Event()
    thread = threading.Thread(target=measure)
    thread.start()
    try:
        _, log = run(data, StopAt(tmp_path))
    finally:
        done.set()
        thread.join()
    assert log.steps == 12 and measured


def test_the_curve_is_written_as_csv(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 0.5, "lr": 1e-3, "seconds": 0.1}]
    write_curve(tmp_path / "curve.csv", [*rows, {**rows[0], "psnr_db": 20.5, "ssim": 0.5}])
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,loss,lr,psnr_db,ssim,seconds"
    assert lines[1:] == ["1,0.5,0.001,,,0.1", "1,0.5,0.001,20.5,0.5,0.1"]


@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_too_short_for_a_cool_down_has_its_row_too(
    data: SyntheticData, steps: int
) -> None:
    seen: list[int] = []
    log = train(
        new_model(),
        data,
        replace(QUICK, steps=steps),
        seed=0,
        score=lambda _, log: seen.append(int(log.rows[-1]["step"])) is None,
    )
    assert seen == [steps] == [row["step"] for row in log.rows]
