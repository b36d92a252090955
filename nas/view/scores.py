"""The results of `nas.evaluate`, as tables, a CSV of pictures and one JSON.

A new column of the CSV is an entry of `csv_row`; a new metric is a field of PictureScore and an
entry of METRICS.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas.study.schema import finite
from space import NetworkInput
from trials.files import replacing
from trials.scoring import (
    MISALIGNED_SCENES,
    RESAMPLES,
    SID50_PICTURES,
    Difference,
    PictureScore,
    Protocol,
    difference_over_trainings,
)

METRICS = {"psnr_db": ("PSNR dB", 2), "ssim": ("SSIM", 4), "ssim_gaussian11": ("SSIM 11 x 11", 4)}
"""Fields of PictureScore: a table's heading and decimals."""
_HEADINGS = [heading for heading, _ in METRICS.values()]


@dataclass(frozen=True)
class Setting:
    """What all results share."""

    data: str
    split: str
    left_out: list[str]
    """The misaligned scenes that were left out."""
    by_scene: bool
    against: str
    """The label of the model that the others are compared with."""
    seed: int | None = None
    """Of synthetic scenes."""


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """A model: its label in tables, its --model and weights, and what it is."""

    label: str
    model: str
    weights: str | None
    input: NetworkInput
    digest: str | None
    """Its genome's; None of the baseline."""
    trainings: int = 1
    """How many trainings of it there are, with other seeds; scores are their means."""


@dataclass(frozen=True)
class Result:
    """One model's scores by one protocol."""

    model: EvaluatedModel
    protocol: Protocol
    images: list[PictureScore]
    difference: dict[str, Difference]
    """To the reference, by metric."""
    trainings: list[list[PictureScore]]
    """The scores of each training; `images` has their means."""

    def mean(self, metric: str, ratio: float | None = None) -> float:
        """The mean over the pictures, or over those of one exposure ratio."""
        images = [image for image in self.images if ratio is None or image.ratio == ratio]
        return float(sum(getattr(image, metric) for image in images) / len(images))

    @property
    def images_by_ratio(self) -> dict[float, int]:
        """Number of pictures by exposure ratio, rising, where the protocol reports them apart."""
        ratios = sorted(image.ratio for image in self.images) if self.protocol.per_ratio else []
        return dict(Counter(ratios))

    def to_dict(self) -> dict[str, Any]:
        """JSON values; a score that isn't finite is null."""
        by_ratio = [
            {"ratio": ratio, "images": count}
            | {metric: self.mean(metric, ratio) for metric in METRICS}
            for ratio, count in self.images_by_ratio.items()
        ]
        values = {
            **asdict(self.model),
            "protocol": self.protocol.description,
            "protocol_name": self.protocol.name,
            **{metric: self.mean(metric) for metric in METRICS},
            "difference": {metric: one.to_dict() for metric, one in self.difference.items()},
            **({"by_ratio": by_ratio} if by_ratio else {}),
            "images": [asdict(image) for image in self.images],
        }
        if len(self.trainings) > 1:
            values["by_training"] = [
                {metric: sum(getattr(i, metric) for i in of) / len(of) for metric in METRICS}
                for of in self.trainings
            ]
        return dict(finite(values))


def csv_row(result: Result, image: PictureScore) -> dict[str, object]:
    """A picture's row of the CSV: columns and their values."""
    return {
        "protocol": result.protocol.name,
        "model": result.model.label,
        "picture": image.name,
        "scene": image.scene,
        "ratio": image.ratio,
        **{metric: getattr(image, metric) for metric in METRICS},
    }


def collect(
    protocol: Protocol,
    models: Sequence[EvaluatedModel],
    images: Sequence[Sequence[list[PictureScore]]],
    setting: Setting,
) -> list[Result]:
    """One protocol's results: each model's scores, of the same pictures, against the reference.

    `images` holds, for each model, the scores of each of its trainings.
    """
    reference = images[[model.label for model in models].index(setting.against)]
    scenes = [image.scene for image in reference[0]] if setting.by_scene else None

    def difference(ours: Sequence[list[PictureScore]], metric: str) -> Difference:
        values, against = (
            [[getattr(image, metric) for image in one] for one in trainings]
            for trainings in (ours, reference)
        )
        return difference_over_trainings(values, against, scenes=scenes)

    return [
        Result(
            model,
            protocol,
            _mean_images(ours),
            {metric: difference(ours, metric) for metric in METRICS},
            list(ours),
        )
        for model, ours in zip(models, images, strict=True)
    ]


def _mean_images(trainings: Sequence[list[PictureScore]]) -> list[PictureScore]:
    """Each picture's scores, the means over the trainings."""
    if len(trainings) == 1:
        return trainings[0]
    return [
        replace(of[0], **{m: sum(getattr(one, m) for one in of) / len(of) for m in METRICS})
        for of in zip(*trainings, strict=True)
    ]


def print_results(console: Console, results: Sequence[Result], setting: Setting) -> None:
    """A table a protocol: one model picture by picture, or several with means and differences."""
    for index, protocol in enumerate(dict.fromkeys(result.protocol for result in results)):
        of_protocol = [result for result in results if result.protocol == protocol]
        first, single = of_protocol[0], len(of_protocol) == 1
        if index:
            console.print()
        who = escape(first.model.label) if single else f"{len(of_protocol)} models"
        which = f", split {setting.split}" if setting.split else ""
        which += f", seed {setting.seed}" if setting.seed is not None else ""
        console.print(
            f"{who} on {escape(setting.data)}{which}, protocol [bold]{protocol.name}[/]: "
            f"{protocol.description}"
        )
        for note in notes(first, setting):
            console.print(note)
        console.print(pictures_table(first) if single else models_table(of_protocol, setting))
        if not single:
            console.print(interval_note(of_protocol, setting))


def notes(result: Result, setting: Setting) -> list[str]:
    """What a reader of the figures must know besides the protocol."""
    lines = []
    misaligned = sorted({image.scene for image in result.images} & set(MISALIGNED_SCENES))
    if setting.left_out:
        lines.append(f"left out, misaligned: scenes {', '.join(setting.left_out)}")
    elif misaligned:
        lines.append(f"with SID's misaligned scenes {', '.join(misaligned)}")
        lines[-1] += " (--leave-out-misaligned leaves them out)"
    if result.protocol.name == "sid50" and len(result.images) != SID50_PICTURES:
        lines.append(f"{len(result.images)} of SID's {SID50_PICTURES} pictures")
    return lines


def pictures_table(result: Result) -> Table:
    """A model's scores, picture by picture, with their means."""
    table = _table("picture", *_HEADINGS)
    for image in result.images:
        table.add_row(escape(image.name), *_figures(partial(getattr, image)))
    for ratio, count in result.images_by_ratio.items():
        figures = _figures(partial(result.mean, ratio=ratio))
        table.add_row(f"mean of {count} at ratio {ratio:.4g}", *figures)
    table.add_row(f"mean of {len(result.images)}", *_figures(result.mean), style="bold")
    return table


def models_table(results: Sequence[Result], setting: Setting) -> Table:
    """Every model's means, and its PSNR's difference to the reference with its interval."""
    ratios = list(results[0].images_by_ratio)
    table = _table(
        f"mean of {len(results[0].images)}",
        *_HEADINGS,
        *(f"dB at {ratio:.4g}" for ratio in ratios),
        f"dB more than {setting.against}",
        "95 % interval",
    )
    for result in results:
        difference, interval = result.difference["psnr_db"], "-"
        if difference.low is not None and difference.high is not None:
            interval = f"{_signed(difference.low)} to {_signed(difference.high)}"
        table.add_row(
            _label(result.model),
            *_figures(result.mean),
            *(f"{result.mean('psnr_db', ratio):.2f}" for ratio in ratios),
            _signed(difference.mean),
            interval,
            style="dim" if result.model.label == setting.against else "",
        )
    return table


def interval_note(results: Sequence[Result], setting: Setting) -> str:
    """How the intervals of a table were made, or why there are none."""
    images = results[0].images
    units, scenes = results[0].difference["psnr_db"].units, len({image.scene for image in images})
    unit = "scene" if setting.by_scene else "picture"
    if units < 2:
        return f"no interval: it needs two {unit}s or more"
    of_scenes = f" of {scenes} scene{'s' * (scenes != 1)}"
    note = (
        f"interval: paired bootstrap, {RESAMPLES:,} times {units} {unit}s drawn from the {units}"
        f"{'' if setting.by_scene or scenes == units else of_scenes}"
    )
    trained = [result.model for result in results if result.model.digest]
    if any(model.trainings > 1 for model in trained):
        note += ", and each network's trainings"
    if any(model.trainings == 1 for model in trained):
        note += "; of seeds it knows nothing where there is one training"
    return note


def _label(model: EvaluatedModel) -> str:
    several = f" ({model.trainings} trainings)" if model.trainings > 1 else ""
    return escape(model.label if len(model.label) < 40 else model.model) + several


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """One row a protocol, model and picture."""
    rows = [csv_row(result, image) for result in results for image in result.images]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, results: Sequence[Result], setting: Setting) -> None:
    """Everything; the fields of a single result also lie at the top."""
    values = {**asdict(setting), "results": [result.to_dict() for result in results]}
    top = results[0].to_dict() if len(results) == 1 else {}
    text = json.dumps(top | values, indent=1, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(escape(name), justify="right", no_wrap=len(name) < 14)
    return table


def _figures(value_of: Callable[[str], float]) -> list[str]:
    """Every metric's value, as a table shows it."""
    return [f"{value_of(metric):.{decimals}f}" for metric, (_, decimals) in METRICS.items()]


def _signed(db: float) -> str:
    return "0" if db == 0 else f"{db:+.2f}"
