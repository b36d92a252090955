"""The plots of a study, each computed by one function and drawn by another; PLOTS has them all."""

from typing import Any

from dashboards.plots.curves import CURVES
from dashboards.plots.effects import EFFECTS
from dashboards.plots.front import FRONT
from dashboards.plots.hypervolume import HYPERVOLUME
from dashboards.plots.importance import IMPORTANCE
from dashboards.plots.parallel import PARALLEL
from dashboards.plots.picture import FORMATS, write_pictures
from dashboards.plots.plot import Data, Plot
from dashboards.plots.ratio import RATIO
from dashboards.plots.style import DARK, LIGHT, PAPER_LIGHT

PLOTS: tuple[Plot[Any], ...] = (FRONT, RATIO, HYPERVOLUME, IMPORTANCE, EFFECTS, CURVES, PARALLEL)

__all__ = ["DARK", "FORMATS", "LIGHT", "PAPER_LIGHT", "PLOTS", "Data", "Plot", "write_pictures"]
