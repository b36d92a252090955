"""`nas.evaluate`: the published MO scores what was measured, a trial's folder scores what the
trial told, and several are compared on the same pictures.
"""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.cli.parser import run
from nas.evaluate import main
from space import BASELINES, Genome, build_model
from trials import DataConfig, LatencyConfig, TrainConfig, TrialConfig, load_data, run_trial

sys.path.insert(0, str(Path(__file__).parents[1] / "trials"))
from sid_folder import write_list, write_pair

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def evaluated(capsys, *argv):
    status = run(main, [str(word) for word in argv])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_published_mo_scores_32_48_db_on_the_real_pairs(capsys, shared, tmp_path):
    status, out, _ = evaluated(
        capsys,
        "--model",
        "MO",
        "--weights",
        shared / "reference" / "mo_checkpoint.pt",
        "--data",
        shared / "sid-sample",
        "--split",
        "all",
        "--json",
        tmp_path / "scores.json",
        "--runs",
        tmp_path,
    )
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert status == 0 and "mean of 12" in out and "32.48" in out
    assert scores["psnr_db"] == pytest.approx(32.48, abs=0.02) and len(scores["images"]) == 12
    assert scores["white_balanced_input"] is False and scores["ssim"] == pytest.approx(
        0.8556, abs=5e-4
    )
    assert (scores["model"], scores["digest"]) == ("MO", BASELINES["MO"].digest)
    assert (
        scores["protocol"]
        == "float pictures, PSNR with peak 1, SSIM 7 x 7 uniform, mean over the pictures"
    )
    itself = scores["difference"]["psnr_db"]
    assert (itself["mean"], itself["low"], itself["high"], itself["units"]) == (0, 0, 0, 12)


@pytest.fixture(scope="module")
def real_trial(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    config = TrialConfig(
        data=DataConfig(source=str(shared / "sid-sample")),
        train=TrainConfig(steps=4, batch=2, crop=64),
        latency=LatencyConfig(height=64, width=64, min_runs=3, max_seconds=0.3),
    )
    data = load_data(config.data, device="cpu", cache_dir=folder / "cache")
    return folder, run_trial(SMALL, config, data=data, directory=folder / "t"), config, data


def test_a_trials_folder_scores_what_the_trial_told(capsys, shared, real_trial, tmp_path):
    folder, result, _, _ = real_trial
    status, _, _ = evaluated(
        capsys,
        "--model",
        folder / "t",
        "--data",
        shared / "sid-sample",
        "--split",
        "val",
        "--json",
        tmp_path / "s.json",
        "--runs",
        folder,
    )
    scores = json.loads((tmp_path / "s.json").read_text())
    assert status == 0 and scores["psnr_db"] == pytest.approx(result.psnr_db, abs=1e-4)
    assert {image["name"] for image in scores["images"]} == {image.name for image in result.images}
    assert scores["white_balanced_input"] is True


def test_the_weights_remember_how_their_input_was_balanced(capsys, shared, real_trial, tmp_path):
    folder, _, config, _ = real_trial
    config = replace(config, data=replace(config.data, white_balanced_input=False))
    data = load_data(config.data, device="cpu", cache_dir=folder / "cache")
    result = run_trial(SMALL, config, data=data, directory=tmp_path / "t")
    evaluated(
        capsys,
        "--model",
        tmp_path / "t",
        "--data",
        shared / "sid-sample",
        "--split",
        "val",
        "--json",
        tmp_path / "s.json",
        "--runs",
        folder,
    )
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["white_balanced_input"] is False
    assert scores["psnr_db"] == pytest.approx(result.psnr_db, abs=1e-4)


def refused(capsys, *argv):
    status, out, err = evaluated(capsys, *argv)
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_bad_weights_are_told(capsys, tmp_path):
    genome = tmp_path / "genome.json"
    genome.write_text(SMALL.to_json())
    assert "but MO has none; give --weights FILE" in refused(
        capsys, "--model", "MO", "--data", tmp_path
    )
    assert "must hold weights.safetensors" in refused(
        capsys, "--model", tmp_path, "--data", tmp_path
    )
    told = refused(capsys, "--model", genome, "--weights", tmp_path / "a.pt", "--data", tmp_path)
    assert "only MO, M1 and M2 have published checkpoints" in told
    none = refused(
        capsys, "--model", genome, "--weights", tmp_path / "a.safetensors", "--data", tmp_path
    )
    assert "there is none at" in none
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    assert "must be a whole safetensors file" in refused(
        capsys, "--model", genome, "--weights", tmp_path / "a.safetensors", "--data", tmp_path
    )


def test_weights_of_another_network_are_told(capsys, tmp_path):
    from safetensors.torch import save_file

    genome = tmp_path / "genome.json"
    genome.write_text(SMALL.to_json())
    state = {
        name: tensor.clone() for name, tensor in build_model(BASELINES["MO"]).state_dict().items()
    }
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    told = refused(capsys, "--model", genome, "--weights", path, "--data", tmp_path)
    assert "must fit the network" in told and "other names or shapes" in told
    save_file(state, path, metadata={"genome": BASELINES["MO"].to_json()})
    told = refused(capsys, "--model", genome, "--weights", path, "--data", tmp_path)
    assert f"is of {BASELINES['MO'].digest[:8]}; give its own genome" in told


def test_truncated_weights_are_told(capsys, tmp_path, real_trial):
    folder, _, _, _ = real_trial
    whole = (folder / "t" / "weights.safetensors").read_bytes()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(whole[: len(whole) // 2])
    told = refused(
        capsys, "--model", folder / "t" / "genome.json", "--weights", path, "--data", tmp_path
    )
    assert "take an intact copy" in told


def test_no_such_data_or_device(capsys, shared, tmp_path):
    weights = shared / "reference" / "mo_checkpoint.pt"
    told = refused(
        capsys,
        "--model",
        "MO",
        "--weights",
        weights,
        "--data",
        tmp_path / "none",
        "--runs",
        tmp_path,
    )
    assert str(tmp_path / "none") in told
    if not torch.cuda.is_available():
        told = refused(
            capsys, "--model", "MO", "--weights", weights, "--data", tmp_path, "--device", "cuda"
        )
        assert "needs a GPU" in told


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two small networks: a genome's file and its weights each, as MODEL=WEIGHTS."""
    from safetensors.torch import save_file

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
    write_list(
        folder, "train", [write_pair(folder, "00001", "00"), write_pair(folder, "00002", "00")]
    )
    return folder


@pytest.fixture
def compare(capsys, pairs, networks, tmp_path):
    """Both networks and amplifying alone on the small pairs, with further flags: (what was said,
    the JSON).
    """

    def run_it(*flags, models=(*networks, "amplified")):
        status, out, err = evaluated(
            capsys,
            "--model",
            *models,
            "--data",
            pairs,
            "--runs",
            tmp_path,
            "--device",
            "cpu",
            "--json",
            tmp_path / "s.json",
            *flags,
        )
        assert (status, err) == (0, "")
        return out, json.loads((tmp_path / "s.json").read_text())

    return run_it


def test_several_are_compared_on_the_same_pictures(compare, networks, tmp_path):
    out, told = compare("--protocol", "float", "uint8", "--csv", tmp_path / "s.csv")
    assert [(r["label"], r["protocol_name"]) for r in told["results"]] == [
        (label, protocol)
        for protocol in ("float", "uint8")
        for label in (*(word.partition("=")[0] for word in networks), "amplified")
    ]
    first, second, amplified = told["results"][:3]
    assert told["against"] == first["label"] and "psnr_db" not in told, (
        "several have no single score"
    )
    assert (first["white_balanced_input"], second["white_balanced_input"]) == (True, False)
    assert (first["digest"], amplified["digest"]) == (SMALL.digest, None)
    assert first["difference"]["ssim"] == {"mean": 0, "low": 0, "high": 0, "units": 5}
    shift = amplified["psnr_db"] - first["psnr_db"]
    found = amplified["difference"]["psnr_db"]
    assert found["mean"] == pytest.approx(shift) and found["low"] <= shift <= found["high"]
    assert (
        "0 to 0" in out
        and f"{shift:+.2f}" in out
        and "10,000 times 5 pictures drawn from the 5 of 3 scenes" in out
    )
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 5
    assert [float(row["psnr_db"]) for row in rows[:5]] == [
        image["psnr_db"] for image in first["images"]
    ]
    assert rows[4] | {"psnr_db": "", "ssim": "", "ssim_gaussian11": ""} == {
        "protocol": "float",
        "model": first["label"],
        "picture": "10034_00_0.1s",
        "scene": "10034",
        "ratio": "300.0",
        "psnr_db": "",
        "ssim": "",
        "ssim_gaussian11": "",
    }


def test_the_other_one_may_be_the_reference(compare):
    _, told = compare("--against", "amplified")
    assert told["against"] == "amplified"
    first, _, amplified = (result["difference"]["psnr_db"] for result in told["results"])
    assert amplified["low"] == amplified["high"] == 0 > first["mean"], (
        "an untrained network is worse"
    )


def test_alone_or_in_company_a_network_scores_the_same(compare, networks):
    _, together = compare()
    for word, expected in zip(networks, together["results"], strict=False):
        _, alone = compare(models=[word])
        assert alone["images"] == expected["images"] and alone["psnr_db"] == expected["psnr_db"]


def test_all_ratios_are_told_by_themselves(compare, networks):
    out, told = compare("--protocol", "all-ratios")
    by_ratio = told["results"][0]["by_ratio"]
    assert [(part["ratio"], part["images"]) for part in by_ratio] == [(100, 3), (250, 1), (300, 1)]
    mean = sum(part["psnr_db"] * part["images"] for part in by_ratio) / 5
    assert told["results"][0]["psnr_db"] == pytest.approx(mean)
    assert "dB at 100" in out and "dB at 250" in out and "dB at 300" in out
    out, _ = compare("--protocol", "all-ratios", models=networks[:1])
    assert (
        "mean of 3 at ratio 100" in out and "mean of 1 at ratio 300" in out and "mean of 5" in out
    )


def test_misaligned_scenes_are_told_and_can_be_left_out(compare):
    out, told = compare()
    assert "with SID's misaligned scenes 10034" in out and told["left_out"] == []
    out, told = compare("--leave-out-misaligned")
    assert "left out, misaligned: scenes 10034" in out and told["left_out"] == ["10034"]
    assert [image["scene"] for image in told["results"][0]["images"]] == [
        "10003",
        "10003",
        "10003",
        "10006",
    ]


def test_sid50_says_how_many_of_the_50_there_are(compare, tmp_path):
    out, told = compare("--protocol", "sid50")
    assert [image["name"] for image in told["results"][0]["images"]] == [
        "10003_00_0.1s",
        "10034_00_0.1s",
    ]
    out = " ".join(out.split())  # lines wrap where the folder's name is long
    assert "2 of SID's 50 pictures" in out and "truncated to 8 bits" in out
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 4, "only what is judged on is decoded"


def test_one_picture_has_no_interval(compare):
    out, told = compare("--protocol", "sid50", "--leave-out-misaligned")
    found = told["results"][1]["difference"]["psnr_db"]
    assert (found["low"], found["high"], found["units"]) == (None, None, 1)
    assert "no interval: it needs two pictures or more" in out
    assert all(
        line.rstrip().endswith(" -") for line in out.splitlines() if line.startswith("amplified")
    )


def test_scenes_can_be_drawn_whole(compare):
    out, told = compare("--by-scene")
    assert told["by_scene"] is True and told["results"][1]["difference"]["psnr_db"]["units"] == 3
    assert "10,000 times 3 scenes drawn from the 3" in " ".join(out.split())


def test_one_network_with_two_weights(compare, networks):
    genome, _, weights = networks[0].partition("=")
    other = networks[1].partition("=")[2]
    _, told = compare(models=[f"{genome}={weights}", f"{genome}={other}"])
    assert [r["label"] for r in told["results"]] == [f"{genome}={weights}", f"{genome}={other}"]
    assert told["results"][1]["difference"]["psnr_db"]["mean"] != 0


def test_a_path_may_hold_an_equals_sign(compare, networks, tmp_path):
    genome, _, weights = networks[0].partition("=")
    folder = tmp_path / "rate=0.1"
    folder.mkdir()
    (folder / "genome.json").write_bytes(Path(genome).read_bytes())
    (folder / "weights.safetensors").write_bytes(Path(weights).read_bytes())
    _, told = compare(
        models=[f"{folder}/", f"{folder / 'genome.json'}={folder / 'weights.safetensors'}"]
    )
    assert [r["label"] for r in told["results"]] == [str(folder), str(folder / "genome.json")]
    assert told["results"][1]["difference"]["psnr_db"] == {
        "mean": 0,
        "low": 0,
        "high": 0,
        "units": 5,
    }


def test_weights_that_are_no_numbers_are_refused(capsys, pairs, networks, tmp_path):
    from safetensors.torch import load_file, save_file

    genome, _, weights = networks[0].partition("=")
    broken = {
        name: torch.full_like(tensor, float("nan")) for name, tensor in load_file(weights).items()
    }
    save_file(broken, tmp_path / "broken.safetensors")
    models = ("--model", networks[0], f"{genome}={tmp_path / 'broken.safetensors'}")
    told = refused(capsys, *models, "--data", pairs, "--runs", tmp_path)
    assert "broken.safetensors" in told and "finite" in told


def test_models_that_cannot_be_compared_are_told(capsys, pairs, networks, tmp_path):
    genome, _, weights = networks[0].partition("=")
    base = ("--data", pairs, "--runs", tmp_path)
    twice = refused(capsys, "--model", networks[0], "--model", networks[0], *base)
    assert "each model must be given once, but" in twice and "leave one out" in twice
    told = refused(capsys, "--model", *networks, "--weights", weights, *base)
    assert (
        "--weights must belong to a single --model, but there are 2; write each with its own"
        in told
    )
    told = refused(capsys, "--model", networks[0], "--weights", weights, *base)
    assert "must have its weights once" in told
    assert "but MO has none; give --weights FILE" in refused(
        capsys, "--model", networks[0], "MO", *base
    )
    told = refused(capsys, "--model", f"MO={tmp_path / 'none.pt'}", *base)
    assert "none.pt" in told
    told = refused(capsys, "--model", f"nothing={weights}", *base)
    assert "there is no nothing" in told
    told = refused(capsys, "--model", *networks, "--against", "MO", *base)
    assert f"--against must name one of the models ({genome}," in told and "but got MO" in told
    told = refused(capsys, "--model", f"amplified={weights}", *base)
    assert "amplified must come without weights" in told


def test_protocols_that_cannot_be_are_told(capsys, pairs, tmp_path):
    base = ("--model", "amplified", "--data", pairs, "--runs", tmp_path)
    told = refused(capsys, *base, "--protocol", "float", "psnr")
    assert (
        "a protocol must be one of float, uint8," in told
        and "but got 'psnr'; choose one of them" in told
    )
    told = refused(capsys, *base, "--protocol", "sid50", "--split", "train")
    assert (
        "protocol sid50 must have its pictures (SID's 50 test pictures of 0.1 s (1*_00_0.1s))"
        in told
    )
    assert "none of the 1 of the train list" in told and "(the first is 0000" in told
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").glob("*.npy")), (
        "before any decoding"
    )
    only = tmp_path / "only"
    only.mkdir()
    write_list(only, "test", [write_pair(only, "10172", "00")])
    told = refused(
        capsys,
        "--model",
        "amplified",
        "--data",
        only,
        "--runs",
        tmp_path,
        "--leave-out-misaligned",
    )
    assert "holds only misaligned scenes; drop --leave-out-misaligned" in told


@pytest.mark.parametrize("flag", ["--csv", "--json"])
def test_files_that_cannot_be_written_are_told_before_the_work(capsys, pairs, tmp_path, flag):
    base = ("--model", "amplified", "--data", pairs, "--runs", tmp_path / "runs")
    told = refused(capsys, *base, flag, tmp_path / "none" / "s")
    assert (
        f"{flag} must be in a folder that exists, but there is no {tmp_path / 'none'}; "
        f"make it first"
    ) in told
    assert f"{flag} must be a file, but {tmp_path} is a folder" in refused(
        capsys, *base, flag, tmp_path
    )
    assert not (tmp_path / "runs").exists()
