"""`nas.evaluate`: known scores come out again, and several networks are compared."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas.cli.parser import run
from nas.evaluate import main
from space import BASELINES, Genome, build_model
from trials import DataConfig, LatencyConfig, TrainConfig, TrialConfig, load_data, run_trial

sys.path.insert(0, str(Path(__file__).parents[1] / "trials"))
from sid_folder import write_list, write_pair

MO = BASELINES["MO"]
SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def evaluated(capsys, *argv):
    """Status, standard output and standard error; texts of several words are split."""
    status = run(main, [word for part in argv for word in str(part).split()])
    output = capsys.readouterr()
    return status, output.out, output.err


def refused(capsys, *argv):
    status, out, err = evaluated(capsys, *argv)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_the_published_mo_scores_32_48_db_on_the_real_pairs(capsys, shared, tmp_path):
    weights, data = shared / "reference" / "mo_checkpoint.pt", shared / "sid-sample"
    files = f"--json {tmp_path}/s.json --runs {tmp_path}"
    flags = f"--model MO --weights {weights} --data {data} --split all"
    status, out, _ = evaluated(capsys, flags, files)
    scores = json.loads((tmp_path / "s.json").read_text())
    assert status == 0 and "mean of 12" in out and "32.48" in out
    assert scores["psnr_db"] == pytest.approx(32.48, abs=0.02) and len(scores["images"]) == 12
    assert scores["ssim"] == pytest.approx(0.8556, abs=5e-4)
    assert (scores["model"], scores["digest"]) == ("MO", MO.digest)
    assert scores["input"] == {"white_balanced": False, "black_corrected": False}
    description = "float pictures, PSNR with peak 1, SSIM 7 x 7 uniform, mean over the pictures"
    assert scores["protocol"] == description
    assert scores["difference"]["psnr_db"] == {
        "mean": 0,
        "low": 0,
        "high": 0,
        "units": 12,
        "trainings": 1,
    }


@pytest.fixture(scope="module")
def real_trial(shared, tmp_path_factory):
    """A function that trains a small network on the real pairs: its folder and its result."""
    folder = tmp_path_factory.mktemp("trial")

    def train(white_balanced_input):
        config = TrialConfig(
            data=DataConfig(
                source=str(shared / "sid-sample"), white_balanced_input=white_balanced_input
            ),
            train=TrainConfig(steps=4, batch=2, crop=64),
            latency=LatencyConfig(height=64, width=64, min_runs=3, max_seconds=0.3),
        )
        data = load_data(config.data, device="cpu", cache_dir=folder / "cache")
        directory = folder / f"{white_balanced_input}"
        return directory, run_trial(SMALL, config, data=data, directory=directory)

    return train


@pytest.mark.parametrize("white_balanced_input", [True, False])
def test_a_trials_folder_scores_what_the_trial_reported(
    white_balanced_input, capsys, shared, real_trial, tmp_path
):
    directory, result = real_trial(white_balanced_input)
    files = f"--json {tmp_path}/s.json --runs {directory.parent}"
    flags = f"--model {directory} --data {shared / 'sid-sample'} --split val"
    status, _, _ = evaluated(capsys, flags, files)
    scores = json.loads((tmp_path / "s.json").read_text())
    assert status == 0 and scores["psnr_db"] == pytest.approx(result.psnr_db, abs=1e-4)
    assert scores["input"]["white_balanced"] is white_balanced_input


def test_bad_weights_are_reported(capsys, tmp_path):
    genome = tmp_path / "genome.json"
    genome.write_text(SMALL.to_json())
    data = f"--data {tmp_path}"
    words = "but MO has none; give --weights FILE"
    assert words in refused(capsys, "--model MO", data)
    assert "must hold weights.safetensors" in refused(capsys, "--model", tmp_path, data)
    error = refused(capsys, f"--model {genome} --weights {tmp_path}/a.pt", data)
    assert "only MO, M1 and M2 have published checkpoints" in error
    safetensors = f"--model {genome} --weights {tmp_path}/a.safetensors"
    assert "there is none at" in refused(capsys, safetensors, data)
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    assert "must be a whole safetensors file" in refused(capsys, safetensors, data)


def test_weights_of_another_network_are_reported(capsys, tmp_path):
    genome, path = tmp_path / "genome.json", tmp_path / "weights.safetensors"
    genome.write_text(SMALL.to_json())
    state = {name: value.clone() for name, value in build_model(MO).state_dict().items()}
    save_file(state, path)
    flags = f"--model {genome} --weights {path} --data {tmp_path}"
    error = refused(capsys, flags)
    assert "must fit the network" in error and "other names or shapes" in error
    save_file(state, path, metadata={"genome": MO.to_json()})
    assert f"is of {MO.digest[:8]}; give its own genome" in refused(capsys, flags)
    intact = path.read_bytes()
    path.write_bytes(intact[: len(intact) // 2])
    assert "take an intact copy" in refused(capsys, flags)


def test_no_such_data_or_device(capsys, shared, tmp_path):
    mo = f"--model MO --weights {shared / 'reference' / 'mo_checkpoint.pt'}"
    error = refused(capsys, mo, f"--data {tmp_path}/none --runs {tmp_path}")
    assert str(tmp_path / "none") in error
    if not torch.cuda.is_available():
        error = refused(capsys, mo, f"--data {tmp_path} --device cuda")
        assert "needs a GPU" in error


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two small networks: a genome's file and its weights each, as MODEL=WEIGHTS."""
    folder = tmp_path_factory.mktemp("networks")
    words = []
    for name, balanced, seed in (("a", "true", 0), ("b", "false", 1)):
        torch.manual_seed(seed)
        (folder / f"{name}.json").write_text(SMALL.to_json())
        state = {key: tensor.clone() for key, tensor in build_model(SMALL).state_dict().items()}
        save_file(
            state, folder / f"{name}.safetensors", metadata={"white_balanced_input": balanced}
        )
        words.append(f"{folder / name}.json={folder / name}.safetensors")
    return words


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """SID's layout in small: three scenes, three ratios, a misaligned scene."""
    folder = tmp_path_factory.mktemp("SID")
    rows = [
        write_pair(folder, "10003", "00"),
        write_pair(folder, "10003", "01"),
        write_pair(folder, "10003", "00", seconds=("0.04", "10")),
        write_pair(folder, "10006", "02"),
        write_pair(folder, "10034", "00", seconds=("0.1", "30")),
    ]
    write_list(folder, "test", rows)
    write_list(folder, "train", [write_pair(folder, scene) for scene in ("00001", "00002")])
    return folder


@pytest.fixture
def compare(capsys, pairs, networks, tmp_path):
    """Both networks and amplifying alone on the small pairs, with further flags: (what was said,
    the JSON).
    """

    def run_it(*flags, models=(*networks, "amplified")):
        base = f"--data {pairs} --runs {tmp_path} --device cpu --json {tmp_path}/s.json"
        status, out, err = evaluated(capsys, "--model", *models, base, *flags)
        assert (status, err) == (0, "")
        return out, json.loads((tmp_path / "s.json").read_text())

    return run_it


def test_several_are_compared_on_the_same_pictures(compare, networks, tmp_path):
    out, scores = compare(f"--protocol float uint8 --csv {tmp_path}/s.csv")
    labels = [*(word.partition("=")[0] for word in networks), "amplified"]
    assert [(r["label"], r["protocol_name"]) for r in scores["results"]] == [
        (label, protocol) for protocol in ("float", "uint8") for label in labels
    ]
    first, second, amplified = scores["results"][:3]
    assert scores["against"] == first["label"]
    assert "psnr_db" not in scores, "several have no single score"
    assert [one["input"]["white_balanced"] for one in (first, second)] == [True, False]
    assert (first["digest"], amplified["digest"]) == (SMALL.digest, None)
    assert first["difference"]["ssim"] == {
        "mean": 0,
        "low": 0,
        "high": 0,
        "units": 5,
        "trainings": 1,
    }
    shift = amplified["psnr_db"] - first["psnr_db"]
    difference = amplified["difference"]["psnr_db"]
    assert difference["mean"] == pytest.approx(shift)
    assert difference["low"] <= shift <= difference["high"]
    assert "0 to 0" in out and f"{shift:+.2f}" in out
    assert "10,000 times 5 pictures drawn from the 5 of 3 scenes" in out
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 5
    image = first["images"][4]
    assert rows[4] == {
        "protocol": "float",
        "model": first["label"],
        "picture": "10034_00_0.1s",
        "scene": "10034",
        "ratio": "300.0",
        **{metric: str(image[metric]) for metric in ("psnr_db", "ssim", "ssim_gaussian11")},
    }


def test_the_other_one_may_be_the_reference(compare):
    _, scores = compare("--against", "amplified")
    assert scores["against"] == "amplified"
    first, _, amplified = (result["difference"]["psnr_db"] for result in scores["results"])
    assert amplified["low"] == amplified["high"] == 0 > first["mean"], "an untrained one is worse"


def test_alone_or_in_company_a_network_scores_the_same(compare, networks):
    _, together = compare()
    for word, expected in zip(networks, together["results"], strict=False):
        _, alone = compare(models=[word])
        assert alone["images"] == expected["images"] and alone["psnr_db"] == expected["psnr_db"]


def test_all_ratios_are_reported_by_themselves(compare, networks):
    out, scores = compare("--protocol", "all-ratios")
    by_ratio = scores["results"][0]["by_ratio"]
    assert [(part["ratio"], part["images"]) for part in by_ratio] == [(100, 3), (250, 1), (300, 1)]
    mean = sum(part["psnr_db"] * part["images"] for part in by_ratio) / 5
    assert scores["results"][0]["psnr_db"] == pytest.approx(mean)
    assert "dB at 100" in out and "dB at 250" in out and "dB at 300" in out
    out, _ = compare("--protocol", "all-ratios", models=networks[:1])
    assert all(f"mean of {words}" in out for words in ("3 at ratio 100", "1 at ratio 300", "5"))


def test_misaligned_scenes_are_reported_and_can_be_left_out(compare):
    out, scores = compare()
    assert "with SID's misaligned scenes 10034" in out and scores["left_out"] == []
    out, scores = compare("--leave-out-misaligned")
    assert "left out, misaligned: scenes 10034" in out and scores["left_out"] == ["10034"]
    scenes = [image["scene"] for image in scores["results"][0]["images"]]
    assert scenes == ["10003", "10003", "10003", "10006"]


def test_sid50_says_how_many_of_the_50_there_are(compare, tmp_path):
    out, scores = compare("--protocol", "sid50")
    names = [image["name"] for image in scores["results"][0]["images"]]
    assert names == ["10003_00_0.1s", "10034_00_0.1s"]
    out = " ".join(out.split())  # lines wrap where the folder's name is long
    assert "2 of SID's 50 pictures" in out and "truncated to 8 bits" in out
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4, "only what is scored is decoded"


def test_one_picture_has_no_interval(compare):
    out, scores = compare("--protocol", "sid50", "--leave-out-misaligned")
    difference = scores["results"][1]["difference"]["psnr_db"]
    assert (difference["low"], difference["high"], difference["units"]) == (None, None, 1)
    assert "no interval: it needs two pictures or more" in out
    (line,) = (line for line in out.splitlines() if line.startswith("amplified"))
    assert line.rstrip().endswith(" -")


def test_scenes_can_be_drawn_whole(compare):
    out, scores = compare("--by-scene")
    assert (
        scores["by_scene"] is True and scores["results"][1]["difference"]["psnr_db"]["units"] == 3
    )
    assert "10,000 times 3 scenes drawn from the 3" in " ".join(out.split())


def test_one_network_with_two_weights(compare, networks):
    genome, _, weights = networks[0].partition("=")
    other = networks[1].partition("=")[2]
    _, scores = compare(models=[f"{genome}={weights}", f"{genome}={other}"])
    assert [r["label"] for r in scores["results"]] == [f"{genome}={weights}", f"{genome}={other}"]
    assert scores["results"][1]["difference"]["psnr_db"]["mean"] != 0


def test_a_path_may_hold_an_equals_sign(compare, networks, tmp_path):
    genome, _, weights = networks[0].partition("=")
    folder = tmp_path / "rate=0.1"
    folder.mkdir()
    (folder / "genome.json").write_bytes(Path(genome).read_bytes())
    (folder / "weights.safetensors").write_bytes(Path(weights).read_bytes())
    _, scores = compare(
        models=[f"{folder}/", f"{folder}/genome.json={folder}/weights.safetensors"]
    )
    assert [r["label"] for r in scores["results"]] == [str(folder), str(folder / "genome.json")]
    assert scores["results"][1]["difference"]["psnr_db"]["mean"] == 0


def test_weights_that_are_no_numbers_are_refused(capsys, pairs, networks, tmp_path):
    genome, _, weights = networks[0].partition("=")
    state = {name: value.fill_(math.nan) for name, value in load_file(weights).items()}
    save_file(state, tmp_path / "broken.safetensors")
    models = f"--model {networks[0]} {genome}={tmp_path}/broken.safetensors"
    error = refused(capsys, models, "--data", pairs, "--runs", tmp_path)
    assert "broken.safetensors" in error and "finite" in error


def test_models_that_cannot_be_compared_are_reported(capsys, pairs, networks, tmp_path):
    genome, _, weights = networks[0].partition("=")
    both = " ".join(networks)
    for models, words in (
        (f"{networks[0]} {networks[0]}", "each model must be given once, but"),
        (f"{both} --weights {weights}", "belong to a single --model, but there are 2; write each"),
        (f"{networks[0]} --weights {weights}", "must have its weights once"),
        (f"{networks[0]} MO", "but MO has none; give --weights FILE"),
        (f"MO={tmp_path}/none.pt", "none.pt"),
        (f"nothing={weights}", "there is no nothing"),
        (f"{both} --against MO", f"--against must name one of the models ({genome},"),
        (f"{both} --against MO", "but got MO"),
        (f"amplified={weights}", "amplified must come without weights"),
    ):
        error = refused(capsys, f"--model {models} --data {pairs} --runs {tmp_path}")
        assert words in error


def test_protocols_that_cannot_be_are_reported(capsys, pairs, tmp_path):
    base = f"--model amplified --data {pairs} --runs {tmp_path}"
    error = refused(capsys, base, "--protocol float psnr")
    assert "a protocol must be one of float, uint8," in error and "but got 'psnr'" in error
    error = refused(capsys, base, "--protocol sid50 --split train")
    words = "protocol sid50 must have its pictures (SID's 50 test pictures of 0.1 s (1*_00_0.1s))"
    assert words in error
    assert "none of the 1 of the train list" in error and "(the first is 0000" in error
    assert not list((tmp_path / "cache").glob("*.npy")), "before any decoding"
    only = tmp_path / "only"
    only.mkdir()
    write_list(only, "test", [write_pair(only, "10172", "00")])
    base = f"--model amplified --data {only} --runs {tmp_path}"
    error = refused(capsys, base, "--leave-out-misaligned")
    assert "holds only misaligned scenes; drop --leave-out-misaligned" in error


@pytest.mark.parametrize("flag", ["--csv", "--json"])
def test_files_that_cannot_be_written_are_reported_before_the_work(capsys, pairs, tmp_path, flag):
    base = f"--model amplified --data {pairs} --runs {tmp_path}/runs {flag}"
    error = refused(capsys, base, tmp_path / "none" / "s")
    assert f"{flag} needs a folder that exists, but got {tmp_path}/none" in error
    assert f"{flag} must be a file, but {tmp_path} is a folder" in refused(capsys, base, tmp_path)
    assert not (tmp_path / "runs").exists()
