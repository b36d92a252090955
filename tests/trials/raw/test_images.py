"""Pictures written are the pictures read back, the way up that LibRaw would put them."""

import resource
import struct

import cv2
import numpy as np
import pytest
import rawpy
from dng import write_dng

from nas.cli.parser import is_disk_full
from space import InputError
from trials.raw import read_full_frame, write_picture
from trials.raw.images import as_sensor, blank_picture, turned_size


def noise(height=37, width=53):
    picture = blank_picture(height, width)
    picture[:] = np.random.default_rng(0).integers(0, 65536, picture.shape)
    return picture


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("contiguous", [False, True], ids=["blank", "plain"])
def test_sixteen_bits_come_back_exactly(kind, contiguous, tmp_path):
    picture = np.ascontiguousarray(noise()) if contiguous else noise()
    path = tmp_path / f"a.{kind}"
    write_picture(path, picture)
    back = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16 and np.array_equal(back[..., ::-1], picture)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_jpeg_has_eight_bits_and_red_first(tmp_path):
    picture = blank_picture(300, 64)
    picture[:] = np.array([60000, 30000, 128], dtype=np.uint16)
    write_picture(tmp_path / "a.jpg", picture)
    back = cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert back.dtype == np.uint8 and back.shape == (300, 64, 3)
    assert np.abs(back.astype(int) - np.array([233, 117, 0])).max() <= 2


def test_no_copy_is_made_of_a_blank_picture():
    picture = blank_picture(8, 8)
    assert np.ascontiguousarray(picture[..., ::-1]).base is not None


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(OSError):
        write_picture(tmp_path / "none" / "a.png", noise())
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(cv2.error):
        write_picture(tmp_path / "a.png", np.zeros((0, 4, 3), np.uint16))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.jpg"])
def test_a_full_disk_is_reported_and_leaves_nothing(name, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writing beyond fails as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_picture(tmp_path / name, noise(200, 200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_disk_full(caught.value) and caught.value.filename == str(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_jpeg_can_not_be_larger_than_its_header_says(tmp_path):
    words = "a JPEG must be at most 65500 pixels a side, but .* would be 65501 x 1"
    with pytest.raises(InputError, match=words):
        write_picture(tmp_path / "a.jpg", blank_picture(1, 65501))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_way_up_is_libraws(orientation, tmp_path):
    """LibRaw's own turning of its own development is what `as_sensor` undoes."""
    values = np.random.default_rng(0).integers(600, 9000, (32, 48)).astype(np.uint16)
    data = write_dng(tmp_path / "a.dng", values).read_bytes()
    entry = struct.pack("<HHI", 274, 3, 1)
    assert data.count(entry) == 1
    data = data.replace(entry + struct.pack("<H", 1), entry + struct.pack("<H", orientation))
    (tmp_path / "b.dng").write_bytes(data)
    with rawpy.imread(str(tmp_path / "b.dng")) as raw:
        turned, plain = raw.postprocess(output_bps=16), raw.postprocess(output_bps=16, user_flip=0)
    flip = read_full_frame(tmp_path / "b.dng").flip
    assert turned_size(32, 48, flip) == turned.shape[:2]
    assert np.array_equal(as_sensor(turned, flip), plain)
    assert (flip == 0) == (orientation == 1)
