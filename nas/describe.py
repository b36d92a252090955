"""`python -m nas.describe MO`: a network part by part in the terminal, with shares of the work.

MO, M1, M2 or a found one (F1 ...), a genome's JSON file, or a trial's folder; `--space` shows
every gene and its choices instead.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from math import prod
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas import cli
from nas.outputs.drawing import draw_network
from space import BASELINES, ORIGINS, DesignSpace, Genome, InputError, count_cost, network_parts

EXAMPLE = "python -m nas.describe M1 --height 2848 --width 4256"
BAR = 24  # cells of the bar of a part that does all the work


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.describe", description=__doc__, example=EXAMPLE)
    names = "a name (MO, M1, M2, F1 ...), a genome's JSON file, or a trial's folder"
    parser.add_argument("network", nargs="?", help=names)
    space = "show the genes of the design space instead"
    parser.add_argument("--space", action="store_true", help=space)
    parser.add_argument("--json", action="store_true", help="print the genome as JSON instead")
    drawing = "write the network's drawing there instead"
    parser.add_argument("--drawing", type=Path, metavar="FILE.svg", help=drawing)
    for side, lines in (("--height", "rows"), ("--width", "columns")):
        words = f"{lines} of the mosaic in pixels (default 512)"
        parser.add_argument(side, type=int, default=512, help=words)
    args = parser.parse_args(argv)
    if args.space == (args.network is not None):
        raise InputError("give either a network (a name, a file, a folder) or --space; see --help")
    if min(args.height, args.width) < 1:
        got = f"{args.height} and {args.width}"
        raise InputError(f"height and width must be at least 1, but got {got}; raise them")
    return args


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    console = cli.make_console()
    if args.space:
        show_space(console)
        return 0
    genome = cli.read_genome(args.network)
    if args.json:
        print(genome.to_json(indent=1))
    elif args.drawing:
        write_drawing(args.drawing, args.network, genome, args.height, args.width)
        print(f"wrote {args.drawing}")
    else:
        show_network(console, args.network, genome, args.height, args.width)
    return 0


def write_drawing(path: Path, name: str, genome: Genome, height: int, width: int) -> None:
    """Writes the network as an SVG; InputError where it can't be written there."""
    if path.suffix != ".svg":
        raise InputError(f"--drawing must end in .svg, but got {path}; rename it")
    macs = count_cost(genome, height, width).parts
    try:
        path.write_text(draw_network(genome, macs, title=f"network {name}"), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--drawing must be a file that can be written, but {path}: {error.strerror}; "
            "choose another"
        ) from error


def show_network(console: Console, name: str, genome: Genome, height: int, width: int) -> None:
    """Prints the network's parts from the mosaic to the picture, with their shares of the MACs."""
    cost = count_cost(genome, height, width)
    console.print(f"[bold]{escape(name)}[/]  digest {genome.digest}")
    if name in ORIGINS:
        console.print(f"[dim]{escape(ORIGINS[name])}[/]")
    same = (cost.height, cost.width) == (height, width)
    console.print(
        f"{cost.macs / 1e9:.4g} GMAC for one {cost.height} x {cost.width} mosaic"
        f"{'' if same else f' ({height} x {width}, padded)'}; {cost.parameters / 1e6:.4g} M "
        f"parameters ({cost.deployed_parameters / 1e6:.4g} M deployed); "
        f"sizes must be multiples of {genome.size_multiple}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("scale", "part", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    table.add_column("MACs", justify="right")
    table.add_column("share", no_wrap=True)
    for part in network_parts(genome):
        figures = []
        if part.name in cost.parts:
            macs = cost.parts[part.name]
            bar = "█" * round(BAR * macs / cost.macs)
            figures = [f"{macs / 1e6:.1f} M", f"{100 * macs / cost.macs:4.1f} % [cyan]{bar}[/]"]
        table.add_row(part.scales or f"{part.scale}x", part.name, escape(part.text), *figures)
    console.print(table)


def show_space(console: Console) -> None:
    """Prints every gene with its choices, and where the baselines are."""
    space = DesignSpace()
    encoded = {name: space.encode(genome) for name, genome in BASELINES.items()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("gene", "choices", *BASELINES, "what it decides"):
        table.add_column(column)
    for gene in space.genes:
        branch = gene.name.split("_")[0]
        # A gene of a branch that is not there does not act.
        values = [
            "[dim]-[/]"
            if branch != gene.name and params.get(branch) == "off"
            else str(params[gene.name])
            for params in encoded.values()
        ]
        table.add_row(gene.name, " ".join(map(str, gene.choices)), *values, escape(gene.help))
    console.print(table)
    combinations = prod(len(gene.choices) for gene in space.genes)
    console.print(
        f"{len(space.genes)} genes, {combinations:.2g} combinations, all of which build; "
        "genes that don't act are dropped, so fewer networks"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
