"""What a plot is: one function that computes its data from a study, and one that draws the data.

The data is plain values with a caption and a table, and drawing looks nothing else up. So figures
can be tested as numbers, and the report, the command and a notebook draw the same ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import plotly.graph_objects as go

from dashboards.study.records import StudyRecords

Table = tuple[list[str], list[list[Any]]]


@dataclass(frozen=True, kw_only=True)
class Data(ABC):
    """What every plot's data has."""

    missing: str | None = None  # a sentence in place of the plot, where there is too little
    caption: str = ""  # how to read the plot, with its main figures in words

    @property
    def height_px(self) -> int:
        """A height that suits the plot where its width is free."""
        return 460

    @abstractmethod
    def table(self) -> Table:
        """The columns, with units in their names, and the rows."""


D = TypeVar("D", bound=Data)


@dataclass(frozen=True)
class Plot(Generic[D]):
    """One plot of a study. `draw` is only for data that isn't missing; its figure has no size, so
    that it fills its place, and each point's customdata is the trial's number.
    """

    name: str
    title: str
    compute: Callable[[StudyRecords], D]
    draw: Callable[[D], go.Figure]
