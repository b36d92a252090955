"""The judge that no recipe has seen: photos that scikit-image and scikit-learn ship.

Seven colour photos lie in the two libraries' wheels, so that nothing is downloaded: a portrait, a
cat, a cup, a garage, a rocket, a temple and a flower. They are unprocessed, cut into fifteen
scenes and photographed by the simulated camera. Never train on them, and choose nothing by them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from space import InputError
from trials.config import DataConfig
from trials.data.pair import Pair, Progress
from trials.data.photos.cuts import places
from trials.data.photos.files import read_photo
from trials.data.photos.unprocessing import to_scene
from trials.data.simulated_camera import SimulatedCamera

PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
}
SIZE = 256
RATIO_MIN, RATIO_MAX = 100.0, 300.0
# Of the first scene's exposure, ratio, ISO, white balance and noise; the next scene has the next.
SEED = 7_000


def natural_pairs(config: DataConfig, on_progress: Progress | None = None) -> list[Pair]:
    """Fifteen pairs of 256 x 256 pixels, on the CPU, always the same for one camera.

    A pair's name is the photo's and a number, as "china_1". Of `config` count the sensor, the ISO
    range and what the network wants; ratios are 100 to 300, exposures those of held-out
    pairs. Progress is reported as "photos". Raises InputError where a library or photo is missing.
    """
    camera = SimulatedCamera(replace(config, ratio_min=RATIO_MIN, ratio_max=RATIO_MAX), "cpu")
    pairs: list[Pair] = []
    for done, (name, (library, place)) in enumerate(PHOTOS.items(), 1):
        linear = torch.from_numpy(read_photo(_find(library, place), SIZE)).permute(2, 0, 1)
        _, height, width = linear.shape
        for number, (top, left) in enumerate(places(height, width, SIZE)):
            cut = linear[:, top : top + SIZE, left : left + SIZE]
            scene, _ = to_scene(cut, camera.camera_to_srgb)
            generator = torch.Generator().manual_seed(SEED + len(pairs))
            mosaic, target = camera.photograph(scene[None], generator)
            pairs.append(Pair(name=f"{name}_{number}", mosaic=mosaic, target=target))
        if on_progress:
            on_progress("photos", done, len(PHOTOS), {})
    return pairs


def _find(library: str, place: str) -> Path:
    spec = find_spec(library)
    folders = (spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        if (path := Path(folder) / place).is_file():
            return path
    missing = f"{place} is not in {library}" if folders else f"{library} is not installed"
    raise InputError(
        "natural photos must come with scikit-image and scikit-learn, but "
        f'{missing}; run pip install ".[test]"'
    )
