"""Scenes are drawn once; what lies on disk is taken only where it is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trials import DataConfig, load_data
from trials.data import scene_cache as drawn
from trials.data.scene_cache import cached_scenes

BASELINES = [3, 1, 4]


def test_kept_scenes_are_the_drawn_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    fresh = cached_scenes(BASELINES, 64, recipe=1, folder=tmp_path / "cache", on_drawn=told.append)
    assert fresh.shape == (3, 3, 64, 64) and fresh.dtype == torch.half and told == [1, 2, 3]
    assert torch.equal(fresh, cached_scenes(BASELINES, 64, recipe=1))
    monkeypatch.setattr(drawn, "draw_scene", None)
    again = cached_scenes(BASELINES, 64, recipe=1, folder=tmp_path / "cache", on_drawn=told.append)
    assert torch.equal(fresh, again) and told[3:] == [3]
    for others in ({"recipe": 2}, {"seeds": [3, 1]}, {"size": 32}):
        asked = {"seeds": BASELINES, "size": 64, "recipe": 1, **others}
        with pytest.raises(TypeError):  # nothing is there: they would be drawn
            cached_scenes(
                asked["seeds"], asked["size"], recipe=asked["recipe"], folder=tmp_path / "cache"
            )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"", lambda b: b[:5000] + b"?" + b[5001:]],
)
def test_a_damaged_file_is_drawn_anew(tmp_path: Path, damage: object) -> None:
    fresh = cached_scenes(BASELINES, 64, recipe=1, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))  # type: ignore[operator]
    assert (
        torch.equal(fresh, cached_scenes(BASELINES, 64, recipe=1, folder=tmp_path))
        and path.read_bytes() == whole
    )


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert len(cached_scenes(BASELINES, 64, recipe=1, folder=tmp_path / "cache")) == 3


def test_the_data_are_the_same_with_and_without(tmp_path: Path) -> None:
    config = DataConfig(scenes=3, scene_size=64, held_out=1)
    told: list[tuple[int, int]] = []
    for _ in range(2):
        data = load_data(
            config,
            cache_dir=tmp_path,
            on_progress=lambda phase, done, total, _: told.append((done, total)),
        )
    plain = load_data(config, cache_dir=tmp_path / "other")
    assert data.description == plain.description and told == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
        (4, 4),
    ]
    assert torch.equal(data.held_out[0].mosaic, plain.held_out[0].mosaic)
    batches = [one.sample(2, 32, torch.Generator().manual_seed(0)) for one in (data, plain)]
    assert torch.equal(batches[0][0], batches[1][0])
