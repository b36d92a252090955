"""Peak memory and time of `nas.restore` for photos of 12, 24 and 50 megapixels.

Each photo is a synthetic DNG of dark noise, and each is restored to a 16-bit PNG in a fresh
process, whose largest resident memory the system tells: everything counts, from Python and torch
to LibRaw and the finished picture. The limit is 2 GiB on the CPU. Weights are random: memory and
time don't depend on them.

    python tests/benchmarks/restore_memory.py --json tests/benchmarks/results/restore_memory.json

On one CPU core: about two minutes for MO alone.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "trials"))

LIMIT_MIB = 2048
# Of real cameras: Sony A7S2 (SID's), A7 III, Canon EOS 5DS.
SIZES = {12: (2848, 4256), 24: (4024, 6048), 50: (5792, 8688)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["MO"], choices=["MO", "M1", "M2"])
    parser.add_argument("--megapixels", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    parser.add_argument("--compare", action="store_true", help="write comparisons too")
    parser.add_argument("--json", type=Path, help="write the rows to this file too")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            photo = write_photo(Path(folder) / f"{megapixels}.dng", *SIZES[megapixels])
            for name in args.networks:
                flags = ["--compare"] if args.compare else []
                row = {
                    "network": name,
                    "megapixels": megapixels,
                    "size": SIZES[megapixels],
                    "compare": args.compare,
                    **restore_apart(name, photo, Path(folder), flags),
                }
                figures = f"{row['peak_mib']:.0f} MiB  {row['seconds']:.1f} s"
                print(f"{name}  {megapixels} megapixels  {figures}", flush=True)
                rows.append(row)
            photo.unlink()
    worst = max(row["peak_mib"] for row in rows)
    print(f"largest: {worst:.0f} MiB of {LIMIT_MIB}: {'kept' if worst <= LIMIT_MIB else 'BROKEN'}")
    if args.json:
        result = {
            "limit_mib": LIMIT_MIB,
            "cpus": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "rows": rows,
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.exit(worst > LIMIT_MIB)


def write_photo(path: Path, height: int, width: int) -> Path:
    import numpy as np
    from dng import write_dng

    rng = np.random.default_rng(0)
    return write_dng(path, rng.poisson(520, (height, width)).astype(np.uint16))


def restore_apart(name: str, photo: Path, folder: Path, flags: list[str]) -> dict[str, float]:
    """Restores `photo` in a process of its own: its peak memory and its seconds."""
    weights = folder / f"{name}.safetensors"
    if not weights.exists():
        write_weights(name, weights)
    command = [sys.executable, "-m", "nas.restore", name, str(photo), "--weights", str(weights)]
    options = f"--out {folder}/out --device cpu --ratio 100 --force"
    words = [*command, *options.split(), *flags]
    started = time.monotonic()
    child = os.posix_spawn(sys.executable, words, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return {"peak_mib": usage.ru_maxrss / 1024, "seconds": time.monotonic() - started}


def write_weights(name: str, path: Path) -> None:
    from safetensors.torch import save_file

    from space import BASELINES, build_model

    state = build_model(BASELINES[name]).state_dict()
    save_file({key: value.clone() for key, value in state.items()}, path)


if __name__ == "__main__":
    main()
