"""What `nas.evaluate` found: means, differences and their intervals, as a table, a CSV of pictures
and one JSON.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trials.files import replacing
from trials.scoring.bootstrap import RESAMPLES, Difference, paired_difference
from trials.scoring.protocols import MISALIGNED_SCENES, SID50_PICTURES, PictureScore, Protocol

METRICS = ("psnr_db", "ssim", "ssim_gaussian11")
_DECIMALS = {"psnr_db": 2, "ssim": 4, "ssim_gaussian11": 4}
_HEADINGS = {"psnr_db": "PSNR dB", "ssim": "SSIM", "ssim_gaussian11": "SSIM 11 x 11"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all results share."""

    data: str
    split: str
    left_out: list[str]
    """The misaligned scenes that were there and were left out."""
    by_scene: bool
    against: str
    """The label of the model that the others are compared with."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model that was judged: its label in tables, how it was asked for, and what it is."""

    label: str
    model: str
    weights: str | None
    white_balanced_input: bool
    digest: str | None
    """Its genome's; None of what is no network."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One model's scores by one protocol."""

    contender: Contender
    protocol: Protocol
    images: list[PictureScore]
    difference: dict[str, Difference]
    """To the reference, by metric."""

    @property
    def label(self) -> str:
        return self.contender.label

    def mean(self, metric: str, ratio: float | None = None) -> float:
        """The mean over the pictures, or over those of one exposure ratio."""
        values = [
            getattr(image, metric)
            for image in self.images
            if ratio is None or image.ratio == ratio
        ]
        return float(sum(values) / len(values))

    @property
    def ratios(self) -> list[float]:
        """The exposure ratios that the protocol tells by themselves, rising."""
        return sorted({image.ratio for image in self.images}) if self.protocol.per_ratio else []

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a score that isn't finite is null."""
        by_ratio = [
            {"ratio": ratio, "images": sum(image.ratio == ratio for image in self.images)}
            | {metric: finite(self.mean(metric, ratio)) for metric in METRICS}
            for ratio in self.ratios
        ]
        return {
            **asdict(self.contender),
            "protocol": self.protocol.says,
            "protocol_name": self.protocol.name,
            **{metric: finite(self.mean(metric)) for metric in METRICS},
            "difference": {
                metric: {key: finite(value) for key, value in difference.to_dict().items()}
                for metric, difference in self.difference.items()
            },
            **({"by_ratio": by_ratio} if by_ratio else {}),
            "images": [
                {key: finite(value) for key, value in asdict(image).items()}
                for image in self.images
            ],
        }


def collect(
    protocol: Protocol,
    contenders: Sequence[Contender],
    images: Sequence[list[PictureScore]],
    setting: Setting,
) -> list[Result]:
    """The results of one protocol: each contender with its scores, on the same pictures, against
    the reference.
    """
    place = [contender.label for contender in contenders].index(setting.against)
    scenes = [image.scene for image in images[place]] if setting.by_scene else None

    def against(ours: list[PictureScore], metric: str) -> Difference:
        theirs = [getattr(image, metric) for image in images[place]]
        return paired_difference([getattr(image, metric) for image in ours], theirs, scenes=scenes)

    return [
        Result(
            contender=contender,
            protocol=protocol,
            images=ours,
            difference={metric: against(ours, metric) for metric in METRICS},
        )
        for contender, ours in zip(contenders, images, strict=True)
    ]


def print_results(console: Console, results: Sequence[Result], setting: Setting) -> None:
    """One table a protocol: of a single model picture by picture, of several each model's means
    and differences.
    """
    for index, protocol in enumerate(dict.fromkeys(result.protocol for result in results)):
        of_protocol = [result for result in results if result.protocol == protocol]
        if index:
            console.print()
        one = len(of_protocol) == 1
        who = escape(of_protocol[0].label) if one else f"{len(of_protocol)} models"
        console.print(
            f"{who} on {escape(setting.data)}, split {setting.split}, protocol "
            f"[bold]{protocol.name}[/]: "
            f"{protocol.says}"
        )
        for note in notes(of_protocol[0], setting):
            console.print(note)
        console.print(
            pictures_table(of_protocol[0]) if one else models_table(of_protocol, setting)
        )
        if not one:
            console.print(interval_note(of_protocol[0], setting))


def notes(result: Result, setting: Setting) -> list[str]:
    """What a reader of the figures must know besides the protocol."""
    scenes = {image.scene for image in result.images}
    said = []
    if setting.left_out:
        said.append(f"left out, misaligned: scenes {', '.join(setting.left_out)}")
    elif held := sorted(scenes & set(MISALIGNED_SCENES)):
        said.append(
            f"with SID's misaligned scenes {', '.join(held)} (--leave-out-misaligned "
            f"leaves them out)"
        )
    if result.protocol.name == "sid50" and len(result.images) != SID50_PICTURES:
        said.append(f"{len(result.images)} of SID's {SID50_PICTURES} pictures")
    return said


def pictures_table(result: Result) -> Table:
    """A model's scores, picture by picture, with their means."""
    table = _table("picture", *_HEADINGS.values())
    for image in result.images:
        table.add_row(
            escape(image.name), *(_figure(getattr(image, metric), metric) for metric in METRICS)
        )
    for ratio in result.ratios:
        count = sum(image.ratio == ratio for image in result.images)
        table.add_row(
            f"mean of {count} at ratio {ratio:.4g}",
            *(_figure(result.mean(metric, ratio), metric) for metric in METRICS),
        )
    table.add_row(
        f"mean of {len(result.images)}",
        *(_figure(result.mean(metric), metric) for metric in METRICS),
        style="bold",
    )
    return table


def models_table(results: Sequence[Result], setting: Setting) -> Table:
    """Every model's means, and its PSNR's difference to the reference with its interval."""
    first = results[0]
    table = _table(
        f"mean of {len(first.images)}",
        *_HEADINGS.values(),
        *(f"dB at {ratio:.4g}" for ratio in first.ratios),
        f"dB more than {setting.against}",
        "95 % interval",
    )
    for result in results:
        difference = result.difference["psnr_db"]
        table.add_row(
            escape(result.label),
            *(_figure(result.mean(metric), metric) for metric in METRICS),
            *(_figure(result.mean("psnr_db", ratio), "psnr_db") for ratio in first.ratios),
            _signed(difference.mean),
            "-"
            if difference.low is None or difference.high is None
            else f"{_signed(difference.low)} to {_signed(difference.high)}",
            style="dim" if result.label == setting.against and len(results) > 1 else "",
        )
    return table


def interval_note(result: Result, setting: Setting) -> str:
    """How the intervals of a table were made, or why there are none."""
    units, scenes = (
        result.difference["psnr_db"].units,
        len({image.scene for image in result.images}),
    )
    unit = "scene" if setting.by_scene else "picture"
    if units < 2:
        return f"no interval: it needs two {unit}s or more"
    shared = (
        "" if setting.by_scene or scenes == units else f" of {scenes} scene{'s' * (scenes != 1)}"
    )
    return (
        f"interval: paired bootstrap, {RESAMPLES:,} times {units} {unit}s drawn from the "
        f"{units}{shared}"
    )


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """One row a protocol, model and picture."""
    columns = [field.name for field in fields(PictureScore)]
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["protocol", "model", *("picture" if name == "name" else name for name in columns)]
        )
        for result in results:
            for image in result.images:
                writer.writerow(
                    [
                        result.protocol.name,
                        result.label,
                        *(getattr(image, name) for name in columns),
                    ]
                )


def write_json(path: Path, results: Sequence[Result], setting: Setting) -> None:
    """All of it; where there is a single result, its fields also lie at the top, as they always
    did.
    """
    told = {**asdict(setting), "results": [result.to_dict() for result in results]}
    top = results[0].to_dict() if len(results) == 1 else {}
    with replacing(path) as beside:
        beside.write_text(
            json.dumps(top | told, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )


def finite(value: Any) -> Any:
    """`value`, or None where it is a number that JSON doesn't know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(escape(name), justify="right", no_wrap=len(name) < 14)
    return table


def _figure(value: float, metric: str) -> str:
    return f"{value:.{_DECIMALS[metric]}f}"


def _signed(db: float) -> str:
    return "0" if db == 0 else f"{db:+.2f}"
