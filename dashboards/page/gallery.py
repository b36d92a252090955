"""The pictures and drawings that the page has room for: the front's and the seeds' in full, of
others what still fits.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dashboards.page.compressed import TOGETHER, compress
from dashboards.page.losses import loss_curve
from dashboards.page.previews import Panels, Shared, cut, decoded, thumbnail
from dashboards.page.words import counted
from dashboards.study.artifacts import CURVE, DRAWING, PREVIEW, Artifacts
from dashboards.study.records import Record, StudyRecords

# Of the room that is left, at most so much for the pictures in full, and then so much for
# drawings; thumbnails take the rest.
FULL_SHARE, DRAWINGS_SHARE = 0.5, 0.6
# Each thumbnail's preview must be decoded, which takes some 5 ms.
MOST_THUMBNAILS = 800
# Characters that a thumbnail or a network's keys take in JSON besides the picture itself.
AROUND = 40


@dataclass
class Gallery:
    """What the page shows of trials, as plain values: see `embed_json`."""

    pictures: list[str] = field(default_factory=list)
    pairs: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    """Of each member, for each pair: indices in `pictures` of amplified, restored and truth."""
    thumbnails: dict[int, str] = field(default_factory=dict)
    drawings: dict[int, int] = field(default_factory=dict)
    """Places in the packs, by trial."""
    compressed: list[str] = field(default_factory=list)
    losses: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    """Of the members: (step, loss)."""
    told: list[str] = field(default_factory=list)
    """What was left out to keep the file small."""

    def embed_json(self) -> dict[str, Any]:
        """All of it, for the page's script."""
        return {
            "pictures": self.pictures,
            "pairs": self.pairs,
            "thumbnails": self.thumbnails,
            "drawings": self.drawings,
            "packs": self.compressed,
            "together": TOGETHER,
            "losses": self.losses,
        }


def members(study: StudyRecords) -> list[Record]:
    """The front and the seeds, fastest first: what table, slider and card show in full."""
    return [point for point in study.points if point.on_front or point.baseline]


def has_dot(record: Record) -> bool:
    """Whether the plots show it: as a network, or faintly as one that was stopped early."""
    return record.is_point or (record.kind == "stopped" and record.repeat_of is None)


def fill(study: StudyRecords, artifacts: Artifacts, room: int) -> Gallery:
    """As much as `room` characters hold, the most wanted first."""
    gallery = Gallery()
    shown = members(study)
    others = by_distance(study)
    _full(gallery, shown, artifacts, int(room * FULL_SHARE))
    room -= sum(map(len, gallery.pictures)) + sum(
        len(str(curve)) for curve in gallery.losses.values()
    )
    _drawings(gallery, [*shown, *others], artifacts, int(room * DRAWINGS_SHARE))
    room -= sum(map(len, gallery.compressed)) + AROUND * len(gallery.drawings)
    _thumbnails(gallery, others, artifacts, room)
    return gallery


def by_distance(study: StudyRecords) -> list[Record]:
    """The networks that are neither on the front nor seeds, nearest to the front first: by the dB
    that it has over them. Those that were stopped early come last.
    """
    front = study.front
    latencies = [point.latency_ms or 0.0 for point in front]

    def behind(record: Record) -> tuple[bool, float, int]:
        place = bisect.bisect_right(latencies, record.latency_ms or 0.0)
        best = front[place - 1].psnr_db if place else front[0].psnr_db if front else 0.0
        return record.kind == "stopped", (best or 0.0) - (record.psnr_db or 0.0), record.number

    return sorted(
        (one for one in study.records if has_dot(one) and not one.on_front and not one.baseline),
        key=behind,
    )


def _full(gallery: Gallery, shown: Sequence[Record], artifacts: Artifacts, room: int) -> None:
    shared, left_out = Shared(), 0
    # The seeds, then the front from its best: with too little room its fast end is left out.
    for record in sorted(shown, key=lambda one: (one.baseline is None, -(one.psnr_db or 0.0))):
        panels = _panels(record, artifacts)
        if not panels:
            continue
        if shared.size > room:
            left_out += 1
            continue
        gallery.losses[record.number] = loss_curve(artifacts.text(record, CURVE) or "")
        gallery.pairs[record.number] = [
            (shared.add(pair.amplified), shared.add(pair.restored), shared.add(pair.truth))
            for pair in panels
        ]
    gallery.pictures = shared.pictures
    if left_out:
        gallery.told.append(
            f"The pictures of {counted(left_out, 'network')} of the front were left out "
            f"to keep this file small."
        )


def _drawings(
    gallery: Gallery, records: Sequence[Record], artifacts: Artifacts, room: int
) -> None:
    texts: list[str] = []
    places: dict[str, int] = {}
    left_out = 0
    used = 0
    for start in range(0, len(records), TOGETHER):
        if used > room:
            left_out += len(records) - start
            break
        for record in records[start : start + TOGETHER]:
            text = artifacts.text(record, DRAWING)
            if text:
                gallery.drawings[record.number] = places.setdefault(text, len(texts))
                if places[text] == len(texts):
                    texts.append(text)
        full = len(texts) // TOGETHER * TOGETHER
        if full > len(gallery.compressed) * TOGETHER:
            gallery.compressed += compress(texts[len(gallery.compressed) * TOGETHER : full])
            used = sum(map(len, gallery.compressed))
    gallery.compressed += compress(texts[len(gallery.compressed) * TOGETHER :])
    if left_out:
        gallery.told.append(
            f"The drawings of {counted(left_out, 'network')} far from the front were left "
            f"out to keep this file small."
        )


def _thumbnails(
    gallery: Gallery, others: Sequence[Record], artifacts: Artifacts, room: int
) -> None:
    used = 0
    for place, record in enumerate(others):
        if used > room or place >= MOST_THUMBNAILS:
            gallery.told.append(
                f"The pictures of {counted(len(others) - place, 'network')} far from the "
                f"front were left out to keep "
                "this file small."
            )
            return
        panels = _panels(record, artifacts)
        if panels:
            small = thumbnail(panels[0].restored)
            gallery.thumbnails[record.number] = small
            used += len(small) + AROUND


def _panels(record: Record, artifacts: Artifacts) -> list[Panels]:
    preview = artifacts.read(record, PREVIEW)
    pixels = None if preview is None else decoded(preview)
    return [] if pixels is None else cut(pixels)
