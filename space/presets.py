"""Networks with names: MO, M1 and M2, the published baselines, and those that searches here found.

The baselines are the first three points of every search. The found ones lie in found.json beside
this file, as `tests/benchmarks/dark_search.py name` wrote it from the study: genomes, no weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from space.genome import Branch, Genome


def _rdb_branch(
    scale: int, *, groups: int, layers: tuple[int, ...], refine: bool = False
) -> Branch:
    chain = {"blocks": len(layers), "first_layers": layers[0], "layers": layers[-1], "growth": 32}
    return Branch(scale=scale, width=64, stem_groups=groups, block="rdb", refine=refine, **chain)


def _published(branches: tuple[Branch, ...], fusion: str | None) -> Genome:
    """The parts that the three share: trunk, merge and head."""
    trunk: dict[str, Any] = {"skip_width": 64, "skip_block": "residual", "skip_blocks": 1}
    merge = {"merge_width": 32, "merge_groups": 4, "merge_shuffle": True, "expand_kernel": 3}
    head = {"head": "concat", "head_kernel": 5, "head_width": 12, "merge_channels": 12}
    parts = trunk | merge | head
    return Genome(branches=branches, deep_width=64, fusion=fusion, **parts)


BASELINES: dict[str, Genome] = {
    "MO": _published((_rdb_branch(32, groups=128, layers=(4, 5, 5)),), None),
    "M1": _published(
        (
            _rdb_branch(8, groups=64, layers=(4, 5)),
            _rdb_branch(16, groups=64, layers=(5, 5)),
            _rdb_branch(32, groups=64, layers=(5, 5)),
        ),
        "concat",
    ),
    "M2": _published(
        tuple(_rdb_branch(s, groups=64, layers=(5, 5), refine=True) for s in (8, 16, 32)), "dual"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """A found network: its genome, and of the study that found it "command", "seed", "trial",
    "trials", "steps", "device", "date", whether it was "queued" there (found by an earlier
    search), and the trial's "psnr_db" (held-out synthetic pairs) and "ratio_to_mo".
    """

    genome: Genome
    study: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """The study in one line."""
        study = self.study
        queued = ", queued there from an earlier search" if study["queued"] else ""
        return (
            f"found by trial {study['trial']} of {study['trials']} of {study['command']} on "
            f"{study['device']}, {study['date']}{queued}; there {study['psnr_db']:.2f} dB, "
            f"{study['ratio_to_mo']:.2f} times MO's latency"
        )


def _read() -> dict[str, Found]:
    stored = json.loads((Path(__file__).parent / "found.json").read_text(encoding="utf-8"))
    return {
        name: Found(genome=Genome.from_dict(one["genome"]), study=one["study"])
        for name, one in stored.items()
    }


FOUND: dict[str, Found] = _read()
_M1_M2 = "the project 'Advancing the Architecture of Restoring Extremely Dark Images in Real Time'"
ORIGINS: dict[str, str] = {
    "MO": "Lamba and Mitra, Restoring Extremely Dark Images in Real Time, CVPR 2021",
    "M1": _M1_M2,
    "M2": _M1_M2,
    **{name: found.origin for name, found in FOUND.items()},
}
"""Where each named network comes from, in one line."""
