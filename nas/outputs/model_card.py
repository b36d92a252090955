"""An export's README.md: a model card of model.json, with the front matter that hubs read."""

from __future__ import annotations

from typing import Any

from nas.outputs.notes import escape_markdown
from space import BASELINES
from space.files.export_format import Saved

FRONT_MATTER = """\
---
license: other
license_name: mo-patent-notice
library_name: dark-nas
pipeline_tag: image-to-image
tags:
- image-restoration
- low-light
- raw
- u-net
- onnx
metrics:
- psnr
- ssim
---
"""
LICENCE = (
    "The design space is built around MO's published architecture. MO's published code and "
    "weights are for non-commercial use only and its authors have a patent pending; neither is in "
    "this folder. {whose} Ask MO's authors (Lamba and Mitra, “Restoring Extremely Dark Images in "
    "Real Time”, CVPR 2021) before you build on it."
)


def compose_card(saved: Saved) -> str:
    """The text of README.md, for a folder that holds preview.png and drawing.svg too."""
    about = saved.description
    origin, given = about.get("provenance", {}), about["input"]
    trial = f"trial {origin.get('trial')} of study {origin.get('study')}"
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(given["steps"], start=1))
    return f"""{FRONT_MATTER}
# {_text(saved.name)}

Restores extremely dark raw photos: one amplified Bayer mosaic in, sRGB out. It is \
{_text(trial)}, genome {saved.genome.digest}.

{_table(_figures(about))}

{_text(_quality_words(about))}

{_text(_latency_words(about["latency"]))}

## Before and after: held-out pairs, and a colour chart

![amplified only, restored, ground truth](preview.png)

## The network

![its parts, coloured by share of the multiply-accumulates](drawing.svg)

## Use it

Photos, in a terminal:

```sh
python -m nas.restore THIS_FOLDER photo.ARW --out restored
```

In Python, a mosaic of any even size, prepared as below:

```python
import space

model = space.load_model("THIS_FOLDER")
rgb = space.restore(model, mosaic)  # 1 1 H W -> 1 3 H W
```

With onnxruntime, without this project: float32 NumPy arrays, H and W multiples of \
{saved.genome.size_multiple}:

```python
import onnxruntime

session = onnxruntime.InferenceSession("THIS_FOLDER/model.onnx")
rgb = session.run(["rgb"], {{"mosaic": mosaic}})[0]
```

## Input

A mosaic {given["shape"]}, {given["dtype"]} in [0, 1], {given["cfa"]}, amplified, \
{"" if given["white_balanced"] else "not "}white-balanced, \
{"" if given["black_corrected"] else "not "}black-corrected; H and W multiples of \
{given["size_multiple"]}.

{steps}

{given["padding"]}.

## Provenance

{_table(_origin(about))}

## Licence

{LICENCE.format(whose=_whose(saved))}
"""


def _text(value: object) -> str:
    return escape_markdown(" ".join(str(value).split()))


def _table(rows: list[tuple[str, str]]) -> str:
    lines = [f"|{_text(name)}|{_text(value)}|" for name, value in rows]
    return "\n".join(["|what|value|", "|-|-|", *lines])


def _figures(about: dict[str, Any]) -> list[tuple[str, str]]:
    quality, latency, cost = about["quality"], about["latency"], about["cost"]
    interval = latency.get("ratio_interval")
    bounds = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    macs = f"{cost['macs'] / 1e9:.2f} G" if cost["macs"] >= 1e8 else f"{cost['macs'] / 1e6:.2f} M"
    drifted = "" if latency.get("steady", True) else "~"
    return [
        ("PSNR", _figure(quality["psnr_db"], 2, " dB")),
        ("SSIM", _figure(quality["ssim"], 3)),
        ("latency", drifted + _figure(latency["latency_ms"], 2, " ms")),
        ("latency, times MO", _figure(latency["ratio_to_mo"], 2, bounds)),
        (f"MACs at {cost['height']} x {cost['width']}", macs),
        ("parameters, deployed", f"{cost['deployed_parameters'] / 1e6:.3g} M"),
    ]


def _quality_words(about: dict[str, Any]) -> str:
    quality, training = about["quality"], about["training"]
    synthetic = (training.get("data") or {}).get("kind") == "synthetic"
    pairs = "held-out synthetic pairs" if synthetic else "held-out pairs of the study's data"
    words = f"PSNR and SSIM: mean over {quality['pairs']} {pairs} ({quality['protocol']})."
    if quality.get("baseline_psnr_db") is not None:
        words += f" Amplifying alone: {quality['baseline_psnr_db']:.2f} dB."
    steps = (training.get("recipe") or {}).get("steps")
    return words if steps is None else f"{words} It was trained for {steps} steps."


def _latency_words(latency: dict[str, Any]) -> str:
    form = latency.get("form", {})
    threads = form.get("threads") if form.get("device") == "cpu" else None
    words = [
        f"{form.get('height')} x {form.get('width')} mosaic",
        *(form.get(key) for key in ("dtype", "memory_format", "runtime")),
        f"{threads} thread{'s' * (threads > 1)}" if threads else None,
        form.get("device_name"),
    ]
    drifted = "" if latency.get("steady", True) else " ~ drifted while it was timed."
    return (
        f"Latency: measured {latency.get('how')}; the ratio with its 95 % interval, and "
        f"milliseconds are that ratio times MO's own. {', '.join(filter(None, words))}.{drifted}"
    )


def _origin(about: dict[str, Any]) -> list[tuple[str, str]]:
    origin, training = about.get("provenance", {}), about["training"]
    data = training.get("data") or {}
    keys = ("kind", "camera", "training_pairs", "digest")
    rows = {
        "data": _pairs({key: data[key] for key in keys if key in data}),
        "recipe": _pairs(training.get("recipe")),
        "seed": training.get("seed"),
        "trained and timed on": (origin.get("device") or {}).get("name"),
        "exported": f"{origin.get('exported_at')} with {_pairs(origin.get('versions'))}",
        "commit": origin.get("commit"),
    }
    return [(name, str(value)) for name, value in rows.items() if value not in (None, "")]


def _pairs(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _whose(saved: Saved) -> str:
    names = [name for name, genome in BASELINES.items() if genome == saved.genome]
    if names == ["MO"]:
        return "This network is MO's architecture itself, trained anew."
    if names:
        return f"This network is {names[0]}, which extends MO's architecture."
    return "This network was found in that space."


def _figure(value: float | None, decimals: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{decimals}f}{unit}"
