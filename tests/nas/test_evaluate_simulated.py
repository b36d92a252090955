"""`nas.evaluate` on simulated pictures: fresh scenes, natural photos, the colour chart; and with
several trainings of one network.
"""

import csv
import json

import cv2
import numpy as np
import pytest
import torch

from nas.cli.parser import run
from nas.evaluate import main
from space import Genome, NetworkInput, build_model
from trials.outputs import write_weights

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
OTHER = Genome(
    skip_width=16, skip_block="rep", skip_blocks=2, merge_width=0, head="add", head_kernel=3
)


def evaluated(capsys, *words):
    status = run(main, [str(word) for word in words])
    output = capsys.readouterr()
    return status, output.out, output.err


def refused(capsys, *words):
    status, out, err = evaluated(capsys, *words)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three trainings of one network, and one of another."""
    folder = tmp_path_factory.mktemp("weights")
    for name, genome in (("a", SMALL), ("b", SMALL), ("c", SMALL), ("other", OTHER)):
        torch.manual_seed(sum(map(ord, name)))
        write_weights(
            folder / f"{name}.safetensors", build_model(genome), NetworkInput(name != "c")
        )
    (folder / "small.json").write_text(SMALL.to_json())
    (folder / "other.json").write_text(OTHER.to_json())
    return folder


@pytest.fixture
def one(folder):
    return f"{folder / 'small.json'}={folder / 'a.safetensors'}"


@pytest.fixture
def two(folder):
    return f"{folder / 'small.json'}={folder / 'a.safetensors'},{folder / 'b.safetensors'}"


def test_fresh_scenes_of_a_seed(capsys, one, tmp_path):
    def scored(seed):
        flags = ["--seed", seed, "--scenes", 4, "--runs", tmp_path, "--json", tmp_path / "s.json"]
        status, out, _ = evaluated(capsys, "--model", one, "--data", "synthetic", *flags)
        assert status == 0 and f"seed {seed}" in out and "mean of 4" in out
        assert "amplified" in out, "what a network must beat is there unasked"
        assert "ofseedsitknowsnothing" in "".join(out.split())
        results = json.loads((tmp_path / "s.json").read_text())["results"]
        return [image["psnr_db"] for image in results[0]["images"]], results

    values, results = scored(5)
    assert [result["label"] for result in results][1] == "amplified"
    assert len(values) == 4 and scored(5)[0] == values != scored(6)[0]


def test_grey_scenes_are_others(capsys, one, tmp_path):
    flags = ["--data", "synthetic", "--scenes", 2, "--runs", tmp_path]
    outs = {
        colours: evaluated(capsys, "--model", one, *flags, "--colours", colours)[1]
        for colours in ("grey", "natural")
    }
    assert outs["grey"] != outs["natural"]


def test_natural_photos_are_drawn_by_photo(capsys, one, tmp_path):
    file = tmp_path / "pictures.csv"
    status, out, _ = evaluated(capsys, "--model", one, "--data", "natural", "--csv", file)
    assert status == 0 and "mean of 15" in out and "7 scenes drawn from the 7" in out
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 30 and {row["scene"] for row in rows} >= {"astronaut", "china"}


def test_several_trainings_count_as_one_network(capsys, one, two, folder, tmp_path):
    both = ["--json", tmp_path / "s.json", "--runs", tmp_path, "--scenes", 6]
    status, out, _ = evaluated(capsys, "--model", one, two, "--data", "synthetic", *both)
    joined = "".join(out.split())  # a long path is folded
    assert status == 0 and "(2trainings)" in joined and "andeachnetwork'strainings" in joined
    alone, pair, _ = json.loads((tmp_path / "s.json").read_text())["results"]
    means = [one["psnr_db"] for one in pair["by_training"]]
    assert means[0] == pytest.approx(alone["psnr_db"]) and len(means) == 2
    assert pair["psnr_db"] == pytest.approx(sum(means) / 2) and pair["trainings"] == 2
    difference = pair["difference"]["psnr_db"]
    assert difference["low"] < difference["mean"] < difference["high"]
    assert difference["mean"] == pytest.approx(pair["psnr_db"] - alone["psnr_db"])
    # The second is a training of another input, the third of another network, the last is gone.
    weights = [f"{folder / name}.safetensors" for name in ("a", "c", "other", "gone")]
    small = folder / "small.json"
    for second, words in ((1, "of one network"), (2, ""), (3, "no such")):
        text = f"{small}={weights[0]},{weights[second]}"
        assert words in refused(capsys, "--model", text, "--data", "synthetic").replace(
            "there is no", "no such"
        )


def test_the_chart_in_the_terminal_in_files_and_as_a_picture(capsys, one, tmp_path):
    files = {name: tmp_path / f"chart.{name}" for name in ("json", "csv")}
    flags = [word for name, path in files.items() for word in (f"--{name}", path)]
    status, out, _ = evaluated(
        capsys, "--model", one, "amplified", "--data", "chart", *flags, "--picture", tmp_path / "c"
    )
    assert status == 0 and "CIEDE2000" in out and "at 300" in out and "amplified" in out
    results = json.loads(files["json"].read_text())["results"]
    assert [len(result["by_ratio_and_iso"]) for result in results] == [30, 30]
    assert len(results[0]["patches"]) == 6 * 5 * 2 * 24
    with files["csv"].open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 2 * 6 * 5 * 2 * 24 and set(rows[0]) >= {"patch", "delta_e", "iso", "ratio"}
    picture = cv2.imdecode(np.frombuffer((tmp_path / "c").read_bytes(), "uint8"), cv2.IMREAD_COLOR)
    assert picture.shape == (3 * (256 + 32), 2 * (320 + 8), 3)


def test_the_chart_counts_every_training(capsys, one, two, tmp_path):
    file = tmp_path / "chart.csv"
    status, *_ = evaluated(capsys, "--model", one, two, "--data", "chart", "--csv", file)
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    of_two = [row for row in rows if "," in row["model"]]
    assert status == 0 and [row["training"] for row in of_two] == ["0"] * 1440 + ["1"] * 1440
    alone = [row["delta_e"] for row in rows[:1440]]
    assert rows[-1]["model"] == "amplified" and alone == [row["delta_e"] for row in of_two[:1440]]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--data", "natural", "--seed", 3], "--seed belongs to --data synthetic, but"),
        (["--data", "chart", "--scenes", 3], "--scenes belongs to --data synthetic, but"),
        (["--data", "synthetic", "--picture", "x.png"], "--picture belongs to --data chart, but"),
        (["--data", "synthetic", "--split", "all"], "--split belongs to --data DIR, but"),
        (["--data", "synthetic", "--scenes", 0], "--scenes must be at least 1, but got 0"),
        (["--data", "synthetic", "--seed", -1], "--seed must be at least 0, but got -1"),
        (["--data", "natural", "--protocol", "sid50"], "protocol sid50 must have real pairs"),
        (["--data", "chart", "--protocol", "float"], "--protocol must come with pictures"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_is_refused(capsys, one, flags, words):
    assert words in refused(capsys, "--model", one, *flags)
