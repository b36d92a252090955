"""Scenes are drawn once; what lies on disk is taken only where it is what was written."""

import pytest
import torch

from trials import DataConfig, load_data
from trials.data.scenes import cache, cached_scenes

SEEDS = [3, 1, 4]


def test_stored_scenes_are_the_drawn_ones(tmp_path, monkeypatch):
    counts = []
    folder = tmp_path / "cache"
    fresh = cached_scenes(
        SEEDS, 64, palette="natural", recipe=1, folder=folder, on_drawn=counts.append
    )
    assert fresh.shape == (3, 3, 64, 64) and fresh.dtype == torch.half and counts == [1, 2, 3]
    assert torch.equal(fresh, cached_scenes(SEEDS, 64, palette="natural", recipe=1))
    monkeypatch.setattr(cache, "draw_scene", None)
    again = cached_scenes(
        SEEDS, 64, palette="natural", recipe=1, folder=folder, on_drawn=counts.append
    )
    assert torch.equal(fresh, again) and counts[3:] == [3]
    others = (
        (SEEDS, 64, 2, "natural"),
        ([3, 1], 64, 1, "natural"),
        (SEEDS, 32, 1, "natural"),
        (SEEDS, 64, 1, "grey"),
    )
    for seeds, size, recipe, palette in others:
        with pytest.raises(TypeError):  # nothing is there: they would be drawn
            cached_scenes(seeds, size, palette=palette, recipe=recipe, folder=folder)


CHANGES = [lambda b: b[:-1], lambda b: b"", lambda b: b"x", lambda b: b[:5000] + b"?" + b[5001:]]


@pytest.mark.parametrize("damage", CHANGES)
def test_a_damaged_file_is_drawn_anew(tmp_path, damage):
    fresh = cached_scenes(SEEDS, 64, palette="natural", recipe=1, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    assert torch.equal(
        fresh, cached_scenes(SEEDS, 64, palette="natural", recipe=1, folder=tmp_path)
    )
    assert path.read_bytes() == intact


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert (
        len(cached_scenes(SEEDS, 64, palette="natural", recipe=1, folder=tmp_path / "cache")) == 3
    )


def test_the_data_are_the_same_with_and_without(tmp_path):
    config = DataConfig(scenes=3, scene_size=64, held_out=1)
    steps = []
    for _ in range(2):
        data = load_data(
            config,
            cache_dir=tmp_path,
            on_progress=lambda phase, done, total, _: steps.append((done, total)),
        )
    plain = load_data(config, cache_dir=tmp_path / "other")
    assert data.description == plain.description
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]
    assert torch.equal(data.held_out[0].mosaic, plain.held_out[0].mosaic)
    batches = [one.sample(2, 32, torch.Generator().manual_seed(0)) for one in (data, plain)]
    assert torch.equal(batches[0][0], batches[1][0])
