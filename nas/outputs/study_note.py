"""The note on a study, where optuna-dashboard shows it: what is searched, how it is judged and
timed, and how it was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.outputs.notes import LONGEST
from nas.study.config import SYNTHETIC, StudyConfig


def compose_study(config: StudyConfig, launch: str | None = None) -> str:
    """The note of the study of `config`, last started by the command `launch`; at most LONGEST
    characters.
    """
    at, device = config.latency, config.device
    threads = (
        f", {at.threads} thread{'s' * (at.threads != 1)}" if at.threads and device == "cpu" else ""
    )
    frame = f"{at.height} x {at.width} mosaic" if at.height and at.width else "mosaic"
    limit = (
        f" Networks slower than {config.latency_limit_ms:g} ms are not trained."
        if config.latency_limit_ms
        else ""
    )
    synthetic = config.data.source == SYNTHETIC
    pairs = (
        f"{config.data.held_out} held-out synthetic pairs"
        if synthetic
        else f"the held-out pairs of {config.data.source}"
    )
    told = [
        f"**{config.name}**: a search for U-nets that restore extremely dark raw photos "
        f"in real time. Each trial is a network; "
        "trials 0 to 2 are the published MO, M1 and M2.",
        f"- **PSNR, dB** (higher is better): mean over {pairs}, float pictures, after "
        f"{config.train.steps} steps of "
        f"training.\n- **latency, ms** (lower is better): one {frame}, end to end, "
        f"{at.dtype}, {at.runtime}, on {device}{threads}; "
        f"timed in turn with MO before any training, as the ratio to MO times MO's own "
        f"milliseconds.{limit}",
        "Complete trials have both. Pruned ones were stopped early, diverged, over the "
        "limit or out of memory, failed ones were "
        "interrupted: each trial's note tells.",
    ]
    if launch:
        told.append(f"Last started by\n\n```\n{launch}\n```")
    default = _flat(StudyConfig(name=config.name).to_dict())
    other = [
        f"{key} {value}" for key, value in _flat(config.to_dict()).items() if default[key] != value
    ]
    note = "\n\n".join(told)
    settings = f"\n\nSettings other than the defaults: {', '.join(other)}." if other else ""
    return (note + settings if len(note + settings) <= LONGEST else note)[:LONGEST]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            {f"{key}.{name}": one for name, one in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    return flat
