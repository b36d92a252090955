"""The sensor: what a very short exposure makes of a clean one.

Shot noise, Tukey-lambda read noise, row noise, an error of the black level and quantisation, with
the numbers calibrated per ISO for one camera (Wei et al., "A Physics-based Noise Formation Model
for Extreme Low-light Raw Denoising", CVPR 2020; the black-level error: Feng et al., "Learnability
Enhancement for Low-light Raw Denoising", ACM MM 2022). Everything is vectorised over a batch, on
the device of the generator.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trials.raw.sensor import Sensor, SensorRow

# The black-level errors were calibrated on one body on one day; others scatter around them.
BLACK_ERROR_SPREAD_DN = 0.3
COLUMNS = ("gain", "read_scale", "read_lambda", "row_sigma", "black_error")


def shot_noise(electrons: Tensor, generator: torch.Generator) -> Tensor:
    """A Poisson-like draw for each mean in `electrons` (>= 0), same shape.

    The first terms of the Cornish-Fisher expansion of the Poisson quantile: mean, variance and
    skewness are right, the steps of single electrons are missing, which read noise of one electron
    and more hides. It costs a tenth of a true Poisson draw, and on a GPU needs no rejection loop.
    The skewness term fades below one electron, so that darkness stays dark.
    """
    normal = torch.randn(electrons.shape, generator=generator, device=generator.device)
    skewness = (normal.square() - 1.0) * electrons.clamp(max=1.0) / 6.0
    return electrons + electrons.sqrt() * normal + skewness


def tukey_lambda(shape: Sequence[int], lam: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Tukey-lambda draws; `lam` broadcasts against `shape` (0 is logistic)."""
    uniform = torch.rand(tuple(shape), generator=generator, device=generator.device)
    uniform.clamp_(1e-6, 1.0 - 1e-6)
    # (u^lam - (1 - u)^lam) / lam loses all digits near lam = 0; at 1e-3 it is logistic enough.
    lam = torch.where(lam.abs() < 1e-3, torch.full_like(lam, 1e-3), lam)
    rest = (1.0 - uniform).pow_(lam)
    return uniform.pow_(lam).sub_(rest).div_(lam)


class SensorNoise:
    """Draws of a sensor's noise on one device: every image of a batch has an ISO of its own."""

    def __init__(
        self, sensor: Sensor, rows: Sequence[SensorRow], device: str | torch.device
    ) -> None:
        table = [[getattr(row, column) for column in COLUMNS] for row in rows]
        self.table = torch.tensor(table, device=device)
        # One more than counted: every calibrated ISO turns up.
        self.weights = torch.tensor([row.scenes + 1.0 for row in rows], device=device)
        self.depth, self.black_level = sensor.depth, sensor.black_level
        covariance = torch.tensor(sensor.white_balance["log_covariance"], dtype=torch.float64)
        self._balance_mean = torch.tensor(sensor.white_balance["log_mean"], device=device)
        self._balance_factor = torch.linalg.cholesky(covariance).float().to(device)

    def black_error(self, rows: Tensor) -> Tensor:
        """The calibrated error of the black level (b 1 1 1) at `rows` (b), white 1."""
        errors = self.table[rows][:, COLUMNS.index("black_error")]
        return errors[:, None, None, None] / self.depth

    def draw_white_balance(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` white balances (count x 3, green 1): log-normal, clipped at 2.5 sigma."""
        device = generator.device
        normal = torch.randn(count, 2, generator=generator, device=device).clamp_(-2.5, 2.5)
        gains = (self._balance_mean + normal @ self._balance_factor.T).exp()
        return torch.stack([gains[:, 0], torch.ones(count, device=device), gains[:, 1]], dim=1)

    def draw_rows(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` row numbers, drawn as often as night photos use their ISO."""
        return torch.multinomial(self.weights, count, replacement=True, generator=generator)

    def expose(self, clean: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """What the sensor reads out.

        `clean` (b 1 h w): noise-free raw, 0 black, 1 white; `rows` (b): which ISO. Returns raw
        values of the same shape above the black level, whole steps divided by the depth: negative
        where the read-out fell below black.
        """
        batch, _, height, _ = clean.shape
        columns = self.table[rows].T[:, :, None, None, None]
        gain, read_scale, read_lambda, row_sigma, black_error = columns
        value = gain * shot_noise(clean.clamp(min=0.0) * self.depth / gain, generator)
        value += read_scale * tukey_lambda(clean.shape, read_lambda, generator)
        line = torch.randn(batch, 1, height, 1, generator=generator, device=generator.device)
        offset = torch.randn(batch, 1, 1, 1, generator=generator, device=generator.device)
        value += row_sigma * line + (black_error + BLACK_ERROR_SPREAD_DN * offset)
        read_out: Tensor = value.round_().clamp_(-self.black_level, self.depth) / self.depth
        return read_out
