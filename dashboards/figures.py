"""`python -m dashboards.figures --study dark --out figures`: the report's plots for papers.

The data of each is written as CSV. A plot that a study has too little for is named, with the
reason.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from dashboards.plots import FORMATS, PAPER_LIGHT, PLOTS, Data, write_pictures
from dashboards.study.reader import Parser, command, open_study, url_of
from dashboards.study.records import read_records
from nas.study import InputError

EXAMPLE = "python -m dashboards.figures --study dark --out figures --format csv"
WIDTH_PX = 900


def for_paper(figure: go.Figure, data: Data) -> go.Figure:
    """`figure` on white, in a size for print."""
    return figure.update_layout(width=WIDTH_PX, height=data.height_px, paper_bgcolor=PAPER_LIGHT)


def write_table(data: Data, path: Path) -> None:
    """The data's table as CSV; an empty cell is a figure that isn't known."""
    columns, rows = data.table()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    parser = Parser(prog="python -m dashboards.figures", description=__doc__, example=EXAMPLE)
    out = "folder to write to; it is made where there is none"
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument(
        "--format",
        nargs="+",
        choices=(*FORMATS, "csv"),
        default=list(FORMATS),
        metavar="FORMAT",
        help="svg and png (the default; pip install '.[pictures]', Chromium); csv: the data only",
    )
    args = parser.parse_args(argv)
    study = read_records(open_study(args.study, url_of(args)))
    computed = [(plot, plot.compute(study)) for plot in PLOTS]
    there = [(plot, data) for plot, data in computed if data.missing is None]
    if not there:
        raise InputError(
            f"study {study.study!r} must have networks to draw, but: {computed[0][1].missing}"
        )
    kinds = [kind for kind in FORMATS if kind in args.format]
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for plot, data in there:
            write_table(data, args.out / f"{plot.name}.csv")
    except OSError as error:
        raise InputError(
            f"--out {args.out} must be a folder that can be written, but: {error.strerror}; "
            "choose another"
        ) from error
    if kinds:
        pictures = [
            (for_paper(plot.draw(data), data), args.out / f"{plot.name}.{kind}")
            for plot, data in there
            for kind in kinds
        ]
        write_pictures(pictures, "give --format csv (the data is written already)")
    for plot, data in computed:
        if data.missing is None:
            print(f"{plot.name}: {', '.join(f'{plot.name}.{kind}' for kind in (*kinds, 'csv'))}")
        else:
            print(f"{plot.name}: not drawn. {data.missing}")
    print(f"wrote {len(there) * (len(kinds) + 1)} files to {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
