"""A small folder in SID's layout: true DNGs, in the lists of any camera."""

from pathlib import Path

import cv2
import numpy as np
from dng import write_dng

XTRANS = bytes(map("RGB".index, "GGRGGBGGBGGRBRGRBGGGBGGRGGRGGBRBGBRG"))


def write_pair(
    folder: Path,
    scene: str,
    index: str = "00",
    *,
    camera: str = "Sony",
    phase: str = "RGGB",
    seconds: tuple[str, str] = ("0.1", "10"),
    size: tuple[int, int] = (64, 96),
    target: str = ".dng",
    xtrans: bool = False,
) -> str:
    """Writes a short exposure and one of 40 times its light, and gives their row."""
    rng = np.random.default_rng(int(scene) + 1000 * int(index))
    light = rng.integers(0, 300, size)
    short = folder / camera / "short" / f"{scene}_{index}_{seconds[0]}s.dng"
    long = folder / camera / "long" / f"{scene}_00_{seconds[1]}s{target}"
    for path in (short, long):
        path.parent.mkdir(parents=True, exist_ok=True)
    cfa = (6, 6, XTRANS) if xtrans else None
    write_dng(short, (light + 512).astype(np.uint16), phase=phase, cfa=cfa)
    if target == ".dng":
        bright = np.minimum(light * 40 + 512, 16383).astype(np.uint16)
        write_dng(long, bright, phase=phase, cfa=cfa)
    else:
        cv2.imwrite(str(long), rng.integers(0, 65536, (*size, 3)).astype(np.uint16))
    return f"./{camera}/short/{short.name} ./{camera}/long/{long.name} ISO200 F8"


def write_list(folder: Path, split: str, rows: list[str], camera: str = "Sony") -> Path:
    path = folder / f"{camera}_{split}_list.txt"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
