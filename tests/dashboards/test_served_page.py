"""The served pages in a real Chromium: points, a click to a trial with its pictures, live."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import POINTS, open_tab
from test_serve import served

sys.path.insert(0, str(Path(__file__).parents[1] / "nas"))

from stand_ins import Loader, Measure, Runner

from nas import cli, search

pytestmark = pytest.mark.slow

IMAGES = """document.images.length >= 2
    && [...document.images].every(i => i.complete && i.naturalWidth > 0)"""
TINY = """
trials = {trials}
[data]
scenes = 4
scene_size = 128
held_out = 2
[train]
steps = 20
batch = 1
crop = 64
[latency]
height = 64
width = 64
threads = 1
max_seconds = 0.5
front_seconds = 0.5
"""


@dataclasses.dataclass
class PictureRunner(Runner):
    """The stand-in for a trial, which writes a preview and a curve like a real one."""

    def __call__(self, genome: Any, config: Any, *, directory: Path, **rest: Any) -> Any:
        result = super().__call__(genome, config, directory=directory, **rest)
        cv2.imwrite(str(directory / "preview.png"), np.full((40, 60, 3), 90, np.uint8))
        (directory / "curve.csv").write_text(
            "step,loss,lr,seconds\n1,0.2,0.001,0.1\n2,0.1,0.001,0.2\n"
        )
        return result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """RUNS with the study "tiny" of five trials, made by nas.search itself."""
    more_trials(tmp_path / "runs", 5)
    return tmp_path / "runs"


def more_trials(runs: Path, trials: int) -> None:
    """The study searched until it has so many trials."""
    runs.mkdir(exist_ok=True)
    toml = runs / "tiny.toml"
    toml.write_text(TINY.format(trials=trials))
    words = ["--study", str(toml), "--runs", str(runs), "--device", "cpu"]
    stand_ins = {"runner": PictureRunner(), "load": Loader(), "measure": Measure()}
    assert cli.run(lambda argv: search.main(argv, **stand_ins), words) == 0


def test_the_points_a_click_and_the_trials_pictures(runs: Path) -> None:
    database = runs / "tiny" / "study.db"
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    with served(runs, study="tiny") as (_, port, _line), open_tab() as tab:
        page = tab.page
        page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1")
        page.wait_for_function(f"({POINTS})() == 5", timeout=30_000)
        front = page.locator("[id='user-defined-plot:front']")
        front.locator("text=MO").first.wait_for()
        page.locator("[id*=pareto] .nsewdrag").first.scroll_into_view_if_needed()
        page.locator("[id*=pareto] .point").first.hover(force=True)
        page.locator("[id*=pareto] .point").first.click(force=True)
        page.wait_for_url("**/trials?numbers=*", timeout=10_000)
        page.get_by_text("PSNR").first.wait_for()
        page.wait_for_function(IMAGES, timeout=15_000)
        # A baseline's name in our own figure leads to its trial.
        page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1")
        front.locator("a", has_text="MO").first.click(force=True)
        page.wait_for_url("**/trials?numbers=0", timeout=10_000)
        assert tab.errors == []
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


def test_new_trials_are_shown_without_a_reload(runs: Path) -> None:
    with served(runs, study="tiny") as (_, port, _line), open_tab() as tab:
        tab.page.goto(f"http://127.0.0.1:{port}/dashboard/studies/1")
        tab.page.wait_for_function(f"({POINTS})() == 5", timeout=30_000)
        more_trials(runs, 7)
        tab.page.wait_for_function(f"({POINTS})() == 7", timeout=30_000)
        assert tab.errors == []
