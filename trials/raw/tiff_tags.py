"""What LibRaw does not hand out: the tags of raw files that are TIFFs (DNG, ARW, NEF, CR2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tifffile

MODEL, ISO, EXIF = 272, 34855, 34665

Read = TypeVar("Read")


def read_tags(path: str | Path, read: Callable[[Any], Read]) -> Read | None:
    """What `read` makes of a file's pages; None of another file, and where it fails.

    LibRaw has judged the file already, so damage that it forgives is none here either.
    """
    logger = logging.getLogger("tifffile")
    disabled, logger.disabled = logger.disabled, True
    try:
        with tifffile.TiffFile(path) as file:
            return read(file.pages) if len(file.pages) else None
    except Exception:
        return None
    finally:
        logger.disabled = disabled


def model_and_iso(path: str | Path) -> tuple[str, float]:
    """The camera's model as its file calls it, and the ISO; "" and 0 where they aren't told."""

    def read(pages: Any) -> tuple[str, float]:
        tags = pages[0].tags
        exif = tags[EXIF].value if EXIF in tags else {}
        iso = tags[ISO].value if ISO in tags else exif.get("ISOSpeedRatings", 0)
        first = iso[0] if isinstance(iso, tuple) else iso
        return str(tags[MODEL].value).strip() if MODEL in tags else "", max(float(first), 0.0)

    return read_tags(path, read) or ("", 0.0)
