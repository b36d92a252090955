"""A folder of photos as scenes: read once, held out by whole photos, stored privately.

What is stored, beside the procedural scenes, is the scenes alone: no name and no path. Nobody but
the owner may read the file; nothing else that a study writes tells more of the photos than their
number and a digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from space import InputError
from trials.config import DataConfig
from trials.data.pair import Progress
from trials.data.photos.cuts import places, spread, worth_training
from trials.data.photos.files import PICTURES, RAWS, read_photo
from trials.data.photos.unprocessing import to_scene
from trials.files import replacing
from trials.raw.sensor import load_sensor

# Raised whenever a change of code changes what a folder gives: no study mixes two kinds of data.
RECIPE = 1
# Part of the photos that is held out, at most.
HELD_OUT_SHARE = 0.2
# Most scenes of one photo: more would make a few photos the whole world.
MOST_CUTS = 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PhotoScenes:
    """Scenes as procedural ones: linear white-balanced camera RGB, n 3 size size, half."""

    training: Tensor
    held_out: Tensor
    photos: int
    """How many photos they come from; 0 where none were asked for."""

    def digest(self) -> str:
        """16 hex digits that change with any pixel."""
        digest = hashlib.sha256()
        for scenes in (self.training, self.held_out):
            digest.update(repr(tuple(scenes.shape)).encode() + scenes.numpy().tobytes())
        return digest.hexdigest()[:16]


def load_photos(
    config: DataConfig, cache_dir: Path | None = None, on_progress: Progress | None = None
) -> PhotoScenes:
    """The scenes of the folder `config.photos`; none where that is None.

    Held out are whole photos, a fifth at most, in photos' share of `config.held_out`: chosen by a
    hash of their names, so that a new photo moves few others. Files that can't be used are skipped
    with one logged warning each. The scenes are stored in `cache_dir`, if given. Progress is
    reported as "photos". Raises InputError where the folder is none or has fewer than two photos.
    """
    if config.photos is None:
        nothing = torch.empty(0, 3, config.scene_size, config.scene_size, dtype=torch.half)
        return PhotoScenes(training=nothing, held_out=nothing, photos=0)
    if not 0 < config.photo_share <= 1 or config.photo_scenes < 1:
        raise InputError(
            "photo_share must be above 0 and at most 1 and photo_scenes at least 1, but they are "
            f"{config.photo_share:g} and {config.photo_scenes}; change them"
        )
    folder = Path(config.photos)
    photos = find_photos(folder)
    key = _key(photos, folder, config)
    path = cache_dir / f"photos-{key}.npz" if cache_dir else None
    found = _read(path, config.scene_size) if path else None
    if found is None:
        found = _Reader(config, len(photos), on_progress).read(_ranked(photos, folder, config))
        if not len(found.training):
            raise InputError(
                f"photos must be a folder of at least two photos that can be used, one of them "
                f"to be held out, but {folder} has {found.photos}; add some"
            )
        if path:
            with contextlib.suppress(OSError):  # a full disk: whoever must write will say so
                _write(path, found)
    elif on_progress:
        on_progress("photos", len(photos), len(photos), {})
    return found


def find_photos(folder: Path) -> list[list[Path]]:
    """The photos in `folder` and the folders in it, sorted, each a list of its files, raw first.

    Files of one name are one photo, as a camera writes a JPEG beside its raw. Hidden files and
    folders are left out. Raises InputError where there is no folder or no photo in it.
    """
    if not folder.is_dir():
        raise InputError(
            f"photos must be a folder of photos, but there is none at {folder}; check the path"
        )
    suffixes = (*RAWS, *PICTURES)
    photos: dict[Path, list[Path]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in suffixes and not name.startswith("."):
                photos.setdefault(path.with_suffix(""), []).append(path)
    if not photos:
        raise InputError(
            f"photos must be a folder with photos ({', '.join(PICTURES)} or raws) in it, but "
            f"{folder} has none; give another one"
        )
    files = [sorted(photos[stem]) for stem in sorted(photos)]
    return [sorted(paths, key=lambda path: suffixes.index(path.suffix.lower())) for paths in files]


def choose_scene(uniform: Tensor, procedural: int, photo: int, photo_share: float) -> Tensor:
    """Numbers of scenes, the procedural ones first, for `uniform` draws in [0, 1].

    `photo_share` of the draws fall on photos' scenes; all of them where there are no others.
    """
    if not procedural or not photo:
        return (uniform * (procedural + photo)).long().clamp_(max=procedural + photo - 1)
    of_photo = (uniform / photo_share * photo).long().clamp_(max=photo - 1) + procedural
    rest = (uniform - photo_share).clamp(min=0.0) / max(1.0 - photo_share, 1e-9)
    of_procedural = (rest * procedural).long().clamp_(max=procedural - 1)
    return torch.where(uniform < photo_share, of_photo, of_procedural)


def held_out_count(config: DataConfig) -> int:
    """How many of the held-out pairs are to be of photos: their share, but two are procedural.

    Those are what pictures of a trial show: photos are private.
    """
    return max(0, min(int(config.photo_share * config.held_out + 0.5), config.held_out - 2))


class _Reader:
    """Reads photos until there are enough scenes."""

    def __init__(self, config: DataConfig, total: int, on_progress: Progress | None) -> None:
        self.config, self.total, self.on_progress = config, total, on_progress
        self.matrix = torch.tensor(load_sensor(config.sensor).camera_to_srgb)
        self.seen: set[bytes] = set()
        self.done = self.used = 0

    def read(self, photos: list[list[Path]]) -> PhotoScenes:
        """The first photos are held out, the rest is trained on."""
        count = held_out_count(self.config)
        photos_kept = min(count, max(1, int(HELD_OUT_SHARE * len(photos))))
        rest = iter(photos)
        # Unusable photos are passed over: the next ones are held out in their place.
        held_out = self._collect(rest, count, photos_kept)
        training = self._collect(rest, self.config.photo_scenes, None)
        if self.on_progress:  # enough scenes may be there before the last photo
            self.on_progress("photos", self.total, self.total, {})
        return PhotoScenes(training=training, held_out=held_out, photos=self.used)

    def _collect(self, photos: Iterator[list[Path]], count: int, most: int | None) -> Tensor:
        """At most `count` scenes, of at most `most` photos, of all as many as can be."""
        scenes: list[Tensor] = []
        left = self.total - self.done if most is None else most
        while len(scenes) < count and left > 0 and (files := next(photos, None)):
            quota = min(-(-(count - len(scenes)) // left), MOST_CUTS)
            cuts = self._cuts(files, quota)
            scenes += cuts
            left -= 1 if cuts or most is None else 0
            self.used += bool(cuts)
            self.done += 1
            if self.on_progress:
                self.on_progress("photos", self.done, self.total, {})
        size = self.config.scene_size
        return torch.stack(scenes) if scenes else torch.empty(0, 3, size, size, dtype=torch.half)

    def _cuts(self, files: list[Path], quota: int) -> list[Tensor]:
        """At most `quota` scenes of the photo's first file that can be used."""
        for path in files:
            try:
                return self._read(path, quota)
            except InputError as error:
                why = str(error)
            except (OSError, MemoryError) as error:
                why = f"{path} can't be read ({error or 'no memory'})"
            # A name may hold a line break, or what a terminal obeys.
            logger.warning("skipped: %s", "".join(c if c.isprintable() else "?" for c in why))
        return []

    def _read(self, path: Path, quota: int) -> list[Tensor]:
        size = self.config.scene_size
        photo = read_photo(path, size)
        digest = hashlib.sha256(photo.tobytes()).digest()
        if digest in self.seen:  # else a copy of a photo that is trained on might be held out
            raise InputError(f"a photo must be there once, but {path} is a copy; delete it")
        self.seen.add(digest)
        height, width, _ = photo.shape
        corners = places(height, width, size)
        cuts = [photo[top : top + size, left : left + size] for top, left in corners]
        chosen = spread([cut for cut in cuts if worth_training(cut)], quota)
        if not chosen:
            raise InputError(
                f"a photo must be well exposed and show something, but {path} is black, blown "
                "out or bare all over; leave it out"
            )
        pictures = [torch.from_numpy(cut).permute(2, 0, 1) for cut in chosen]
        return [to_scene(picture, self.matrix)[0].half() for picture in pictures]


def _ranked(photos: list[list[Path]], folder: Path, config: DataConfig) -> list[list[Path]]:
    """The photos in the order of a hash of their names and the seed."""

    def rank(files: list[Path]) -> bytes:
        name = os.fsencode(files[0].relative_to(folder).with_suffix(""))
        return hashlib.sha256(f"{config.seed} ".encode() + name).digest()

    return sorted(photos, key=rank)


def _key(photos: list[list[Path]], folder: Path, config: DataConfig) -> str:
    """16 hex digits that change with the photos and with all that decides their scenes."""
    files: list[Any] = []
    for path in (path for files_of_one in photos for path in files_of_one):
        with contextlib.suppress(OSError):  # a broken link, which is skipped
            stat = path.stat()
            files.append([str(path.relative_to(folder)), stat.st_size, stat.st_mtime_ns])
    parts = [files, config.scene_size, config.photo_scenes, held_out_count(config), config.seed]
    parts += [load_sensor(config.sensor).camera_to_srgb, RECIPE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _write(path: Path, scenes: PhotoScenes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    training, held_out = scenes.training.numpy(), scenes.held_out.numpy()
    with replacing(path, private=True) as temporary, temporary.open("wb") as file:
        np.savez(file, training=training, held_out=held_out, photos=np.int64(scenes.photos))


def _read(path: Path, size: int) -> PhotoScenes | None:
    """The stored scenes, checked by the archive's CRC-32; None where they are not intact."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            training, held_out = archive["training"], archive["held_out"]
            photos = int(archive["photos"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    for scenes in (training, held_out):
        if scenes.dtype != np.float16 or scenes.shape[1:] != (3, size, size):
            return None
    return PhotoScenes(torch.from_numpy(training), torch.from_numpy(held_out), photos)
