"""`python -m nas.bench MO M1 M2 FILE...`: how long networks take on this device, in turn with MO,
in one run.

The protocol of a search's trials: deployed form, alone on the device, random inputs that take
turns, A B A B with MO. With --study its networks on the front can be timed, and how far
multiply-accumulates foretell latency is told.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nas import cli
from nas.cli.networks import NAMED, read_genome
from nas.loop.final_latency import stored_genome
from nas.study.config import resolve_device
from nas.study.pareto import front_rows
from nas.study.reader import open_to_read
from nas.study.records import Row, read_rows
from space import BASELINES, Genome, InputError
from trials.config import LatencyConfig

if TYPE_CHECKING:
    import optuna

    from trials import Latency

EXAMPLE = "python -m nas.bench MO M1 --shape 512x512 --json bench.json"
# Below so many networks a rank correlation says nothing.
FEWEST_RANKED = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network to time, under the name that the table shows."""

    name: str
    genome: Genome


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.bench", description=__doc__, example=EXAMPLE)
    parser.add_argument(
        "networks",
        nargs="*",
        metavar="MO|FILE|FOLDER",
        help="a name (MO, M1, M2, F1 ...), a genome's JSON file, or a trial's folder",
    )
    parser.add_argument(
        "--study",
        help="a study by name: its settings are the defaults, and --front times its front",
    )
    parser.add_argument(
        "--front", action="store_true", help="the networks on the study's front too"
    )
    cli.add_storage_arguments(parser)
    parser.add_argument(
        "--shape", help="rows x columns of the mosaic (2848x4256 on a GPU, 512x512 on a CPU)"
    )
    parser.add_argument("--dtype", help="float32 (default), float16 or bfloat16")
    parser.add_argument(
        "--memory-format", help="channels_last (default), contiguous or auto (the clock decides)"
    )
    parser.add_argument(
        "--runtime",
        help="eager, cuda_graph, compile or auto (default: cuda_graph on a GPU, else eager)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: as many as torch uses)")
    parser.add_argument("--device", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument(
        "--seconds", type=float, help="longest time for each network, up to three times over (8)"
    )
    parser.add_argument("--json", type=Path, help="write all that was found to this file too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    study = open_to_read(args.study, storage=args.storage, runs=args.runs) if args.study else None
    if args.front and study is None:
        raise InputError(
            "--front needs the study whose front it is, but there is no --study; give --study dark"
        )
    if not args.networks and study is None:
        raise InputError(
            "there must be a network to time, but none is named; give MO, a genome's file "
            "or a trial's folder"
        )
    entries = [Entry(name=_name(text), genome=read_genome(text)) for text in args.networks]
    if study is not None and args.front:
        entries += _front(study)
    entries = list({entry.genome.digest: entry for entry in reversed(entries)}.values())[::-1]
    config, device = _settings(args, study)
    if args.json and not args.json.parent.is_dir():
        raise InputError(
            f"--json needs a folder that exists, but there is no {args.json.parent}; make it first"
        )
    told: dict[str, Any] = {}
    console = cli.make_console(piped_width=150)
    if entries:
        config = _check_shape(
            args.shape, [*entries, Entry(name="MO", genome=BASELINES["MO"])], config, device
        )
        told |= _time(entries, config, device, console)
    if study is not None:
        told["rank_correlation"] = correlation(read_rows(study))
        console.print(_correlation_words(study.study_name, told["rank_correlation"]))
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def correlation(rows: Sequence[Row]) -> dict[str, Any]:
    """Kendall's tau between cost and measured latency over a study's measured networks:
    {"networks", "macs", "parameters"}.

    1: the cost orders the networks as the clock does; 0: it says nothing. None with fewer than
    five networks.
    """
    from scipy.stats import kendalltau

    measured = {
        row.digest: row for row in rows if row.is_verdict and row.latency_ms and row.macs
    }.values()
    found: dict[str, Any] = {"networks": len(measured), "macs": None, "parameters": None}
    if len(measured) >= FEWEST_RANKED:
        times = [row.latency_ms for row in measured]
        for key in ("macs", "parameters"):
            tau = float(kendalltau([getattr(row, key) for row in measured], times).statistic)
            found[key] = tau if math.isfinite(tau) else None
    return found


def _correlation_words(name: str, found: dict[str, Any]) -> str:
    if found["macs"] is None:
        return (
            f"study {escape(name)}: {found['networks']} measured networks are too few to "
            f"tell how well MACs foretell "
            f"latency (at least {FEWEST_RANKED})"
        )
    return (
        f"study {escape(name)}, {found['networks']} measured networks: Kendall's tau with "
        f"latency is "
        f"{found['macs']:.2f} for MACs, {found['parameters']:.2f} for parameters (1: the "
        f"same order)"
    )


def _time(
    entries: Sequence[Entry], config: LatencyConfig, device: str, console: Console
) -> dict[str, Any]:
    from space import build_model, count_cost
    from trials import measure_all
    from trials.device.errors import is_lost, is_out_of_memory, lost
    from trials.latency.rounds import TRIES

    others = [entry for entry in entries if entry.genome != BASELINES["MO"]]
    try:
        with cli.progress_bar() as bar:
            task = bar.add_task("warming up", total=float(TRIES))

            def on_round(tries: int, rounds: int, share: float) -> None:
                again = "" if tries == 1 else f", try {tries} of {TRIES} (milliseconds drift)"
                bar.update(task, completed=tries - 1 + share, description=f"round {rounds}{again}")

            mo, found = measure_all(
                build_model(BASELINES["MO"]),
                [build_model(entry.genome) for entry in others],
                config,
                device=device,
                on_round=on_round,
            )
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise InputError(
                f"the networks must fit the memory of {device} at {config.height} x "
                f"{config.width}, but it is "
                "out of memory; give a smaller --shape, or fewer networks"
            ) from error
        if is_lost(error, device):
            raise lost(error, device) from error
        raise
    rows = []
    for entry in [Entry(name="MO", genome=BASELINES["MO"]), *others]:
        one = next((one for other, one in zip(others, found, strict=True) if other is entry), None)
        cost = count_cost(entry.genome, int(config.height or 0), int(config.width or 0))
        rows.append(
            {
                "name": entry.name,
                "digest": entry.genome.digest,
                "genome": entry.genome.to_dict(),
                "latency": (one.latency if one else mo).to_dict(),
                "ratio_to_mo": one.ratio.to_dict() if one else None,
                "device_ratio_to_mo": one.device_ratio.to_dict()
                if one and one.device_ratio
                else None,
                "cost": cost.to_dict(),
            }
        )
    _print(rows, mo, console)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"reference": "MO", "measured_at": now, "networks": rows}


def _print(rows: Sequence[dict[str, Any]], mo: Latency, console: Console) -> None:
    has_device = mo.device_time is not None
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    heads = [
        "end to end ms",
        "p10 to p99",
        *(["device ms"] if has_device else []),
        "x MO",
        "95 %",
        "memory MiB",
        "GMAC",
        "parameters",
    ]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        latency, ratio = row["latency"], row["ratio_to_mo"]
        device_ms = [f"{latency['device_time']['median_ms']:.3f}"] if has_device else []
        peak = latency["peak_memory_mib"]
        table.add_row(
            escape(row["name"]),
            ("" if latency["steady"] else "~") + f"{latency['median_ms']:.2f}",
            f"{latency['p10_ms']:.2f} to {latency['p99_ms']:.2f}",
            *device_ms,
            "1" if ratio is None else f"{ratio['value']:.3f}",
            "the unit" if ratio is None else f"{ratio['low']:.3f} to {ratio['high']:.3f}",
            f"{peak:.0f}",
            f"{row['cost']['macs'] / 1e9:.2f}",
            f"{row['cost']['parameters']:,}",
        )
    console.print(table)
    threads = f", {mo.threads} thread{'s' * (mo.threads > 1)}" if mo.device == "cpu" else ""
    runs = min(row["latency"]["runs"] for row in rows)
    console.print(
        f"{mo.height} x {mo.width} mosaic, {mo.dtype}, {mo.memory_format}, {mo.runtime}{threads}, "
        f"{escape(mo.device_name)}, torch {mo.torch_version}; at least {runs} runs each, "
        f"in turn with MO"
    )
    if any(not row["latency"]["steady"] for row in rows):
        console.print(
            "~ milliseconds drifted by more than 2 % in each of three tries: quote the "
            "ratio, not them"
        )
    for state in mo.gpu:
        if state:
            held = (
                ", held down by " + " and ".join(state["throttled_by"])
                if state["throttled_by"]
                else ""
            )
            console.print(
                f"GPU: {state['sm_clock_mhz']} MHz, memory {state['memory_clock_mhz']} MHz, "
                f"{state['temperature_c']} °C, {state['power_w']:.0f} W{held}"
            )


def _front(study: optuna.Study) -> list[Entry]:
    limit = study.user_attrs.get("config", {}).get("latency_limit_ms")
    front = front_rows(read_rows(study), limit)
    if not front:
        raise InputError(
            f"study {study.study_name!r} must have a front to be timed, but has no "
            f"finished network; let it "
            "run on"
        )
    names = {row.number: row.baseline or f"{row.name} (trial {row.number})" for row in front}
    return [
        Entry(name=names[row.number], genome=stored_genome(study, row.number)) for row in front
    ]


def _settings(args: Namespace, study: optuna.Study | None) -> tuple[LatencyConfig, str]:
    """The latency settings: flags over the study's over the defaults; and the device."""
    stored = study.user_attrs.get("config", {}) if study else {}
    device = resolve_device(args.device or str(stored.get("device", "auto")))
    known = {
        key: value
        for key, value in stored.get("latency", {}).items()
        if key in LatencyConfig.__dataclass_fields__
    }
    if device.partition(":")[0] != str(stored.get("device", device)).partition(":")[0]:
        known = {}  # another kind of device: its frame and runtime are others too
    config = LatencyConfig(**known)
    asked = {
        "dtype": args.dtype,
        "memory_format": args.memory_format,
        "runtime": args.runtime,
        "threads": args.threads,
        "max_seconds": args.seconds or config.front_seconds,
    }
    return replace(
        config, **{key: value for key, value in asked.items() if value is not None}
    ), device


def _check_shape(
    text: str | None, entries: Sequence[Entry], config: LatencyConfig, device: str
) -> LatencyConfig:
    """`config` with the frame that all networks are timed on; InputError where --shape is none
    that they can take.
    """
    from trials.latency.measure import frame_size

    multiple = math.lcm(*(entry.genome.size_multiple for entry in entries))
    if text is None:
        height, width = frame_size(config, device, multiple)
        return replace(config, height=height, width=width)
    match = re.fullmatch(r"(\d+)\s*[x×,]\s*(\d+)", text.strip())
    if match is None:
        raise InputError(
            f"--shape must be rows x columns such as 512x512, but got {text!r}; change it"
        )
    height, width = int(match[1]), int(match[2])
    if height < 1 or width < 1 or height % multiple or width % multiple:
        following = "x".join(
            str(max(1, -(-size // multiple)) * multiple) for size in (height, width)
        )
        raise InputError(
            f"--shape must be multiples of {multiple} for these networks, but got "
            f"{height}x{width}; the next "
            f"that are: {following}"
        )
    return replace(config, height=height, width=width)


def _name(text: str) -> str:
    return text if text in NAMED else "/".join(Path(text).resolve().parts[-2:])


if __name__ == "__main__":
    sys.exit(cli.run(main))
