"""How fast real training crops come, against a plain loader, and how long training waits for them.

    python tests/benchmarks/loader_speed.py ../shared/sid-sample

The plain loader does for every crop what many published trainings do: it opens the dark raw,
develops the long one by the same recipe, and cuts. Ours reads the crop's rows from the decoded
cache. Then MO is trained for some steps as nas.retrain does it. Exits with 1 where ours is not 20
times as fast, or the training waits for more than 5 % of its time.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from space import BASELINES, InputError, build_model
from trials import DataConfig, TrainConfig, load_data, train
from trials.data import RealData
from trials.raw import read_frame, read_target

WANTED_TIMES = 20.0
WANTED_SHARE = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", type=Path, help="folder of real pairs in SID's layout")
    add("--crop", type=int, default=128, help="side of a crop, pixels (default: %(default)s)")
    add("--batch", type=int, default=8, help="crops per step (default: %(default)s)")
    add("--seconds", type=float, default=6.0, help="for each loader (default: %(default)s)")
    add("--steps", type=int, default=60, help="training steps (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = load_data(
            DataConfig(source=options.data),
            device=options.device,
            cache_dir=Path(folder) / "cache",
        )
        assert isinstance(data, RealData)
        plain = samples_per_s(lambda: [plain_crop(data, options.crop)], options.seconds)
        generator = torch.Generator(data.device).manual_seed(0)
        ours = samples_per_s(
            lambda: data.sample(options.batch, options.crop, generator)[0], options.seconds
        )
        height, width = data.pairs[0].frame.size
        print(
            f"{len(data.pairs)} pairs of {height} x {width}, crops of {options.crop}, one thread"
        )
        print(f"plain loader, opens the raw for each crop: {plain:8.1f} samples/s")
        print(f"ours, decoded once: {ours:31.1f} samples/s, {ours / plain:.0f} times as many")
        recipe = TrainConfig(steps=options.steps, batch=options.batch, crop=options.crop)
        torch.manual_seed(0)
        precision = torch.bfloat16 if data.device.type == "cuda" else torch.float32
        log = train(build_model(BASELINES["MO"]), data, recipe, seed=0, precision=precision)
    share = log.waited_s / log.seconds
    pace = options.steps * options.batch / log.seconds
    print(
        f"MO trains on {pace:.1f} samples/s ({options.device}); {share:.2%} of it waits for data"
    )
    return 0 if ours >= WANTED_TIMES * plain and share <= WANTED_SHARE else 1


def samples_per_s(draw, seconds: float) -> float:
    """Crops per second of `draw`, which gives some at each call; the first call does not count."""
    draw()
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < seconds:
        count += len(draw())
    return count / passed


def plain_crop(data: RealData, crop: int):
    """A crop the plain way: both files opened and developed for it alone."""
    row = random.choice(data.pairs).files
    frame = read_frame(row.short)
    target = read_target(row.long, frame.offset, frame.size)
    top, left = (2 * random.randrange((size - crop) // 2 + 1) for size in frame.size)
    rows, columns = slice(top, top + crop), slice(left, left + crop)
    mosaic = frame.normalised(rows, columns) * row.ratio
    return torch.from_numpy(mosaic).clamp_(max=1.0), target[rows, columns]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
