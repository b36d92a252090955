"""`nas.evaluate`: the published MO scores what was measured, a trial's folder scores what the trial told."""

import json
from dataclasses import replace

import pytest
import torch

from nas.command import run
from nas.evaluate import main
from space import SEEDS, Genome
from trials import DataConfig, LatencyConfig, TrainConfig, TrialConfig, load_data, run_trial

SMALL = Genome(skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3)


def evaluated(capsys, *argv):
    status = run(main, [str(word) for word in argv])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_published_mo_scores_32_48_db_on_the_real_pairs(capsys, shared, tmp_path):
    status, out, _ = evaluated(
        capsys, "--model", "MO", "--weights", shared / "reference" / "mo_checkpoint.pt", "--data", shared / "sid-sample",
        "--split", "all", "--json", tmp_path / "scores.json", "--runs", tmp_path,
    )  # fmt: skip
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert status == 0 and "mean of 12" in out and "32.48" in out
    assert scores["psnr_db"] == pytest.approx(32.48, abs=0.02) and len(scores["images"]) == 12
    assert scores["white_balanced_input"] is False


@pytest.fixture(scope="module")
def real_trial(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    config = TrialConfig(
        data=DataConfig(source=str(shared / "sid-sample")), train=TrainConfig(steps=4, batch=2, crop=64),
        latency=LatencyConfig(height=64, width=64, min_runs=3, max_seconds=0.3),
    )  # fmt: skip
    data = load_data(config.data, device="cpu", cache_dir=folder / "cache")
    return folder, run_trial(SMALL, config, data=data, directory=folder / "t"), config, data


def test_a_trials_folder_scores_what_the_trial_told(capsys, shared, real_trial, tmp_path):
    folder, result, _, _ = real_trial
    status, _, _ = evaluated(capsys, "--model", folder / "t", "--data", shared / "sid-sample", "--split", "val",
                             "--json", tmp_path / "s.json", "--runs", folder)  # fmt: skip
    scores = json.loads((tmp_path / "s.json").read_text())
    assert status == 0 and scores["psnr_db"] == pytest.approx(result.psnr_db, abs=1e-4)
    assert {image["name"] for image in scores["images"]} == {image.name for image in result.images}
    assert scores["white_balanced_input"] is True


def test_the_weights_remember_how_their_input_was_balanced(capsys, shared, real_trial, tmp_path):
    folder, _, config, _ = real_trial
    config = replace(config, data=replace(config.data, white_balanced_input=False))
    data = load_data(config.data, device="cpu", cache_dir=folder / "cache")
    result = run_trial(SMALL, config, data=data, directory=tmp_path / "t")
    evaluated(capsys, "--model", tmp_path / "t", "--data", shared / "sid-sample", "--split", "val",
              "--json", tmp_path / "s.json", "--runs", folder)  # fmt: skip
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
    assert "but MO has none; give --weights FILE" in refused(capsys, "--model", "MO", "--data", tmp_path)
    assert "must hold weights.safetensors" in refused(capsys, "--model", tmp_path, "--data", tmp_path)
    told = refused(capsys, "--model", genome, "--weights", tmp_path / "a.pt", "--data", tmp_path)
    assert "only MO, M1 and M2 have published checkpoints" in told
    none = refused(capsys, "--model", genome, "--weights", tmp_path / "a.safetensors", "--data", tmp_path)
    assert "there is none at" in none
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    assert "must be a whole safetensors file" in refused(
        capsys, "--model", genome, "--weights", tmp_path / "a.safetensors", "--data", tmp_path
    )


def test_weights_of_another_network_are_told(capsys, tmp_path):
    from safetensors.torch import save_file

    from space import build_model

    genome = tmp_path / "genome.json"
    genome.write_text(SMALL.to_json())
    state = {name: tensor.clone() for name, tensor in build_model(SEEDS["MO"]).state_dict().items()}
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    told = refused(capsys, "--model", genome, "--weights", path, "--data", tmp_path)
    assert "must fit the network" in told and "other names or shapes" in told
    save_file(state, path, metadata={"genome": SEEDS["MO"].to_json()})
    told = refused(capsys, "--model", genome, "--weights", path, "--data", tmp_path)
    assert f"is of {SEEDS['MO'].digest[:8]}; give its own genome" in told


def test_truncated_weights_are_told(capsys, tmp_path, real_trial):
    folder, _, _, _ = real_trial
    whole = (folder / "t" / "weights.safetensors").read_bytes()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(whole[: len(whole) // 2])
    told = refused(capsys, "--model", folder / "t" / "genome.json", "--weights", path, "--data", tmp_path)
    assert "take an intact copy" in told


def test_no_such_data_or_device(capsys, shared, tmp_path):
    weights = shared / "reference" / "mo_checkpoint.pt"
    told = refused(capsys, "--model", "MO", "--weights", weights, "--data", tmp_path / "none", "--runs", tmp_path)
    assert str(tmp_path / "none") in told
    if not torch.cuda.is_available():
        told = refused(capsys, "--model", "MO", "--weights", weights, "--data", tmp_path, "--device", "cuda")
        assert "needs a GPU" in told
