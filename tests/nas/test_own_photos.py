"""`--photos DIR` of the commands: a real training on one's own photos, of which nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins import Command, Loader

from nas import cli
from nas.retrain import main
from nas.study.config import load_config
from space import BASELINES, InputError
from trials import load_data


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photos of coloured blocks."""
    folder = tmp_path / "holiday"
    folder.mkdir()
    for seed in range(6):
        blocks = np.random.default_rng(seed).integers(20, 235, (9, 12, 3)).astype(np.uint8)
        picture = cv2.resize(blocks, (480, 360), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"beach {seed}.jpg"), picture)
    return folder


@pytest.fixture
def retrain(
    tiny: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    genome = tmp_path / "small.json"
    genome.write_text(BASELINES["MO"].to_json())

    def run(*flags: object, out: str = "out") -> tuple[int, str]:
        words = ["--study", tiny, "--genome", genome, "--runs", runs, "--out", tmp_path / out]
        words += ["--device", "cpu", "--threads", 1, "--steps", 6, *flags]
        status = cli.run(main, [str(word) for word in words])
        return status, "".join(capsys.readouterr())

    return run


def test_a_training_on_photos(
    retrain: Callable[..., tuple[int, str]], photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    status, told = retrain("--photos", photos)
    assert status == 0 and "synthetic and photos" in told
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    about = result["training"]["data"]["config"]["photos"]
    assert about["count"] == 6 and about["scenes"] > 6 and len(about["digest"]) == 16
    files = [path for path in tmp_path.rglob("*") if path.is_file() and photos not in path.parents]
    assert not any(b"beach" in path.read_bytes() for path in files)
    private = [path for path in files if path.name.startswith("photos-")]
    assert [path.stat().st_mode & 0o077 for path in private] == [0]
    # The same command knows the same data; with other photos it is another training.
    status, told = retrain("--photos", photos)
    assert status == 0 and "finished already" in told
    status, told = retrain()
    assert status == 2 and "data.photos" in told
    cv2.imwrite(str(photos / "new.png"), np.full((200, 200, 3), (10, 90, 200), np.uint8))
    (photos / "beach 0.jpg").unlink()
    status, told = retrain("--photos", photos)
    assert status == 2 and "data.digest" in told


def test_what_is_refused(
    retrain: Callable[..., tuple[int, str]],
    run_search: Command,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, told = retrain("--photos", tmp_path / "nowhere")
    assert status == 2 and "photos must be a folder" in told and told.count("\n") == 1
    status, told = retrain("--photos", photos, "--data", tmp_path)
    assert status == 2 and "--photos must go with --data synthetic" in told
    assert run_search("--photos", photos, "--data", tmp_path) == 2
    assert "data.photos must go with data.source synthetic" in capsys.readouterr().err
    assert run_search("--photos", "") == 2
    assert "photos must be a folder" in capsys.readouterr().err
    assert run_search("--photos", tmp_path / "small.json", load=load_data) == 2
    (tmp_path / "empty").mkdir()
    assert run_search("--photos", tmp_path / "empty", load=load_data) == 2
    assert "photos must be a folder with photos" in capsys.readouterr().err


def test_a_study_names_its_photos(
    tiny: Path, run_search: Command, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tiny.read_text().replace("[data]", '[data]\nphotos = "holiday"\nphoto_share = 0.8')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(photos.parent)
        tiny.write_text(text)
        data = load_config(str(tiny)).data
    assert data.photos == str(photos) and data.photo_share == 0.8 and data.photo_scenes == 192
    tiny.write_text(text.replace("holiday", str(photos)))
    load = Loader()
    assert run_search(load=load) == 0
    out = capsys.readouterr().out
    assert "synthetic, 20 steps, photos" in out
    for wrong in ("photo_share = 1.5", "photo_share = 0"):
        tiny.write_text(text.replace("holiday", str(photos)).replace("photo_share = 0.8", wrong))
        with pytest.raises(InputError, match="photo_share must be from"):
            load_config(str(tiny))
