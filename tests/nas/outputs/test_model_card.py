"""The card is one file that tells what model.json tells and needs nothing from elsewhere."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from nas.outputs.drawing import draw_svg
from nas.outputs.layout import lay_out
from nas.outputs.model_card import draw_card
from space import BASELINES, Genome
from space.export_format import Saved, describe_input

JPEG = b"\xff\xd8 a picture"
SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def saved(
    genome: Genome = SMALL, *, name: str = "0189dd60", balanced: bool = True, **latency: Any
) -> Saved:
    about = {
        "input": describe_input(genome, white_balanced=balanced),
        "quality": {
            "psnr_db": 24.71,
            "ssim": 0.7312,
            "protocol": "float",
            "pairs": 12,
            "baseline_psnr_db": 17.85,
        },
        "latency": {
            "latency_ms": 18.31,
            "ratio_to_mo": 0.487,
            "ratio_interval": [0.481, 0.492],
            "steady": True,
            "how": "somehow",
            "form": {
                "height": 512,
                "width": 512,
                "dtype": "float32",
                "runtime": "eager",
                "device": "cpu",
                "threads": 2,
                "device_name": "A CPU",
            },
            **latency,
        },
        "cost": {"macs": 340_000_000, "deployed_parameters": 40_000, "height": 512, "width": 512},
        "training": {
            "data": {"kind": "synthetic", "digest": "abc"},
            "recipe": {"steps": 450},
            "seed": 0,
        },
        "provenance": {
            "study": "dark",
            "trial": 7,
            "versions": {"torch": "2.13.0"},
            "commit": None,
        },
    }
    return Saved(name=name, genome=genome, white_balanced_input=balanced, description=about)


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "srcset", "data", "action")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def page(one: Saved) -> Page:
    return Page(draw_card(one, drawing=draw_svg(lay_out(one.genome)), picture=JPEG))


def test_it_tells_the_figures() -> None:
    text = page(saved()).text
    for told in (
        "24.71 dB",
        "0.731",
        "18.31 ms",
        "0.49",
        "times MO (0.48 to 0.49)",
        "0.34 G",
        "0.04 M",
        "12 held-out synthetic pairs",
        "Amplifying alone: 17.85 dB",
        "450 steps",
        "512 x 512 mosaic, float32, eager, 2 threads, A CPU",
        "trial 7 of study dark",
        'space.load_model("THIS_FOLDER")',
        'session.run(["rgb"], {"mosaic": mosaic})',
        "patent pending",
    ):
        assert told in text, told
    assert "~" not in text and "~18.31 ms" in page(saved(steady=False)).text


def test_it_needs_no_other_file() -> None:
    found = page(saved())
    assert found.sources == ["data:image/jpeg;base64," + base64.b64encode(JPEG).decode()]
    assert "svg" in found.tags and "script" not in found.tags and "link" not in found.tags


@pytest.mark.parametrize(
    ("name", "told"),
    [("MO", "MO's architecture itself"), ("M2", "This network is M2, which extends MO's")],
)
def test_it_says_whose_architecture_it_is(name: str, told: str) -> None:
    assert told in page(saved(BASELINES[name])).text
    assert "was found in that space" in page(saved()).text


def test_it_says_how_to_feed_the_network() -> None:
    assert "white-balanced; H and W multiples of 8" in page(saved()).text
    found = page(saved(balanced=False)).text
    assert "not white-balanced" in found and "white balance as shot" not in found


def test_names_are_text_and_nothing_else() -> None:
    hostile = saved(name="<script>alert(1)</script>")
    hostile = replace(
        hostile,
        description={**hostile.description, "provenance": {"study": "<img src=x>", "trial": 1}},
    )
    found = page(hostile)
    assert (
        "script" not in found.tags
        and "<script>alert(1)</script>" in found.text
        and "<img src=x>" in found.text
    )
