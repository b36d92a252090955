"""The pictures of `nas.evaluate`: what its --data means."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.progress import TaskID

from nas import cli
from space import InputError
from trials.config import DataConfig

if TYPE_CHECKING:
    from trials import Progress
    from trials.data import PairFiles
    from trials.scoring import Picture, Protocol

SYNTHETIC, NATURAL, CHART = "synthetic", "natural", "chart"
SIMULATED = (SYNTHETIC, NATURAL)
PHASES = {
    "decode": "decoding",
    "scenes": "drawing scenes",
    "photos": "reading photos",
    "restore": "restoring",
    "chart": "restoring the chart",
}


class Bars:
    """A progress bar for each phase; a context."""

    def __init__(self) -> None:
        self._progress = cli.progress_bar()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """As trials.Progress."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(PHASES.get(phase, phase))
        self._progress.update(self._tasks[phase], completed=done, total=total)


def select_pictures(
    args: Namespace, protocols: Sequence[Protocol], on_progress: Progress
) -> tuple[Sequence[Picture], list[str]]:
    """The pictures of --data that any protocol includes, and the scenes that were left out.

    Raises InputError where a protocol has no picture, or what a photo or folder may lack.
    """
    from trials.data import DecodedCache, decode_pairs, select_split
    from trials.data.simulated_pictures import natural_pictures, synthetic_pictures

    cache = args.runs / "cache"
    if args.data in SIMULATED:
        for protocol in protocols:
            if protocol.per_ratio or protocol.names != ".*":
                raise InputError(
                    f"protocol {protocol.name} must have real pairs, but --data is {args.data}; "
                    "choose another --protocol"
                )
    if args.data == SYNTHETIC:
        config = DataConfig(colours=args.colours or DataConfig().colours)
        pictures = synthetic_pictures(
            config, seed=args.seed, scenes=args.scenes, cache_dir=cache, on_progress=on_progress
        )
        return pictures, []
    if args.data == NATURAL:
        return natural_pictures(DataConfig(), on_progress), []
    decoded = DecodedCache(cache)
    rows, left_out = select_rows(select_split(args.data, args.split, decoded), protocols, args)
    return decode_pairs(rows, decoded, on_progress), left_out


def select_rows(
    rows: list[PairFiles], protocols: Sequence[Protocol], args: Namespace
) -> tuple[list[PairFiles], list[str]]:
    """The rows that any protocol includes, all at least one; and the scenes that were left out."""
    from trials.scoring import MISALIGNED_SCENES

    where = f"{'every' if args.split == 'all' else f'the {args.split}'} list of {args.data}"
    excluded = MISALIGNED_SCENES if args.leave_out_misaligned else ()
    left_out = sorted({row.scene for row in rows if row.scene in excluded})
    rows = [row for row in rows if row.scene not in excluded]
    if not rows:
        raise InputError(
            f"there must be pictures to score, but {where} holds only misaligned scenes; drop "
            "--leave-out-misaligned"
        )
    for protocol in protocols:
        if not any(protocol.includes(row) for row in rows):
            raise InputError(
                f"protocol {protocol.name} must have its pictures "
                f"({protocol.description.partition(',')[0]}), but none of the {len(rows)} of "
                f"{where} is one (the first is {rows[0].name}); choose another --protocol"
            )
    return [row for row in rows if any(protocol.includes(row) for protocol in protocols)], left_out
