"""A folder of photos becomes scenes: which files are taken, held out, stored, and mixed in."""

import logging
import os
import re
import stat
import struct
from collections import Counter

import numpy as np
import pytest
import tifffile
import torch
from dng import write_dng
from hypothesis import given
from hypothesis import strategies as st
from photo_files import draw_photo, turned_jpeg, write_photo, write_raw

from space import InputError
from trials import DataConfig, load_data
from trials.data.pair import to_show
from trials.data.photos import library
from trials.data.photos.cuts import places
from trials.data.photos.files import read_photo
from trials.data.photos.library import choose_scene, find_photos, load_photos
from trials.data.photos.unprocessing import linear_light, to_scene
from trials.raw.sensor import load_sensor

SMALL = {"scenes": 3, "scene_size": 64, "held_out": 4, "photo_scenes": 12}


def light(picture):
    most = np.iinfo(picture.dtype).max
    return linear_light(torch.from_numpy(picture.astype(np.float64)) / most).float().numpy()


@pytest.fixture
def folder(tmp_path):
    """Eight photos, two folders deep."""
    photos = tmp_path / "my photos"
    (photos / "summer").mkdir(parents=True)
    for seed in range(8):
        place = photos / "summer" if seed % 2 else photos
        write_photo(place / f"photo {seed}.jpg", draw_photo(200, 150, seed))
    return photos


def test_the_same_photo_in_every_format(tmp_path):
    picture = draw_photo(120, 180)
    deep = picture.astype(np.uint16) * 257
    whole = np.full((120, 180, 1), 255, np.uint8)
    rgba = np.concatenate([picture[..., ::-1], whole], axis=2)
    tifffile.imwrite(tmp_path / "a.TIF", deep, photometric="rgb")
    tifffile.imwrite(
        tmp_path / "turned.tiff", picture, photometric="rgb", extratags=[(274, "H", 1, 6, True)]
    )
    files = [
        write_photo(tmp_path / "8.png", picture),
        write_photo(tmp_path / "16.png", deep),
        write_photo(tmp_path / "rgba.png", rgba),
        tmp_path / "a.TIF",
    ]
    expected = light(picture)
    for path in files:
        assert np.allclose(read_photo(path, 64), expected, atol=1e-6), path
    turned = read_photo(tmp_path / "turned.tiff", 64)
    assert np.allclose(turned, np.rot90(expected, -1), atol=1e-6)
    jpeg = write_photo(tmp_path / "a.jpg", picture)
    assert np.abs(read_photo(jpeg, 64) - expected).mean() < 0.01


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, np.rot90),
    ],
)
def test_a_jpeg_lies_as_it_was_held(tmp_path, orientation, turn):
    plain = read_photo(write_photo(tmp_path / "plain.jpg", draw_photo(96, 128)), 64)
    turned = turned_jpeg(tmp_path / "turned.jpeg", draw_photo(96, 128), orientation)
    assert np.array_equal(read_photo(turned, 64), turn(plain))


def test_a_large_photo_is_reduced_in_linear_light(tmp_path):
    checks = np.zeros((1100, 1100, 3), np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = (200, 100, 50)
    linear = read_photo(write_photo(tmp_path / "checks.png", checks), 64)
    assert linear.shape == (550, 550, 3)
    assert np.allclose(linear, light(checks[:1, :1]) / 2, atol=1e-6)
    wide = write_photo(tmp_path / "wide.png", draw_photo(300, 6200))
    assert read_photo(wide, 64).shape == (75, 1550, 3)
    assert read_photo(wide, 128).shape == (150, 3100, 3)  # as far as 128 rows are left
    assert read_photo(wide, 256).shape == (300, 6200, 3)


def test_a_raw_is_developed_with_its_white_balance_one_pixel_a_cell(tmp_path):
    picture = draw_photo(200, 300)
    linear = read_photo(write_raw(tmp_path / "a.dng", picture), 64)
    assert linear.shape == (100, 150, 3)
    # Its colours depend on the matrix; what is grey in the scene is grey in the photo.
    grey = np.full((200, 300, 3), 120, np.uint8)
    grey[:50] = 60
    grey[0, 0] = (200, 10, 10)
    shown = read_photo(write_raw(tmp_path / "grey.dng", grey), 64)[10:]
    assert np.ptp(shown, axis=2).max() < 0.03 * shown.mean()


def damaged(path):
    path.write_bytes(path.read_bytes()[:-400])
    return path


def bomb(path):
    data = write_photo(path, draw_photo(96, 96)).read_bytes()
    at = data.index(b"\xff\xc0") + 5
    path.write_bytes(data[:at] + struct.pack(">HH", 60000, 60000) + data[at + 4 :])
    return path


def transparent(path):
    picture = np.dstack([draw_photo(96, 96), np.full((96, 96), 255, np.uint8)])
    picture[0, 0, 3] = 254
    return write_photo(path, picture)


GREY = np.repeat(draw_photo(96, 96)[..., :1], 3, axis=2)
BAD = {
    "cut.jpg": (lambda p: damaged(write_photo(p, draw_photo(96, 96))), "must be whole"),
    "cut.png": (lambda p: damaged(write_photo(p, draw_photo(96, 96))), "must be whole"),
    "cut.tif": (lambda p: damaged(write_photo(p, draw_photo(96, 96))), "a photo must be"),
    "cut.dng": (lambda p: damaged(write_raw(p, draw_photo(192, 192))), "must be whole"),
    "bomb.jpg": (bomb, "must be whole"),
    "empty.jpg": (lambda p: p.write_bytes(b""), "must be a readable picture"),
    "text.png": (lambda p: p.write_text("no picture"), "must be a readable picture"),
    "text.dng": (lambda p: p.write_text("no picture"), "a raw photo must be"),
    "grey.png": (lambda p: write_photo(p, GREY[..., 0]), "must be in colour"),
    "grey.jpg": (lambda p: write_photo(p, GREY), "must be in colour"),
    "alpha.png": (transparent, "must be opaque"),
    "small.png": (lambda p: write_photo(p, draw_photo(63, 200)), "at least 64 pixels a side"),
    "floats.tif": (
        lambda p: tifffile.imwrite(p, draw_photo(96, 96).astype(np.float32), photometric="rgb"),
        "8 or 16 bits",
    ),
    "black.png": (lambda p: write_photo(p, draw_photo(96, 96) // 32), "must be well exposed"),
    "link.jpg": (lambda p: p.symlink_to("nowhere.jpg"), "must be a file"),
    "folder.jpg": (lambda p: p.mkdir(), None),
    "notes.txt": (lambda p: p.write_text("no photo"), None),
    ".hidden.jpg": (lambda p: p.write_text("a thumbnail"), None),
}


def test_each_file_that_cannot_be_used_is_named_once(folder, caplog):
    for name, (make, _) in BAD.items():
        make(folder / name)
    write_dng(folder / "dark.dng", np.full((200, 200), 520, np.uint16))
    write_photo(folder / "new\nline.png", GREY)
    with caplog.at_level(logging.WARNING):
        scenes = load_photos(DataConfig(photos=folder, **SMALL))
    assert scenes.photos == 8 and 6 < len(scenes.training) <= 12 and len(scenes.held_out) == 2
    for name, (_, told) in BAD.items():
        lines = [line for line in caplog.messages if name in line]
        assert len(lines) == (told is not None), (name, lines)
        assert told is None or told in lines[0]
    assert sum(bool(re.search("new.line.png", line)) for line in caplog.messages) == 1
    assert not any("\n" in line for line in caplog.messages)


def test_a_folder_of_broken_files_is_refused(tmp_path, caplog):
    for name, (make, _) in BAD.items():
        make(tmp_path / name)
    with pytest.raises(InputError, match=r"at least two photos .* has 0; add some"):
        load_photos(DataConfig(photos=tmp_path, **SMALL))
    one = tmp_path / "one"
    one.mkdir()
    write_photo(one / "a.png", draw_photo(96, 96))
    with pytest.raises(InputError, match=r"at least two photos .* has 1; add some"):
        load_photos(DataConfig(photos=one, **SMALL))


def test_a_folder_that_is_none_or_empty_is_refused(tmp_path):
    for place in (tmp_path / "nowhere", write_photo(tmp_path / "a.png", GREY)):
        with pytest.raises(InputError, match=r"photos must be a folder.*check the path"):
            load_photos(DataConfig(photos=place, **SMALL))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"with photos \(.tif, .*or raws\) in it.*has none"):
        load_photos(DataConfig(photos=tmp_path / "empty", **SMALL))


@pytest.mark.parametrize(
    "wrong", [{"photo_share": 0.0}, {"photo_share": 1.5}, {"photo_scenes": 0}]
)
def test_settings_that_mean_nothing_are_refused(folder, wrong):
    with pytest.raises(InputError, match="photo_share must be above 0"):
        load_photos(DataConfig(photos=folder, **{**SMALL, **wrong}))


def test_real_pairs_take_no_photos(folder, tmp_path):
    with pytest.raises(InputError, match="photos must go with synthetic data"):
        load_data(DataConfig(source=tmp_path, photos=folder))


def test_a_raw_and_its_jpeg_are_one_photo_and_copies_count_once(folder, caplog):
    write_raw(folder / "both.dng", draw_photo(300, 300, 90))
    write_photo(folder / "both.JPG", draw_photo(300, 300, 90))
    (folder / "summer" / "copy.jpg").write_bytes((folder / "photo 2.jpg").read_bytes())
    photos = find_photos(folder)
    assert [[path.name for path in files] for files in photos if len(files) > 1] == [
        ["both.dng", "both.JPG"]
    ]
    with caplog.at_level(logging.WARNING):
        assert load_photos(DataConfig(photos=folder, **SMALL)).photos == 9
    assert len(caplog.messages) == 1 and "is a copy" in caplog.messages[0]
    # A broken raw falls back on its JPEG.
    (folder / "both.dng").write_bytes(b"broken")
    assert load_photos(DataConfig(photos=folder, **SMALL)).photos == 9


def test_whole_photos_are_held_out(folder):
    matrix, sources = torch.tensor(load_sensor("sony_a7s2").camera_to_srgb), {}
    for path in folder.rglob("*.jpg"):
        linear = torch.from_numpy(read_photo(path, 64)).permute(2, 0, 1)
        for top, left in places(*linear.shape[1:], 64):
            scene, _ = to_scene(linear[:, top : top + 64, left : left + 64], matrix)
            sources[scene.half().numpy().tobytes()] = path.name
    scenes = load_photos(DataConfig(photos=folder, **{**SMALL, "held_out": 8}))
    training, held_out = (
        Counter(sources[scene.numpy().tobytes()] for scene in part)
        for part in (scenes.training, scenes.held_out)
    )
    assert list(held_out.values()) == [4]  # a fifth of eight photos is one
    assert len(training) == 7 and set(training.values()) <= {1, 2}
    assert not training.keys() & held_out.keys()


def test_a_seed_gives_the_same_scenes_and_another_holds_out_others(folder):
    first, again, other = (
        load_photos(DataConfig(photos=folder, seed=seed, **SMALL)) for seed in (0, 0, 3)
    )
    assert first.digest() == again.digest() != other.digest()
    assert first.training.shape == (12, 3, 64, 64) and first.training.dtype == torch.half
    assert first.held_out.shape == (2, 3, 64, 64)


def test_read_once_and_stored_for_the_owner_alone(folder, tmp_path, monkeypatch):
    config, cache = DataConfig(photos=folder, **SMALL), tmp_path / "cache"
    steps = []
    fresh = load_photos(config, cache, lambda *step: steps.append(step))
    assert steps[-1][:3] == ("photos", 8, 8)
    (stored,) = cache.iterdir()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    data = stored.read_bytes()
    assert all(word not in data for word in (b"photo 1", b"summer", os.fsencode(tmp_path.name)))
    with monkeypatch.context() as patch:
        patch.setattr(library, "read_photo", None)  # nothing is read again
        again = load_photos(config, cache, lambda *step: steps.append(step))
    assert torch.equal(fresh.training, again.training)
    assert torch.equal(fresh.held_out, again.held_out) and fresh.photos == again.photos == 8
    stored.write_bytes(data[:-100])  # torn: read anew
    assert load_photos(config, cache).digest() == fresh.digest()
    assert stored.read_bytes() == data
    (folder / "photo 0.jpg").unlink()
    assert load_photos(config, cache).digest() != fresh.digest()
    assert len(list(cache.iterdir())) == 2
    write_photo(folder / "photo 2.jpg", draw_photo(200, 150, 50))  # changed
    assert load_photos(config, cache).photos == 7 and len(list(cache.iterdir())) == 3


def test_a_cache_that_cannot_be_written_is_no_error(folder, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert load_photos(DataConfig(photos=folder, **SMALL), tmp_path / "cache").photos == 8


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.01, 1), st.integers(0, 2**31))
def test_crops_come_from_photos_by_their_share(procedural, photos, share, seed):
    if procedural + photos == 0:
        return
    uniform = torch.rand(4000, generator=torch.Generator().manual_seed(seed))
    uniform = torch.cat([uniform, torch.tensor([0.0, 1.0 - 2**-24, 1.0])])
    chosen = choose_scene(uniform, procedural, photos, share)
    assert chosen.min() >= 0 and chosen.max() < procedural + photos
    if procedural and photos:
        assert (chosen >= procedural).float().mean() == pytest.approx(share, abs=0.05)
        counts = torch.bincount(chosen, minlength=procedural + photos).float()
        if share < 1:
            assert counts[:procedural].std(correction=0) < 0.2 * 4000 / procedural + 30


def test_a_trials_data_mixes_both_and_tells_no_path(folder):
    plain = load_data(DataConfig(**SMALL))
    mixed = load_data(DataConfig(photos=folder, **SMALL))
    names = [pair.name for pair in mixed.held_out]
    assert names == ["scene_00", "scene_01", "photo_00", "photo_01"]
    assert [pair.is_private for pair in mixed.held_out] == [False, False, True, True]
    for one, other in zip(plain.held_out[:2], mixed.held_out[:2], strict=True):
        assert torch.equal(one.mosaic, other.mosaic)
    assert plain.description["digest"] != mixed.description["digest"]
    assert str(folder) not in str(mixed.description)
    about = mixed.description["config"]["photos"]
    assert (about["count"], about["scenes"]) == (8, 12) and len(about["digest"]) == 16
    alone = load_data(DataConfig(photos=folder, photo_share=1.0, **SMALL))
    assert len(alone.scenes) == 12 and len(alone.held_out) == 4
    for data in (mixed, alone):  # those in the middle are of photos
        assert [pair.name for pair in to_show(data.held_out)] == ["scene_00", "scene_01"]
    assert [pair.name for pair in to_show(plain.held_out)] == ["scene_00", "scene_02"]
    for data in (mixed, alone):
        one, other = (data.sample(6, 32, torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(one[0], other[0]) and one[0].shape == (6, 1, 32, 32)
        assert torch.isfinite(one[0]).all() and torch.isfinite(one[1]).all()
