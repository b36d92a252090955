"""The pictures, drawings and training curves that the page has room for, the front's first."""

from __future__ import annotations

import bisect
import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dashboards.page.compressed import GROUP_SIZE, compress
from dashboards.page.previews import Panels, SharedPictures, cut, decode, thumbnail
from dashboards.page.words import counted
from dashboards.study.artifacts import CURVE, DRAWING, PREVIEW, Artifacts
from dashboards.study.records import Record, StudyRecords

# Shares of the remaining room: pictures at full size take at most the first, then drawings the
# second; thumbnails take the rest.
FULL_SHARE, DRAWINGS_SHARE = 0.5, 0.6
# Each thumbnail's preview must be decoded, which takes some 5 ms.
MOST_THUMBNAILS = 800
# Characters that a thumbnail or a drawing's index take in JSON besides the picture itself.
OVERHEAD = 40
CURVE_POINTS = 60


@dataclass
class Gallery:
    """What the page shows of trials, by their numbers, as plain values."""

    pictures: list[str] = field(default_factory=list)
    # Of each member, for each pair: indices in `pictures` of amplified, restored and truth.
    pairs: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    thumbnails: dict[int, str] = field(default_factory=dict)
    drawings: dict[int, int] = field(default_factory=dict)  # which text in the compressed groups
    compressed: list[str] = field(default_factory=list)
    group_size: int = GROUP_SIZE
    losses: dict[int, list[tuple[int, float]]] = field(default_factory=dict)  # (step, loss)
    left_out: list[str] = field(default_factory=list)  # a sentence for each kind

    def leave_out(self, what: str, count: int, which: str) -> None:
        if count:
            those = f"The {what} of {counted(count, 'network')} {which}"
            self.left_out.append(f"{those} were left out to keep this file small.")


def members_of(study: StudyRecords) -> list[Record]:
    """The front and the baselines, fastest first: what table, slider and card show in full."""
    return [point for point in study.points if point.on_front or point.baseline]


def has_dot(record: Record) -> bool:
    """Whether the plots show it, be it faintly, as one that was stopped early."""
    return record.is_point or (record.kind == "stopped" and record.repeat_of is None)


def fill_gallery(study: StudyRecords, artifacts: Artifacts, room: int) -> Gallery:
    """As much as `room` characters hold, what matters most first."""
    gallery = Gallery()
    members, others = members_of(study), by_distance(study)
    _add_pictures(gallery, members, artifacts, int(room * FULL_SHARE))
    room -= sum(map(len, gallery.pictures))
    room -= sum(len(str(curve)) for curve in gallery.losses.values())
    _add_drawings(gallery, [*members, *others], artifacts, int(room * DRAWINGS_SHARE))
    room -= sum(map(len, gallery.compressed)) + OVERHEAD * len(gallery.drawings)
    _add_thumbnails(gallery, others, artifacts, room)
    return gallery


def by_distance(study: StudyRecords) -> list[Record]:
    """All other networks: those within the fewest dB of the front first, the stopped ones last."""
    front = study.front
    latencies = [point.latency_ms or 0.0 for point in front]

    def key(record: Record) -> tuple[bool, float, int]:
        faster = bisect.bisect_right(latencies, record.latency_ms or 0.0)
        best = (front[max(0, faster - 1)].psnr_db or 0.0) if front else 0.0
        return record.kind == "stopped", best - (record.psnr_db or 0.0), record.number

    others = [r for r in study.records if has_dot(r) and not r.on_front and not r.baseline]
    return sorted(others, key=key)


def loss_curve(text: str) -> list[tuple[int, float]]:
    """(step, loss) of a curve.csv, at most CURVE_POINTS with first and last; finite ones only."""
    points = []
    for row in csv.DictReader(io.StringIO(text)):
        try:
            step, loss = float(row["step"]), float(row["loss"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(step) and math.isfinite(loss):
            points.append((int(step), float(f"{loss:.4g}")))
    if len(points) <= CURVE_POINTS:
        return points
    last = CURVE_POINTS - 1
    return [points[round(index * (len(points) - 1) / last)] for index in range(CURVE_POINTS)]


def _add_pictures(
    gallery: Gallery, members: Sequence[Record], artifacts: Artifacts, room: int
) -> None:
    shared, left_out = SharedPictures(gallery.pictures), 0
    # The baselines, then the front from its best: with too little room its fast end is left out.
    for record in sorted(members, key=lambda one: (one.baseline is None, -(one.psnr_db or 0.0))):
        panels = _panels(record, artifacts)
        if panels and shared.size > room:
            left_out += 1
        elif panels:
            gallery.losses[record.number] = loss_curve(artifacts.text(record, CURVE) or "")
            gallery.pairs[record.number] = [
                (shared.add(pair.amplified), shared.add(pair.restored), shared.add(pair.truth))
                for pair in panels
            ]
    gallery.leave_out("pictures", left_out, "of the front")


def _add_drawings(
    gallery: Gallery, records: Sequence[Record], artifacts: Artifacts, room: int
) -> None:
    texts: dict[str, int] = {}
    for start in range(0, len(records), GROUP_SIZE):
        if sum(map(len, gallery.compressed)) > room:
            gallery.leave_out("drawings", len(records) - start, "far from the front")
            break
        for record in records[start : start + GROUP_SIZE]:
            text = artifacts.text(record, DRAWING)
            if text:
                gallery.drawings[record.number] = texts.setdefault(text, len(texts))
        complete = len(gallery.compressed) * GROUP_SIZE
        whole = len(texts) // GROUP_SIZE * GROUP_SIZE
        gallery.compressed += compress(list(texts)[complete:whole])
    gallery.compressed += compress(list(texts)[len(gallery.compressed) * GROUP_SIZE :])


def _add_thumbnails(
    gallery: Gallery, others: Sequence[Record], artifacts: Artifacts, room: int
) -> None:
    for index, record in enumerate(others):
        if room < 0 or index >= MOST_THUMBNAILS:
            gallery.leave_out("pictures", len(others) - index, "far from the front")
            return
        panels = _panels(record, artifacts)
        if panels:
            small = gallery.thumbnails[record.number] = thumbnail(panels[0].restored)
            room -= len(small) + OVERHEAD


def _panels(record: Record, artifacts: Artifacts) -> list[Panels]:
    preview = artifacts.read(record, PREVIEW)
    pixels = None if preview is None else decode(preview)
    return [] if pixels is None else cut(pixels)
