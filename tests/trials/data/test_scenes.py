"""Scenes, colour and synthetic samples."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from space import InputError
from trials import DataConfig, load_data
from trials.data.noise import SensorNoise, load_sensor
from trials.data.scenes import draw_scene
from trials.data.synthetic import SyntheticData
from trials.raw.colour import (
    ALPHA,
    POWER,
    SLOPE,
    TOE,
    apply_matrix,
    develop,
    mosaic_gains,
    orient,
    scale_mosaic,
    to_mosaic,
    tone,
)

SMALL = DataConfig(scenes=4, scene_size=96, held_out=2)


def inverse_tone(display):
    curved = ((display.clamp(min=SLOPE * TOE) + (ALPHA - 1.0)) / ALPHA).pow(1.0 / POWER)
    return torch.where(display < SLOPE * TOE, display / SLOPE, curved)


@pytest.fixture(scope="module")
def data():
    return SyntheticData(SMALL, "cpu")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64, 130]))
def test_a_scene_is_light(seed, size):
    scene = draw_scene(size, seed)
    assert scene.shape == (size, size, 3) and scene.dtype == np.float32
    assert np.isfinite(scene).all() and scene.min() >= 0
    assert 0.5 < np.minimum(scene[..., 1], 100).mean() < 20
    assert scene.max() < 6e4, "scenes are kept in half precision"


def test_a_seed_fixes_the_scene():
    assert np.array_equal(draw_scene(64, 7), draw_scene(64, 7))
    assert not np.array_equal(draw_scene(64, 7), draw_scene(64, 8))


def test_scenes_have_calm_parts_and_detail():
    """Gradients of photos are mostly small, rarely large: a kurtosis above a Gaussian's 3."""
    kurtosis = []
    for seed in range(12):
        grey = np.log(draw_scene(128, seed)[..., 1] + 1e-3)
        steps = np.diff(grey, axis=1).ravel()
        kurtosis.append(np.mean(steps**4) / np.mean(steps**2) ** 2)
    assert np.median(kurtosis) > 8


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_tone_curve_and_back(value):
    linear = torch.tensor(value, dtype=torch.float64)
    assert float(inverse_tone(tone(linear))) == pytest.approx(value, abs=1e-9)


def test_tone_is_bt709():
    points = torch.tensor([0.0, 0.01, 0.018, 0.18, 0.5, 1.0], dtype=torch.float64)
    wanted = [0.0, 0.045, 0.081, 1.099 * 0.18**0.45 - 0.099, 1.099 * 0.5**0.45 - 0.099, 1.0]
    assert tone(points).tolist() == pytest.approx(wanted, abs=3e-4)
    fine = tone(torch.linspace(0, 1, 100_001, dtype=torch.float64))
    assert (fine.diff() > 0).all() and fine.diff().max() < 5e-5, "no step where the two parts meet"


def test_white_develops_to_white_and_clips_like_libraw():
    matrix = torch.tensor(load_sensor("sony_a7s2").camera_to_srgb)
    white = develop(torch.full((1, 3, 2, 2), 7.0), matrix)
    assert torch.allclose(white, torch.ones_like(white), atol=1e-3)
    # Camera channels clip before the matrix.
    red = torch.tensor([2.0, 0.5, 0.1]).reshape(1, 3, 1, 1)
    assert torch.allclose(develop(red, matrix), develop(red.clamp(max=1), matrix))
    assert torch.allclose(apply_matrix(red, torch.eye(3)), red)


def test_mosaic_is_rggb():
    image = torch.stack([torch.full((4, 6), float(channel)) for channel in (1, 2, 3)])[None]
    assert to_mosaic(image)[0, 0, :2, :2].tolist() == [[1, 2], [2, 3]]
    gains = mosaic_gains(torch.tensor([[10.0, 100.0, 1000.0]]))
    cell = scale_mosaic(to_mosaic(image), gains)[0, 0, 2:4, 4:6]
    assert cell.tolist() == [[10, 200], [200, 3000]]


def test_orientations_are_eight_and_differ():
    image = torch.arange(16.0).reshape(1, 4, 4)
    assert len({tuple(orient(image, turn).flatten().tolist()) for turn in range(8)}) == 8


def test_white_balances_are_those_of_night_photos():
    sensor = load_sensor("sony_a7s2")
    mean, covariance = (sensor.white_balance[f"log_{key}"] for key in ("mean", "covariance"))
    noise = SensorNoise(sensor, sensor.rows, "cpu")
    drawn = noise.draw_white_balance(20_000, torch.Generator().manual_seed(0))
    assert drawn.shape == (20_000, 3) and bool((drawn[:, 1] == 1).all())
    logs = drawn[:, [0, 2]].log().double().numpy()
    assert logs.mean(axis=0) == pytest.approx(mean, abs=0.005)
    assert np.cov(logs.T).ravel() == pytest.approx(np.ravel(covariance), rel=0.12)
    assert drawn[:, 0].min() > 1.6 and drawn[:, 0].max() < 2.6 and drawn[:, 2].max() < 3.7


def test_a_sample_is_a_dark_photo_and_its_truth(data):
    mosaic, target = data.sample(16, 64, torch.Generator().manual_seed(0))
    assert mosaic.shape == (16, 1, 64, 64) and target.shape == (16, 3, 64, 64)
    for image in (mosaic, target):
        assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    # White-balanced and amplified, a grey-ish mosaic is about as bright in red as in green.
    plane = torch.nn.functional.avg_pool2d(mosaic, 2).mean(dim=(1, 2, 3))
    truth = inverse_tone(target).mean(dim=(1, 2, 3))
    assert np.corrcoef(plane.numpy(), truth.numpy())[0, 1] > 0.9


def test_mosaic_and_target_are_in_register():
    """At little noise, light at each site is what the target was developed from."""
    limits = {"iso_min": 160, "iso_max": 500, "ratio_max": 100}
    config = DataConfig(scenes=2, scene_size=64, held_out=1, **limits)
    data = SyntheticData(config, "cpu")
    mosaic, target = data.sample(64, 64, torch.Generator().manual_seed(1))
    linear = inverse_tone(target.double())
    camera = torch.linalg.inv(data.camera.camera_to_srgb.double())
    wanted = to_mosaic(apply_matrix(linear, camera))[..., 8:-8, 8:-8]
    seen = mosaic[..., 8:-8, 8:-8].double()

    def misfit(shift):
        return float((seen - torch.roll(wanted, shift, dims=(2, 3))).square().mean())

    assert misfit((0, 0)) == min(misfit((y, x)) for y in (-2, 0, 2) for x in (-2, 0, 2))
    # And the right colours: swapping red and blue sites fits worse.
    assert misfit((0, 0)) < misfit((1, 1))


def test_without_white_balance_red_and_blue_are_darker():
    config = DataConfig(scenes=2, scene_size=64, held_out=1)
    plain = SyntheticData(replace(config, white_balanced_input=False), "cpu")
    dark, _ = plain.sample(8, 64, torch.Generator().manual_seed(0))
    light, _ = SyntheticData(config, "cpu").sample(8, 64, torch.Generator().manual_seed(0))
    assert torch.equal(dark[..., ::2, 1::2], light[..., ::2, 1::2]), "green is left alone"
    assert 1.6 < light[..., ::2, ::2].sum() / dark[..., ::2, ::2].sum() < 2.6


def test_the_seed_fixes_everything(data):
    again = SyntheticData(SMALL, "cpu")
    other = SyntheticData(replace(SMALL, seed=1), "cpu")
    ours, same, different = (
        d.sample(4, 32, torch.Generator().manual_seed(3)) for d in (data, again, other)
    )
    assert torch.equal(ours[0], same[0]) and torch.equal(ours[1], same[1])
    assert not torch.equal(ours[1], different[1])
    for pair, copy in zip(data.held_out, again.held_out, strict=True):
        assert torch.equal(pair.mosaic, copy.mosaic) and torch.equal(pair.target, copy.target)
    assert data.description["digest"] == again.description["digest"] != other.description["digest"]


def test_held_out_scenes_are_no_training_scenes(data):
    assert len(data.held_out) == 2 and data.held_out[0].mosaic.shape == (1, 1, 96, 96)
    assert data.held_out[0].target.shape == (1, 3, 96, 96)
    assert len(data.scenes) == 4
    assert data.held_out[0].name != data.held_out[1].name


def test_progress_is_reported():
    steps = []
    load_data(SMALL, on_progress=lambda phase, done, total, _: steps.append((phase, done, total)))
    assert steps == [("scenes", done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scenes": 0}, "scenes must be at least 1"),
        ({"held_out": 0}, "held_out must be at least 1"),
        ({"scene_size": 65}, "even"),
        ({"ratio_min": 200.0, "ratio_max": 100.0}, "swap"),
        ({"iso_min": 30000, "iso_max": 40000}, "ISO range"),
        ({"sensor": "nokia"}, "sony_a7s2"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        SyntheticData(DataConfig(**change), "cpu")


@pytest.mark.parametrize("crop", [33, 98, 0])
def test_crops_that_do_not_fit(data, crop):
    with pytest.raises(InputError, match="crop must be even and at most 96"):
        data.sample(1, crop, torch.Generator().manual_seed(0))
