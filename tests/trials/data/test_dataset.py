"""Real pairs: decoded once, cut in phase, never lost to a torn cache."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from dng import PHASES
from hypothesis import given, settings
from hypothesis import strategies as st
from sid_folder import write_list, write_pair

from space import InputError
from trials import DataConfig, load_data, load_pairs
from trials.data import cache as decoded
from trials.data.dataset import RealData, crop_start, evenly_spaced
from trials.data.sid import read_lists
from trials.raw.reader import develop_raw, read_frame


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three training scenes of two phases, and a test scene."""
    data = tmp_path / "data"
    phases = list(PHASES)
    which = [(scene, index) for scene in (1, 2, 3) for index in (0, 1)]
    write_list(
        data,
        "train",
        [write_pair(data, f"{s:05d}", f"{i:02d}", phase=phases[s]) for s, i in which],
    )
    write_list(data, "test", [write_pair(data, "10001")])
    return data


def real(folder: Path, **change: object) -> RealData:
    data = load_data(DataConfig(source=folder, **change), cache_dir=folder.parent / "cache")  # type: ignore[arg-type]
    assert isinstance(data, RealData)
    return data


def test_a_pair_is_the_amplified_mosaic_and_its_truth(folder: Path) -> None:
    (pair,) = load_pairs(folder, "test", cache_dir=folder.parent / "cache")
    mosaic = read_frame(folder / "Sony" / "short" / "10001_00_0.1s.dng").normalised()
    gains = np.tile([[2.0, 1.0], [1.0, 2.5]], (32, 48))
    assert np.allclose(pair.mosaic[0, 0].numpy(), np.minimum(mosaic * 100 * gains, 1), atol=1e-6)
    truth = develop_raw(folder / "Sony" / "long" / "10001_00_10s.dng").astype(np.float32) / 65535
    assert np.allclose(pair.target[0].permute(1, 2, 0).numpy(), truth)
    assert pair.name == "10001_00_0.1s"
    (plain,) = load_pairs(
        folder, "test", white_balanced_input=False, cache_dir=folder.parent / "cache"
    )
    assert np.allclose(plain.mosaic[0, 0].numpy(), np.minimum(mosaic * 100, 1), atol=1e-6)


def test_splits(folder: Path) -> None:
    names = {
        split: [pair.name for pair in load_pairs(folder, split, cache_dir=folder.parent / "cache")]
        for split in ("train", "val", "test", "all")
    }
    assert len(names["train"]) == 4 and len(names["val"]) == 2 and len(names["test"]) == 1
    assert sorted(names["train"] + names["val"] + names["test"]) == sorted(names["all"])
    assert [pair.name for pair in real(folder).held_out] == sorted(names["val"])
    with pytest.raises(InputError, match="one of train, val, test or all"):
        load_pairs(folder, "tets", cache_dir=folder.parent / "cache")


def test_a_validation_list_is_used(folder: Path) -> None:
    write_list(folder, "val", [write_pair(folder, "20001")])
    data = real(folder)
    assert [pair.name for pair in data.held_out] == ["20001_00_0.1s"] and len(data.pairs) == 6


def test_lists_without_training(tmp_path: Path) -> None:
    write_list(tmp_path, "test", [write_pair(tmp_path, "10001")])
    with pytest.raises(InputError, match="must have a train list"):
        real(tmp_path)
    with pytest.raises(InputError, match="must have a train list"):
        load_pairs(tmp_path, "val", cache_dir=tmp_path / "cache")


def test_every_crop_keeps_the_phase_and_the_register(tmp_path: Path) -> None:
    """Each crop, mosaic and truth, must be found in one of the eight orientations of the picture
    at one place.
    """
    write_list(
        tmp_path,
        "train",
        [write_pair(tmp_path, "00001", phase="GBRG"), write_pair(tmp_path, "00002")],
    )
    data = real(tmp_path)
    height, width = data.pairs[0].frame.size
    colour = np.tile([[0, 1], [1, 2]], (height // 2, width // 2))
    seen = set()
    mosaics, targets = data.sample(64, 16, torch.Generator().manual_seed(0))
    whole = load_pairs(tmp_path, "train", cache_dir=tmp_path.parent / "cache2")[0]
    picture, truth = whole.mosaic[0, 0].numpy(), whole.target[0].numpy()
    for mosaic, target in zip(mosaics[:, 0].numpy(), targets.numpy(), strict=True):
        for turn in range(8):
            axes = tuple(axis for axis, bit in ((1, 1), (0, 2)) if turn & bit)

            def turned(
                array: np.ndarray, axes: tuple[int, ...] = axes, turn: int = turn
            ) -> np.ndarray:
                array = np.flip(array, axes)
                return array.T if turn & 4 else array

            image, sites = turned(picture), turned(colour)
            windows = np.lib.stride_tricks.sliding_window_view(image, (16, 16))
            for top, left in np.argwhere(windows[:, :, 0, 0] == mosaic[0, 0]):
                if np.array_equal(windows[top, left], mosaic):
                    assert sites[top, left] == 0 and sites[top + 1, left + 1] == 2, "red first"
                    channels = [
                        turned(channel)[top : top + 16, left : left + 16] for channel in truth
                    ]
                    assert np.allclose(np.stack(channels), target, atol=1e-6)
                    seen.add(turn)
                    break
            else:
                continue
            break
        else:
            pytest.fail("a crop that is nowhere in the picture")
    assert seen == set(range(8))


@settings(max_examples=200)
@given(st.floats(0, 0.999999), st.integers(0, 50), st.integers(0, 7), st.sampled_from([1, 2]))
def test_places_are_even_or_odd_as_the_flip_asks(
    share: float, half_room: int, turn: int, flip: int
) -> None:
    start, kept = crop_start(share, 2 * half_room, turn, flip)
    assert 0 <= start <= 2 * half_room
    assert start % 2 == (1 if kept & flip else 0)
    assert kept == turn or (half_room == 0 and kept == turn & ~flip)


def test_a_crop_as_large_as_the_picture(tmp_path: Path) -> None:
    write_list(
        tmp_path,
        "train",
        [write_pair(tmp_path, f"{scene:05d}", size=(32, 32)) for scene in range(3)],
    )
    mosaic, target = real(tmp_path).sample(16, 32, torch.Generator().manual_seed(0))
    assert mosaic.shape == (16, 1, 32, 32) and target.shape == (16, 3, 32, 32)
    with pytest.raises(InputError, match="at most 32"):
        real(tmp_path).sample(1, 34, torch.Generator().manual_seed(0))


def test_the_generator_fixes_the_crops(folder: Path) -> None:
    data = real(folder)
    first, again, other = (
        data.sample(4, 16, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_held_out_pairs_are_at_most_as_many_as_asked(folder: Path) -> None:
    write_list(folder, "val", [write_pair(folder, "20001", f"{index:02d}") for index in range(9)])
    names = [pair.name for pair in real(folder, held_out=3).held_out]
    assert names == ["20001_00_0.1s", "20001_03_0.1s", "20001_06_0.1s"]
    rows = read_lists(folder)["val"]
    assert evenly_spaced(rows, 100) == sorted(rows)


def test_files_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    cache = folder.parent / "cache"
    load_data(
        DataConfig(source=folder),
        cache_dir=cache,
        on_progress=lambda *words: told.append(words[:3]),
    )
    assert told == [("decode", done, 6) for done in range(1, 7)]

    def never(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoded, "read_frame", never)
    monkeypatch.setattr(decoded, "read_target", never)
    real(folder)
    (short, *_) = (folder / "Sony" / "short").iterdir()
    os.utime(short, (1, 1))
    with pytest.raises(AssertionError, match="decoded again"):
        list(load_pairs(folder, "all", cache_dir=cache))


@pytest.mark.parametrize(
    "damage", ["cut", "emptied", "other", "note cut", "note other", "note gone"]
)
def test_a_torn_cache_is_decoded_again(damage: str, folder: Path) -> None:
    cache = folder.parent / "cache"
    before = [pair.mosaic for pair in load_pairs(folder, "all", cache_dir=cache)]
    for path in cache.iterdir():
        if path.suffix == ".npy" and "note" not in damage:
            data = path.read_bytes()
            path.write_bytes(
                {"cut": data[:-100], "emptied": b"", "other": b"\x93NUMPYrubbish"}[damage]
            )
        if path.suffix == ".json" and "note" in damage:
            if damage == "note gone":
                path.unlink()
            else:
                path.write_text('{"shape": [1' if damage == "note cut" else json.dumps([1]))
    after = [pair.mosaic for pair in load_pairs(folder, "all", cache_dir=cache)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not [path for path in cache.iterdir() if path.name.startswith(".")], (
        "nothing half-written stays"
    )


def test_a_full_disk_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(decoded.np, "save", full)
    with pytest.raises(InputError, match="No space left on device") as caught:
        real(folder)
    assert "\n" not in str(caught.value)
    assert not list((folder.parent / "cache").iterdir())


def test_a_cache_folder_that_is_a_file(folder: Path) -> None:
    (folder.parent / "cache").write_text("in the way")
    with pytest.raises(InputError, match="must be writable"):
        real(folder)


def test_pairs_whose_sizes_differ(tmp_path: Path) -> None:
    row = write_pair(tmp_path, "00001", target=".png")
    write_pair(tmp_path, "00001", size=(62, 96))
    write_list(tmp_path, "train", [row, write_pair(tmp_path, "00002")])
    with pytest.raises(InputError, match=r"64 x 96 and the raw 62 x 96"):
        real(tmp_path)


def test_cameras_without_a_bayer_pattern_are_left_out(folder: Path) -> None:
    """SID's folder also lists an X-Trans camera."""
    fuji = [
        write_pair(folder, scene, camera="Fuji", xtrans=True, size=(36, 48))
        for scene in ("00007", "00008")
    ]
    write_list(folder, "train", fuji, camera="Fuji")
    data = real(folder)
    assert data.description["cameras_left_out"] == ["Fuji"]
    assert len(data.pairs) == 4
    for path in folder.glob("Sony_*_list.txt"):
        path.unlink()
    with pytest.raises(InputError, match="6 x 6"):
        real(folder)


def test_descriptions_tell_data_apart(folder: Path) -> None:
    first = real(folder).description
    assert first == real(folder).description == json.loads(json.dumps(first))
    assert first["digest"] != real(folder, white_balanced_input=False).description["digest"]
    write_list(folder, "train", [write_pair(folder, f"{scene:05d}") for scene in (1, 2, 3, 4)])
    assert first["digest"] != real(folder).description["digest"]


def test_the_sample_of_sid_is_read(sid_sample: Path, tmp_path: Path) -> None:
    pairs = load_pairs(sid_sample, "all", cache_dir=tmp_path)
    assert len(pairs) == 12
    assert pairs[0].mosaic.shape == (1, 1, 512, 512) and pairs[0].target.shape == (1, 3, 512, 512)
    data = load_data(DataConfig(source=sid_sample), cache_dir=tmp_path)
    mosaic, target = data.sample(4, 128, torch.Generator().manual_seed(0))
    assert mosaic.shape == (4, 1, 128, 128) and 0.02 < target.mean() < 0.5
