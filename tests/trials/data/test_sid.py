"""SID's lists and file names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sid_folder import write_list, write_pair

from space import InputError
from trials.data.sid import PairFiles, hold_out, parse_name, read_lists


def rows_of(scenes, per_scene=2):
    return [
        PairFiles(
            short=Path(f"{scene}_{index:02d}_0.1s.dng"),
            long=Path(f"{scene}_00_10s.dng"),
            scene=scene,
            ratio=100.0,
            camera="Sony",
        )
        for scene in scenes
        for index in range(per_scene)
    ]


@pytest.mark.parametrize(
    ("seconds", "ratio"),
    [(("0.1", "10"), 100), (("0.04", "10"), 250), (("0.033", "10"), 300), (("0.1", "30"), 300)],
)
def test_the_ratio_comes_from_the_names(seconds, ratio, tmp_path):
    write_list(tmp_path, "train", [write_pair(tmp_path, "00001", seconds=seconds)])
    (row,) = read_lists(tmp_path)["train"]
    assert row.ratio == pytest.approx(ratio)
    assert (row.scene, row.camera, row.name) == ("00001", "Sony", f"00001_00_{seconds[0]}s")


def test_lists_of_every_split_and_camera(tmp_path):
    rows = [write_pair(tmp_path, "00001"), "", write_pair(tmp_path, "00002")]
    write_list(tmp_path, "train", rows)
    write_list(tmp_path, "val", [write_pair(tmp_path, "20001")])
    write_list(tmp_path, "train", [write_pair(tmp_path, "00003", camera="Canon")], camera="Canon")
    lists = read_lists(tmp_path)
    assert sorted(lists) == ["train", "val"]
    train = sorted((row.camera, row.scene) for row in lists["train"])
    assert train == [("Canon", "00003"), ("Sony", "00001"), ("Sony", "00002")]


SHORT, LONG = "./Sony/short/00001_00_0.1s.dng", "./Sony/long/00001_00_10s.dng"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"{SHORT.replace('1_', '9_')} {LONG}", "line 2 names .*0.1s.dng, which is missing"),
        (SHORT, f"line 2 is '{SHORT}'"),
        ("a.dng b.dng ISO200", "line 2 names a.dng; rename"),
        (f"{SHORT.replace('0.1s', '0s')} {LONG}", "line 2 names 00001_00_0s.dng; rename"),
        (f"{LONG} {SHORT} ISO200", "line 2 has it first; swap"),
    ],
)
def test_a_row_that_is_wrong_is_named(row, words, tmp_path):
    path = write_list(tmp_path, "train", [write_pair(tmp_path, "00001"), row])
    with pytest.raises(InputError, match=words) as caught:
        read_lists(tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_folders_and_lists_that_are_missing_or_empty(tmp_path):
    with pytest.raises(InputError, match="there is none at"):
        read_lists(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has none"):
        read_lists(tmp_path)
    path = write_list(tmp_path, "train", [" "])
    with pytest.raises(InputError, match="at least one row") as caught:
        read_lists(tmp_path)
    assert str(path) in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(InputError, match="readable text"):
        read_lists(tmp_path)


@given(
    st.lists(st.integers(0, 99999).map("{:05d}".format), min_size=2, max_size=60, unique=True),
    st.randoms(),
)
def test_the_part_held_out_is_fixed_and_neither_none_nor_all(scenes, random):
    rows = rows_of(scenes)
    train, val = hold_out(rows)
    assert sorted(train + val) == sorted(rows)
    assert train and val and not {row.scene for row in train} & {row.scene for row in val}
    assert len({row.scene for row in val}) == max(1, round(0.1 * len(scenes)))
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert sorted(hold_out(shuffled)[1]) == sorted(val)


def test_a_single_scene_is_split_by_its_pairs():
    train, val = hold_out(rows_of(["00001"], per_scene=3))
    assert len(train) == 2 and len(val) == 1
    with pytest.raises(InputError, match="only one"):
        hold_out(rows_of(["00001"], per_scene=1))


@given(st.text(max_size=20))
def test_any_name_is_parsed_or_refused(stem):
    try:
        name = Path(f"x{stem}.dng".replace("/", "").replace("\0", ""))
        scene, seconds = parse_name(name, "here")
    except InputError:
        return
    assert scene and seconds > 0


def test_the_sample_of_sid(sid_sample):
    lists = read_lists(sid_sample)
    assert {split: len(rows) for split, rows in lists.items()} == {"train": 7, "test": 5}
    assert {row.ratio for rows in lists.values() for row in rows} == {100.0}
    assert {row.scene for row in lists["test"]} == {"00024"}
