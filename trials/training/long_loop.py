"""The long training of one network: as a trial's, but it outlives being killed and shows how it
gets on.

Everything that happens is decided by the number of the step, never by the clock: crops, rate, rows
of the curve, evaluations. Only checkpoints are written by time, and what they hold does not depend
on when. So a training that is killed and goes on ends with the weights of an unbroken one; on a
CPU with as many threads, bit for bit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from space import DarkUNet
from trials.config import LatencyConfig, TrainConfig
from trials.data.pair import TrialData
from trials.device.lock import DeviceLock
from trials.device.memory import keep_freed_memory
from trials.latency.deployment import scoring_form, numerics
from trials.training.checkpoints import Checkpoints, Found
from trials.training.log import Row, draw_curves, write_curve
from trials.training.loop import ImageScore, evaluate
from trials.training.prefetch import Batches
from trials.training.trainer import Trainer, learning_rate

# Losses are smoothed over more steps than a trial's: the curve is long, and its lowest value
# judges what comes later.
SMOOTHING_STEPS = 200
# Rows of the curve, evaluations apart.
ROWS = 400

Tell = Callable[[str, int, int, dict[str, float]], None]
"""Called as tell(event, step, steps, figures): "step" after every step, "evaluate", "row" and
"checkpoint".
"""


@dataclass(frozen=True, kw_only=True)
class LongConfig:
    """What decides the weights besides the network and the data."""

    train: TrainConfig
    seed: int = 0
    """Fixes the crops and their noise."""
    precision: torch.dtype = torch.float32
    """What the forward pass computes in; weights and optimiser are float32."""
    eval_steps: int = 1000
    """The held-out pairs are judged after every so many steps, and after the last."""

    @property
    def row_steps(self) -> int:
        """The curve has a row after every so many steps."""
        return max(1, self.train.steps // ROWS)


@dataclass
class LongLog:
    """What a long training has done so far, kills included."""

    step: int = 0
    rows: list[Row] = field(default_factory=list)
    images: list[ImageScore] = field(default_factory=list)
    """Scores of the held-out pairs at the last evaluation."""
    seconds: float = 0.0
    """Training alone: no evaluations, no checkpoints; nor what was lost by a kill."""
    waited_s: float = 0.0
    """Part of `seconds` that was spent waiting for data."""
    diverged: bool = False
    stopped: bool = False
    """Ended early because it was asked to; a checkpoint holds all of it."""


class LongTraining:
    """One network's long training, with its checkpoints and its curve in a folder."""

    def __init__(self, model: DarkUNet, data: TrialData, config: LongConfig, folder: Path) -> None:
        """`model` has its initial weights. Raises InputError for a config that the network can't
        meet.
        """
        self.data, self.config, self.folder = data, config, folder
        self.trainer = Trainer(
            model,
            config.train,
            data.device,
            precision=config.precision,
            smoothing_steps=SMOOTHING_STEPS,
        )
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.log = LongLog()

    def resume(self) -> Found:
        """Goes back to the newest checkpoint that is whole, if there is one; says what it found."""
        self.checkpoints.sweep()
        found = self.checkpoints.newest()
        if found.state is not None:
            self.trainer.restore(found.state["trainer"])
            kept = found.state["log"]
            self.log = LongLog(
                **{**kept, "images": [ImageScore(**image) for image in kept["images"]]}
            )
        return found

    def run(
        self,
        *,
        checkpoint_s: float,
        stop: Callable[[], bool] = lambda: False,
        tell: Tell | None = None,
    ) -> LongLog:
        """Trains to the end, or until `stop()`, with a checkpoint every `checkpoint_s` seconds and
        one at the end.

        A training that diverges ends with `diverged` and leaves the checkpoints as they are.
        Raises OSError where a checkpoint or the curve can't be written, and what reading the data
        raises.
        """
        tell = tell or (lambda *_: None)
        log, train = self.log, self.config.train
        lock = DeviceLock(str(self.data.device))
        if self.data.device.type == "cpu":
            # else each step pays for its pages anew: a tenth of M1's and M2's time
            keep_freed_memory()
        saved = time.perf_counter()
        with Batches(
            self.data,
            train.batch,
            train.crop,
            seed=self.config.seed,
            first=log.step,
            end=train.steps,
        ) as batches:
            while True:
                if not self._row(tell, stop) or log.step == train.steps or stop():
                    break
                if time.perf_counter() - saved >= checkpoint_s:
                    self._checkpoint(tell)
                    saved = time.perf_counter()
                started, waited = time.perf_counter(), batches.waited_s
                mosaic, target = batches.next()
                with lock.shared():  # a measurement of latency waits for the step's end
                    healthy = self.trainer.step(log.step, mosaic, target) and self.trainer.settle()
                if not healthy:
                    log.diverged = True
                    return log
                log.step += 1
                log.waited_s += batches.waited_s - waited
                log.seconds += time.perf_counter() - started
                tell("step", log.step, train.steps, {"loss": self.trainer.watch.smoothed})
        if log.step == train.steps and not all(
            bool(torch.isfinite(mean).all()) for mean in self.trainer.average
        ):
            log.diverged = True
            return log
        self._checkpoint(tell)
        log.stopped = not self._is_done()
        return log

    def averaged(self) -> DarkUNet:
        """A copy of the network with the averaged weights, in eval mode."""
        model = copy.deepcopy(self.trainer.model).eval()
        self.trainer.put_average(model)
        return model

    def _is_done(self) -> bool:
        return (
            self.log.step == self.config.train.steps
            and bool(self.log.rows)
            and self.log.rows[-1]["step"] == self.log.step
        )

    def _row(self, tell: Tell, stop: Callable[[], bool]) -> bool:
        """The curve's row after this step, if one is due; False where it was asked to stop before
        it was there.
        """
        log, config = self.log, self.config
        step, last = log.step, log.step == config.train.steps
        judged = last or (step > 0 and step % config.eval_steps == 0)
        if (
            step == 0
            or (log.rows and log.rows[-1]["step"] == step)
            or not (judged or step % config.row_steps == 0)
        ):
            return True
        row: Row = {
            "step": step,
            "loss": self.trainer.watch.smoothed,
            "lr": learning_rate(step - 1, config.train),
        }
        row |= {"psnr_db": None, "ssim": None, "seconds": log.seconds}
        if judged:
            images = self._judge(tell, stop)
            if images is None:
                return False
            log.images = images
            row["psnr_db"] = sum(image.psnr_db for image in images) / len(images)
            row["ssim"] = sum(image.ssim for image in images) / len(images)
        log.rows.append(row)
        if judged:
            write_curve(self.folder / "curve.csv", log.rows)
            draw_curves(self.folder / "curve.png", log.rows)
            figures = {name: float(row[name] or 0) for name in ("loss", "psnr_db", "ssim")}
            tell("row", step, config.train.steps, figures)
        return True

    def _judge(self, tell: Tell, stop: Callable[[], bool]) -> list[ImageScore] | None:
        model = scoring_form(self.averaged(), LatencyConfig(), str(self.data.device))
        images: list[ImageScore] = []
        pairs = self.data.held_out
        for pair in pairs:
            if stop():
                return None
            with numerics(self.data.device):
                images += evaluate(model, [pair])
            tell("evaluate", len(images), len(pairs), {})
        return images

    def _checkpoint(self, tell: Tell) -> None:
        log = self.log
        images = [vars(image) for image in log.images]
        kept: dict[str, Any] = {
            "step": log.step,
            "rows": log.rows,
            "images": images,
            "seconds": log.seconds,
            "waited_s": log.waited_s,
        }
        self.checkpoints.write(log.step, {"trainer": self.trainer.state(), "log": kept})
        tell("checkpoint", log.step, self.config.train.steps, {})
