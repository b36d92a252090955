"""How far do ten fresh processes agree on M1's latency in units of MO's while another process
trains?

Each measuring process is new, times M1 in turn with MO as nas.bench does, and ends. Meanwhile one
process trains MO without a pause. With the device lock the two take turns; without it (the
measuring process looks for its locks in another folder, so that neither sees the other's) they
fight for the same cores. Both spreads are printed.

    python tests/benchmarks/ratio_spread.py --json tests/benchmarks/results/ratio_spread.json

On two CPU cores: about 6 minutes for ten processes with the lock, and as long again for three
without.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

LOCKED, UNLOCKED = "with the lock", "without the lock"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--processes", type=int, default=10, help="fresh processes with the lock (10)"
    )
    parser.add_argument("--unlocked", type=int, default=3, help="fresh processes without it (3)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write what was found to this file too")
    parser.add_argument("--part", choices=("measure", "train"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "train":
        train_for_ever(args.device, args.threads)
    elif args.part == "measure":
        print(json.dumps(measure_once(args.device, args.threads)))
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    result: dict[str, object] = {
        "network": "M1",
        "reference": "MO",
        "device": args.device,
        "threads": args.threads,
    }
    words = ["--device", args.device, "--threads", str(args.threads)]
    with tempfile.TemporaryDirectory() as folder:
        shared = {**os.environ, "DARK_NAS_LOCKS": f"{folder}/shared"}
        trainer = subprocess.Popen(
            [sys.executable, __file__, "--part", "train", *words],
            env=shared,
            stdout=subprocess.PIPE,
        )
        assert trainer.stdout is not None
        trainer.stdout.readline()  # it trains now
        try:
            for name, count in ((LOCKED, args.processes), (UNLOCKED, args.unlocked)):
                found = []
                for _ in range(count):
                    alone = (
                        shared if name == LOCKED else {**shared, "DARK_NAS_LOCKS": f"{folder}/own"}
                    )
                    started = time.perf_counter()
                    out = subprocess.run(
                        [sys.executable, __file__, "--part", "measure", *words],
                        env=alone,
                        check=True,
                        stdout=subprocess.PIPE,
                        text=True,
                    ).stdout
                    assert trainer.poll() is None, "the training process ended"
                    found.append(json.loads(out))
                    ratio = found[-1]["ratio"]
                    print(
                        f"{name}: {ratio['value']:.3f} ({ratio['low']:.3f} to "
                        f"{ratio['high']:.3f}), M1 "
                        f"{found[-1]['latency']['median_ms']:.1f} ms, "
                        f"{time.perf_counter() - started:.0f} s",
                        flush=True,
                    )
                if found:
                    result[name] = {**summary(found), "measurements": found}
        finally:
            trainer.kill()
    for name in (LOCKED, UNLOCKED):
        if name in result:
            spread = result[name]
            print(
                f"{name}: {spread['processes']} processes, ratios {spread['lowest']:.3f} to "
                f"{spread['highest']:.3f}, spread (max/min - 1) {spread['spread']:.2%}; "
                f"milliseconds spread {spread['spread_ms']:.1%}"
            )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def summary(found: list[dict]) -> dict[str, float]:
    """How far the processes differ, as max / min - 1, in the ratio and in milliseconds."""
    ratios = [one["ratio"]["value"] for one in found]
    times = [one["latency"]["median_ms"] for one in found]
    return {
        "processes": len(found),
        "lowest": min(ratios),
        "highest": max(ratios),
        "spread": max(ratios) / min(ratios) - 1,
        "spread_ms": max(times) / min(times) - 1,
    }


def measure_once(device: str, threads: int) -> dict:
    from space import BASELINES, build_model
    from trials import LatencyConfig, measure_against

    usual = LatencyConfig()
    # As nas.bench and the front's last measurement do it.
    config = replace(
        usual, max_seconds=usual.front_seconds, threads=threads if device == "cpu" else None
    )
    latency, ratio = measure_against(
        build_model(BASELINES["M1"]), build_model(BASELINES["MO"]), config, device=device
    )
    return {"latency": latency.to_dict(), "ratio": ratio.to_dict()}


def train_for_ever(device: str, threads: int) -> None:
    import torch

    from space import BASELINES, build_model
    from trials import DataConfig, TrainConfig, load_data, train

    torch.set_num_threads(threads)
    data = load_data(DataConfig(scenes=8, held_out=1), device=device)
    is_noted = False

    def on_progress(*_: object) -> None:
        nonlocal is_noted
        if not is_noted:
            print("training", flush=True)
            is_noted = True

    train(
        build_model(BASELINES["MO"]),
        data,
        TrainConfig(steps=10**6),
        seed=0,
        on_progress=on_progress,
    )


if __name__ == "__main__":
    main()
