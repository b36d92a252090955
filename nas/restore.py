"""`python -m nas.restore`: dark raw photos through a network, to picture files.

Takes whatever LibRaw reads that has a Bayer pattern. The picture has the size and the way up that
the camera says.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas import cli
from nas.study.config import resolve_device
from space import InputError, NetworkInput

if TYPE_CHECKING:
    from space import DarkUNet
    from trials.raw import FullFrame

SUFFIXES = {"png": ".png", "tiff": ".tiff", "jpeg": ".jpg"}
# What LibRaw reads; in a folder only such files are photos.
_SUFFIXES = (
    ".3fr .ari .arw .bay .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw "
    ".nef .nrw .orf .pef .raf .raw .rw2 .rwl .sr2 .srf .srw .x3f"
)
RAW_SUFFIXES = frozenset(_SUFFIXES.split())
EXAMPLE = "python -m nas.restore MO --weights mo_checkpoint.pt dark.ARW --out restored --compare"
EXIT_SOME_UNREADABLE = 1
# A GPU has more memory than the 2 GiB that a CPU's tiles are made for: less is computed twice.
GPU_TILE_SIZE = 4096


@dataclass(frozen=True)
class Job:
    """A photo and where its picture goes."""

    photo: Path
    picture: Path
    comparison: Path | None


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.restore", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    add("network", help="a trial's or an export's folder, or MO, M1, M2 or a genome's JSON file")
    add("photos", nargs="+", type=Path, metavar="photo", help="raw files, or folders of them")
    weights = "a published checkpoint or a weights.safetensors (default: the folder's own)"
    add("--weights", help=weights)
    add("--out", type=Path, required=True, help="the folder for the pictures")
    kinds = "png or tiff (16 bits), jpeg (8) (default: png)"
    add("--format", default="png", choices=SUFFIXES, help=kinds)
    exclusive = parser.add_mutually_exclusive_group()
    ratio = "amplification, 1 to 300 (default: estimated from each photo)"
    exclusive.add_argument("--ratio", type=float, help=ratio)
    reference = "a well-exposed photo of the same scene: amplify by the exposures' ratio"
    exclusive.add_argument("--reference", type=Path, help=reference)
    compare = "write before (amplified only) and after side by side too"
    add("--compare", action="store_true", help=compare)
    add("--force", action="store_true", help="overwrite pictures that are there")
    add("--tile", type=int, help="longest side of a tile in pixels (default: 2560, on a GPU 4096)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command: 0 if all went well, 1 if some of several photos could not be read."""
    args = parse(argv)
    jobs = plan(args)
    device = resolve_device(args.device)
    network = cli.load_network(args.network, args.weights)
    import torch

    from space.tiles import TILE_SIZE, margin_for
    from trials.config import LatencyConfig
    from trials.latency.deployment import numerics, scoring_form
    from trials.raw import check_ratio

    if args.ratio is not None:
        check_ratio(args.ratio)
    model = scoring_form(network.model, LatencyConfig(), device)
    margin = margin_for(model)
    if args.tile is None:
        args.tile = TILE_SIZE if device == "cpu" else GPU_TILE_SIZE
    errors: list[InputError] = []
    with cli.progress_bar() as bar, numerics(torch.device(device)):
        # In thousandths of a photo: its number of tiles is not known before it is read.
        task = bar.add_task("restoring", total=1000 * len(jobs))
        for index, job in enumerate(jobs):

            def on_tile(done: int, total: int, index: int = index) -> None:
                bar.update(task, completed=1000 * index + 1000 * done // total)

            bar.update(task, description=job.photo.name, completed=1000 * index)
            try:
                line = restore(job, args, model, network.input, margin, on_tile)
            except InputError as error:
                if len(jobs) == 1:
                    raise
                errors.append(error)
                continue
            print(line, flush=True)
    if errors:
        print(f"{len(errors)} of {len(jobs)} photos could not be restored:", file=sys.stderr)
        for one in errors:
            print(f"  {cli.one_line(one)}", file=sys.stderr)
    return EXIT_SOME_UNREADABLE if errors else 0


def restore(
    job: Job,
    args: Namespace,
    model: DarkUNet,
    network_input: NetworkInput,
    margin: int,
    on_tile: Callable[[int, int], None],
) -> str:
    """Reads, amplifies, restores and writes one photo; the line to print. Raises InputError."""
    from trials.raw import compare, read_full_frame, restore_photo, write_picture

    started = time.monotonic()
    photo = read_full_frame(job.photo)
    ratio, source = choose_ratio(job, args, photo)
    tiles = {"tile_size": args.tile, "margin": margin, "on_tile": on_tile}
    picture = restore_photo(model, photo, ratio, network_input, **tiles)
    job.picture.parent.mkdir(parents=True, exist_ok=True)
    write_picture(job.picture, picture)
    height, width = picture.shape[:2]
    if job.comparison:
        both = compare(photo, ratio, picture)
        del picture, photo  # OpenCV needs as much again as it writes
        write_picture(job.comparison, both)
    return (
        f"{job.photo} -> {job.picture}  {width} x {height}, amplified {ratio:.4g} times "
        f"({source}), {time.monotonic() - started:.1f} s"
    )


def choose_ratio(job: Job, args: Namespace, photo: FullFrame) -> tuple[float, str]:
    """The photo's amplification, and where it is from."""
    from trials.raw import estimate_ratio, reference_ratio

    if args.ratio is not None:
        return args.ratio, "given"
    if args.reference is not None:
        return reference_ratio(job.photo, args.reference), "from the reference"
    return estimate_ratio(photo.frame), "estimated"


def plan(args: Namespace) -> list[Job]:
    """Every photo and where its picture goes; InputError, before any work, for clashes."""
    suffix = SUFFIXES[args.format]
    jobs: dict[Path, Job] = {}
    for photo, name in find_photos(args.photos):
        picture = args.out / name.with_suffix(suffix)
        if picture in jobs:
            raise InputError(
                f"each photo must have its own picture, but {jobs[picture].photo} and {photo} "
                f"would both be {picture}; restore them into two folders"
            )
        comparison = picture.with_name(f"{picture.stem}_compare{suffix}") if args.compare else None
        jobs[picture] = Job(photo, picture, comparison)
    comparisons = {job.comparison for job in jobs.values() if job.comparison}
    if clashing := comparisons & jobs.keys():
        raise InputError(
            f"each photo must have its own picture, but {min(clashing)} would also be a "
            "comparison; restore without --compare"
        )
    existing = [path for path in sorted(jobs.keys() | comparisons) if path.exists()]
    if existing and not args.force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"pictures must be new, but {existing[0]} exists{more}; give --force or another --out"
        )
    if args.reference is not None and not args.reference.is_file():
        raise InputError(f"a reference must be a file, but {args.reference} is none; check it")
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"--out must be a folder, but {args.out} is a file; choose another")
    return list(jobs.values())


def find_photos(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each photo, and its name below the given folder; folders are searched recursively."""
    for path in paths:
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.suffix.lower() in RAW_SUFFIXES)
            photos = sorted(file for file in files if file.is_file())
            if not photos:
                raise InputError(
                    f"a folder must hold raw photos, but {path} holds none; choose another"
                )
            yield from ((photo, photo.relative_to(path)) for photo in photos)
        elif path.is_file():
            yield path, Path(path.name)
        else:
            raise InputError(
                f"a photo must be a file or a folder, but there is none at {path}; check the name"
            )


if __name__ == "__main__":
    sys.exit(cli.run(main))
