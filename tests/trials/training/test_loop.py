"""Training: it learns, repeats itself, notices when it comes apart, and passes on what its caller
raises.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from space import BASELINES, InputError, build_model
from space.model import DarkUNet
from trials import DataConfig, TrainConfig, load_data, psnr_db, score_images, train
from trials.config import TrainConfig as Recipe
from trials.data.pair import Pair
from trials.data.synthetic import SyntheticData
from trials.device.precision import has_bfloat16, settled_dtype
from trials.training.divergence import DivergenceDetector
from trials.training.loop import TrainLog
from trials.training.losses import restoration_loss
from trials.training.trainer import learning_rate

QUICK = TrainConfig(steps=12, batch=2, crop=64)


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
    """Data whose crops turn bad after a few steps."""

    def __init__(self, data: SyntheticData, good: int, factor: float) -> None:
        self.device, self.held_out, self.description = data.device, data.held_out, data.description
        self._data, self._left, self._factor = data, good, factor

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


def test_the_watch_forgives_a_single_bad_step() -> None:
    watch = DivergenceDetector()
    assert all(watch.healthy(0.1, 1.0) for _ in range(100))
    assert watch.healthy(0.3, 5.0)
    assert all(watch.healthy(0.1, 1.0) for _ in range(20))
    assert not all(watch.healthy(1.0, 1.0) for _ in range(60))


def test_what_the_caller_raises_passes_through(data: SyntheticData) -> None:
    def interrupt(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        assert (phase, done, total) == ("train", 10, 12) and math.isfinite(figures["loss"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(new_model(), data, QUICK, seed=0, on_progress=interrupt)


def test_the_rate_rises_and_falls_to_zero() -> None:
    recipe = Recipe(steps=200, warmup_steps=20, learning_rate=1e-3)
    rates = [learning_rate(step, recipe) for step in range(200)]
    assert rates[0] == pytest.approx(5e-5) and rates[19] == pytest.approx(1e-3) == max(rates)
    assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 1e-6
    assert (
        max(learning_rate(step, Recipe(steps=5)) for step in range(5))
        == Recipe(steps=5).learning_rate
    )


def test_the_average_forgets_where_it_began(data: SyntheticData) -> None:
    """A short run must not end near its initial weights because the decay is long."""
    plain, averaged = new_model(), new_model()
    train(plain, data, replace(QUICK, steps=30, ema_decay=0.0), seed=0)
    train(averaged, data, replace(QUICK, steps=30, ema_decay=0.999), seed=0)
    start = weights(new_model())
    moved = sum(float((a - b).square().sum()) for a, b in zip(weights(plain), start, strict=True))
    kept = sum(
        float((a - b).square().sum()) for a, b in zip(weights(averaged), start, strict=True)
    )
    assert kept > 0.25 * moved


def test_the_loss_is_a_blend() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 48, 48, generator=generator)
    output = target + 0.1
    assert float(restoration_loss(output, target, 0.0)) == pytest.approx(0.1, abs=1e-6)
    pure = float(restoration_loss(output, target, 1.0))
    assert 0 < pure < 1
    assert float(restoration_loss(output, target, 0.25)) == pytest.approx(
        0.075 + 0.25 * pure, abs=1e-5
    )


def test_ms_ssim_trains_too(data: SyntheticData) -> None:
    log = train(new_model(), data, replace(QUICK, ms_ssim_weight=0.5), seed=0)
    assert not log.diverged


def test_evaluate_scores_the_clamped_float_image(data: SyntheticData) -> None:
    model = new_model().eval()
    (score, _) = score_images(model, data.held_out)
    with torch.no_grad():
        output = model(data.held_out[0].mosaic)
    assert output.min() >= 0 and output.max() <= 1
    assert score.psnr_db == pytest.approx(
        float(psnr_db(output, data.held_out[0].target, peak=1.0))
    )
    assert score.name == data.held_out[0].name and 0 <= score.ssim <= 1


def test_evaluate_takes_any_even_size() -> None:
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
    """It is judged on a copy: the weights at the end are those of a training without rungs, bit
    for bit.
    """
    plain, judged = new_model(), new_model()
    train(plain, data, QUICK, seed=5)
    seen: list[tuple[int, float]] = []

    def at_rung(network: DarkUNet, log: TrainLog) -> bool:
        assert not network.training and network is not judged
        seen.append((log.steps, mean_psnr(network, data)))
        return True

    log = train(judged, data, QUICK, seed=5, rungs=[4, 8, 12], at_rung=at_rung)
    assert [step for step, _ in seen] == [4, 8], "the last step is the caller's to judge"
    assert not log.stopped and log.steps == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(judged), strict=True))


def test_stopped_at_a_rung_it_has_the_weights_that_were_judged(data: SyntheticData) -> None:
    model, seen = new_model(), []

    def at_rung(network: DarkUNet, log: TrainLog) -> bool:
        seen.append((weights(network), log.loss))
        return log.steps < 8

    log = train(model, data, QUICK, seed=5, rungs=[4, 8, 12], at_rung=at_rung)
    assert (
        log.stopped
        and log.steps == 8
        and len(seen) == 2
        and not model.training
        and not log.diverged
    )
    assert all(torch.equal(a, b) for a, b in zip(weights(model), seen[-1][0], strict=True))
    assert 0 < seen[1][1] < seen[0][1], "the loss at the rung, smoothed"


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
