"""The published checkpoints: read to the last bit, refused in one line where they are something
else.
"""

import json
import zipfile

import numpy as np
import pytest
import torch

from space import BASELINES, InputError, build_model, fold, load_reference_checkpoint
from space.files.published_weights import SUFFIXES, published_layers


def published_state(name):
    """A checkpoint with the published names and random weights, made from our network."""
    names, _ = published_layers(name)
    torch.manual_seed(3)
    state = build_model(BASELINES[name]).state_dict()
    back = {ours: theirs for theirs, ours in SUFFIXES.items()}
    ours = {layer: published for published, layer in names.items()}
    made = {}
    for key, tensor in state.items():
        suffix = next(s for s in sorted(back, key=len, reverse=True) if key.endswith("." + s))
        made[f"{ours[key.removesuffix('.' + suffix)]}.{back[suffix]}"] = tensor
    return made


@pytest.mark.parametrize("name", BASELINES)
def test_published_weights_give_the_published_output(shared, name):
    model = load_reference_checkpoint(name, shared / "reference" / f"{name.lower()}_checkpoint.pt")
    stored = np.load(shared / "reference" / f"{name.lower()}_io.npz")
    mosaic, output = torch.from_numpy(stored["input"]), torch.from_numpy(stored["output"])
    with torch.no_grad():
        assert (model(mosaic) - output).abs().max() < 1e-5
        assert (fold(model)(mosaic) - output).abs().max() < 1e-5


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_both_file_formats_bare_or_wrapped(tmp_path, old_format, bare):
    state = published_state("MO")
    content = state if bare else {"model": state}
    torch.save(content, tmp_path / "mo.pt", _use_new_zipfile_serialization=not old_format)
    assert zipfile.is_zipfile(tmp_path / "mo.pt") is not old_format
    model = load_reference_checkpoint("MO", tmp_path / "mo.pt")
    assert torch.equal(model.head.conv1.bias, state["conv2x.0.bias"])


@pytest.mark.parametrize("old_format", [False, True])
def test_tensors_saved_on_a_gpu(tmp_path, old_format, monkeypatch):
    """Files that say "cuda:0" of every tensor, as torch writes them on a machine with a GPU."""
    import torch.serialization as serialization

    tag = serialization.location_tag
    monkeypatch.setattr(serialization, "location_tag", lambda storage: "cuda:0")
    torch.save(
        {"model": published_state("MO")},
        tmp_path / "mo.pt",
        _use_new_zipfile_serialization=not old_format,
    )
    monkeypatch.setattr(serialization, "location_tag", tag)
    model = load_reference_checkpoint("MO", tmp_path / "mo.pt")
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def refused(path, name="MO"):
    with pytest.raises(InputError) as caught:
        load_reference_checkpoint(name, path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_and_unexpected_names_are_told(tmp_path):
    state = published_state("MO")
    del state["conv2x.0.bias"]
    state["extra.weight"] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "mo.pt")
    message = refused(tmp_path / "mo.pt")
    assert "lacks conv2x.0.bias and has unexpected extra.weight" in message


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    torch.save({"model": published_state("M1")}, tmp_path / "m1.pt")
    assert "is it a checkpoint of another network?" in refused(tmp_path / "m1.pt")


def test_a_wrong_shape_and_a_number_that_is_none(tmp_path):
    state = published_state("MO")
    torch.save({"model": {**state, "conv2x.0.bias": torch.zeros(7)}}, tmp_path / "mo.pt")
    assert "conv2x.0.bias must have shape (12,), but" in refused(tmp_path / "mo.pt")
    torch.save(
        {"model": {**state, "conv2x.0.bias": torch.full((12,), torch.nan)}}, tmp_path / "mo.pt"
    )
    assert "must be finite, but conv2x.0.bias" in refused(tmp_path / "mo.pt")


class Malicious:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds tensors only|hold tensors only"),
        (b"no checkpoint at all", "hold tensors only"),
        (json.dumps({"model": {}}).encode(), "hold tensors only"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, told):
    (tmp_path / "mo.pt").write_bytes(content)
    assert "must be written by torch.save and hold tensors only" in refused(tmp_path / "mo.pt")


@pytest.mark.parametrize("content", [{"model": Malicious()}, Malicious()])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, content, capsys):
    torch.save(content, tmp_path / "mo.pt")
    assert "hold tensors only" in refused(tmp_path / "mo.pt")
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{"model": {}}, {"epoch": 3}, [1, 2], 7])
def test_files_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "mo.pt")
    assert "must hold a state dict of tensors" in refused(tmp_path / "mo.pt")


@pytest.mark.parametrize("old_format", [False, True])
def test_a_truncated_checkpoint(tmp_path, old_format):
    torch.save(
        {"model": published_state("MO")},
        tmp_path / "mo.pt",
        _use_new_zipfile_serialization=not old_format,
    )
    whole = (tmp_path / "mo.pt").read_bytes()
    for share in (0.02, 0.5, 0.98):
        (tmp_path / "mo.pt").write_bytes(whole[: int(share * len(whole))])
        assert "take an intact copy" in refused(tmp_path / "mo.pt")


def test_no_file_a_folder_and_no_seed(tmp_path):
    assert "there is none at" in refused(tmp_path / "none.pt")
    assert "is a folder" in refused(tmp_path)
    assert "must be of MO, M1, M2, but got 'M3'" in refused(tmp_path, name="M3")
