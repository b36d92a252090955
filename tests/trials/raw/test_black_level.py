"""Black levels as exactly as a file tells them: fractions, patterns, masked pixels."""

import math

import numpy as np
import pytest
from dng import PHASES, write_dng

from space import InputError, NetworkInput
from space.files.network_input import PUBLISHED
from trials.raw import read_frame
from trials.raw.black_level import read_black_tags
from trials.raw.reader import read_full_frame
from trials.raw.sensor import black_error_dn

FRACTIONS = (512.75, 511.25, 512.5, 511.75)
# Where red lies in each phase's cell, row by row, then the green beside it, that below it, blue.
ORDER = {"RGGB": (0, 1, 2, 3), "GRBG": (1, 0, 3, 2), "GBRG": (2, 3, 0, 1), "BGGR": (3, 2, 1, 0)}


def sensor(mean, size=(64, 96), sigma=4.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.round(mean + rng.normal(0, sigma, size)).clip(0).astype(np.uint16)


@pytest.mark.parametrize("phase", PHASES)
def test_fractions_are_kept_each_at_its_place(phase, tmp_path):
    path = write_dng(tmp_path / "a.dng", sensor(600), phase=phase, black=FRACTIONS)
    frame = read_frame(path)
    assert frame.black == tuple(FRACTIONS[index] for index in ORDER[phase])
    assert read_full_frame(path).frame.black == frame.black
    assert frame.normalised().mean() == pytest.approx((600 - 512.0625) / (16383 - 512), rel=0.02)


def test_one_level_for_all_and_whole_numbers_are_as_before(tmp_path):
    one = write_dng(tmp_path / "one.dng", sensor(600), black=[63.94], repeat=(1, 1), white=1023)
    assert read_frame(one).black == (63.94,) * 4
    whole = write_dng(tmp_path / "whole.dng", sensor(600), black=(400, 500, 600, 777))
    assert read_frame(whole).black == (400.0, 500.0, 600.0, 777.0)


def test_a_pattern_that_repeats_with_the_cell_is_read_and_another_one_refused(tmp_path):
    cell = np.array([[512, 510], [511, 513]])
    twice = np.tile(cell, (2, 2)).ravel().tolist()
    path = write_dng(tmp_path / "twice.dng", sensor(600), black=twice, repeat=(4, 4))
    assert read_frame(path).black == (512.0, 510.0, 511.0, 513.0)
    twice[5] += 20
    path = write_dng(tmp_path / "other.dng", sensor(600), black=twice, repeat=(4, 4))
    with pytest.raises(InputError, match=r"must repeat with the 2 x 2 Bayer cell, but .* 4 x 4"):
        read_frame(path)


def with_border(tmp_path, level, *, stated=512, hot=0, phase="RGGB", name="a.dng", **about):
    """A sensor of 80 x 128 whose first 16 rows and 32 columns see no light."""
    values = sensor(700, (80, 128))
    values[:16] = sensor(level, (16, 128), seed=1)
    values[:, :32] = sensor(level, (80, 32), seed=2)
    values[:16].ravel()[:hot] = 9000
    edges = {"active": (16, 32, 80, 128), "masked": (0, 0, 16, 128, 16, 0, 80, 32)}
    levels = (stated,) * 4
    return write_dng(tmp_path / name, values, black=levels, phase=phase, **edges, **about)


@pytest.mark.parametrize("phase", PHASES)
def test_masked_pixels_tell_the_frames_own_level(phase, tmp_path):
    frame = read_frame(with_border(tmp_path, 515.4, phase=phase))
    assert frame.size[0] >= 62 and frame.size[1] >= 94
    assert frame.black == pytest.approx((515.4,) * 4, abs=0.4)
    hot = read_frame(with_border(tmp_path, 515.4, hot=40, phase=phase, name="hot.dng"))
    assert hot.black == pytest.approx(frame.black, abs=0.1), "hot pixels are left out"


def test_masked_pixels_that_see_light_are_no_masked_pixels(tmp_path):
    assert read_frame(with_border(tmp_path, 900)).black == (512.0,) * 4


def test_too_few_masked_pixels_and_areas_beyond_the_sensor_are_left_out(tmp_path):
    values = sensor(600)
    edges = {"active": (2, 0, 64, 96), "masked": (0, 0, 2, 9)}
    few = write_dng(tmp_path / "few.dng", values, **edges)
    assert read_frame(few).black == (512.0,) * 4
    beyond = write_dng(
        tmp_path / "beyond.dng", values, active=(0, 0, 64, 96), masked=(70, 0, 99, 9)
    )
    assert read_frame(beyond).black == (512.0,) * 4


@pytest.mark.parametrize(
    ("model", "iso", "error"),
    [
        ("ILCE-7SM2", 1600, 2.428),
        ("ILCE-7SM2", 2000, -1.692),
        ("ILCE-7SM2", 1650, 2.428),  # between two, the nearer
        ("ILCE-7SM2", 51_200, 0.0),  # beyond the calibration
        ("ILCE-7SM2", 0, 0.0),
        ("ILCE-7M3", 1600, 0.0),
    ],
)
def test_a_calibrated_error_is_known_by_camera_and_iso(model, iso, error, tmp_path):
    frame = read_frame(write_dng(tmp_path / "a.dng", sensor(600), model=model, iso=iso))
    assert frame.black == (512.0,) * 4 and frame.black_error == pytest.approx(error, abs=1e-3)
    wanted = frame.for_input(NetworkInput())
    assert wanted.black == pytest.approx((512 + error,) * 4, abs=1e-3)
    assert frame.for_input(PUBLISHED).black == frame.black
    assert wanted.for_input(NetworkInput()).black == wanted.black, "it is subtracted once"
    light = (600 - 512 - error) / (16383 - 512 - error)
    assert wanted.normalised().mean() == pytest.approx(light, rel=2e-3)


@pytest.mark.parametrize("iso", [math.nan, math.inf, -1.0, 0.0])
def test_an_iso_that_is_none_has_no_calibration(iso):
    assert black_error_dn("ILCE-7SM2", iso) == 0.0


def test_a_level_that_was_measured_on_the_frame_has_no_calibrated_error(tmp_path):
    camera = {"model": "ILCE-7SM2", "iso": 1600}
    assert read_frame(with_border(tmp_path, 515.4, **camera)).black_error == 0.0
    assert read_frame(with_border(tmp_path, 900, **camera)).black_error > 2


def test_the_real_photos_are_of_a_calibrated_camera(sid_sample):
    errors = {
        path.stem[:5]: read_frame(path).black_error
        for path in sorted((sid_sample / "Sony" / "short").glob("*.dng"))
    }
    assert errors["00004"] == pytest.approx(-1.162, abs=1e-3), "at ISO 200"


def test_what_is_no_dng_states_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"not a picture")
    assert read_black_tags(path) is None and read_black_tags(tmp_path / "gone.dng") is None


@pytest.mark.parametrize(
    ("name", "mean"),
    [("black_level_fractions.dng", -0.0625), ("masked_border_3_dn_above.dng", 0.0)],
)
def test_files_that_users_had(shared, name, mean):
    def light(path):
        frame = read_frame(path)
        black = np.tile(np.reshape(frame.black, (2, 2)), (frame.size[0] // 2, frame.size[1] // 2))
        return float((frame.mosaic - black).mean())

    folder = shared / "hard-inputs"
    assert light(folder / name) - light(folder / "base.dng") == pytest.approx(
        mean, abs=0.01 if mean else 0.3
    )
    with pytest.raises(InputError, match="4 x 4"):
        read_frame(folder / "black_level_4x4.dng")
