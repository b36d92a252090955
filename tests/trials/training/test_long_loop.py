"""The long training: broken off anywhere it goes on bit for bit, its checkpoints are whole, its
data is ahead.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from space import DarkUNet, Genome, InputError, build_model
from trials import DataConfig, TrainConfig, load_data
from trials.data.pair import TrialData
from trials.training.checkpoints import Checkpoints, DamagedError, read
from trials.training.log import draw_curves, log_ticks, points, ticks, write_curve
from trials.training.long_loop import LongConfig, LongTraining
from trials.training.prefetch import AHEAD, Batches, step_generator

SMALL = Genome(
    skip_width=16, skip_block="residual", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
CONFIG = LongConfig(train=TrainConfig(steps=12, batch=2, crop=64), seed=3, eval_steps=5)


@pytest.fixture(scope="module")
def data() -> TrialData:
    return load_data(DataConfig(scenes=4, scene_size=96, held_out=2))


def new_model() -> DarkUNet:
    torch.manual_seed(0)
    return build_model(SMALL)


def weights(training: LongTraining) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in training.averaged().parameters()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def begin(data: TrialData, folder: Path, config: LongConfig = CONFIG) -> LongTraining:
    folder.mkdir(exist_ok=True)
    return LongTraining(new_model(), data, config, folder)


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, precision=torch.bfloat16)])
@pytest.mark.parametrize("every", [1, 4, 5])
def test_broken_off_and_resumed_it_is_the_same_bit_for_bit(
    data: TrialData, tmp_path: Path, config: LongConfig, every: int
) -> None:
    whole = begin(data, tmp_path / "whole", config)
    done = whole.run(checkpoint_s=math.inf)
    for _ in range(20):
        part = begin(data, tmp_path / "parts", config)
        part.resume()
        until = part.log.step + every
        log = part.run(
            checkpoint_s=math.inf, stop=lambda part=part, until=until: part.log.step >= until
        )
        if not log.stopped:
            break
    assert log.step == 12 and not log.stopped
    assert same(weights(whole), weights(part))
    assert not same(weights(whole), [parameter.detach() for parameter in new_model().parameters()])
    assert [{**row, "seconds": 0} for row in log.rows] == [
        {**row, "seconds": 0} for row in done.rows
    ]
    assert [row["step"] for row in log.rows if row["psnr_db"]] == [5, 10, 12]
    assert log.images == done.images and len(log.images) == 2


def test_weights_do_not_depend_on_when_checkpoints_are_written(
    data: TrialData, tmp_path: Path
) -> None:
    often, never = begin(data, tmp_path / "often"), begin(data, tmp_path / "never")
    written: list[int] = []
    often.run(
        checkpoint_s=0.0,
        tell=lambda event, done, *_: written.append(done) if event == "checkpoint" else None,
    )
    never.run(checkpoint_s=math.inf)
    assert written == [*range(12), 12] and same(weights(often), weights(never))
    assert [path.name for path in often.checkpoints.paths()] == [
        "step_00000012.ckpt",
        "step_00000011.ckpt",
    ]


def test_a_damaged_checkpoint_falls_back_on_the_one_before(
    data: TrialData, tmp_path: Path
) -> None:
    first = begin(data, tmp_path)
    first.run(checkpoint_s=0.0)
    newest, older = first.checkpoints.paths()
    newest.write_bytes(newest.read_bytes()[:-100])
    again = begin(data, tmp_path)
    found = again.resume()
    assert found.step == again.log.step == 11 and found.damaged == [newest]
    again.run(checkpoint_s=math.inf)
    assert same(weights(first), weights(again))
    for path in (newest, older):
        path.write_bytes(b"nonsense")
    found = begin(data, tmp_path).resume()
    assert found.step is None and len(found.damaged) == 2


@settings(max_examples=25, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, where: float, bit: int
) -> None:
    checkpoints = Checkpoints(tmp_path_factory.mktemp("flipped"))
    path = checkpoints.write(7, {"values": torch.arange(64.0), "step": 7})
    assert torch.equal(read(path)["values"], torch.arange(64.0))
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        read(path)


def test_half_written_checkpoints_are_swept_away(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, {})
    (tmp_path / ".step_00000002.ckpt.77").write_bytes(b"half")
    checkpoints.sweep()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.ckpt"]


def test_a_checkpoint_of_another_network_is_no_state(data: TrialData, tmp_path: Path) -> None:
    begin(data, tmp_path).run(checkpoint_s=math.inf)
    other = build_model(
        Genome(
            skip_width=8,
            skip_block="residual",
            skip_blocks=1,
            merge_width=0,
            head="add",
            head_kernel=3,
        )
    )
    with pytest.raises(ValueError, match="shape"):
        LongTraining(other, data, CONFIG, tmp_path).resume()


def test_a_stop_during_an_evaluation_loses_nothing(data: TrialData, tmp_path: Path) -> None:
    whole = begin(data, tmp_path / "whole")
    whole.run(checkpoint_s=math.inf)
    judged: list[int] = []
    part = begin(data, tmp_path / "part")
    log = part.run(
        checkpoint_s=math.inf,
        stop=lambda: bool(judged),
        tell=lambda event, done, *_: judged.append(done) if event == "evaluate" else None,
    )
    assert log.stopped and log.step == 5 and log.rows[-1]["step"] == 4 and not log.images
    again = begin(data, tmp_path / "part")
    again.resume()
    again.run(checkpoint_s=math.inf)
    assert same(weights(whole), weights(again))
    assert [row["psnr_db"] for row in again.log.rows] == [row["psnr_db"] for row in whole.log.rows]


class Spoilt:
    """Data that ends in what is no number."""

    def __init__(self, data: TrialData, good: int) -> None:
        self.device, self.held_out, self.description = data.device, data.held_out, data.description
        self._data, self._left = data, good

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mosaic, target = self._data.sample(batch, crop, generator)
        self._left -= 1
        return mosaic, target if self._left >= 0 else target * math.nan


def test_a_divergence_leaves_the_good_checkpoints(data: TrialData, tmp_path: Path) -> None:
    training = begin(Spoilt(data, 6), tmp_path)
    log = training.run(checkpoint_s=0.0)
    assert log.diverged and log.step == 6
    found = training.checkpoints.newest()
    assert found.step == 6 and found.state is not None
    assert all(bool(torch.isfinite(kept).all()) for kept in found.state["trainer"]["average"])


def test_batches_are_those_of_their_step_wherever_one_begins(data: TrialData) -> None:
    with Batches(data, 2, 64, seed=1, first=0, end=6) as all_of_them:
        drawn = [all_of_them.next() for _ in range(6)]
        assert all_of_them.waited_s > 0
    with Batches(data, 2, 64, seed=1, first=4, end=6) as late:
        for mosaic, target in drawn[4:]:
            again = late.next()
            assert torch.equal(mosaic, again[0]) and torch.equal(target, again[1])
    assert not torch.equal(drawn[0][0], drawn[1][0])


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**7))
def test_every_step_has_a_generator_of_its_own(seed: int, step: int) -> None:
    here = step_generator(seed, step, torch.device("cpu"))
    assert here.initial_seed() == step_generator(seed, step, torch.device("cpu")).initial_seed()
    assert (
        here.initial_seed() != step_generator(seed, step + 1, torch.device("cpu")).initial_seed()
    )
    assert (
        here.initial_seed() != step_generator(seed + 1, step, torch.device("cpu")).initial_seed()
    )


def test_what_drawing_raises_is_told_at_its_step_and_the_thread_ends(data: TrialData) -> None:
    with (
        Batches(data, 2, 200, seed=1, first=0, end=6) as batches,
        pytest.raises(InputError, match="at most 96"),
    ):
        batches.next()
    assert not batches._thread.is_alive()
    with Batches(data, 2, 64, seed=1, first=0, end=10 * AHEAD) as unread:
        pass
    assert not unread._thread.is_alive()


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 12))
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    found = ticks(low, low + span, most)
    assert len(found) <= most
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)
    apart = [b - a for a, b in itertools.pairwise(found)]
    assert all(gap == pytest.approx(apart[0], rel=1e-3) for gap in apart)


@given(st.floats(-6, 3), st.floats(0.01, 8), st.integers(4, 12))
def test_logarithmic_ticks_are_few_and_inside(power: float, decades: float, most: int) -> None:
    low, high = 10.0**power, 10.0 ** (power + decades)
    found = log_ticks(low, high, most)
    assert len(found) <= most and found == sorted(found)
    assert all(low * (1 - 1e-6) <= value <= high * (1 + 1e-6) for value in found)


def test_curves_of_nothing_one_and_many_are_drawn(tmp_path: Path) -> None:
    rows = [
        {
            "step": step,
            "loss": 0.1 / (1 + step),
            "lr": 1e-3,
            "psnr_db": 20.0 + step if step % 3 == 0 else None,
            "ssim": None,
            "seconds": 0.1,
        }
        for step in range(10)
    ]
    assert points(rows, "psnr_db") == [(0, 20.0), (3, 23.0), (6, 26.0), (9, 29.0)]
    for count in (0, 1, 10):
        draw_curves(tmp_path / "curve.png", rows[:count])
        picture = cv2.imread(str(tmp_path / "curve.png"))
        assert picture.shape == (1120, 1280, 3) and picture.min() < 100
    write_curve(tmp_path / "curve.csv", rows)
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,loss,lr,psnr_db,ssim,seconds" and lines[2] == "1,0.05,0.001,,,0.1"
