"""What is read of a study, and its front, from one that only looks like one of nas.search: the
contract, not the code.
"""

from __future__ import annotations

from pathlib import Path

import optuna
import plotly.graph_objects as go
import pytest

from dashboards.plots.front import compute_front, draw_front
from dashboards.study.records import read_records

# (baseline, psnr_db, latency_ms, kind, repeat_of)
TRIALS = [
    ("MO", 27.0, 50.0, "complete", None),
    ("M1", 28.0, 110.0, "complete", None),
    (None, 26.0, 20.0, "complete", None),
    (None, 26.5, 60.0, "complete", None),
    (None, 29.0, 300.0, "complete", None),
    (None, 28.0, 110.0, "complete", 1),
    (None, None, 900.0, "over_limit", None),
]


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(
        study_name="dark", storage=url, directions=["maximize", "minimize"]
    )
    study.set_user_attr("config", {"latency_limit_ms": None})
    for number, (baseline, psnr_db, latency_ms, kind, repeat_of) in enumerate(TRIALS):
        trial = study.ask()
        latency = {
            "median_ms": latency_ms,
            "p10_ms": latency_ms - 1,
            "p90_ms": latency_ms + 2,
            "height": 512,
            "width": 512,
            "device": "cpu",
            "device_name": "A processor",
            "threads": 2,
        }
        attrs = {
            "kind": kind,
            "baseline": baseline,
            "digest": f"{number:016x}",
            "latency": latency,
            "ratio_to_mo": latency_ms / 50,
            "cost": {"parameters": 784768, "macs": 1288437760},
            "repeat_of": repeat_of,
        }
        for key, value in attrs.items():
            if value is not None:
                trial.set_user_attr(key, value)
        study.tell(
            trial,
            *([[psnr_db, latency_ms]] if psnr_db else [None, optuna.trial.TrialState.PRUNED]),
        )
    return url


def drawn(url: str) -> go.Figure:
    study = optuna.load_study(study_name="dark", storage=url)
    return draw_front(compute_front(read_records(study)))


def test_what_is_on_the_front(url: str) -> None:
    front = read_records(optuna.load_study(study_name="dark", storage=url))
    assert [(p.number, p.on_front) for p in front.points] == [
        (2, True),
        (0, True),
        (3, False),
        (1, True),
        (4, True),
    ]
    assert [p.name for p in front.baselines] == ["MO", "M1"]
    assert front.timed == "512 x 512 mosaic, A processor, 2 threads"


def test_the_fronts_last_measurement_is_what_is_drawn(url: str) -> None:
    """nas.search times the front again at its end; those ratios, with their interval, win over the
    trials' own.
    """
    study = optuna.load_study(study_name="dark", storage=url)
    ratio = {"value": 0.5, "low": 0.49, "high": 0.52, "rounds": 40, "drift": 0.001}
    study.set_user_attr(
        "final_latency", {f"{2:016x}": {"ratio_to_mo": ratio}, "mo": {"latency": {}}}
    )
    point = next(p for p in read_records(study).points if p.number == 2)
    assert (point.latency_ms, point.latency_low_ms, point.latency_high_ms) == pytest.approx(
        (25.0, 24.5, 26.0)
    )
    assert point.ratio_to_mo == 0.5


def test_a_limit_holds_for_the_front(url: str) -> None:
    study = optuna.load_study(study_name="dark", storage=url)
    study.set_user_attr("config", {"latency_limit_ms": 100})
    assert [p.number for p in read_records(study).points if p.on_front] == [2, 0]
    figure = drawn(url)
    assert [shape.x0 for shape in figure.layout.shapes] == [100]


def test_the_axis_holds_all_networks_and_little_else(url: str) -> None:
    axis = drawn(url).layout.xaxis
    assert 10 < 10 ** axis.range[0] < 20 and 300 < 10 ** axis.range[1] < 400
    assert list(axis.tickvals) == [20, 50, 100, 200]


def test_the_picture_shows_every_network_once_and_names_the_baselines(url: str) -> None:
    figure = drawn(url)
    others, front, baselines = figure.data
    assert (
        list(others.x) == [60.0]
        and list(front.x) == pytest.approx([20.0, 50.0, 110.0, 300.0])
        and list(baselines.text) == ["MO", "M1"]
    )
    assert (
        "784,768 parameters, 1.29 GMAC" in front.hovertext[0]
        and "(0.40 x MO)" in front.hovertext[0]
    )
