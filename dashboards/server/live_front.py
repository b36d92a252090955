"""The front with MO, M1 and M2 marked, for the page of a study: optuna-dashboard's own Pareto plot
can't tell them apart.

optuna-dashboard draws figures that it finds among a study's system attributes. This one is put
there for the reader only (read_only.ReadOnlyStorage), computed anew when a trial has finished;
nothing is stored.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.storages import BaseStorage

from dashboards.plots.front import compute_front, draw_front
from dashboards.study.records import StudyRecords, read_records

KEY = "dashboard:plot_data:front:0"
# Both can be read on white and on optuna-dashboard's dark gray.
INK, GRID = "#808b96", "rgba(128,139,150,0.3)"


class LiveFront:
    """What a study's page shows beside what is stored; empty for a study that nas.search didn't
    make.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._drawn: dict[int, tuple[object, dict[str, Any]]] = {}

    def attributes(self, storage: BaseStorage, study_id: int) -> dict[str, Any]:
        """The system attribute that holds the figure, as it is now; empty too where the study
        can't be read as one of ours: the rest of the page must not suffer for it.
        """
        try:
            return self._attributes(storage, study_id)
        except (KeyError, TypeError, ValueError):
            return {}

    def _attributes(self, storage: BaseStorage, study_id: int) -> dict[str, Any]:
        user_attrs = storage.get_study_user_attrs(study_id)
        if "schema" not in user_attrs:
            return {}
        with self._lock:
            finished = sum(
                t.state.is_finished() for t in storage.get_all_trials(study_id, deepcopy=False)
            )
            state = (
                finished,
                json.dumps([user_attrs.get("final_latency"), user_attrs.get("config")]),
            )
            if study_id not in self._drawn or self._drawn[study_id][0] != state:
                study = optuna.load_study(
                    study_name=storage.get_study_name_from_id(study_id), storage=storage
                )
                self._drawn[study_id] = (
                    state,
                    {KEY: str(draw_live(read_records(study), study_id).to_json())},
                )
            return self._drawn[study_id][1]


def draw_live(study: StudyRecords, study_id: int) -> go.Figure:
    """The front as all our plots draw it, on whatever ground; the seeds' names lead to their
    trials.
    """
    data = compute_front(study)
    if data.missing:
        figure = go.Figure()
        figure.add_annotation(
            text="No network has been both timed and trained yet.", showarrow=False
        )
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    else:
        figure = draw_front(data)
        for trace in figure.select_traces({"mode": "markers+text"}):
            trace.text = [
                f'<a href="/dashboard/studies/{study_id}/trials?numbers={number}" '
                f'target="_self">{name}</a>'
                for number, name in zip(trace.customdata, trace.text, strict=True)
            ]
    # No title: on a narrow page it would lie across the legend, which says as much.
    figure.update_layout(font_color=INK, margin={"t": 60, "b": 60})
    figure.update_xaxes(gridcolor=GRID, linecolor=INK)
    figure.update_yaxes(gridcolor=GRID, linecolor=INK)
    return figure
