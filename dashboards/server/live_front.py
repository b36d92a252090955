"""The front with MO, M1 and M2 marked, which optuna-dashboard's own Pareto plot can't tell apart.

optuna-dashboard draws figures that it finds among a study's system attributes. This one is added
for the reader only (study/read_only.py) when trials have finished; nothing is stored.
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
    """System attributes that a study's page shows beside the stored ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[int, tuple[object, dict[str, Any]]] = {}

    def attributes(self, storage: BaseStorage, study_id: int) -> dict[str, Any]:
        """The attribute that holds the current figure; empty where the study can't be read as one
        of nas.search, so that the rest of the page still works.
        """
        try:
            user_attrs = storage.get_study_user_attrs(study_id)
            if "schema" not in user_attrs:
                return {}
            with self._lock:
                trials = storage.get_all_trials(study_id, deepcopy=False)
                state = (
                    sum(trial.state.is_finished() for trial in trials),
                    json.dumps([user_attrs.get("final_latency"), user_attrs.get("config")]),
                )
                if self._figures.get(study_id, (None,))[0] != state:
                    name = storage.get_study_name_from_id(study_id)
                    study = read_records(optuna.load_study(study_name=name, storage=storage))
                    figure = str(draw_live_front(study, study_id).to_json())
                    self._figures[study_id] = state, {KEY: figure}
                return self._figures[study_id][1]
        except (KeyError, TypeError, ValueError):
            return {}


def draw_live_front(study: StudyRecords, study_id: int) -> go.Figure:
    """The front on a light or dark page; the baselines' names link to their trials."""
    data = compute_front(study)
    if data.missing:
        text = "No network has been both timed and trained yet."
        figure = go.Figure().add_annotation(text=text, showarrow=False)
        figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    else:
        figure = draw_front(data)
        page = f"/dashboard/studies/{study_id}/trials?numbers="
        for trace in figure.select_traces({"mode": "markers+text"}):
            trace.text = [
                f'<a href="{page}{number}" target="_self">{name}</a>'
                for number, name in zip(trace.customdata, trace.text, strict=True)
            ]
    # No title: on a narrow page it would lie across the legend, which says as much.
    figure.update_layout(font_color=INK, margin={"t": 60, "b": 60})
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(gridcolor=GRID, linecolor=INK)
    return figure
