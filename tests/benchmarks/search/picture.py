"""The replay as a picture: hypervolume against training, medians and quartiles over the seeds.

python tests/benchmarks/search/picture.py search_replay.json --out search_replay.svg
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import plotly.graph_objects as go

# Okabe and Ito's colours, which all eyes tell apart, with dashes besides.
STYLES = [
    ("#000000", "solid"),
    ("#E69F00", "dash"),
    ("#0072B2", "solid"),
    ("#009E73", "dot"),
    ("#D55E00", "solid"),
    ("#CC79A7", "dashdot"),
    ("#56B4E9", "longdash"),
    ("#8a8a00", "dash"),
]

OURS, OURS_COLOUR = "structure + stopping", "#B3261E"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("replay", type=Path, help="what simulate.py --json wrote, or its summary")
    parser.add_argument("--methods", nargs="+", help="which (default: all)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    replay = json.loads(args.replay.read_text())
    figure = go.Figure()
    for (name, curve), (colour, dash) in zip(replay["methods"].items(), STYLES * 9, strict=False):
        if args.methods and name not in args.methods:
            continue
        ours = name == OURS
        colour, dash = (OURS_COLOUR, "solid") if ours else (colour, dash)
        x, (low, middle, high) = curve["spent"], (curve[key] for key in ("low", "median", "high"))
        figure.add_trace(
            go.Scatter(
                x=x + x[::-1],
                y=high + low[::-1],
                fill="toself",
                fillcolor=colour,
                opacity=0.13,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=x,
                y=middle,
                name=f"{name} (auto)" if ours else name,
                line={"color": colour, "dash": dash, "width": 3 if ours else 2.2},
            )
        )
    figure.update_layout(
        template="plotly_white",
        width=900,
        height=540,
        margin={"l": 70, "r": 20, "t": 20, "b": 60},
        legend={"x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom"},
        font={"size": 14},
    )
    figure.update_xaxes(title="training spent, in trainings of a mean random network", type="log")
    bottom = min(curve["median"][0] for curve in replay["methods"].values()) - 1
    top = 1.02 * max(max(curve["high"]) for curve in replay["methods"].values())
    figure.update_yaxes(title="hypervolume, dB x octaves", range=[bottom, top])
    figure.write_image(args.out)
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
