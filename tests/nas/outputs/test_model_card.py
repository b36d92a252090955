"""The model card says what model.json says, as Markdown that hubs read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from nas.outputs.model_card import compose_card
from space import BASELINES, Genome, NetworkInput
from space.files.export_format import Saved, describe_input

SMALL = Genome(
    skip_width=16, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)


def saved(
    genome: Genome = SMALL, *, name: str = "0189dd60", balanced: bool = True, **latency: Any
) -> Saved:
    form = {
        "height": 512,
        "width": 512,
        "dtype": "float32",
        "runtime": "eager",
        "device": "cpu",
        "threads": 2,
        "device_name": "A CPU",
    }
    about = {
        "input": describe_input(genome, NetworkInput(balanced, balanced)),
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
            "form": form,
            **latency,
        },
        "cost": {"macs": 340_000_000, "deployed_parameters": 40_000, "height": 512, "width": 512},
        "training": {
            "data": {"kind": "synthetic", "digest": "abc"},
            "recipe": {"steps": 450},
            "seed": 0,
        },
        "provenance": {"study": "dark", "trial": 7, "versions": {"torch": "2.13.0"}},
    }
    return Saved(
        name=name, genome=genome, input=NetworkInput(balanced, balanced), description=about
    )


def test_it_tells_the_figures() -> None:
    card = compose_card(saved())
    for words in (
        "|PSNR|24.71 dB|",
        "|SSIM|0.731|",
        "|latency|18.31 ms|",
        "|latency, times MO|0.49 (0.48 to 0.49)|",
        "|MACs at 512 x 512|0.34 G|",
        "|parameters, deployed|0.04 M|",
        "12 held-out synthetic pairs",
        "Amplifying alone: 17.85 dB",
        "450 steps",
        "512 x 512 mosaic, float32, eager, 2 threads, A CPU",
        "trial 7 of study dark",
        'space.load_model("THIS_FOLDER")',
        'session.run(["rgb"], {"mosaic": mosaic})',
        "patent pending",
    ):
        assert words in card, words
    assert "~" not in card and "|~18.31 ms|" in compose_card(saved(steady=False))


def test_its_front_matter_is_what_hubs_read() -> None:
    _, front, text = compose_card(saved()).split("---\n", 2)
    lines = front.splitlines()
    assert all(re.fullmatch(r"(- [\w-]+|\w+:( [\w-]+)?)", line) for line in lines), "plain YAML"
    assert {"license: other", "library_name: dark-nas", "tags:", "metrics:"} <= set(lines)
    assert text.lstrip().startswith("# 0189dd60\n")


def test_its_pictures_lie_beside_it() -> None:
    assert re.findall(r"!\[.*?\]\((.*?)\)", compose_card(saved())) == [
        "preview.png",
        "drawing.svg",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [("MO", "MO's architecture itself"), ("M2", "This network is M2, which extends MO's")],
)
def test_it_says_whose_architecture_it_is(name: str, words: str) -> None:
    assert words in compose_card(saved(BASELINES[name]))
    assert "was found in that space" in compose_card(saved())


def test_it_says_how_to_feed_the_network() -> None:
    assert "white-balanced, black-corrected; H and W multiples of 8" in compose_card(saved())
    card = compose_card(saved(balanced=False))
    assert (
        "not white-balanced, not black-corrected" in card and "white balance as shot" not in card
    )


def test_names_are_text_and_nothing_else() -> None:
    hostile = saved(name="<script>[x](javascript:y)|")
    provenance = {"study": "<img src=x>\n# a", "trial": 1}
    about = {**hostile.description, "provenance": provenance}
    card = compose_card(replace(hostile, description=about))
    assert r"# \<script\>\[x\](javascript:y)\|" in card and r"\<img src=x\> \# a" in card
    assert not re.search(r"(?<!\\)<", card)
