"""Files from anyone: nothing in them is run, and nothing outside of their folder is read."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dashboards.server.serve import listen
from nas.cli.networks import load_network
from nas.outputs.store import LinkingStore
from nas.outputs.trained_model import of_trial
from nas.study.records import Row
from space import Genome, InputError, NetworkInput, build_model, load_reference_checkpoint
from space.files.export_format import MODEL, WEIGHTS, load_model, new_folder, save
from trials.data.sid import read_lists
from trials.raw import NotBayerError, read_frame, read_full_frame
from trials.raw.images import write_picture
from trials.raw.reader import develop_raw, read_picture
from trials.raw.validation import check_frame
from trials.training.checkpoints import MAGIC, read

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "trials"))
from dng import write_dng
from fuzzing.checks import check_words
from sid_folder import write_list, write_pair

ROOT = Path(__file__).parents[2]
SMALL = Genome(
    skip_width=8, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
# What runs what it reads, or may.
_RUNNING = "pickle cPickle dill cloudpickle marshal shelve joblib yaml jsonpickle runpy"
RUNNING = set(_RUNNING.split())
CALLS = ("eval", "exec", "os.system", "os.popen", "torch.hub.load")
# Where pickles are read (torch.load, weights_only): published checkpoints, and our own of a
# training that goes on.
MAY_LOAD = {"space/files/published_weights.py", "trials/training/checkpoints.py"}


def refusal(act: Callable[[], object]) -> str:
    """The words with which `act` is refused: one line, with a remedy."""
    with pytest.raises(InputError) as caught:
        act()
    check_words(caught.value)
    return str(caught.value)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    torch.manual_seed(0)
    save(folder, build_model(SMALL), name="it", network_input=NetworkInput())
    return folder


def change(folder: Path, **keys: Any) -> None:
    about = json.loads((folder / MODEL).read_text())
    (folder / MODEL).write_text(json.dumps({**about, **keys}))


def test_an_export_is_read_from_its_own_folder_only(export: Path, tmp_path: Path) -> None:
    for name in (WEIGHTS, MODEL):
        (export / name).rename(tmp_path / name)
        for there in (tmp_path / name, Path("..") / name, Path("/dev/zero")):
            (export / name).symlink_to(there)
            assert "an export's file must lie in the folder" in refusal(lambda: load_model(export))
            if there != Path("/dev/zero"):
                assert "an export's file must lie in the folder" in refusal(
                    lambda: load_network(str(export), None)
                )
            (export / name).unlink()
        (tmp_path / name).rename(export / name)
    for file in ("../weights.safetensors", "/etc/passwd", 3):
        change(export, weights={"file": file})
        assert "must name its weights weights.safetensors" in refusal(lambda: load_model(export))
    change(export, weights={"file": WEIGHTS})
    assert load_model(export).genome == SMALL
    link = tmp_path / "link"  # the folder itself may lie anywhere
    link.symlink_to(export)
    assert load_model(link).genome == SMALL


def test_an_export_holds_the_weights_that_were_saved(export: Path) -> None:
    data = bytearray((export / WEIGHTS).read_bytes())
    data[-3] ^= 1
    (export / WEIGHTS).write_bytes(data)
    assert "weights.safetensors was changed since (its SHA-256" in refusal(
        lambda: load_model(export)
    )
    data[-4:] = struct.pack("<f", float("nan"))
    (export / WEIGHTS).write_bytes(data)
    assert "weights must be finite numbers, but some of" in refusal(
        lambda: load_network(str(export), None)
    )
    (export / WEIGHTS).write_bytes(data.replace(b'"F32"', b'"I32"'))
    assert "weights must be torch.float32, but" in refusal(lambda: load_model(export))
    change(export, name="two\nlines")
    assert "name must be a text of one line" in refusal(lambda: load_model(export))


def test_an_export_that_is_a_link_is_replaced_and_not_what_it_leads_to(
    export: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    link = tmp_path / "out" / "link"
    link.symlink_to(export)
    with new_folder(link, force=True) as beside:
        (beside / MODEL).write_text("{}")
    assert (
        not link.is_symlink()
        and (link / MODEL).read_text() == "{}"
        and load_model(export).genome == SMALL
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["link"]


def test_a_trials_folder_is_the_studys(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "trials").mkdir()
    for directory in ("../trials", "/etc", "trials\0"):
        row = Row(number=0, kind="complete", psnr_db=1.0, ssim=1.0, directory=directory)
        assert "a trial's folder must" in refusal(
            lambda row=row: of_trial(row, None, tmp_path / "study")
        )  # type: ignore[misc,arg-type]
    store = LinkingStore(tmp_path / "study" / "artifacts")
    for name in ("../x", "/tmp/x"):
        with (
            (tmp_path / "f").open("w+b") as file,
            pytest.raises(ValueError, match="Invalid artifact_id"),
        ):
            store.write(name, file)


LISTS = ("up", "absolute", "link", "folder's link", "list's link", "list's pipe", "endless list")


@pytest.mark.parametrize("how", [*LISTS, "long", "pipe"])
def test_a_list_names_photos_of_its_own_folder_only(how: str, tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    rows = [write_pair(root, "00001"), write_pair(root, "00002")]
    outside.mkdir()
    path = write_list(root, "train", rows)
    first = root / "Sony" / "short" / "00001_00_0.1s.dng"
    told = "must lie in the folder"
    if how in ("up", "absolute"):
        (outside / first.name).write_bytes(b"secret")
        other = f"../outside/{first.name}" if how == "up" else str(outside / first.name)
        write_list(root, "train", [rows[0].replace(f"./Sony/short/{first.name}", other)])
    elif how in ("link", "pipe"):
        first.rename(outside / first.name)
        if how == "link":
            first.symlink_to(outside / first.name)
        else:
            os.mkfifo(first)
            told = "which is missing"
    elif how == "folder's link":
        first.parent.rename(outside / "short")
        first.parent.symlink_to(outside / "short")
    elif how == "long":
        write_list(root, "train", [rows[0].replace("_0.1s", f"_{'9' * 400}s")])
        told = "must be named <scene>_<index>_<seconds>s"
    else:
        path.rename(outside / path.name)
        if how == "list's pipe":
            os.mkfifo(path)
            told = "a list must be a file"
        else:
            path.symlink_to(outside / path.name if how == "list's link" else "/dev/zero")
    assert told in refusal(lambda: read_lists(root))


def test_a_data_folder_may_itself_be_a_link_and_hold_links(tmp_path: Path) -> None:
    root, alias = tmp_path / "data", tmp_path / "alias"
    write_list(root, "train", [write_pair(root, "00001"), write_pair(root, "00002")])
    (root / "Sony").rename(root / "photos")
    (root / "Sony").symlink_to("photos")
    alias.symlink_to(root)
    assert len(read_lists(alias)["train"]) == 2


def raw_file(path: Path, changes: dict[int, bytes], **flags: Any) -> Path:
    """A small DNG with other values (4 bytes) of some fields."""
    values = np.random.default_rng(0).integers(600, 9000, (64, 96)).astype(np.uint16)
    data = bytearray(write_dng(path, values, **flags).read_bytes())
    for index in range(struct.unpack_from("<H", data, 8)[0]):
        entry = 10 + 12 * index
        if (tag := struct.unpack_from("<H", data, entry)[0]) in changes:
            data[entry + 8 : entry + 12] = changes[tag]
    path.write_bytes(data)
    return path


def test_a_raw_file_is_looked_through_before_it_is_decoded(tmp_path: Path) -> None:
    side = struct.pack("<I", 60_000)
    wide = raw_file(tmp_path / "wide.dng", {256: side, 257: side})
    for read_one in (read_frame, develop_raw):
        assert "promises 60000 x 60000 pixels" in refusal(partial(read_one, wide))
    black = raw_file(tmp_path / "black.dng", {}, black=(20_000,) * 4)
    for read_one in (read_frame, read_full_frame):
        assert "black levels must be below its white" in refusal(partial(read_one, black))
    whole = raw_file(tmp_path / "whole.dng", {})
    frame = read_frame(whole)
    for gain in (0.0, math.inf, math.nan, -1.0):  # LibRaw lets none of them through today
        odd = dataclasses.replace(frame, white_balance=(gain, 1.0, 1.0))
        assert "white balance must be from 0.001 to 1000" in refusal(
            partial(check_frame, odd, whole)
        )
    odd = dataclasses.replace(frame, camera_to_srgb=np.full((3, 3), math.nan, np.float32))
    assert "colour matrix must be" in refusal(lambda: check_frame(odd, whole))
    # Filters that lie behind the file's end: LibRaw would take what is in memory by chance.
    entry, longer = struct.pack("<HHI", 33422, 1, 4), struct.pack("<HHI", 33422, 16, 4)
    whole.write_bytes(whole.read_bytes().replace(entry, longer))
    assert "ends at byte" in refusal(lambda: read_frame(whole))
    unknown = raw_file(tmp_path / "cfa.dng", {33422: b"\7\7\7\7"})
    with pytest.raises(NotBayerError):
        read_frame(unknown)


def test_a_ground_truth_is_looked_through_before_it_is_decoded(tmp_path: Path) -> None:
    for suffix in (".png", ".tiff"):
        path = tmp_path / f"a{suffix}"
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint16))
        data = bytearray(path.read_bytes())
        if suffix == ".png":
            struct.pack_into(">II", data, 16, 30_000, 30_000)
        else:
            (directory,) = struct.unpack_from("<I", data, 4)
            for index in range(struct.unpack_from("<H", data, directory)[0]):
                entry = directory + 2 + 12 * index
                if (tag := struct.unpack_from("<H", data, entry)[0]) in (256, 257):
                    struct.pack_into("<HHII", data, entry, tag, 4, 1, 30_000)
        path.write_bytes(data)
        assert "promises 30000 x 30000 pixels" in refusal(partial(read_picture, path))


def test_a_name_that_is_no_utf8_kills_no_library(tmp_path: Path) -> None:
    """OpenCV's imread and imwrite die of one (a segmentation fault)."""
    path = tmp_path / os.fsdecode(b"a\xff.png")
    path.write_bytes(b"x")
    picture = np.zeros((8, 8, 3), np.uint16)
    for act in (
        lambda: read_picture(path),
        lambda: read_frame(path),
        lambda: write_picture(path, picture),
    ):
        assert "must be UTF-8, but" in refusal(act)


def test_a_ground_truth_with_a_part_beyond_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint16))
    data = path.read_bytes()
    at = data.index(b"IDAT") - 4
    path.write_bytes(data[:at] + struct.pack(">I", 2**31 - 1) + data[at + 4 :])
    assert "ends at byte" in refusal(lambda: read_picture(path))


class Evil:
    """A pickle that makes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    path, made = tmp_path / "evil.pt", tmp_path / "made"
    torch.save({"model": Evil(made)}, path)
    assert "hold tensors only" in refusal(lambda: load_reference_checkpoint("MO", path))
    path.write_bytes(pickle.dumps({"model": Evil(made)}))
    assert "hold tensors only" in refusal(lambda: load_reference_checkpoint("MO", path))
    torch.save({"step": Evil(made)}, path)
    body = path.read_bytes()
    path.write_bytes(MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        read(path)
    assert not made.exists()


def sources() -> Iterator[tuple[str, ast.AST]]:
    for package in ("space", "trials", "nas", "dashboards"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield str(path.relative_to(ROOT)), node


def faults(node: ast.AST) -> Iterator[str]:
    """What of a line of code could run what is read."""
    if isinstance(node, ast.Import):
        yield from {alias.name.split(".")[0] for alias in node.names} & RUNNING
    elif isinstance(node, ast.ImportFrom):
        yield from {str(node.module).split(".")[0]} & RUNNING
        if node.module == "torch" and "load" in {alias.name for alias in node.names}:
            yield "torch.load"
    elif isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in CALLS or called.startswith("pickle.") or "safe_globals" in called:
            yield called
        if called == "torch.load" and flags.get("weights_only") != "True":
            yield "torch.load without weights_only"
        if called == "np.load" and flags.get("allow_pickle") != "False":
            yield "np.load with pickles"
        if flags.get("shell", "False") != "False":
            yield "a shell"


def test_no_source_reads_what_could_run() -> None:
    """The only pickles ever read are checkpoints, and of them only tensors and plain values."""
    loads = set()
    for path, node in sources():
        assert list(faults(node)) == [], path
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            loads.add(path)
    assert loads == MAY_LOAD


def test_what_listens_does_so_on_loopback_only() -> None:
    with listen(0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
    for path, node in sources():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node.value not in ("0.0.0.0", "::", "[::]"), f"{path} names every address"
