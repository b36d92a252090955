"""`nas.restore`: raw files in, picture files out, as a user calls it."""

import shutil
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rawpy
import torch
from safetensors.torch import save_file

from nas import cli
from nas.restore import main
from space import Genome, build_model

sys.path.insert(0, str(Path(__file__).parents[1] / "trials"))
from dng import write_dng
from sid_folder import XTRANS

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
# Rows and columns of an RGGB sensor to cut off so that it starts otherwise.
PHASES = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}
# Black levels of red, the green beside it, the green below it, blue.
BLACKS = [(0, 0, 0, 0), (512, 512, 512, 512), (400, 500, 600, 777)]
WHITE = 15000


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A genome's file and its weights."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    state = build_model(SMALL).state_dict()
    (folder / "genome.json").write_text(SMALL.to_json())
    save_file({name: value.clone() for name, value in state.items()}, folder / "w.safetensors")
    return [folder / "genome.json", "--weights", folder / "w.safetensors"]


@pytest.fixture
def restored(network, tmp_path, capsys):
    """Runs the command on photos; gives status, standard output and standard error."""

    def restore(*words, out=tmp_path / "out"):
        argv = (network[0], *words, *network[1:], "--out", out, "--device", "cpu")
        status = cli.run(main, [str(word) for word in argv])
        output = capsys.readouterr()
        return status, output.out, output.err

    return restore


def photo(path, size=(48, 64), **flags):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(len(path.name)).integers(512, 700, size).astype(np.uint16)
    return write_dng(path, values, **flags)


def turned(path, orientation):
    """The same file, held otherwise."""
    entry = struct.pack("<HHI", 274, 3, 1)
    data = path.read_bytes()
    assert data.count(entry) == 1
    data = data.replace(entry + struct.pack("<H", 1), entry + struct.pack("<H", orientation))
    path.write_bytes(data)
    return path


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def scene(height, width):
    """Dark light whose first row and column mirror the third, as a later start would."""
    light = np.random.default_rng(1).uniform(0, 0.04, (height, width))
    light[0], light[:, 0] = light[2], light[:, 2]
    light[0, 0] = light[2, 2]
    return light


def exposed(path, light, phase, black_rggb):
    """What a sensor of this phase and these black levels sees of `light` from where it starts."""
    down, right = PHASES[phase]
    black = np.tile(np.array(black_rggb).reshape(2, 2), (light.shape[0] // 2, light.shape[1] // 2))
    values = np.round(black + light * (WHITE - black)).astype(np.uint16)[down:, right:]
    cell = np.roll(np.array(black_rggb).reshape(2, 2), (-down, -right), axis=(0, 1))
    return write_dng(path, values, phase=phase, black=[int(v) for v in cell.ravel()], white=WHITE)


def test_every_phase_and_black_level_restores_to_the_rggb_picture(restored, tmp_path):
    light = scene(48, 64)
    (tmp_path / "in").mkdir()
    for number, black in enumerate(BLACKS):
        for phase in PHASES:
            exposed(tmp_path / "in" / f"{phase}{number}.dng", light, phase, black)
    status, out, _ = restored(tmp_path / "in", "--ratio", "20")
    assert status == 0 and out.count("\n") == 12
    for number in range(len(BLACKS)):
        rggb = read(tmp_path / "out" / f"RGGB{number}.png")
        assert rggb.std() > 1000
        for phase, (down, right) in PHASES.items():
            picture = read(tmp_path / "out" / f"{phase}{number}.png")
            assert picture.shape == (48 - down, 64 - right, 3)
            assert np.array_equal(picture, rggb[down:, right:])
        # Other black levels leave other steps between black and white.
        first = read(tmp_path / "out" / "RGGB0.png").astype(float)
        assert np.abs(rggb - first).mean() < 65535 / 255 / 2


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("phase", "size"),
    [("RGGB", (48, 64)), ("BGGR", (47, 63)), ("GRBG", (47, 64)), ("GBRG", (48, 63))],
)
def test_size_and_way_up_are_the_cameras(orientation, phase, size, restored, tmp_path):
    path = turned(photo(tmp_path / "a.dng", size, phase=phase), orientation)
    assert restored(path, "--ratio", "50", "--compare")[0] == 0
    with rawpy.imread(str(path)) as raw:
        theirs = raw.postprocess()
    ours, both = read(tmp_path / "out" / "a.png"), read(tmp_path / "out" / "a_compare.png")
    assert ours.shape == theirs.shape and ours.dtype == np.uint16
    height, width = ours.shape[:2]
    assert both.shape == (height, 2 * width + 16, 3) and np.array_equal(both[:, -width:], ours)
    # Before and after are the same way up: the dark photo's own development says how.
    write_upright = photo(tmp_path / "a.dng", size, phase=phase)
    restored(write_upright, "--ratio", "50", "--compare", out=tmp_path / "upright")
    upright = read(tmp_path / "upright" / "a_compare.png")
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    w = upright.shape[1] // 2 - 8
    assert np.array_equal(both[:, :width], np.rot90(upright[:, :w], turns))
    assert np.array_equal(ours, np.rot90(upright[:, -w:], turns))


def test_formats(restored, tmp_path):
    path = photo(tmp_path / "a.dng")
    kinds = (("png", "a.png", "uint16"), ("tiff", "a.tiff", "uint16"), ("jpeg", "a.jpg", "uint8"))
    for kind, name, dtype in kinds:
        assert restored(path, "--format", kind, "--ratio", "9")[0] == 0
        picture = read(tmp_path / "out" / name)
        assert picture.shape == (48, 64, 3) and picture.dtype == dtype
    exact = read(tmp_path / "out" / "a.png")
    assert np.array_equal(exact, read(tmp_path / "out" / "a.tiff"))


def test_tiles_give_the_whole_frame(restored, tmp_path):
    path = photo(tmp_path / "a.dng", (301, 402), phase="GRBG")
    assert restored(path, "--ratio", "50", out=tmp_path / "whole")[0] == 0
    assert restored(path, "--ratio", "50", "--tile", "128", out=tmp_path / "tiled")[0] == 0
    whole, tiled = (read(tmp_path / name / "a.png").astype(int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 2


def test_a_folder_is_searched_to_the_bottom_and_goes_on_after_a_broken_raw(restored, tmp_path):
    folder = tmp_path / "in"
    photo(folder / "a.dng")
    photo(folder / "deep" / "c.DNG")
    whole = photo(folder / "b.dng").read_bytes()
    (folder / "b.dng").write_bytes(whole[: len(whole) // 2])
    photo(folder / "x.dng", (36, 36), cfa=(6, 6, XTRANS))
    (folder / "notes.txt").write_text("no photo")
    status, out, err = restored(folder, "--ratio", "10")
    assert status == 1 and out.count("\n") == 2
    summary, truncated, fuji = err.splitlines()
    assert summary == "2 of 4 photos could not be restored:"
    assert "b.dng ends at byte" in truncated
    assert "x.dng has a 6 x 6 pattern (Fuji's X-Trans)" in fuji
    files = (path for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in files) == ["a.png", "deep/c.png"]


def test_the_amplification_is_given_estimated_or_from_a_reference(restored, tmp_path):
    dark, long = photo(tmp_path / "1_00_0.1s.dng"), photo(tmp_path / "1_00_5s.dng")
    for flags, words in (
        (("--ratio", "12"), "amplified 12 times (given)"),
        (("--reference", long), "amplified 50 times (from the reference)"),
        ((), "times (estimated)"),
    ):
        assert words in restored(dark, *flags, "--force")[1]


def refused(answer):
    status, out, err = answer
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_a_picture_is_never_overwritten_without_force(restored, tmp_path):
    first, second = photo(tmp_path / "in" / "a.dng"), photo(tmp_path / "in" / "b.dng")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").write_bytes(b"mine")
    assert "b.png exists; give --force" in refused(restored(tmp_path / "in"))
    assert not (tmp_path / "out" / "a.png").exists()
    assert (tmp_path / "out" / "b.png").read_bytes() == b"mine"
    assert restored(first, second, "--force")[0] == 0
    assert read(tmp_path / "out" / "b.png").shape == (48, 64, 3)
    assert "a.png exists and 1 more" in refused(restored(first, second))
    assert restored(second, "--format", "tiff")[0] == 0
    (tmp_path / "out" / "b_compare.jpg").write_bytes(b"mine")
    assert "b_compare.jpg exists" in refused(restored(second, "--format", "jpeg", "--compare"))


def test_bad_input(restored, tmp_path):
    path = photo(tmp_path / "a.dng")
    (tmp_path / "empty").mkdir()
    xtrans = photo(tmp_path / "x.RAF", (36, 36), cfa=(6, 6, XTRANS))
    wide = photo(tmp_path / "wide.dng", (48, 400))
    for words, error in (
        ([tmp_path / "none.dng"], "there is none at"),
        ([tmp_path / "empty"], "must hold raw photos, but"),
        ([path, "--ratio", "0.5"], "must be 1 to 300, but got 0.5"),
        ([path, "--reference", tmp_path / "none.ARW"], "a reference must be a file"),
        ([path, "--reference", path], "must tell its exposure time"),
        ([path, "--reference", path, "--ratio", "5"], "not allowed with"),
        ([xtrans], "x.RAF has a 6 x 6 pattern (Fuji's X-Trans)"),
        ([wide, "--tile", "8"], "a tile must be at least"),
        ([path, "--format", "bmp"], "invalid choice"),
    ):
        assert error in refused(restored(*words))
    assert "is a file; choose another" in refused(restored(path, out=path))


def test_two_photos_never_share_a_picture(restored, tmp_path):
    one, two = photo(tmp_path / "x" / "a.dng"), photo(tmp_path / "y" / "a.dng")
    assert "would both be" in refused(restored(one, two))
    clash = photo(tmp_path / "x" / "a_compare.dng")
    assert "would also be a comparison" in refused(restored(one, clash, "--compare"))


def test_the_white_balance_is_given_to_networks_that_want_it(restored, network, tmp_path):
    path = photo(tmp_path / "a.dng", neutral=(0.5, 1.0, 0.4))
    grey = photo(tmp_path / "b.dng", neutral=(1.0, 1.0, 1.0))
    shutil.copy(path, tmp_path / "same.dng")
    restored(path, tmp_path / "same.dng", grey, "--ratio", "20")
    pictures = [read(tmp_path / "out" / f"{name}.png") for name in ("a", "same", "b")]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_published_mo_restores_a_real_photo(shared, tmp_path, capsys):
    name = "00004_14_0.1s"
    photo, weights = f"sid-sample/Sony/short/{name}.dng", "reference/mo_checkpoint.pt"
    words = f"MO {shared}/{photo} --weights {shared}/{weights} --out {tmp_path} --ratio 100"
    status = cli.run(main, [*words.split(), "--device", "cpu"])
    assert status == 0, capsys.readouterr().err
    truth = read(shared / "sid-sample" / "Sony" / "long" / "00004_14_10s.tiff") / 65535
    error = np.square(read(tmp_path / f"{name}.png") / 65535 - truth).mean()
    assert -10 * np.log10(error) > 27
