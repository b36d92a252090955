"""The sensor: each part of the noise has the moments that its source gives it."""

import numpy as np
import pytest
import torch
from scipy import stats

from space import InputError
from trials.data.noise import (
    BLACK_ERROR_SPREAD_DN,
    SensorNoise,
    shot_noise,
    tukey_lambda,
)
from trials.raw.sensor import load_sensor


@pytest.fixture(scope="module")
def sensor():
    return load_sensor("sony_a7s2")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mean", [1.0, 3.0, 10.0, 100.0, 5000.0])
def test_shot_noise_has_the_moments_of_poisson(mean):
    drawn = shot_noise(torch.full((400_000,), mean), seeded()).numpy().astype(np.float64)
    assert drawn.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / 400_000))
    assert drawn.var() == pytest.approx(mean, rel=0.07)
    assert stats.skew(drawn) == pytest.approx(stats.poisson(mean).stats("s"), rel=0.25, abs=0.03)


def test_darkness_has_no_shot_noise():
    assert not shot_noise(torch.zeros(1000), seeded()).any()


@pytest.mark.parametrize("mean", [0.05, 0.3])
def test_faint_light_keeps_its_mean_and_variance(mean):
    drawn = shot_noise(torch.full((400_000,), mean), seeded())
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.005)
    assert float(drawn.var()) == pytest.approx(mean, rel=0.07)


@pytest.mark.parametrize("lam", [-0.09, -0.003, 0.0, 0.0026, 0.147])
def test_read_noise_is_scipys_tukey_lambda(lam):
    drawn = tukey_lambda((200_000,), torch.tensor(lam), seeded()).numpy()
    assert stats.kstest(drawn[:20_000], stats.tukeylambda(lam).cdf).pvalue > 1e-3
    assert drawn.var() == pytest.approx(stats.tukeylambda.stats(lam, moments="v"), rel=0.05)


def test_the_shipped_rows_agree_with_themselves(sensor):
    assert [row.iso for row in sensor.rows] == sorted({row.iso for row in sensor.rows})
    assert (sensor.rows[0].iso, sensor.rows[-1].iso) == (50, 25600)
    for row in sensor.rows:
        assert row.gain == pytest.approx(0.0009563 * row.iso, rel=1e-3)
        # Two calibrations of one thing: the Tukey-lambda fit and the plain standard deviation.
        variance = float(stats.tukeylambda.stats(row.read_lambda, moments="v"))
        assert row.read_scale * variance**0.5 == pytest.approx(row.read_sigma, rel=0.1)
    sigma = {row.iso: row.read_sigma for row in sensor.rows}
    assert sigma[2000] < 0.5 * sigma[1600], "the second conversion gain of this camera"
    assert sum(row.scenes for row in sensor.rows) == 231
    matrix = np.array(sensor.camera_to_srgb)
    assert matrix.sum(axis=1) == pytest.approx(1.0, abs=1e-3), "white stays white"


@pytest.mark.parametrize("iso", [100, 320, 1600, 6400])
def test_a_flat_exposure_has_the_calibrated_mean_and_variance(sensor, iso):
    (row,) = sensor.between(iso, iso)
    noise = SensorNoise(sensor, [row], "cpu")
    level_dn = 200.0
    clean = torch.full((64, 1, 64, 64), level_dn / sensor.depth)
    rows = noise.draw_rows(64, seeded())
    dn = noise.expose(clean, rows, seeded()).double() * sensor.depth
    assert torch.allclose(dn, dn.round(), atol=1e-3), "whole steps"
    within = float(dn.var(dim=(1, 2, 3)).mean())
    expected = row.gain * level_dn + row.read_sigma**2 + row.row_sigma**2 + 1 / 12
    assert within == pytest.approx(expected, rel=0.08)
    mean = level_dn + row.black_error
    assert float(dn.mean()) == pytest.approx(mean, abs=5 * BLACK_ERROR_SPREAD_DN / 8)
    spread = (BLACK_ERROR_SPREAD_DN**2 + row.row_sigma**2 / 64 + expected / 64**2) ** 0.5
    assert float(dn.mean(dim=(1, 2, 3)).std()) == pytest.approx(spread, rel=0.35)


def test_rows_of_a_dark_frame_share_their_noise(sensor):
    (row,) = sensor.between(10000, 10000)
    noise = SensorNoise(sensor, [row], "cpu")
    rows = torch.zeros(8, dtype=torch.long)
    dn = noise.expose(torch.zeros(8, 1, 64, 512), rows, seeded()) * sensor.depth
    between_rows = float(dn.mean(dim=3).var(dim=2).mean())
    assert between_rows == pytest.approx(row.row_sigma**2 + row.read_sigma**2 / 512, rel=0.3)
    assert dn.min() < 0, "values below black are kept"


def test_iso_is_drawn_as_often_as_it_was_used(sensor):
    rows = sensor.between(50, 25600)
    noise = SensorNoise(sensor, rows, "cpu")
    counts = torch.bincount(noise.draw_rows(50_000, seeded()), minlength=len(rows)) / 50_000
    weights = np.array([row.scenes + 1 for row in rows])
    assert counts.numpy() == pytest.approx(weights / weights.sum(), abs=0.01)
    assert (counts > 0).all()


def test_every_image_of_a_batch_has_its_own_iso(sensor):
    rows = sensor.between(100, 25600)
    noise = SensorNoise(sensor, rows, "cpu")
    which = torch.tensor([0, len(rows) - 1])
    dn = noise.expose(torch.full((2, 1, 64, 64), 0.01), which, seeded()) * sensor.depth
    assert dn[1].std() > 10 * dn[0].std()


def test_same_generator_same_noise(sensor):
    noise = SensorNoise(sensor, sensor.rows, "cpu")
    clean = torch.rand(3, 1, 16, 16) * 0.01
    rows = torch.tensor([0, 5, 9])
    first, again, other = (noise.expose(clean, rows, seeded(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_white_stays_within_the_scale(sensor):
    noise = SensorNoise(sensor, sensor.rows, "cpu")
    out = noise.expose(torch.full((28, 1, 8, 8), 2.0), torch.arange(28), seeded())
    assert float(out.max()) == 1.0


def test_what_is_refused(sensor):
    with pytest.raises(InputError, match="sony_a7s2"):
        load_sensor("no_such_camera")
    with pytest.raises(InputError, match="50 to 25600"):
        sensor.between(51, 63)
