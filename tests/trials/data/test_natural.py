"""The judge that no recipe has seen: the same pictures for all, and nobody trains on them."""

import ast
from collections import Counter
from pathlib import Path

import pytest
import torch

from space import InputError
from trials import DataConfig
from trials.data import natural
from trials.data.natural import natural_pairs
from trials.raw.colour import to_cells

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pairs():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    return natural_pairs(DataConfig())


def test_fifteen_scenes_of_seven_photos(pairs):
    photos = Counter(pair.name.rsplit("_", 1)[0] for pair in pairs)
    twos = dict.fromkeys(("coffee", "motorcycle", "rocket", "china", "flower"), 2)
    assert photos == {"astronaut": 4, "chelsea": 1, **twos}
    assert len({pair.name for pair in pairs}) == 15
    for pair in pairs:
        assert pair.mosaic.shape == (1, 1, 256, 256) and pair.target.shape == (1, 3, 256, 256)
        for picture in (pair.mosaic, pair.target):
            assert picture.dtype == torch.float32 and picture.min() >= 0 and picture.max() <= 1
        assert pair.target.std() > 0.02


def test_they_are_the_same_whatever_the_study(pairs):
    steps = []
    other = DataConfig(seed=5, scenes=1, held_out=1, scene_size=64, ratio_min=1, ratio_max=2)
    again = natural_pairs(other, lambda *step: steps.append(step))
    for one, two in zip(pairs, again, strict=True):
        assert torch.equal(one.mosaic, two.mosaic) and torch.equal(one.target, two.target)
    assert steps[-1] == ("photos", 7, 7, {}) and len(steps) == 7


def test_targets_have_the_photos_colours(pairs):
    means = {pair.name: pair.target[0].mean(dim=(1, 2)) for pair in pairs}
    red, green, blue = means["coffee_0"]
    assert red > 1.3 * green > 1.3 * blue
    red, green, blue = means["rocket_1"]  # sky
    assert blue > 1.2 * green > 1.2 * red
    # Without much noise the mosaic agrees: the balance is that of the target.
    coffee = next(pair for pair in pairs if pair.name == "coffee_0")
    red, green, blue = to_cells(coffee.mosaic)[0].mean(dim=(1, 2))
    assert red > blue


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(natural.PHOTOS, "none", ("skimage", "data/none.png"))
    pytest.importorskip("skimage")
    with pytest.raises(InputError, match=r'data/none.png is not in skimage; run pip install "'):
        natural_pairs(DataConfig())
    monkeypatch.setattr(natural, "PHOTOS", {"astronaut": ("skimage_is_not_here", "a.png")})
    with pytest.raises(InputError, match=r'skimage_is_not_here is not installed; .*\[test\]"'):
        natural_pairs(DataConfig())


def test_nothing_that_trains_or_chooses_knows_them():
    told = {"natural", "skimage", "sklearn"}
    places = ["trials/training", "nas/loop", "nas/training", "nas/samplers", "nas/workers"]
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    files += [*(ROOT / "trials").glob("*.py"), *(ROOT / "trials/data/photos").glob("*.py")]
    files += [ROOT / "trials/data/synthetic.py", ROOT / "trials/data/dataset.py"]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", []) if hasattr(alias, "name")]
            words = {word for name in names for word in name.split(".")}
            words |= set((getattr(node, "module", "") or "").split("."))
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not words & told, f"{path} imports {names}"
