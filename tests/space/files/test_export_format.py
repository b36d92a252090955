"""A saved network stands alone: it comes back as it was, with torch and safetensors only, or is
refused in one line.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import space
from space import BASELINES, DesignSpace, Genome, InputError, NetworkInput, build_model, fold
from space.files.export_format import (
    MODEL,
    WEIGHTS,
    check_place,
    load_model,
    new_folder,
    read_saved,
    save,
)

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
BIGGER = Genome(
    skip_width=24, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def saved_to(folder: Path, genome: Genome = SMALL, **more: Any) -> torch.nn.Module:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    model = build_model(genome)
    save(folder, model, name="it", network_input=NetworkInput(), more=more)
    return model


def some_genomes() -> list[Genome]:
    space_, chance = DesignSpace(), random.Random(4)
    return [*BASELINES.values(), *(space_.decode(space_.sample(chance)) for _ in range(6))]


@pytest.mark.parametrize("genome", some_genomes(), ids=lambda genome: genome.digest[:8])
def test_a_network_comes_back_as_it_was(genome: Genome, tmp_path: Path) -> None:
    model = saved_to(tmp_path, genome)
    mosaic = torch.rand(1, 1, genome.size_multiple, 2 * genome.size_multiple)
    again = space.load_model(tmp_path)
    assert again.genome == genome and not again.training
    assert not any("parametrizations" in name for name in again.state_dict()), "folded"
    with torch.no_grad():
        assert torch.equal(again(mosaic), fold(model)(mosaic))
    trainable = load_model(tmp_path, trainable=True)
    assert trainable.training and all(
        parameter.requires_grad for parameter in trainable.parameters()
    )
    wanted = model.state_dict()
    assert all(
        torch.equal(wanted[name], tensor) for name, tensor in trainable.state_dict().items()
    )
    (trainable(mosaic) - 0.5).abs().mean().backward()


def test_what_the_json_says(tmp_path: Path) -> None:
    saved_to(tmp_path, BASELINES["MO"], quality={"psnr_db": 25.0})
    saved = read_saved(tmp_path)
    assert saved.name == "it" and saved.genome == BASELINES["MO"] and saved.input == NetworkInput()
    about = saved.description
    assert about["schema"] == 1 and about["quality"] == {"psnr_db": 25.0}
    given = about["input"]
    assert given["size_multiple"] == 32 and given["cfa"] == "RGGB" and given["range"] == [0, 1]
    assert any("white balance" in step for step in given["steps"])
    torch.manual_seed(0)
    save(tmp_path, build_model(SMALL), name="other", network_input=NetworkInput(False, True))
    other = read_saved(tmp_path)
    assert not other.input.white_balanced and not any(
        "balance" in step for step in other.description["input"]["steps"]
    )


def test_loading_needs_neither_optuna_nor_rawpy_nor_our_other_packages(tmp_path: Path) -> None:
    saved_to(tmp_path)
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in "optuna rawpy trials nas cv2 scipy sqlalchemy rich".split():
            raise ImportError(f"{{name}} is not for those who only load a network")
sys.meta_path.insert(0, Refuse())
import space
assert "torch" not in sys.modules
model = space.load_model({str(tmp_path)!r})
import torch
print(tuple(space.restore(model, torch.rand(1, 1, 34, 50)).shape))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 3, 34, 50)"


def change(key: str, value: Any) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        about = json.loads((folder / MODEL).read_text())
        about[key] = value
        (folder / MODEL).write_text(json.dumps(about))

    return act


def other_weights(genome: Genome, *, told: bool) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        metadata = {"genome": genome.to_json(), "white_balanced_input": "true"} if told else None
        save_file(
            {k: v.contiguous() for k, v in build_model(genome).state_dict().items()},
            folder / WEIGHTS,
            metadata=metadata,
        )

    return act


def unbalanced_weights(folder: Path) -> None:
    save_file(
        load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"white_balanced_input": "false"}
    )


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            lambda folder: (folder / MODEL).unlink(),
            "must be a folder that nas.export wrote, but there is no",
        ),
        (
            lambda folder: (folder / MODEL).write_text("{"),
            "model.json must be JSON, but reading it gave",
        ),
        (lambda folder: (folder / MODEL).write_text("[1]"), "but holds no schema"),
        (change("schema", 2), "schema must be 1, but got 2; upgrade this version"),
        (change("schema", True), "schema must be 1, but got True"),
        (
            change("genome", {**SMALL.to_dict(), "schema": 9}),
            "genome: schema must be 1, but got 9",
        ),
        (
            change("genome", {**SMALL.to_dict(), "skip_width": 0}),
            "skip_width must be a whole number from 1 to 512, but got 0",
        ),
        (change("genome", BIGGER.to_dict()), "digest must be that of its genome"),
        (change("input", {}), "input.white_balanced must be true or false, but got None"),
        (
            change("input", {"white_balanced": False}),
            "one says not white-balanced and not black-corrected and the other white-",
        ),
        (
            unbalanced_weights,
            "one says white-balanced and black-corrected and the other not white-",
        ),
        (
            lambda folder: (folder / WEIGHTS).unlink(),
            "weights must be a file, but there is none at",
        ),
        (
            lambda folder: (folder / WEIGHTS).write_bytes(b"no"),
            "weights must be a whole safetensors file",
        ),
        (other_weights(BIGGER, told=True), "the weights must be of the network that is requested"),
        (other_weights(BIGGER, told=False), "has other names or shapes"),
    ],
)
def test_what_does_not_fit_is_refused(
    act: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    saved_to(tmp_path)
    act(tmp_path)
    with pytest.raises(InputError) as refused:
        load_model(tmp_path)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_a_folded_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="must be saved as it was trained, but this one is folded"
    ):
        save(tmp_path, fold(build_model(SMALL)), name="it", network_input=NetworkInput())
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(ZeroDivisionError), new_folder(out) as beside:
        (beside / MODEL).write_text("{}")
        raise ZeroDivisionError
    assert list((tmp_path / "deep").iterdir()) == []
    with new_folder(out) as beside:
        (beside / MODEL).write_text("1")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"] and (
        out / MODEL
    ).read_text() == "1"
    assert out.stat().st_mode & 0o755 == 0o755
    with pytest.raises(ZeroDivisionError), new_folder(out, force=True) as beside:
        raise ZeroDivisionError
    assert (out / MODEL).read_text() == "1", "as it was"
    with new_folder(out, force=True) as beside:
        (beside / MODEL).write_text("2")
    assert (out / MODEL).read_text() == "2" and [path.name for path in out.parent.iterdir()] == [
        "out"
    ]


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    check_place(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    check_place(tmp_path / "empty", force=False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    for force in (False, True):
        with pytest.raises(
            InputError, match="is there and is no export, so that it is never overwritten"
        ):
            check_place(tmp_path / "photos", force=force)
        with pytest.raises(InputError, match="one.jpg is a file"):
            check_place(tmp_path / "photos" / "one.jpg" / "out", force=force)
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / MODEL).touch()
    with pytest.raises(
        InputError, match="holds a network; give another --out, or --force to replace it"
    ):
        check_place(tmp_path / "export", force=False)
    check_place(tmp_path / "export", force=True)
