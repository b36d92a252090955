"""`nas.export` on a real little study: what is written is what was found, stands alone, and is
checked as it says.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import torch
from conftest import TINY

import space
from nas import cli, export, retrain, search
from nas.cli.networks import load_network, read_genome
from nas.outputs import onnx as onnx_export
from nas.study import selection
from nas.study.records import read_rows
from nas.study.storage import default_url
from space import BASELINES, Genome, InputError, NetworkInput, build_model, fold

Refuse = Callable[..., str]
SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/dark: MO, M1, M2 and one network that was found, trained for a moment."""
    folder = tmp_path_factory.mktemp("searched")
    small = (
        TINY.replace("trials = 5", "trials = 4")
        .replace("_seconds = 0.5", "_seconds = 0.1")
        .replace("steps = 20", "steps = 3")
    )
    (folder / "dark.toml").write_text(small + "min_runs = 3\nprecision = 0.5\n")
    words = ["--study", folder / "dark.toml", "--runs", folder / "runs", "--device", "cpu"]
    assert cli.run(search.main, [str(word) for word in words]) == 0
    return folder


@pytest.fixture
def here(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own with that study in it, where the commands run."""
    shutil.copytree(searched / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: object) -> int:
    return cli.run(export.main, [str(word) for word in words])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refuse:
    def refuse(*words: object) -> str:
        capsys.readouterr()
        assert run("--study", "dark", *words) == 2
        told = capsys.readouterr()
        assert told.err.count("\n") == 1 and told.err.startswith("error: ")
        return told.err

    return refuse


def study_here() -> optuna.Study:
    return optuna.load_study(study_name="dark", storage=default_url(Path("runs/dark")))


def test_the_front_stands_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    assert run(*shlex.split(export.EXAMPLE)[3:]) == 0
    rows = {row.number: row for row in read_rows(study_here())}
    front = selection.front(list(rows.values()), None)
    told = capsys.readouterr().out
    assert "read back: onnxruntime is within" in told and "as reported" in told
    shutil.rmtree(here / "runs")
    folders = sorted(path.name for path in (here / "exports").iterdir())
    assert folders == sorted(f"trial-{row.number:04d}" for row in front)
    for row in front:
        folder = here / "exports" / f"trial-{row.number:04d}"
        files = "README.md drawing.svg model.json model.onnx preview.png weights.safetensors"
        assert sorted(path.name for path in folder.iterdir()) == files.split()
        model = space.load_model(folder)
        multiple, onnx = model.size_multiple, folder / "model.onnx"
        session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        for rows_, columns in ((3, 1), (4, 4), (1, 6)):
            mosaic = torch.rand(1, 1, rows_ * multiple, columns * multiple)
            given = torch.from_numpy(session.run(["rgb"], {"mosaic": mosaic.numpy()})[0])
            assert (given - model(mosaic)).abs().max() < 1e-4
        about = json.loads((folder / "model.json").read_text())
        latency, training, origin = about["latency"], about["training"], about["provenance"]
        assert about["quality"]["psnr_db"] == row.psnr_db
        assert latency["latency_ms"] == pytest.approx(row.latency_ms)
        assert latency["ratio_to_mo"] == row.ratio_to_mo and latency["form"]["height"] == 64
        assert tuple(latency["ratio_interval"]) == row.ratio_interval
        assert training["recipe"]["steps"] == 3 and training["data"]["kind"] == "synthetic"
        assert (origin["trial"], origin["versions"]["torch"]) == (row.number, torch.__version__)
        assert f"{row.psnr_db:.2f} dB" in (folder / "README.md").read_text()
        assert session.get_modelmeta().custom_metadata_map["size_multiple"] == str(multiple)
        assert read_genome(str(folder)) == model.genome == read_genome(str(folder / "model.json"))
        again = load_network(str(folder), None)
        assert again.input == NetworkInput() and torch.equal(
            fold(again.model)(mosaic), model(mosaic)
        )


def test_one_trial_is_the_folder_itself_and_is_not_overwritten(
    here: Path, refused: Refuse
) -> None:
    assert run("--study", "dark", "--trial", 0, "--out", "mo") == 0
    assert space.load_model("mo").genome == BASELINES["MO"]
    card = (here / "mo" / "README.md").read_text()
    assert "architecture itself, trained anew" in card
    assert "holds a network; give another --out, or --force to replace it" in refused(
        "--trial", 1, "--out", "mo"
    )
    assert space.load_model("mo").genome == BASELINES["MO"]
    assert run("--study", "dark", "--trial", 1, "--out", "mo", "--force") == 0
    assert space.load_model("mo").genome == BASELINES["M1"]
    assert "is no export, so that it is never overwritten" in refused(
        "--trial", 1, "--out", "runs", "--force"
    )
    assert {path.name for path in here.iterdir()} == {"mo", "runs"}


def test_bad_input_is_told_in_one_line(here: Path, refused: Refuse) -> None:
    out = ("--out", "x")
    assert "there is no 9: it has 0 to 3" in refused("--trial", 9, *out)
    best = max(read_rows(study_here()), key=lambda row: row.psnr_db or 0)
    fastest = min(read_rows(study_here()), key=lambda row: row.latency_ms or 0)
    told = refused("--fastest-above-db", 99, *out)
    assert (
        f"none has 99 dB: trial {best.number} ({best.name}) comes nearest with "
        f"{best.psnr_db:.2f} dB"
    ) in told
    told = refused("--best-under-ms", 0.001, *out)
    assert (
        f"trial {fastest.number} ({fastest.name}) comes nearest with {fastest.latency_ms:.2f} ms"
        in told
    )
    assert "must be a number, but got 'nan'" in refused("--best-under-ms", "nan", *out)
    assert (
        "one of the arguments --trial --front --fastest-above-db --best-under-ms is required"
        in refused(*out)
    )
    assert "not allowed with argument" in refused("--trial", 1, "--front", *out)
    assert "there is no study at sqlite:///runs/none/study.db" in refused(
        "--study", "none", "--front", *out
    )
    (here / "a").touch()
    assert "a is a file; give another --out" in refused("--trial", 0, "--out", "a/b")
    assert "must be" in refused("--trial", 0, *out, "--data", here / "no")
    assert not (here / "x").exists()


def test_files_that_do_not_hold_what_was_found_are_not_exported(
    here: Path, refused: Refuse
) -> None:
    trial = here / "runs" / "dark" / "trials" / "0000"
    torch.manual_seed(5)
    other = build_model(BASELINES["MO"])
    space.files.export_format.save(
        here, other, name="x", network_input=NetworkInput()
    )  # another MO: fits, and scores otherwise
    shutil.copy(here / "weights.safetensors", trial)
    told = refused("--trial", 0, "--out", "x")
    assert "trial 0 (MO): the exported network must score as 0000 reports, but scene_00" in told
    (trial / "weights.safetensors").write_bytes(b"half")
    assert "must be a whole safetensors file" in refused("--trial", 0, "--out", "x")
    (trial / "weights.safetensors").unlink()
    assert "must hold weights.safetensors" in refused("--trial", 0, "--out", "x")
    shutil.rmtree(trial)
    assert "there is no runs/dark/trials/0000: was it deleted" in refused(
        "--trial", 0, "--out", "x"
    )
    assert not [path.name for path in here.iterdir() if "x" in path.name]


def test_a_longer_training_of_a_winner_is_exported_with_its_own_scores(
    here: Path, refused: Refuse
) -> None:
    words = "--study dark.toml --trial 3 --steps 4 --out long --device cpu --eval-steps 4"
    (here / "dark.toml").write_text(TINY)
    assert cli.run(retrain.main, words.split()) == 0
    assert run("--study", "dark", "--trial", 3, "--weights", "long", "--out", "x") == 0
    told, about = (
        json.loads(Path(path).read_text()) for path in ("long/result.json", "x/model.json")
    )
    assert (
        about["quality"]["psnr_db"] == told["psnr_db"]
        and about["training"]["recipe"]["steps"] == 4
    )
    assert about["latency"]["ratio_to_mo"] == read_rows(study_here())[3].ratio_to_mo
    wanted, given = (
        load_network("long", None).model.state_dict(),
        load_network("x", None).model.state_dict(),
    )
    assert all(torch.equal(wanted[name], given[name]) for name in wanted)
    assert "must be a training of trial 0's network" in refused(
        "--trial", 0, "--weights", "long", "--out", "y"
    )
    assert "there is no no/result.json" in refused("--trial", 0, "--weights", "no", "--out", "y")
    Path("long/result.json").write_text("{}")
    assert "does not describe its training" in refused(
        "--trial", 3, "--weights", "long", "--out", "y"
    )
    assert "--front exports several" in refused("--front", "--weights", "long", "--out", "y")


def test_data_that_has_changed_is_told(here: Path, refused: Refuse) -> None:
    study = study_here()
    study.set_user_attr("data", {**study.user_attrs["data"], "digest": "0123"})
    assert "has changed (digest was 0123, is " in refused("--trial", 0, "--out", "x")


def test_without_onnx_the_extra_is_named(
    here: Path, refused: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    told = refused("--trial", 0, "--out", "x")
    assert "onnx and onnxruntime are not installed; pip install '.[export]'" in told


def test_an_onnx_run_that_disagrees_is_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    one, other = fold(build_model(SMALL)), fold(build_model(SMALL))
    onnx_export.write_onnx(one, tmp_path / "a.onnx", about={"name": "a"})
    assert max(onnx_export.check_onnx(tmp_path / "a.onnx", one).values()) < 1e-5
    with pytest.raises(
        InputError, match=r"to 0.0001, but at 8x8 a.onnx differs by 0\.\d+; nothing was exported"
    ):
        onnx_export.check_onnx(tmp_path / "a.onnx", other)
