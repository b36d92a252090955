"""`nas.evaluate --data chart`: how far networks put the patches of a colour chart beside."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from nas import cli
from nas.view.evaluation.pictures import Bars
from trials.config import DataConfig
from trials.files import replacing
from trials.scoring.colour_chart import (
    RATIOS,
    SHOWN_ISO,
    SHOWN_RATIO,
    ChartPhoto,
    PatchScore,
    inlaid,
    photograph_chart,
    restored_chart,
    score_chart,
)

if TYPE_CHECKING:
    from nas.view.scores import EvaluatedModel
    from trials.scoring import Restorer

PICTURE_RATIOS = (10.0, SHOWN_RATIO, 300.0)
CAPTION, GAP = 24, 8


def evaluate_chart(
    loaded: Sequence[tuple[list[Restorer], EvaluatedModel]], args: Namespace, device: str
) -> int:
    """Scores the networks, all trainings of each, prints and writes what was asked for.

    The picture shows the first training.
    """
    photos = photograph_chart(DataConfig())
    models = [model for _, model in loaded]
    with Bars() as bars:
        scores = [
            [
                one
                for restorer in restorers
                for one in score_chart(
                    restorer, photos, device=device, on_progress=bars.on_progress
                )
            ]
            for restorers, _ in loaded
        ]
    console = cli.make_console()
    isos = sorted({photo.iso for photo in photos})
    console.print(
        f"{len(models)} models on a colour chart of 24 patches: CIEDE2000 to its clean "
        f"development, mean (largest), over ISO {', '.join(f'{iso:,}' for iso in isos)} and "
        f"{len(photos) // len(isos) // len(RATIOS)} photos of each, by exposure ratio; the hue "
        "that is farthest off"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    for name in (*(f"at {ratio:g}" for ratio in RATIOS), "all", "hue off"):
        table.add_column(name, justify="right", no_wrap=True)
    for model, of in zip(models, scores, strict=True):
        cells = [_cell([one for one in of if one.ratio == ratio]) for ratio in RATIOS]
        hue = max(one.hue_error_degrees or 0.0 for one in of)
        table.add_row(escape(model.label), *cells, _cell(of), f"{hue:.0f}°")
    console.print(table)
    if args.csv:
        _write_csv(args.csv, models, scores)
    if args.json:
        _write_json(args.json, models, scores)
    if args.picture:
        chosen = [one for one in photos if one.iso == _nearest(isos) and one.draw == 0]
        _write_picture(args.picture, loaded, chosen, device)
    return 0


def _cell(scores: Sequence[PatchScore]) -> str:
    values = [one.delta_e for one in scores]
    return f"{np.mean(values):.1f} ({max(values):.0f})"


def _nearest(isos: Sequence[int]) -> int:
    return min(isos, key=lambda iso: abs(iso - SHOWN_ISO))


def _write_csv(
    path: Path, models: Sequence[EvaluatedModel], scores: Sequence[list[PatchScore]]
) -> None:
    rows = [
        {"model": model.label, "training": place * model.trainings // len(of), **asdict(one)}
        for model, of in zip(models, scores, strict=True)
        for place, one in enumerate(of)
    ]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _write_json(
    path: Path, models: Sequence[EvaluatedModel], scores: Sequence[list[PatchScore]]
) -> None:
    results = []
    for model, of in zip(models, scores, strict=True):
        photos: dict[tuple[float, int], list[PatchScore]] = {}
        for one in of:
            photos.setdefault((one.ratio, one.iso), []).append(one)
        by_photo = [
            {
                "ratio": ratio,
                "iso": iso,
                "mean_delta_e": float(np.mean([one.delta_e for one in patches])),
                "largest_delta_e": max(one.delta_e for one in patches),
                "largest_hue_error_degrees": max(one.hue_error_degrees or 0.0 for one in patches),
            }
            for (ratio, iso), patches in photos.items()
        ]
        results.append(
            {
                **asdict(model),
                "mean_delta_e": float(np.mean([one.delta_e for one in of])),
                "largest_delta_e": max(one.delta_e for one in of),
                "by_ratio_and_iso": by_photo,
                "patches": [asdict(one) for one in of],
            }
        )
    values: dict[str, Any] = {"data": "chart", "results": results}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _write_picture(
    path: Path,
    loaded: Sequence[tuple[list[Restorer], EvaluatedModel]],
    photos: Sequence[ChartPhoto],
    device: str,
) -> None:
    """A column a model, a row a ratio; in the middle of each patch the colour it should have."""
    columns = []
    for restorers, model in loaded:
        panels = [
            _panel(
                inlaid(restored_chart(restorers[0], photo, device=device), photo),
                f"{model.label[-24:]}, ratio {photo.ratio:g}",
            )
            for photo in photos
            if photo.ratio in PICTURE_RATIOS
        ]
        columns.append(np.vstack(panels))
    pixels = np.hstack(columns)[:, :, ::-1]
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def _panel(image: NDArray[np.float64], caption: str) -> NDArray[np.uint8]:
    height, width, _ = image.shape
    panel = np.full((height + CAPTION + GAP, width + GAP, 3), 255, np.uint8)
    panel[CAPTION : CAPTION + height, :width] = (image * 255).round().astype(np.uint8)
    font, colour = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30)
    cv2.putText(panel, caption, (2, CAPTION - 8), font, 0.5, colour, 1, cv2.LINE_AA)
    return panel
