"""`python -m nas.describe MO`: a network as a picture in the terminal, each part with its share of
the work.

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
from nas.cli.networks import read_genome
from space import BASELINE_FACTS, BASELINES, FOUND, Branch, DesignSpace, Genome, InputError

BAR = 24  # cells of the bar of a part that does all the work


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(
        prog="python -m nas.describe",
        description=__doc__,
        example="python -m nas.describe M1 --height 2848 --width 4256",
    )
    parser.add_argument(
        "network",
        nargs="?",
        help="a name (MO, M1, M2, F1 ...), a genome's JSON file, or a trial's folder",
    )
    parser.add_argument(
        "--space", action="store_true", help="show the genes of the design space instead"
    )
    parser.add_argument("--json", action="store_true", help="print the genome as JSON instead")
    parser.add_argument(
        "--drawing",
        type=Path,
        metavar="FILE.svg",
        help="write the network's drawing there instead",
    )
    parser.add_argument(
        "--height", type=int, default=512, help="rows of the mosaic in pixels (default 512)"
    )
    parser.add_argument(
        "--width", type=int, default=512, help="columns of the mosaic in pixels (default 512)"
    )
    args = parser.parse_args(argv)
    if args.space == (args.network is not None):
        raise InputError(
            "give either a network (a name, a file, a folder) or --space; see python -m "
            "nas.describe --help"
        )
    if min(args.height, args.width) < 1:
        raise InputError(
            f"height and width must be at least 1, but got {args.height} and "
            f"{args.width}; raise them"
        )
    return args


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    console = cli.make_console()
    if args.space:
        show_space(console)
        return 0
    genome = read_genome(args.network)
    if args.json:
        print(genome.to_json(indent=1))
        return 0
    if args.drawing:
        write_drawing(args.drawing, args.network, genome, args.height, args.width)
        print(f"wrote {args.drawing}")
        return 0
    show_network(console, args.network, genome, args.height, args.width)
    return 0


def write_drawing(path: Path, name: str, genome: Genome, height: int, width: int) -> None:
    """Writes the network as an SVG, coloured by its parts' shares of the MACs; InputError where
    that can't be.
    """
    from nas.outputs.drawing import draw_svg
    from nas.outputs.layout import lay_out
    from space import count_cost

    if path.suffix != ".svg":
        raise InputError(f"--drawing must end in .svg, but got {path}; rename it")
    drawing = draw_svg(
        lay_out(genome, count_cost(genome, height, width).parts), title=f"network {name}"
    )
    try:
        path.write_text(drawing, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--drawing must be a file that can be written, but {path}: {error.strerror}; "
            f"choose another"
        ) from error


def show_network(console: Console, name: str, genome: Genome, height: int, width: int) -> None:
    """Prints the parts of `genome`'s network from the mosaic to the picture, with their shares of
    the MACs.
    """
    from space import count_cost

    cost = count_cost(genome, height, width)
    console.print(f"[bold]{escape(name)}[/]  digest {genome.digest}")
    if name in BASELINES:
        console.print(f"[dim]{BASELINE_FACTS[name].reference}[/]")
    if name in FOUND:
        console.print(f"[dim]{escape(FOUND[name].origin)}[/]")
    padded = (
        "" if (cost.height, cost.width) == (height, width) else f" ({height} x {width}, padded)"
    )
    console.print(
        f"{cost.macs / 1e9:.4g} GMAC for one {cost.height} x {cost.width} mosaic{padded}; "
        f"{cost.parameters / 1e6:.4g} M parameters ({cost.deployed_parameters / 1e6:.4g} "
        f"M deployed); "
        f"sizes must be multiples of {genome.size_multiple}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("scale", "part", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    table.add_column("MACs", justify="right")
    table.add_column("share", no_wrap=True)
    for scale, part, text in outline(genome):
        macs = cost.parts.get(part)
        share = 0.0 if macs is None else macs / cost.macs
        shown = "" if macs is None else f"{100 * share:4.1f} % [cyan]{'█' * round(BAR * share)}[/]"
        table.add_row(
            scale, part, escape(text), "" if macs is None else f"{macs / 1e6:.1f} M", shown
        )
    console.print(table)


def outline(genome: Genome) -> list[tuple[str, str, str]]:
    """(scale, part, what it is) from the mosaic to the picture; parts are named as in
    `space.Cost.parts`.
    """
    lines = [
        ("1x", "mosaic", "one Bayer channel, amplified"),
        ("2x", "packed", "4 channels, for every other part"),
    ]
    entry = "" if genome.skip_width == 64 else f"3x3 64 -> {genome.skip_width}, "
    blocks = f"{genome.skip_blocks} x {genome.skip_block}" if genome.skip_blocks else "no blocks"
    lines.append(("8x", "skip", f"the trunk: {entry}{blocks}, {genome.skip_width} channels"))
    goals = (
        [8] + [branch.scale for branch in genome.branches[:-1]]
        if genome.fusion == "cascade"
        else None
    )
    for index, branch in enumerate(genome.branches):
        goal = goals[index] if goals else 8
        lines += _branch_lines(branch, goal, genome)
    if genome.fusion in ("concat", "dual"):
        how = {
            "concat": "one 3x3 over all branches",
            "dual": "refined and unrefined branches, each 3x3, then both 3x3",
        }
        lines.append(
            ("8x", "meet", f"{genome.fusion}: {how[genome.fusion]} -> {genome.deep_width}")
        )
    elif genome.fusion:
        how = {
            "sum": "branches are added",
            "cascade": "each branch is added to the next finer one's stem",
        }
        lines.append(("8x", "meet", f"{genome.fusion}: {how[genome.fusion]}"))
    outputs = 12 if genome.merge_channels is None else genome.merge_channels
    shuffle = "channel shuffle, " if genome.merge_shuffle else ""
    inner = (
        f"3x3 -> {genome.merge_width} (groups {genome.merge_groups}), "
        if genome.merge_width
        else ""
    )
    kernel = f"{genome.expand_kernel}x{genome.expand_kernel}"
    if genome.fine_width:
        fine = genome.fine_width
        blocks = f"{genome.fine_blocks} x {genome.fine_block}, " if genome.fine_blocks else ""
        up = (
            f"{genome.fine_kernel}x{genome.fine_kernel} -> {4 * outputs}, shuffle 2 -> "
            f"{outputs} channels"
        )
        lines.append(
            (
                "8x-4x",
                "merge",
                f"{shuffle}{inner}{kernel} -> {4 * fine}, shuffle 2 -> {fine} channels",
            )
        )
        lines.append(("4x-2x", "fine", f"a 3x3 of the mosaic at 4x added, {blocks}{up}"))
    else:
        lines.append(
            (
                "8x-2x",
                "merge",
                f"{shuffle}{inner}{kernel} -> {16 * outputs}, shuffle 4 -> {outputs} channels",
            )
        )
    k = f"{genome.head_kernel}x{genome.head_kernel}"
    heads = {
        "none": "none",
        "add": f"{k} of the packed mosaic, added",
        "concat": f"{k} 4 -> {genome.head_width}, concatenated with the merge, {k} -> 12",
    }
    lines.append(("2x", "head", heads[genome.head]))
    lines.append(("1x", "picture", "shuffle 2 -> sRGB, clamped to [0, 1]"))
    return lines


def _branch_lines(branch: Branch, goal: int, genome: Genome) -> list[tuple[str, str, str]]:
    s, packed = f"{branch.scale}x", branch.scale**2
    stem = (
        f"{packed} -> {2 * branch.width} (groups {branch.stem_groups}) -> {branch.width}, each 3x3"
    )
    lines = [(s, f"stem{branch.scale}", stem)]
    if branch.blocks:
        first = (
            "" if branch.first_layers == branch.layers else f", the first {branch.first_layers}"
        )
        dense = (
            f" of {branch.layers} layers{first}, growth {branch.growth}"
            if branch.block == "rdb"
            else ""
        )
        lines.append((s, f"chain{branch.scale}", f"{branch.blocks} x {branch.block}{dense}"))
    ratio = branch.scale // goal
    shuffle = f"shuffle {ratio}, " if ratio > 1 else ""
    lines.append(
        (
            f"{s}-{goal}x" if ratio > 1 else s,
            f"up{branch.scale}",
            f"{shuffle}3x3, brought to {goal}x",
        )
    )
    if branch.refine:
        lines.append((f"{goal}x", f"refine{branch.scale}", f"1 x {branch.block}"))
    return lines


def show_space(console: Console) -> None:
    """Prints every gene with its choices, and where the seeds are."""
    space = DesignSpace()
    encoded = {name: space.encode(genome) for name, genome in BASELINES.items()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("gene", "choices", *BASELINES, "what it decides"):
        table.add_column(column)
    for gene in space.genes:
        prefix = gene.name.split("_")[0]
        acts = {
            name: "_" not in gene.name or encoded[name].get(prefix) != "off" for name in BASELINES
        }
        seeds = [
            str(encoded[name][gene.name]) if acts[name] else "[dim]-[/]" for name in BASELINES
        ]
        table.add_row(gene.name, " ".join(map(str, gene.choices)), *seeds, escape(gene.help))
    console.print(table)
    combinations = prod(len(gene.choices) for gene in space.genes)
    console.print(
        f"{len(space.genes)} genes, {combinations:.2g} combinations, all of which build; "
        f"genes that don't act are "
        "dropped, so fewer networks"
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))
