"""Each deployed form of a network against the same network as it was trained, in one run.

As trained: eager, float32, contiguous, weight norm on. Every form takes turns with that (A B A C
...). Beside the times: the largest difference of the picture, and with --weights and --data the
PSNR of MO's published weights in each dtype.

    python tests/benchmarks/deployed_forms.py --weights mo_checkpoint.pt --data sid-sample \
        --json tests/benchmarks/results/deployed_forms_cpu.json
    python tests/benchmarks/deployed_forms.py --device cuda --networks MO M1 M2 \
        --shapes 2848x4256 2160x3840 \
        --json tests/benchmarks/results/deployed_forms_gpu.json

The first takes about five minutes on two CPU cores, most of it compiling; the second is the table
for a GPU.
"""

import argparse
import copy
import json
import math
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from space import BASELINES, DarkUNet, build_model, load_reference_checkpoint
from space.files.network_input import PUBLISHED
from trials import LatencyConfig, load_pairs, score_images
from trials.device.lock import DeviceLock
from trials.device.memory import keep_freed_memory
from trials.latency.deployment import Deployed, Form, deploy, numerics, scoring_form
from trials.latency.measure import device_name
from trials.latency.rounds import Measurement
from trials.latency.runtimes import RUNTIMES
from trials.latency.statistics import summarise
from trials.latency.timer import NetworkTimer, random_mosaics

TRAINED = Form(dtype="float32", memory_format="contiguous", runtime="eager", streams=False)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=["MO"], choices=list(BASELINES))
    parser.add_argument(
        "--shapes", nargs="+", default=["512x512"], help="rows x columns, padded to a multiple"
    )
    parser.add_argument("--runtimes", nargs="+", help="all that the device has, without it")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=8.0, help="for each form")
    parser.add_argument("--weights", help="MO's published checkpoint")
    parser.add_argument("--data", help="pairs in SID's layout, for the PSNR in each dtype")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the compiler's own
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    result: dict[str, Any] = {
        "device": device_name(args.device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": args.threads if device.type == "cpu" else None,
        "tables": [],
    }
    for shape in args.shapes:
        for name in args.networks:
            rows = table(name, shape, device, args)
            result["tables"].append({"network": name, "shape": shape, "rows": rows})
            show(name, rows)
    if args.weights and args.data:
        result["psnr_db"] = psnr_by_dtype(args)
        print(
            "PSNR of MO's published weights:",
            {key: round(value, 4) for key, value in result["psnr_db"].items()},
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def table(
    name: str, shape: str, device: torch.device, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """One network on one frame: as trained first, then each form, all in one run."""
    torch.manual_seed(0)
    model = build_model(BASELINES[name]).eval()
    height, width = (
        math.ceil(int(side) / model.size_multiple) * model.size_multiple
        for side in shape.split("x")
    )
    if device.type == "cpu":
        keep_freed_memory()
    config = LatencyConfig(max_seconds=args.seconds)
    with DeviceLock(args.device).alone(), torch.no_grad(), numerics(device):
        trained = Deployed(copy.deepcopy(model), TRAINED, device, height, width)
        ones = [trained, *forms(model, device, height, width, args.runtimes)]
        timed = [NetworkTimer(one, random_mosaics(one, height, width)) for one in ones]
        mosaic = timed[0].mosaics[0]
        right = trained(mosaic).float().clone()
        off = [float((one(mosaic.to(one.dtype)).float() - right).abs().max()) for one in ones]
        measurement = Measurement(timed, config, None, ratio_only=False)
        measurement.run()
    ratios: list[Any] = [(None, None), *measurement.ratios()]
    rows = []
    for one, (times_ms, device_ms), (ratio, device_ratio), difference in zip(
        ones, measurement.best, ratios, off, strict=True
    ):
        rows.append(
            {
                "form": {**asdict(one.form), "weight_norm": one is trained},
                "height": height,
                "width": width,
                "end_to_end": summarise(times_ms).to_dict(),
                "device_time": summarise(device_ms).to_dict() if device_ms else None,
                "ratio_to_trained": ratio.to_dict() if ratio else None,
                "device_ratio_to_trained": device_ratio.to_dict() if device_ratio else None,
                "largest_difference": difference,
                "gpu": measurement.gpu,
            }
        )
    return rows


def forms(
    model: DarkUNet, device: torch.device, height: int, width: int, runtimes: list[str] | None
) -> list[Deployed]:
    """Every form that the device has; contiguous memory in float32 eager only, for comparison."""
    runtimes = runtimes or [
        name for name in RUNTIMES if name != "cuda_graph" or device.type == "cuda"
    ]
    configs = [LatencyConfig(dtype="float32", memory_format="contiguous", runtime="eager")]
    configs += [
        LatencyConfig(dtype=dtype, memory_format="channels_last", runtime=runtime)
        for dtype in ("float32", "bfloat16", "float16")
        for runtime in runtimes
        # float16 on a CPU without its own instructions for it takes seconds on a whole frame: once
        # is enough
        if not (dtype == "float16" and runtime == "compile" and device.type == "cpu")
    ]
    return [deploy(model, config, device, height, width) for config in configs]


def psnr_by_dtype(args: argparse.Namespace) -> dict[str, float]:
    """Mean PSNR in dB of MO's published weights over all pairs of --data: as trained, and in each
    dtype.
    """
    model = load_reference_checkpoint("MO", args.weights)
    pairs = load_pairs(args.data, "all", network_input=PUBLISHED, device=args.device)
    networks = {"as trained": copy.deepcopy(model).eval().to(args.device)}
    for dtype in ("float32", "bfloat16", "float16"):
        networks[dtype] = scoring_form(model, replace(LatencyConfig(), dtype=dtype), args.device)
    found = {}
    with numerics(torch.device(args.device)):
        for name, network in networks.items():
            scores = score_images(network, pairs)
            found[name] = sum(score.psnr_db for score in scores) / len(scores)
    return found


def markdown(result: dict[str, Any]) -> str:
    """The README's table of a stored result's first table."""
    lines = [
        "| form | ms | times as fast | largest difference | PSNR dB |",
        "|---|---|---|---|---|",
    ]
    for row in result["tables"][0]["rows"]:
        form, ratio = row["form"], row["ratio_to_trained"]
        faster = (
            "1"
            if ratio is None
            else f"{1 / ratio['value']:.2f} ({1 / ratio['high']:.2f} to {1 / ratio['low']:.2f})"
        )
        what = (
            f"as trained: {form['runtime']}, weight norm on"
            if form["weight_norm"]
            else f"folded, {form['runtime']}"
        )
        psnr_db = result["psnr_db"]["as trained" if form["weight_norm"] else form["dtype"]]
        lines.append(
            f"| {what}, {form['dtype']}, {form['memory_format']} | "
            f"{row['end_to_end']['median_ms']:.1f} | {faster} | "
            f"{row['largest_difference']:.1e} | {psnr_db:.4f} |"
        )
    return "\n".join(lines)


def show(name: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{name}, {rows[0]['height']} x {rows[0]['width']}")
    for row in rows:
        form, ratio, device_time = row["form"], row["ratio_to_trained"], row["device_time"]
        what = " ".join(
            [
                form["dtype"],
                form["memory_format"],
                form["runtime"],
                *(["weight norm"] if form["weight_norm"] else []),
                *(["streams"] if form["streams"] else []),
            ]
        )
        faster = (
            ""
            if ratio is None
            else (
                f"{1 / ratio['value']:.2f} x as fast ({1 / ratio['high']:.2f} to "
                f"{1 / ratio['low']:.2f})"
            )
        )
        on_device = "" if device_time is None else f"device {device_time['median_ms']:8.3f} ms  "
        print(
            f"  {what:44s} {row['end_to_end']['median_ms']:9.2f} ms  "
            f"{on_device}{faster:34s} off by at most "
            f"{row['largest_difference']:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
