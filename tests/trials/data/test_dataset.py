"""Real pairs: decoded once, cropped in phase, never lost to a torn cache."""

import errno
import json
import os

import numpy as np
import pytest
import torch
from dng import PHASES
from hypothesis import given, settings
from hypothesis import strategies as st
from sid_folder import write_list, write_pair

from space import InputError, NetworkInput
from trials import DataConfig, load_data, load_pairs
from trials.data import cache as data_cache
from trials.data.dataset import _to_device, crop_start, evenly_spaced
from trials.data.sid import read_lists
from trials.raw.reader import develop_raw, read_frame


@pytest.fixture
def folder(tmp_path):
    """Three training scenes of two photos each, in three phases, and a test scene."""
    data = tmp_path / "data"
    phases = list(PHASES)
    rows = [
        write_pair(data, f"{scene:05d}", f"{index:02d}", phase=phases[scene])
        for scene in (1, 2, 3)
        for index in (0, 1)
    ]
    write_list(data, "train", rows)
    write_list(data, "test", [write_pair(data, "10001")])
    return data


def real(folder, **changes):
    return load_data(DataConfig(source=folder, **changes), cache_dir=folder.parent / "cache")


def pairs_of(folder, split="all", **flags):
    return list(load_pairs(folder, split, cache_dir=folder.parent / "cache", **flags))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_pair_is_the_amplified_mosaic_and_its_truth(folder):
    (pair,) = pairs_of(folder, "test")
    mosaic = read_frame(folder / "Sony" / "short" / "10001_00_0.1s.dng").normalised()
    gains = np.tile([[2.0, 1.0], [1.0, 2.5]], (32, 48))
    assert np.allclose(pair.mosaic[0, 0], np.minimum(mosaic * 100 * gains, 1), atol=1e-6)
    truth = develop_raw(folder / "Sony" / "long" / "10001_00_10s.dng").astype(np.float32) / 65535
    assert np.allclose(pair.target[0].permute(1, 2, 0), truth)
    assert pair.name == "10001_00_0.1s"
    (plain,) = pairs_of(folder, "test", network_input=NetworkInput(False))
    assert np.allclose(plain.mosaic[0, 0], np.minimum(mosaic * 100, 1), atol=1e-6)


def test_splits(folder):
    splits = ("train", "val", "test", "all")
    names = {split: [pair.name for pair in pairs_of(folder, split)] for split in splits}
    assert len(names["train"]) == 4 and len(names["val"]) == 2 and len(names["test"]) == 1
    assert sorted(names["train"] + names["val"] + names["test"]) == sorted(names["all"])
    assert [pair.name for pair in real(folder).held_out] == sorted(names["val"])
    with pytest.raises(InputError, match="one of train, val, test or all"):
        pairs_of(folder, "tets")


def test_a_validation_list_is_used(folder):
    write_list(folder, "val", [write_pair(folder, "20001")])
    data = real(folder)
    assert [pair.name for pair in data.held_out] == ["20001_00_0.1s"] and len(data.pairs) == 6


def test_lists_without_training(tmp_path):
    write_list(tmp_path, "test", [write_pair(tmp_path, "10001")])
    for load in (real, lambda folder: pairs_of(folder, "val")):
        with pytest.raises(InputError, match="must have a train list"):
            load(tmp_path)


def orientation_of(mosaic, target, picture, truth):
    """The orientation of the picture in which the crop lies, at a place where red comes first."""
    colour = np.tile([[0, 1], [1, 2]], (picture.shape[0] // 2, picture.shape[1] // 2))
    for turn in range(8):
        axes = tuple(axis for axis, bit in ((1, 1), (0, 2)) if turn & bit)
        image, sites, *channels = (
            np.flip(array, axes).T if turn & 4 else np.flip(array, axes)
            for array in (picture, colour, *truth)
        )
        windows = np.lib.stride_tricks.sliding_window_view(image, mosaic.shape)
        for top, left in np.argwhere(windows[:, :, 0, 0] == mosaic[0, 0]):
            if np.array_equal(windows[top, left], mosaic):
                assert sites[top, left] == 0 and sites[top + 1, left + 1] == 2, "red first"
                parts = [channel[top : top + 16, left : left + 16] for channel in channels]
                assert np.allclose(np.stack(parts), target, atol=1e-6)
                return turn
    raise AssertionError("a crop that is nowhere in the picture")


def test_every_crop_keeps_the_phase_and_the_register(tmp_path):
    rows = [write_pair(tmp_path, "00001", phase="GBRG"), write_pair(tmp_path, "00002")]
    write_list(tmp_path, "train", rows)
    mosaics, targets = real(tmp_path).sample(64, 16, generator())
    pair = pairs_of(tmp_path, "train")[0]
    picture, truth = pair.mosaic[0, 0].numpy(), pair.target[0].numpy()
    crops = zip(mosaics[:, 0].numpy(), targets.numpy(), strict=True)
    seen = {orientation_of(mosaic, target, picture, truth) for mosaic, target in crops}
    assert seen == set(range(8))


@settings(max_examples=200)
@given(st.floats(0, 0.999999), st.integers(0, 50), st.integers(0, 7), st.sampled_from([1, 2]))
def test_crops_start_even_or_odd_as_the_flip_asks(share, half_room, turn, flip):
    start, possible = crop_start(share, 2 * half_room, turn, flip)
    assert 0 <= start <= 2 * half_room
    assert start % 2 == (1 if possible & flip else 0)
    assert possible == turn or (half_room == 0 and possible == turn & ~flip)


def test_a_crop_as_large_as_the_picture(tmp_path):
    rows = [write_pair(tmp_path, f"{scene:05d}", size=(32, 32)) for scene in range(3)]
    write_list(tmp_path, "train", rows)
    mosaic, target = real(tmp_path).sample(16, 32, generator())
    assert mosaic.shape == (16, 1, 32, 32) and target.shape == (16, 3, 32, 32)
    with pytest.raises(InputError, match="at most 32"):
        real(tmp_path).sample(1, 34, generator())


def test_the_generator_fixes_the_crops(folder):
    data = real(folder)
    first, again, other = (data.sample(4, 16, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_crops_from_device_memory_are_those_from_disk(folder):
    data = real(folder)
    from_disk = data.sample(32, 16, generator())
    data._resident = _to_device(data.pairs, data.device)
    from_device = data.sample(32, 16, generator())
    assert all(torch.equal(a, b) for a, b in zip(from_disk, from_device, strict=True))


def test_held_out_pairs_are_at_most_as_many_as_configured(folder):
    write_list(folder, "val", [write_pair(folder, "20001", f"{index:02d}") for index in range(9)])
    names = [pair.name for pair in real(folder, held_out=3).held_out]
    assert names == ["20001_00_0.1s", "20001_03_0.1s", "20001_06_0.1s"]
    rows = read_lists(folder)["val"]
    assert evenly_spaced(rows, 100) == sorted(rows)


def test_files_are_decoded_once(folder, monkeypatch):
    reported = []
    cache = folder.parent / "cache"
    config = DataConfig(source=folder)
    load_data(config, cache_dir=cache, on_progress=lambda *event: reported.append(event[:3]))
    assert reported == [("decode", done, 6) for done in range(1, 7)]

    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(data_cache, "read_frame", never)
    monkeypatch.setattr(data_cache, "read_target", never)
    real(folder)
    (short, *_) = (folder / "Sony" / "short").iterdir()
    os.utime(short, (1, 1))
    with pytest.raises(AssertionError, match="decoded again"):
        pairs_of(folder)


ARRAYS = {"cut": lambda data: data[:-100], "emptied": lambda _: b"", "other": lambda _: b"\x93NUM"}
NOTES = {"note cut": b'{"shape": [1', "note other": b"[1]", "note gone": None}


@pytest.mark.parametrize("damage", [*ARRAYS, *NOTES])
def test_a_torn_cache_is_decoded_again(damage, folder):
    before = [pair.mosaic for pair in pairs_of(folder)]
    cache = folder.parent / "cache"
    for path in cache.glob("*.npy" if damage in ARRAYS else "*.json"):
        if damage in ARRAYS:
            path.write_bytes(ARRAYS[damage](path.read_bytes()))
        elif NOTES[damage] is None:
            path.unlink()
        else:
            path.write_bytes(NOTES[damage])
    after = [pair.mosaic for pair in pairs_of(folder)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not list(cache.glob(".*")), "nothing half-written stays"


def test_a_full_disk_is_reported_in_one_line(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(data_cache.np, "save", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        real(folder)
    assert "\n" not in str(caught.value)
    assert not list((folder.parent / "cache").iterdir())


def test_a_cache_folder_that_is_a_file(folder):
    (folder.parent / "cache").write_text("in the way")
    with pytest.raises(InputError, match="must be writable"):
        real(folder)


def test_pairs_whose_sizes_differ(tmp_path):
    row = write_pair(tmp_path, "00001", target=".png")
    write_pair(tmp_path, "00001", size=(62, 96))
    write_list(tmp_path, "train", [row, write_pair(tmp_path, "00002")])
    with pytest.raises(InputError, match=r"64 x 96 and the raw 62 x 96"):
        real(tmp_path)


def test_cameras_without_a_bayer_pattern_are_left_out(folder):
    """SID's folder also lists an X-Trans camera."""
    fuji = [
        write_pair(folder, scene, camera="Fuji", xtrans=True, size=(36, 48))
        for scene in ("00007", "00008")
    ]
    write_list(folder, "train", fuji, camera="Fuji")
    data = real(folder)
    assert data.description["cameras_left_out"] == ["Fuji"] and len(data.pairs) == 4
    for path in folder.glob("Sony_*_list.txt"):
        path.unlink()
    with pytest.raises(InputError, match="6 x 6"):
        real(folder)


def test_descriptions_tell_data_apart(folder):
    first = real(folder).description
    assert first == real(folder).description == json.loads(json.dumps(first))
    assert first["digest"] != real(folder, white_balanced_input=False).description["digest"]
    write_list(folder, "train", [write_pair(folder, f"{scene:05d}") for scene in (1, 2, 3, 4)])
    assert first["digest"] != real(folder).description["digest"]


def test_the_sample_of_sid_is_read(sid_sample, tmp_path):
    pairs = load_pairs(sid_sample, "all", cache_dir=tmp_path)
    assert len(pairs) == 12 and len(pairs[:3]) == 3
    assert pairs[0].mosaic.shape == (1, 1, 512, 512) and pairs[0].target.shape == (1, 3, 512, 512)
    data = load_data(DataConfig(source=sid_sample), cache_dir=tmp_path)
    mosaic, target = data.sample(4, 128, generator())
    assert mosaic.shape == (4, 1, 128, 128) and 0.02 < target.mean() < 0.5
