"""The front with MO, M1 and M2 marked, for the page of a study: optuna-dashboard's own Pareto plot can't tell them apart.

optuna-dashboard draws figures that it finds among a study's system attributes. This one is put there for the reader only
(read_only.ShownStorage), computed anew when a trial has finished; nothing is stored.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.storages import BaseStorage

from dashboards.front import draw_front
from dashboards.records import StudyRecords, read_records

KEY = "dashboard:plot_data:front:0"
# Readable on white and on optuna-dashboard's dark gray, and apart for colour-blind eyes.
INK, GRID, GRAY, BLUE, ORANGE = "#808b96", "rgba(128,139,150,0.3)", "#8d99a6", "#3b82f6", "#e8590c"


class LiveFront:
    """What a study's page shows beside what is stored; empty for a study that nas.search didn't make."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: dict[int, tuple[object, dict[str, Any]]] = {}

    def attributes(self, storage: BaseStorage, study_id: int) -> dict[str, Any]:
        """The system attribute that holds the figure, as it is now."""
        user_attrs = storage.get_study_user_attrs(study_id)
        if "schema" not in user_attrs:
            return {}
        with self._lock:
            finished = sum(t.state.is_finished() for t in storage.get_all_trials(study_id, deepcopy=False))
            state = (finished, json.dumps([user_attrs.get("front_latency"), user_attrs.get("config")]))
            if study_id not in self._drawn or self._drawn[study_id][0] != state:
                study = optuna.load_study(study_name=storage.get_study_name_from_id(study_id), storage=storage)
                self._drawn[study_id] = state, {KEY: str(draw_live(read_records(study), study_id).to_json())}
            return self._drawn[study_id][1]


def draw_live(study: StudyRecords, study_id: int) -> go.Figure:
    """draw_front's picture on a transparent ground; the seeds' names lead to their trials."""
    if not study.points:
        figure = go.Figure()
        figure.add_annotation(text="No network has been both timed and trained yet.", showarrow=False)
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    else:
        figure = draw_front(study)
        others, front, seeds = figure.data
        others.marker.color, front.marker.color, front.line.color, seeds.marker.color = GRAY, BLUE, BLUE, ORANGE
        seeds.textfont.color = ORANGE
        seeds.text = [f'<a href="/dashboard/studies/{study_id}/trials?numbers={p.number}" target="_self">{p.name}</a>'
                      for p in study.seeds]  # fmt: skip
    figure.update_layout(
        template="none", width=None, height=None, autosize=True, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", font={"color": INK, "size": 13}, legend={"bgcolor": "rgba(0,0,0,0)"},
    )  # fmt: skip
    figure.update_xaxes(gridcolor=GRID, linecolor=INK, zeroline=False)
    figure.update_yaxes(gridcolor=GRID, linecolor=INK, zeroline=False)
    return figure
