"""Scenes, colour and synthetic samples."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from space import InputError
from trials import DataConfig, load_data
from trials.config import COLOURS
from trials.data.noise import SensorNoise
from trials.data.scenes import PALETTES, draw_scene
from trials.data.scenes.lamps import LAMPS, balance, of_chromaticity
from trials.data.scenes.surfaces import XYZ_TO_SRGB, chromatic
from trials.data.simulated_camera import SimulatedCamera
from trials.data.synthetic import HELD_OUT, SyntheticData, seeds_of
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
from trials.raw.sensor import load_sensor

SMALL = DataConfig(scenes=4, scene_size=96, held_out=2)


def inverse_tone(display):
    curved = ((display.clamp(min=SLOPE * TOE) + (ALPHA - 1.0)) / ALPHA).pow(1.0 / POWER)
    return torch.where(display < SLOPE * TOE, display / SLOPE, curved)


@pytest.fixture(scope="module")
def data():
    return SyntheticData(SMALL, "cpu")


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64, 130]), st.sampled_from(list(PALETTES)))
def test_a_scene_is_light(seed, size, palette):
    scene = draw_scene(size, seed, palette)
    assert scene.shape == (size, size, 3) and scene.dtype == np.float32
    assert np.isfinite(scene).all() and scene.min() >= 0
    assert 0.5 < np.minimum(scene[..., 1], 100).mean() < 20
    assert scene.max() < 6e4, "scenes are kept in half precision"


def test_a_seed_fixes_the_scene():
    assert np.array_equal(draw_scene(64, 7), draw_scene(64, 7))
    assert not np.array_equal(draw_scene(64, 7), draw_scene(64, 8))


def test_the_study_file_knows_every_palette():
    assert set(COLOURS) == set(PALETTES)


def test_grey_scenes_are_those_of_the_earlier_releases():
    digest = hashlib.sha256()
    for seed in range(4):
        digest.update(draw_scene(64, seed, "grey").tobytes())
    assert digest.hexdigest()[:16] == "824a7580ee30a6b1"


def lab_of(srgb):
    """CIELAB (b 3 h w) of linear sRGB; scikit-image takes it with its curve."""
    curved = np.where(srgb < 0.0031308, 12.92 * srgb, 1.055 * srgb ** (1 / 2.4) - 0.055)
    return rgb2lab(np.clip(curved, 0, 1), channel_axis=-1)


def test_natural_scenes_have_all_hues_and_are_no_confetti():
    scenes = np.stack([draw_scene(48, seed) for seed in range(96)])
    lab = lab_of(np.clip(0.18 * scenes, 0, 1))
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hues = np.rad2deg(np.arctan2(lab[..., 2], lab[..., 1]))[chroma > 15] % 360
    sectors = np.histogram(hues, bins=12, range=(0, 360))[0] / len(hues)
    assert sectors.min() > 0.015, "each of twelve hues is known"
    assert 5 < np.median(chroma) < 20 and np.quantile(chroma, 0.95) > 30
    grey = np.stack([draw_scene(48, seed, "grey") for seed in range(96)])
    lab = lab_of(np.clip(0.18 * grey, 0, 1))
    old = np.hypot(lab[..., 1], lab[..., 2])
    hues = np.rad2deg(np.arctan2(lab[..., 2], lab[..., 1]))[old > 15] % 360
    greens = ((hues > 120) & (hues < 180)).mean()
    assert greens < sectors[4:6].sum(), "which is what the grey ones lack"


@pytest.mark.parametrize(
    ("hue", "chroma"), [(55.0, 20.0), (118.0, 24.0), (250.0, 13.0), (330.0, 30.0)]
)
def test_a_surface_has_the_hue_and_chroma_it_is_said_to_have(hue, chroma):
    lightness = 55.0
    colour = chromatic(lightness, hue, chroma)
    luminance = ((lightness + 16) / 116) ** 3
    lab = lab_of((colour * luminance)[None, None])[0, 0]
    assert lab[0] == pytest.approx(lightness, abs=0.5)
    assert np.hypot(lab[1], lab[2]) == pytest.approx(chroma, abs=0.7)
    assert np.rad2deg(np.arctan2(lab[2], lab[1])) % 360 == pytest.approx(hue, abs=2)


@settings(max_examples=50, deadline=None)
@given(st.floats(20, 90), st.floats(0, 360), st.floats(0, 150))
def test_no_surface_leaves_the_gamut(lightness, hue, chroma):
    colour = chromatic(lightness, hue, chroma)
    assert colour.min() >= 0.01 - 1e-9
    assert colour @ (0.2126, 0.7152, 0.0722) == pytest.approx(1.0, abs=1e-3)


def test_lamps_have_their_chromaticities():
    to_xyz = np.linalg.inv(XYZ_TO_SRGB)
    assert sum(share for _, share, _, _ in LAMPS) == pytest.approx(1.0)
    for _, _, x, y in LAMPS:
        colour = of_chromaticity(x, y)
        xyz = to_xyz @ colour
        found = xyz[:2] / xyz.sum()
        # Sodium lies beside the gamut.
        assert found == pytest.approx((x, y), abs=0.003 if colour.min() > 0.05 else 0.06)


def test_a_camera_balances_its_main_light_but_not_altogether():
    rng = np.random.default_rng(0)
    for _, _, x, y in LAMPS:
        main = of_chromaticity(x, y)
        seen = np.array([main * balance(main, rng) for _ in range(200)])
        seen /= seen[:, 1:2]
        before, after = np.abs(np.log(main / main[1])).sum(), np.abs(np.log(seen)).sum(axis=1)
        assert np.median(after) < max(0.7 * before, 0.25)


def test_less_dark_photos_are_a_share_of_training_and_none_of_the_held_out(data):
    camera = data.camera
    generator = torch.Generator().manual_seed(0)
    ratios = camera.draw_ratio(4000, generator, dim_share=0.2).flatten()
    assert ratios.min() >= 1 and ratios.max() <= 300
    assert float((ratios < 100).float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float((ratios > 30).float().mean()) > 0.8
    assert camera.draw_ratio(4000, generator).min() >= 100
    # At ratio 1 and low ISO it is nearly the clean photo, and white stays white.
    config = replace(SMALL, iso_min=50, iso_max=100)
    pale = SimulatedCamera(config, "cpu")
    scene = torch.rand(1, 3, 32, 32, generator=generator) * 2
    one = torch.ones(1, 1, 1, 1)
    mosaic, _ = pale.photograph(scene, generator, exposure=one, ratio=one)
    assert mosaic.max() <= 1 and mosaic.min() >= 0
    assert float((mosaic - to_mosaic(scene).clamp(max=1)).abs().mean()) < 0.02


def test_held_out_scenes_do_not_depend_on_how_many_train():
    few, more = (SyntheticData(replace(SMALL, scenes=count), "cpu") for count in (1, 3))
    for pair, other in zip(few.held_out, more.held_out, strict=True):
        assert torch.equal(pair.mosaic, other.mosaic)
    assert not set(seeds_of(0, 500)) & set(seeds_of(0, 500, HELD_OUT))


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


def test_a_sample_is_a_dark_photo_and_its_truth():
    data = SyntheticData(replace(SMALL, colours="grey", dim_share=0.0), "cpu")
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


def test_of_some_samples_nobody_knows_the_black_error():
    """Of none, some or all; without the correction it stays in all of them."""
    config = replace(SMALL, iso_min=2000, iso_max=2000, dim_share=0.0)

    def samples(**changes):
        data = SyntheticData(replace(config, **changes), "cpu")
        return data.sample(64, 32, torch.Generator().manual_seed(0))[0]

    known, unknown = samples(uncalibrated_share=0.0), samples(uncalibrated_share=1.0)
    assert torch.equal(unknown, samples(black_corrected_input=False))
    some = samples(uncalibrated_share=0.25)
    is_known = [torch.equal(one, other) for one, other in zip(some, known, strict=True)]
    is_unknown = [torch.equal(one, other) for one, other in zip(some, unknown, strict=True)]
    assert all(a != b for a, b in zip(is_known, is_unknown, strict=True))
    assert 8 <= sum(is_unknown) <= 24


@pytest.mark.parametrize("iso", [1600, 2000])
def test_a_calibrated_black_error_is_subtracted(iso):
    """What is left of it are its chance and what is cut off below black."""
    config = DataConfig(scenes=1, scene_size=64, held_out=1, iso_min=iso, iso_max=iso)
    light = {}
    for corrected in (True, False):
        camera = SimulatedCamera(replace(config, black_corrected_input=corrected), "cpu")
        scene, one = torch.full((64, 3, 32, 32), 0.5), torch.ones(64, 1, 1, 1)
        mosaic, _ = camera.photograph(
            scene, torch.Generator().manual_seed(0), exposure=one, ratio=10 * one
        )
        light[corrected] = mosaic[..., ::2, 1::2].double().mean()
    depth, (row,) = camera.sensor.depth, camera.sensor.between(iso, iso)
    step = 10 * row.black_error / depth
    assert light[False] - light[True] == pytest.approx(step, rel=1e-3)
    assert light[True] == pytest.approx(0.5, rel=1e-3) and abs(row.black_error) > 1


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
        ({"colours": "vivid"}, "colours must be one of natural, grey, but is 'vivid'"),
        ({"dim_share": 1.5}, r"dim_share must be in \[0, 1\]"),
        ({"uncalibrated_share": -0.1}, r"uncalibrated_share must be in \[0, 1\]"),
    ],
)
def test_what_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        SyntheticData(DataConfig(**change), "cpu")


@pytest.mark.parametrize("crop", [33, 98, 0])
def test_crops_that_do_not_fit(data, crop):
    with pytest.raises(InputError, match="crop must be even and at most 96"):
        data.sample(1, crop, torch.Generator().manual_seed(0))
