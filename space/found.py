"""Networks that this project's own searches found, by name: genomes, and which study found them.
No weights.

They lie in found.json beside this file, as `tests/benchmarks/dark_search.py name` wrote it from
the study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from space.genome import Genome


@dataclass(frozen=True, kw_only=True)
class Found:
    """A found network: its genome, and of the study that found it "command", "seed", "trial",
    "trials", "steps", "device", "date", whether it was "queued" there (found by an earlier
    search), and what the trial showed, "psnr_db" (held-out synthetic pairs) and "ratio_to_mo".
    """

    genome: Genome
    study: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """The study in one line."""
        told = self.study
        earlier = ", queued there from an earlier search" if told["queued"] else ""
        return (
            f"found by trial {told['trial']} of {told['trials']} of {told['command']} on "
            f"{told['device']}, "
            f"{told['date']}{earlier}; there {told['psnr_db']:.2f} dB, "
            f"{told['ratio_to_mo']:.2f} times MO's latency"
        )


def _read() -> dict[str, Found]:
    told = json.loads((Path(__file__).parent / "found.json").read_text(encoding="utf-8"))
    return {
        name: Found(genome=Genome.from_dict(one["genome"]), study=one["study"])
        for name, one in told.items()
    }


FOUND: dict[str, Found] = _read()
