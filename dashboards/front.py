"""`python -m dashboards.front --study dark --out front.html`: a study's Pareto front, PSNR against
latency.

The plot is that of dashboards.plots; here it gets a title, a size and a file.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from dashboards.plots import front
from dashboards.plots.picture import write_pictures
from dashboards.plots.style import PAPER_LIGHT
from dashboards.study.reader import DashboardError, Parser, default_url, open_study, run
from dashboards.study.records import StudyRecords, read_records

FORMATS = ("html", "svg", "png")
EXAMPLE = "python -m dashboards.front --study dark --out front.html"


def draw_front(study: StudyRecords) -> go.Figure:
    """The picture: every network a dot, the front a line, the seeds named. DashboardError where
    there are none.
    """
    data = front.compute_front(study)
    if data.missing:
        raise DashboardError(
            f"study {study.study!r} must have finished trials, but has none; "
            f"run python -m nas.search --study {study.study}"
        )
    figure = front.draw_front(data)
    figure.update_layout(
        title=f"{study.study}: {len(data.points)} networks, {len(study.front)} on the front",
        paper_bgcolor=PAPER_LIGHT,
        width=900,
        height=560,
        margin={"l": 70, "r": 30, "t": 60, "b": 70},
        legend={
            "x": 0.99,
            "y": 0.02,
            "xanchor": "right",
            "yanchor": "bottom",
            "orientation": "v",
            "bgcolor": "rgba(255,255,255,0.8)",
        },
    )
    return figure


def write(figure: go.Figure, path: Path) -> None:
    """Writes `figure` as the suffix of `path` says; DashboardError where the format or its tool is
    missing.
    """
    kind = path.suffix.lstrip(".")
    if kind not in FORMATS:
        raise DashboardError(
            f"--out must end in {', '.join('.' + name for name in FORMATS)}, but got "
            f"{path}; rename it"
        )
    if not path.parent.is_dir():
        raise DashboardError(
            f"--out needs a folder that exists, but there is no {path.parent}; make it first"
        )
    if kind != "html":
        write_pictures([(figure, path)], "give --out front.html")
        return
    figure.update_layout(width=None, height=None, autosize=True)  # as large as the window
    try:
        figure.write_html(path, include_plotlyjs=True, default_height="95vh")
    except OSError as error:
        raise DashboardError(
            f"{path} must be writable, but: {error.strerror}; choose another --out"
        ) from error


def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    return run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = Parser(prog="python -m dashboards.front", description=__doc__, example=EXAMPLE)
    parser.add_study()
    parser.add_argument(
        "--out", type=Path, required=True, help="picture to write: .html, .svg or .png"
    )
    args = parser.parse_args(argv)
    study = open_study(args.study, args.storage or default_url(args.study, args.runs))
    write(draw_front(read_records(study)), args.out)
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
