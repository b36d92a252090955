"""Raw files of every phase and black level, through LibRaw."""

import struct

import cv2
import numpy as np
import pytest
from dng import PHASES, write_dng
from sid_folder import XTRANS

from space import InputError
from trials.raw import NotBayerError, read_frame, read_target
from trials.raw.reader import develop_raw

# Where red lies in each phase; cropping so much aligns to RGGB.
OFFSETS = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}
# Black levels of red, the green beside it, the green below it, blue.
BLACKS = [(512, 512, 512, 512), (0, 0, 0, 0), (400, 500, 600, 777)]
WHITE = 15000


def random_values(*shape):
    return np.random.default_rng(0).integers(600, 9000, shape).astype(np.uint16)


@pytest.fixture(scope="module")
def scene():
    """Light at every site of an RGGB sensor; a border lets other phases be cut from it."""
    return np.random.default_rng(0).uniform(-0.02, 1.05, (42, 62))


def sensor_values(light, black_rggb, origin):
    """What a sensor reads whose first site is `origin` of the RGGB grid, and its black levels in
    the file's order.
    """
    cell = np.roll(np.array(black_rggb).reshape(2, 2), (-origin[0], -origin[1]), axis=(0, 1))
    part = light[origin[0] :, origin[1] :]
    height, width = part.shape
    black = np.tile(cell, (height // 2 + 1, width // 2 + 1))[:height, :width]
    values = np.clip(np.round(black + part * (WHITE - black)), 0, 65535)
    return values.astype(np.uint16), tuple(int(v) for v in cell.ravel())


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("black", BLACKS, ids=str)
def test_every_phase_gives_the_rggb_mosaic(phase, black, scene, tmp_path):
    values, file_black = sensor_values(scene, black, (0, 0))
    rggb = read_frame(write_dng(tmp_path / "rggb.dng", values, black=file_black, white=WHITE))
    down, right = OFFSETS[phase]
    # A sensor of this phase that starts inside the first RGGB cell: its first red is the next
    # cell's.
    values, file_black = sensor_values(scene, black, (down, right))
    path = write_dng(tmp_path / "a.dng", values, phase=phase, black=file_black, white=WHITE)
    frame = read_frame(path)
    assert frame.offset == (down, right)
    assert frame.black == tuple(map(float, black)) and frame.white_level == WHITE
    mosaic = frame.normalised()
    height, width = mosaic.shape
    assert mosaic.dtype == np.float32 and height % 2 == width % 2 == 0
    expected = rggb.normalised()[2 * down :, 2 * right :][:height, :width]
    assert np.array_equal(mosaic, expected)
    part = frame.normalised(slice(4, 10), slice(2, 20))
    assert np.array_equal(part, mosaic[4:10, 2:20])


def test_black_is_zero_white_is_one_and_nothing_lies_outside(scene, tmp_path):
    values, file_black = sensor_values(scene, (400, 500, 600, 777), (0, 0))
    frame = read_frame(write_dng(tmp_path / "a.dng", values, black=file_black, white=WHITE))
    mosaic = frame.normalised()
    assert np.allclose(mosaic, np.clip(scene, 0, 1), atol=1e-4)
    assert mosaic.min() == 0 and mosaic.max() == 1


def test_odd_sizes_lose_a_row_and_a_column(tmp_path):
    values = random_values(41, 61)
    frame = read_frame(write_dng(tmp_path / "a.dng", values))
    assert np.array_equal(frame.mosaic, values[:40, :60]) and frame.size == (40, 60)


def test_white_balance_has_green_one(tmp_path):
    path = write_dng(tmp_path / "a.dng", random_values(32, 32), neutral=(0.5, 0.8, 0.4))
    frame = read_frame(path)
    assert frame.white_balance == pytest.approx((1.6, 1.0, 2.0), rel=1e-4)
    assert frame.camera_to_srgb.shape == (3, 3)
    assert frame.camera_to_srgb.sum(axis=1) == pytest.approx(1.0, abs=1e-3)


def test_ground_truth_of_a_raw_is_in_register(tmp_path):
    """A bright dot on a red site is brightest at the same place in the developed picture, whatever
    the crop.
    """
    for phase, (down, right) in OFFSETS.items():
        values = np.random.default_rng(0).integers(1000, 1100, (48, 64)).astype(np.uint16)
        values[20 + down : 23 + down, 30 + right : 33 + right] = 9000
        path = write_dng(tmp_path / f"{phase}.dng", values, phase=phase)
        frame = read_frame(path)
        target = read_target(path, frame.offset, frame.size)
        height, width = frame.size
        assert target.shape == (height, width, 3) and target.dtype == np.uint16
        assert np.unravel_index(target.sum(axis=2).argmax(), frame.size) == (21, 31)
        picture = develop_raw(path)
        assert np.array_equal(target, picture[down : down + height, right : right + width])


@pytest.mark.parametrize("suffix", [".tiff", ".png"])
def test_ground_truth_of_a_picture_keeps_red_first(suffix, tmp_path):
    picture = np.random.default_rng(0).integers(0, 65536, (20, 24, 3)).astype(np.uint16)
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), picture[..., ::-1])
    assert np.array_equal(read_target(path, (0, 0), (20, 24)), picture)
    assert np.array_equal(read_target(path, (1, 1), (18, 22)), picture[1:19, 1:23])


def write_bytes(path, data):
    path.write_bytes(data)
    return path


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is none at"):
        read_frame(tmp_path / "none.dng")


def test_a_file_that_is_no_raw(tmp_path):
    with pytest.raises(InputError, match="a kind LibRaw reads"):
        read_frame(write_bytes(tmp_path / "a.dng", b"not a raw file at all" * 100))
    with pytest.raises(InputError):
        read_frame(write_bytes(tmp_path / "b.dng", b""))


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.03, 0.005])
def test_a_truncated_raw(share, tmp_path, capfd):
    data = write_dng(tmp_path / "whole.dng", random_values(64, 64)).read_bytes()
    cut = write_bytes(tmp_path / "cut.dng", data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"must be whole|LibRaw reads") as caught:
        read_frame(cut)
    assert "\n" not in str(caught.value) and str(cut) in str(caught.value)
    assert capfd.readouterr().err == "", "LibRaw's own lines would spoil the one that is ours"


@pytest.mark.parametrize("damage", ["zeros", "repeats"])
def test_rows_that_a_decoder_made_up(damage, tmp_path):
    """What LibRaw leaves of a truncated file whose decoder does not say so."""
    values = random_values(64, 64)
    values[40:] = 0 if damage == "zeros" else values[39]
    with pytest.raises(InputError, match="last rows"):
        read_frame(write_dng(tmp_path / "a.dng", values))


def test_a_black_frame_is_a_photo(tmp_path):
    frame = read_frame(write_dng(tmp_path / "a.dng", np.full((32, 32), 512, np.uint16)))
    assert frame.normalised().max() == 0


def test_a_demosaiced_dng(tmp_path):
    with pytest.raises(NotBayerError, match="no colour filter array"):
        read_frame(write_dng(tmp_path / "a.dng", random_values(32, 32, 3), linear=True))


def test_another_filter_array(tmp_path):
    """A 2 x 2 cell with two reds: no Bayer pattern, though it has its size."""
    data = write_dng(tmp_path / "a.dng", random_values(32, 32)).read_bytes()
    entry = struct.pack("<HHI", 33422, 1, 4)
    assert data.count(entry) == 1
    data = data.replace(entry + b"\0\1\1\2", entry + b"\0\0\1\2")
    with pytest.raises(NotBayerError, match=r"2 x 2 Bayer|one red, two green"):
        read_frame(write_bytes(tmp_path / "b.dng", data))


def test_an_x_trans_array(tmp_path):
    with pytest.raises(NotBayerError, match="6 x 6"):
        read_frame(write_dng(tmp_path / "a.dng", random_values(36, 36), cfa=(6, 6, XTRANS)))


def test_pictures_that_are_no_ground_truth(tmp_path):
    shallow, grey = tmp_path / "eight.png", tmp_path / "grey.png"
    cv2.imwrite(str(shallow), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(grey), np.zeros((8, 8), np.uint16))
    torn = write_bytes(tmp_path / "torn.tiff", b"II*\0junk")
    for path, words in (
        (shallow, "16 bits"),
        (grey, "3 channels"),
        (torn, "readable picture"),
        (tmp_path / "none.png", "there is none"),
    ):
        with pytest.raises(InputError, match=words):
            read_target(path, (0, 0), (8, 8))


def test_sizes_that_differ(tmp_path):
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((32, 64, 3), np.uint16))
    with pytest.raises(InputError, match=r"32 x 64 and the raw 64 x 64"):
        read_target(small, (0, 0), (64, 64))
    raw = write_dng(tmp_path / "a.dng", random_values(64, 64))
    with pytest.raises(InputError, match="as large as its raw"):
        read_target(raw, (0, 0), (32, 32))


def test_a_real_photo(sid_sample):
    frame = read_frame(sid_sample / "Sony" / "short" / "00004_14_0.1s.dng")
    assert frame.size == (512, 512)
    assert frame.black == (512.0,) * 4 and frame.white_level == 16383
    assert frame.white_balance == pytest.approx((1.965, 1.0, 2.133), abs=1e-3)
    assert frame.camera_to_srgb[0] == pytest.approx((1.9712, -0.6789, -0.2923), abs=1e-3)
    # Measured once with plain rawpy and numpy: mean of max(raw - 512, 0) / 15871 * 100 at red and
    # at blue sites.
    mosaic = frame.normalised() * 100
    assert mosaic[::2, ::2].mean() == pytest.approx(0.047, abs=1e-3)
    assert mosaic[1::2, 1::2].mean() == pytest.approx(0.035, abs=1e-3)
