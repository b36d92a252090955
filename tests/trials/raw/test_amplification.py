"""The amplification of dark photos: estimated, and from the exposures of two files."""

import numpy as np
import pytest
from dng import IDENTITY, write_dng
from hypothesis import given, settings
from hypothesis import strategies as st

from space import InputError
from trials.raw import RawFrame, check_ratio, estimate_ratio, read_frame, reference_ratio
from trials.raw.amplification import exposure_of, green_blocks

BLACK, WHITE = 512.0, 16383.0


def frame_of(light):
    """A frame of `light` (h w, sensor white = 1), as a noiseless sensor reads it."""
    values = np.round(BLACK + light * (WHITE - BLACK)).clip(0, 16383).astype(np.uint16)
    matrix = np.array(IDENTITY, np.float32).reshape(3, 3)
    return RawFrame(values, (BLACK,) * 4, WHITE, (2.0, 1.0, 2.0), (0, 0), matrix)


def scene(seed=0):
    """Log-normal patches of 32 pixels, as bright as a well-exposed photo."""
    patches = 0.06 * np.exp(np.random.default_rng(seed).normal(0, 0.7, (8, 8)))
    return np.kron(patches, np.ones((32, 32)))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), ratio=st.floats(3, 100))
def test_twice_as_dark_is_amplified_twice_as_much(seed, ratio):
    light = scene(seed)
    darker = estimate_ratio(frame_of(light / ratio / 2)) / estimate_ratio(frame_of(light / ratio))
    assert 1.6 < darker < 2.4


def test_noise_hardly_matters():
    rng, light = np.random.default_rng(0), scene() / 100
    electrons = rng.poisson(light * 16383 / 4) * 4 / 16383 + rng.normal(0, 8 / 16383, light.shape)
    clean = estimate_ratio(frame_of(light))
    assert estimate_ratio(frame_of(electrons)) == pytest.approx(clean, rel=0.05)


@pytest.mark.parametrize("lamp", [0.5, 1.0])
def test_a_lamp_does_not_leave_the_room_dark(lamp):
    light = scene() / 100
    lit = light.copy()
    lit[:32, :64] = lamp  # 3 % of the photo
    by_mean = 1 / (lit.mean() / light.mean())
    assert estimate_ratio(frame_of(lit)) / estimate_ratio(frame_of(light)) > 0.8 > 0.25 > by_mean


def test_the_ends_of_the_range():
    assert estimate_ratio(frame_of(np.zeros((64, 64)))) == 300
    assert estimate_ratio(frame_of(np.full((64, 64), -0.01))) == 300
    assert estimate_ratio(frame_of(np.ones((64, 64)))) == 1
    assert estimate_ratio(frame_of(np.full((64, 64), 0.5))) == 1


@pytest.mark.parametrize("size", [(2, 2), (6, 40), (18, 2), (1026, 34)])
def test_any_even_size_has_blocks(size):
    blocks = green_blocks(frame_of(np.full(size, 0.1)))
    assert blocks.size >= 1 and np.allclose(blocks, 0.1, atol=1e-4)


def test_the_sample_is_amplified_about_as_much_as_its_photographer_did(sid_sample):
    """True ratio: 100. Crops are darker and brighter than their photos."""
    photos = (sid_sample / "Sony" / "short").glob("*.dng")
    ratios = np.array([estimate_ratio(read_frame(path)) for path in photos])
    assert len(ratios) == 12 and 70 < np.exp(np.log(ratios).mean()) < 130
    assert 33 < ratios.min() < ratios.max() <= 300


def test_exposures_from_metadata_and_names(sid_sample, tmp_path):
    renamed = tmp_path / "dark.dng"
    renamed.symlink_to(sid_sample / "Sony" / "short" / "00004_14_0.1s.dng")
    assert exposure_of(renamed).seconds == pytest.approx(0.1)  # the file's own
    long = sid_sample / "Sony" / "long" / "00004_14_10s.tiff"
    assert reference_ratio(renamed, long) == pytest.approx(100)


def test_exposures_from_names_alone(tmp_path):
    values = np.random.default_rng(0).integers(600, 9000, (32, 32)).astype(np.uint16)
    names = ("1_00_0.1s", "1_00_30s", "1_00_60s", "plain")
    dark, long, longer, plain = (write_dng(tmp_path / f"{name}.dng", values) for name in names)
    assert reference_ratio(dark, long) == pytest.approx(300)
    assert reference_ratio(dark, longer) == 300
    with pytest.raises(InputError, match=r"must have taken more light .* took 0.00333 times"):
        reference_ratio(long, dark)
    with pytest.raises(InputError, match=r"must tell its exposure time.*plain.dng.*give --ratio"):
        reference_ratio(dark, plain)


@pytest.mark.parametrize("ratio", [0.0, -3.0, 301.0, float("nan"), float("inf")])
def test_ratios_out_of_range(ratio):
    with pytest.raises(InputError, match="the amplification must be 1 to 300, but got"):
        check_ratio(ratio)
