"""An exported network on one page: card.html, which needs no other file and no internet.

What it shows is what model.json tells, a picture before and after, and the network's drawing.
"""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from space import BASELINES
from space.export_format import Saved

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #fff; max-width: 980px; margin: 24px auto; padding: 0 20px }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 16px; margin: 26px 0 8px } p { margin: 4px 0 }
.figures { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0 }
.figures div { border: 1px solid #cbd2d9; border-radius: 6px; padding: 8px 14px; min-width: 120px }
.figures b { display: block; font-size: 21px; font-variant-numeric: tabular-nums }
.quiet { color: #52606d; font-size: 13px }
img { max-width: 100%; height: auto } svg { max-width: 100%; height: auto }
pre { background: #f5f7fa; border: 1px solid #e4e7eb; border-radius: 6px; padding: 10px 12px; overflow-x: auto; font-size: 13px }
table { border-collapse: collapse; font-size: 13px } td { padding: 2px 14px 2px 0; vertical-align: top }
td:first-child { color: #52606d; white-space: nowrap } ol { margin: 4px 0; padding-left: 22px }
"""
LICENCE = (
    "The design space is built around MO's published architecture. MO's published code "
    "and weights are for non-commercial use "
    "only and its authors have a patent pending; neither is in this folder. {who} Ask "
    "MO's authors (Lamba and "
    "Mitra, “Restoring Extremely Dark Images in Real Time”, CVPR 2021) before you build on it."
)


def draw_card(saved: Saved, *, drawing: str, picture: bytes) -> str:
    """The page as HTML: `drawing` is an <svg> element, `picture` a JPEG of pictures before and
    after.
    """
    about = saved.description
    quality, latency, cost = about["quality"], about["latency"], about["cost"]
    origin = about.get("provenance", {})
    shown = base64.b64encode(picture).decode("ascii")
    where = (
        f"trial {origin.get('trial')} of study {origin.get('study')}, genome {saved.genome.digest}"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(saved.name)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(saved.name)}</h1>
<p class="quiet">restores extremely dark raw photos: one amplified Bayer mosaic in, sRGB out; {escape(where)}</p>
<div class="figures">
{"".join(f"<div><b>{escape(value)}</b>{escape(what)}</div>" for value, what in _figures(quality, latency, cost))}
</div>
<p class="quiet">{escape(_quality_words(about))}</p>
<p class="quiet">{escape(_latency_words(latency))}</p>
<h2>Before and after, held-out pairs</h2>
<img alt="held-out pairs: amplified only, restored, ground truth" src="data:image/jpeg;base64,{shown}">
<h2>The network</h2>
{drawing}
<h2>Use it</h2>
<pre>{escape(_usage(saved))}</pre>
<h2>What it is fed with</h2>
<p>{escape(_input_words(about["input"]))}</p>
<ol>{"".join(f"<li>{escape(step)}</li>" for step in about["input"]["steps"])}</ol>
<p class="quiet">{escape(about["input"]["padding"])}</p>
<h2>Where it comes from</h2>
<table>{"".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in _origin(about))}</table>
<h2>Licence</h2>
<p class="quiet">{escape(LICENCE.format(who=_whose(saved)))}</p>
</body>
</html>
"""


def _figures(
    quality: dict[str, Any], latency: dict[str, Any], cost: dict[str, Any]
) -> list[tuple[str, str]]:
    low_high = latency.get("ratio_interval")
    interval = f"times MO ({low_high[0]:.2f} to {low_high[1]:.2f})" if low_high else "times MO"
    macs = f"{cost['macs'] / 1e9:.2f} G" if cost["macs"] >= 1e8 else f"{cost['macs'] / 1e6:.2f} M"
    return [
        (_figure(quality["psnr_db"], 2, " dB"), "PSNR"),
        (_figure(quality["ssim"], 3), "SSIM"),
        (
            ("" if latency.get("steady", True) else "~")
            + _figure(latency["latency_ms"], 2, " ms"),
            "latency",
        ),
        (_figure(latency["ratio_to_mo"], 2), interval),
        (macs, f"MACs at {cost['height']} x {cost['width']}"),
        (f"{cost['deployed_parameters'] / 1e6:.3g} M", "parameters, deployed"),
    ]


def _quality_words(about: dict[str, Any]) -> str:
    quality, data = about["quality"], about["training"].get("data") or {}
    kind = "synthetic pairs" if data.get("kind") == "synthetic" else "pairs of the study's data"
    base = quality.get("baseline_psnr_db")
    alone = "" if base is None else f" Amplifying alone: {base:.2f} dB."
    steps = (about["training"].get("recipe") or {}).get("steps")
    short = "" if steps is None else f" It was trained for {steps} steps."
    return (
        f"PSNR and SSIM: mean over {quality['pairs']} held-out {kind} "
        f"({quality['protocol']}).{alone}{short}"
    )


def _latency_words(latency: dict[str, Any]) -> str:
    form = latency.get("form", {})
    told = [f"{form.get('height')} x {form.get('width')} mosaic"]
    told += [str(form[key]) for key in ("dtype", "memory_format", "runtime") if form.get(key)]
    if form.get("device") == "cpu" and form.get("threads"):
        told.append(f"{form['threads']} thread{'s' * (form['threads'] > 1)}")
    told += [str(form[key]) for key in ("device_name",) if form.get(key)]
    drifted = "" if latency.get("steady", True) else " ~ drifted while it was timed."
    return (
        f"Latency: measured {latency.get('how')}; the ratio with its 95 % interval, and "
        f"milliseconds are that ratio times "
        f"MO's own. {', '.join(told)}.{drifted}"
    )


def _input_words(given: dict[str, Any]) -> str:
    balanced = "white-balanced" if given["white_balanced"] else "not white-balanced"
    return (
        f"A mosaic {given['shape']}, {given['dtype']} in [0, 1], {given['cfa']}, "
        f"amplified, {balanced}; H and W multiples of "
        f"{given['size_multiple']}."
    )


def _usage(saved: Saved) -> str:
    return f"""# photos, in a terminal
python -m nas.restore THIS_FOLDER photo.ARW --out restored

# Python: a mosaic of any even size, prepared as below
import space
model = space.load_model("THIS_FOLDER")
rgb = space.restore(model, mosaic)  # 1 1 H W -> 1 3 H W

# onnxruntime, without this project: float32 NumPy arrays, H and W multiples of {saved.genome.size_multiple}
session = onnxruntime.InferenceSession("THIS_FOLDER/model.onnx")
rgb = session.run(["rgb"], {{"mosaic": mosaic}})[0]"""


def _origin(about: dict[str, Any]) -> list[tuple[str, str]]:
    origin, training = about.get("provenance", {}), about["training"]
    data, recipe = training.get("data") or {}, training.get("recipe") or {}
    versions = ", ".join(
        f"{name} {number}" for name, number in (origin.get("versions") or {}).items()
    )
    told = {
        "data": ", ".join(
            f"{key} {data[key]}"
            for key in ("kind", "camera", "training_pairs", "digest")
            if key in data
        ),
        "recipe": ", ".join(f"{key} {value}" for key, value in recipe.items()),
        "seed": training.get("seed"),
        "trained and timed on": (origin.get("device") or {}).get("name"),
        "exported": f"{origin.get('exported_at')} with {versions}",
        "commit": origin.get("commit"),
    }
    return [(name, str(value)) for name, value in told.items() if value not in (None, "")]


def _whose(saved: Saved) -> str:
    seed = next((name for name, genome in BASELINES.items() if genome == saved.genome), None)
    if seed == "MO":
        return "This network is MO's architecture itself, trained anew."
    return (
        f"This network is {seed}, which extends MO's architecture."
        if seed
        else "This network was found in that space."
    )


def _figure(value: float | None, decimals: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{decimals}f}{unit}"
