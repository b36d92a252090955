"""`python -m nas.bench MO M1 M2 FILE...`: the latency of networks on this device, in one run.

By the protocol of a search's trials: deployed form, alone on the device, random inputs, in turn
with MO (A B A B). With --study its networks on the front can be timed, and the rank correlation of
multiply-accumulates with latency is reported.
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
from space import BASELINES, Genome, InputError, build_model, count_cost
from trials import measure_all
from trials.config import LatencyConfig
from trials.device import device_errors
from trials.latency import frame_size
from trials.latency.deployment import CHOICES
from trials.latency.rounds import TRIES

if TYPE_CHECKING:
    import optuna

    from trials import Latency

EXAMPLE = "python -m nas.bench MO M1 --shape 512x512 --json bench.json"
# Below so many networks a rank correlation says nothing.
FEWEST_RANKED = 5
# Flags that are keys of a LatencyConfig.
FLAGS = {
    "dtype": "dtype of weights and mosaic (float32)",
    "memory_format": "memory format; auto: the faster one (channels_last)",
    "runtime": "what runs it; auto: cuda_graph on a GPU, else eager (auto)",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network to time, under the name that the table shows."""

    name: str
    genome: Genome


MO = Entry(name="MO", genome=BASELINES["MO"])


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.bench", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    networks = "a name (MO, M1, M2, F1 ...), a genome's JSON file, or a trial's folder"
    add("networks", nargs="*", metavar="MO|FILE|FOLDER", help=networks)
    add("--study", help="a study by name: its settings are the defaults, and it has the --front")
    add("--front", action="store_true", help="the networks on the study's front too")
    cli.add_storage_arguments(parser)
    add("--shape", help="rows x columns of the mosaic (2848x4256 on a GPU, 512x512 on a CPU)")
    for key, text in FLAGS.items():
        add(f"--{key.replace('_', '-')}", help=f"{', '.join(CHOICES[key])}: {text}")
    add("--threads", type=int, help="CPU threads (as many as torch uses)")
    add("--device", help="auto (default), cpu, cuda or cuda:N")
    add("--seconds", type=float, help="longest time for each network, up to three times over (8)")
    add("--json", type=Path, help="write all results to this file too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    study = open_to_read(args.study, storage=args.storage, runs=args.runs) if args.study else None
    if args.front and study is None:
        raise InputError("--front needs a study, but there is no --study; give --study dark")
    if not args.networks and study is None:
        raise InputError(
            "there must be a network to time, but none is named; give MO, a file or a folder"
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
    result: dict[str, Any] = {}
    console = cli.make_console(piped_width=150)
    if entries:
        config = _with_frame(config, args.shape, [*entries, MO], device)
        result |= _time(entries, config, device, console)
    if study is not None:
        result["rank_correlation"] = correlation(read_rows(study))
        console.print(_correlation_line(study.study_name, result["rank_correlation"]))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def correlation(rows: Sequence[Row]) -> dict[str, Any]:
    """Kendall's tau of cost with measured latency: {"networks", "macs", "parameters"}.

    1: the cost orders the networks as latency does; 0: it says nothing; None: fewer than five.
    """
    from scipy.stats import kendalltau

    measured = {
        row.digest: row for row in rows if row.is_verdict and row.latency_ms and row.macs
    }.values()
    result: dict[str, Any] = {"networks": len(measured), "macs": None, "parameters": None}
    if len(measured) >= FEWEST_RANKED:
        times = [row.latency_ms for row in measured]
        for key in ("macs", "parameters"):
            tau = float(kendalltau([getattr(row, key) for row in measured], times).statistic)
            result[key] = tau if math.isfinite(tau) else None
    return result


def _correlation_line(name: str, result: dict[str, Any]) -> str:
    if result["macs"] is None:
        return (
            f"study {escape(name)}: {result['networks']} measured networks are too few to rank "
            f"MACs against latency (at least {FEWEST_RANKED})"
        )
    return (
        f"study {escape(name)}, {result['networks']} measured networks: Kendall's tau with "
        f"latency is {result['macs']:.2f} for MACs, {result['parameters']:.2f} for parameters "
        "(1: the same order)"
    )


def _time(
    entries: Sequence[Entry], config: LatencyConfig, device: str, console: Console
) -> dict[str, Any]:
    others = [entry for entry in entries if entry.genome != MO.genome]
    what = f"the networks at {config.height} x {config.width}"
    advice = "give a smaller --shape, or fewer networks"
    with device_errors(device, what, advice), cli.progress_bar() as bar:
        task = bar.add_task("warming up", total=float(TRIES))

        def on_round(tries: int, rounds: int, share: float) -> None:
            again = "" if tries == 1 else f", try {tries} of {TRIES} (milliseconds drift)"
            bar.update(task, completed=tries - 1 + share, description=f"round {rounds}{again}")

        mo, measured = measure_all(
            build_model(MO.genome),
            [build_model(entry.genome) for entry in others],
            config,
            device=device,
            on_round=on_round,
        )
    rows = []
    for entry, one in zip([MO, *others], [None, *measured], strict=True):
        device_ratio = one.device_ratio if one else None
        cost = count_cost(entry.genome, mo.height, mo.width)
        rows.append(
            {
                "name": entry.name,
                "digest": entry.genome.digest,
                "genome": entry.genome.to_dict(),
                "latency": (one.latency if one else mo).to_dict(),
                "ratio_to_mo": one.ratio.to_dict() if one else None,
                "device_ratio_to_mo": device_ratio.to_dict() if device_ratio else None,
                "cost": cost.to_dict(),
            }
        )
    _print(rows, mo, console)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"reference": "MO", "measured_at": now, "networks": rows}


def _print(rows: Sequence[dict[str, Any]], mo: Latency, console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", no_wrap=True)
    heads = ["end to end ms", "p10 to p99", "x MO", "95 %", "memory MiB", "GMAC", "parameters"]
    if mo.device_time:
        heads.insert(2, "device ms")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        latency, ratio = row["latency"], row["ratio_to_mo"]
        device_time = latency["device_time"]
        table.add_row(
            escape(row["name"]),
            ("" if latency["steady"] else "~") + f"{latency['median_ms']:.2f}",
            f"{latency['p10_ms']:.2f} to {latency['p99_ms']:.2f}",
            *([f"{device_time['median_ms']:.3f}"] if mo.device_time else []),
            "1" if ratio is None else f"{ratio['value']:.3f}",
            "the unit" if ratio is None else f"{ratio['low']:.3f} to {ratio['high']:.3f}",
            f"{latency['peak_memory_mib']:.0f}",
            f"{row['cost']['macs'] / 1e9:.2f}",
            f"{row['cost']['parameters']:,}",
        )
    console.print(table)
    threads = f", {mo.threads} thread{'s' * (mo.threads > 1)}" if mo.device == "cpu" else ""
    runs = min(row["latency"]["runs"] for row in rows)
    console.print(
        f"{mo.height} x {mo.width} mosaic, {mo.dtype}, {mo.memory_format}, {mo.runtime}{threads}, "
        f"{escape(mo.device_name)}, torch {mo.torch_version}; at least {runs} runs each, in turn "
        "with MO",
        soft_wrap=True,
    )
    if any(not row["latency"]["steady"] for row in rows):
        drifted = "~ milliseconds drifted by more than 2 % in each of three tries"
        console.print(f"{drifted}: quote the ratio, not them")
    for state in filter(None, mo.gpu):
        causes = " and ".join(state["throttled_by"])
        console.print(
            f"GPU: {state['sm_clock_mhz']} MHz, memory {state['memory_clock_mhz']} MHz, "
            f"{state['temperature_c']} °C, {state['power_w']:.0f} W"
            + (f", held down by {causes}" if causes else "")
        )


def _front(study: optuna.Study) -> list[Entry]:
    limit = study.user_attrs.get("config", {}).get("latency_limit_ms")
    front = front_rows(read_rows(study), limit)
    if not front:
        raise InputError(
            f"study {study.study_name!r} must have a front to be timed, but has no finished "
            "network; let it run on"
        )
    names = [row.baseline or f"{row.name} (trial {row.number})" for row in front]
    genomes = [stored_genome(study, row.number) for row in front]
    return [Entry(name=name, genome=one) for name, one in zip(names, genomes, strict=True)]


def _settings(args: Namespace, study: optuna.Study | None) -> tuple[LatencyConfig, str]:
    """The latency settings: flags over the study's over the defaults; and the device."""
    stored = study.user_attrs.get("config", {}) if study else {}
    device = resolve_device(args.device or str(stored.get("device", "auto")))
    keys = LatencyConfig.__dataclass_fields__
    known = {key: value for key, value in stored.get("latency", {}).items() if key in keys}
    if device.partition(":")[0] != str(stored.get("device", device)).partition(":")[0]:
        known = {}  # another kind of device: its frame and runtime are others too
    config = LatencyConfig(**known)
    flags = {key: getattr(args, key) for key in (*FLAGS, "threads")}
    flags["max_seconds"] = args.seconds or config.front_seconds
    given = {key: value for key, value in flags.items() if value is not None}
    return replace(config, **given), device


def _with_frame(
    config: LatencyConfig, shape: str | None, entries: Sequence[Entry], device: str
) -> LatencyConfig:
    """`config` with the frame on which all are timed; InputError where --shape fits not all."""
    multiple = math.lcm(*(entry.genome.size_multiple for entry in entries))
    if shape is None:
        height, width = frame_size(config, device, multiple)
        return replace(config, height=height, width=width)
    match = re.fullmatch(r"(\d+)\s*[x×,]\s*(\d+)", shape.strip())
    if match is None:
        raise InputError(
            f"--shape must be rows x columns such as 512x512, but got {shape!r}; change it"
        )
    height, width = int(match[1]), int(match[2])
    if height < 1 or width < 1 or height % multiple or width % multiple:
        following = [str(max(1, -(-size // multiple)) * multiple) for size in (height, width)]
        raise InputError(
            f"--shape must be multiples of {multiple} for these networks, but got "
            f"{height}x{width}; the next that are: {'x'.join(following)}"
        )
    return replace(config, height=height, width=width)


def _name(text: str) -> str:
    return text if text in NAMED else "/".join(Path(text).resolve().parts[-2:])


if __name__ == "__main__":
    sys.exit(cli.run(main))
