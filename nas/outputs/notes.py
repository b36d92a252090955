"""Notes (Markdown) on a study and on each of its trials, where optuna-dashboard shows them.

optuna-dashboard keeps notes in the study's system attributes: "dashboard:TRIAL_ID:note_str:0" (at
most LONGEST characters; longer notes have a :1 and so on) and "dashboard:TRIAL_ID:note_ver", which
counts how often it was edited. They are written here in that form: a search then needs no
dashboard, and unlike optuna-dashboard's own `save_note` it reads no notes of other trials to write
one (tests hold both against each other). A note is short, one attribute: a dashboard reads all of
them for each view. Optuna gives ids and system attributes by private members only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import optuna
from optuna.artifacts import get_all_artifact_meta

from nas.outputs.drawing import percent
from nas.study.config import SYNTHETIC, StudyConfig
from space import Genome, count_blocks, network_parts

LONGEST = 2045
# At most so many held-out pictures are listed, the worst first.
WORST = 6
# The version of a note that the search wrote; the dashboard counts up when a person edits it.
OURS = 1
PICTURES = {
    "drawing.svg": "the network",
    "preview.png": "amplified only, restored, ground truth",
    "curve.svg": "learning curve",
}
KINDS = {
    "complete": "trained",
    "stopped": "stopped early",
    "over_limit": "over the latency limit",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "error": "failed",
    "interrupted": "interrupted",
}


def note_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    *,
    kind: str,
    latency_ms: float | None,
    artifacts: Mapping[str, str],
) -> None:
    """Writes the note of a trial that ends as `kind`; `artifacts` are ids by file name."""
    urls = _urls(study, trial._trial_id, artifacts)
    body = compose(trial.user_attrs, kind=kind, latency_ms=latency_ms, urls=urls)
    save(study, body, trial_id=trial._trial_id)


def note_repeat(study: optuna.Study, trial: optuna.Trial, first: int) -> None:
    """Writes the note of a trial that repeats trial `first`'s network."""
    url = f"/dashboard/studies/{study._study_id}/trials?numbers={first}"
    body = f"The same network as [trial {first}]({url}), whose figures it has: not run again."
    save(study, body, trial_id=trial._trial_id)


def note_interrupted(study: optuna.Study, number: int) -> None:
    """Writes the note of trial `number`, whose process ended in the middle."""
    trial = study.get_trials(deepcopy=False)[number]
    metas = get_all_artifact_meta(trial, storage=study._storage)
    urls = _urls(study, trial._trial_id, {meta.filename: meta.artifact_id for meta in metas})
    body = compose(trial.user_attrs, kind="interrupted", latency_ms=None, urls=urls)
    save(study, body, trial_id=trial._trial_id)


def note_study(study: optuna.Study, body: str) -> None:
    """Writes the note on `study`, unless a person has written there."""
    stored = study._storage.get_study_system_attrs(study._study_id)
    ours = stored.get("dashboard:note_ver", OURS) == OURS
    if ours and stored.get("dashboard:note_str:0") != body:
        save(study, body)


def save(study: optuna.Study, body: str, *, trial_id: int | None = None) -> None:
    """Writes `body`, at most LONGEST characters, as the note on `study` or on its trial."""
    assert len(body) <= LONGEST, len(body)
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    # The text before its version: a dashboard that reads in between sees no note, not half of one.
    study._storage.set_study_system_attr(study._study_id, f"{prefix}note_str:0", body)
    study._storage.set_study_system_attr(study._study_id, f"{prefix}note_ver", OURS)


def compose_study(config: StudyConfig, launch: str | None = None) -> str:
    """The note of the study of `config`, last started by the command `launch`."""
    at, device = config.latency, config.device
    count = at.threads if device == "cpu" else None
    threads = f", {count} thread{'s' * (count != 1)}" if count else ""
    frame = f"{at.height} x {at.width} mosaic" if at.height and at.width else "mosaic"
    limit = ""
    if config.latency_limit_ms:
        limit = f" Networks slower than {config.latency_limit_ms:g} ms are not trained."
    pairs = f"the held-out pairs of {config.data.source}"
    if config.data.source == SYNTHETIC:
        pairs = f"{config.data.held_out} held-out synthetic pairs"
    body = f"""\
**{config.name}**: a search for U-nets that restore extremely dark raw photos in real time. \
Each trial is a network; trials 0 to 2 are the published MO, M1 and M2.

- **PSNR, dB** (higher is better): mean over {pairs}, float pictures, after \
{config.train.steps} steps of training.
- **latency, ms** (lower is better): one {frame}, end to end, {at.dtype}, {at.runtime}, on \
{device}{threads}; timed in turn with MO before any training, as the ratio to MO times MO's own \
milliseconds.{limit}

Complete trials have both. Pruned ones were stopped early, diverged, over the limit or out of \
memory, failed ones were interrupted: each trial's note says which."""
    if launch:
        body += f"\n\nLast started by\n\n```\n{launch}\n```"
    default = _flat(StudyConfig(name=config.name).to_dict())
    values = _flat(config.to_dict()).items()
    changed = ", ".join(f"{key} {value}" for key, value in values if default[key] != value)
    settings = f"\n\nSettings other than the defaults: {changed}." if changed else ""
    return (body + settings if len(body + settings) <= LONGEST else body)[:LONGEST]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": one for name, one in value.items()}
        else:
            flat[key] = value
    return flat


def compose(
    attrs: Mapping[str, Any], *, kind: str, latency_ms: float | None, urls: Mapping[str, str]
) -> str:
    """The note of a trial with user attributes `attrs`; `urls` of its pictures by file name."""
    if "genome" not in attrs:  # killed before it was proposed
        return _ending(attrs, kind)
    genome = Genome.from_json(attrs["genome"])
    name = attrs.get("baseline") or genome.digest[:8]
    fixed = [
        f"**{name}**: {in_words(genome)}.",
        _ending(attrs, kind),
        " · ".join(_figures(attrs, latency_ms)),
        *(f"![{what}]({urls[file]})" for file, what in PICTURES.items() if file in urls),
        _parts_table(genome, attrs.get("parts") or {}),
    ]
    scored = [image for image in attrs.get("images") or () if image.get("psnr_db") is not None]
    images = sorted(scored, key=lambda image: float(image["psnr_db"]))
    for count in range(WORST if len(images) > 1 else 0, -1, -1):
        note = "\n\n".join(part for part in [*fixed, _images_table(images, count)] if part)
        if len(note) <= LONGEST:
            break
    return note[:LONGEST]


def in_words(genome: Genome) -> str:
    """`genome`'s network in one line."""
    stages = [("trunk at 8x", genome.skip_blocks, genome.skip_block)]
    stages += [(f"branch at {one.scale}x", one.blocks, one.block) for one in genome.branches]
    if genome.fine_width:
        stages.append(("stage at 4x", genome.fine_blocks or 0, genome.fine_block))
    words = [f"{stage} ({count_blocks(count, kind)})" for stage, count, kind in stages]
    fusion = [f"fusion {genome.fusion}"] if genome.fusion else []
    return ", ".join([*words, *fusion, f"head {genome.head}"])


def escape_markdown(text: object) -> str:
    """`text` without what Markdown or HTML would take for something else."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", str(text))


def _ending(attrs: Mapping[str, Any], kind: str) -> str:
    label = KINDS.get(kind, kind)
    message = escape_markdown(str(attrs.get("message") or "")[:300])
    # "stopped early: stopped at step 17" says it twice.
    repeats = message.startswith(label.split()[0])
    words = message if repeats else f"{label}: {message}" if message else label
    rungs, seconds = attrs.get("rungs") or [], attrs.get("train_seconds") or 0.0
    spent = [f"{rungs[-1]['step']} steps"] if rungs and not message else []
    if seconds >= 0.5:
        spent.append(f"{seconds:.0f} s of training")
    figures = f" ({', '.join(spent)})" if spent else ""
    return f"{words[:1].upper()}{words[1:]}{figures}."


def _figures(attrs: Mapping[str, Any], latency_ms: float | None) -> list[str]:
    figures = []
    if attrs.get("psnr_db") is not None:
        figures.append(f"**{attrs['psnr_db']:.2f} dB**")
    if attrs.get("ssim") is not None:
        figures.append(f"SSIM {attrs['ssim']:.3f}")
    if latency_ms is not None:
        figures.append(f"**{latency_ms:.1f} ms**{_interval(attrs, latency_ms)}")
    cost = attrs.get("cost")
    if cost:
        gmac, parameters = cost["macs"] / 1e9, cost["parameters"] / 1e6
        figures.append(f"{gmac:.3g} GMAC, {parameters:.3g} M parameters")
    return figures


def _interval(attrs: Mapping[str, Any], latency_ms: float) -> str:
    ratio, interval = attrs.get("ratio_to_mo"), attrs.get("ratio_to_mo_interval")
    latency = attrs.get("latency") or {}
    if attrs.get("baseline") == "MO" and latency.get("low_ms") is not None:
        return f" ({latency['low_ms']:.1f} to {latency['high_ms']:.1f}), the unit of all others"
    if not (ratio and interval):
        return ""
    low, high = (latency_ms / ratio * bound for bound in interval)
    bounds = f"{interval[0]:.2f} to {interval[1]:.2f}"
    return f" ({low:.1f} to {high:.1f}), {ratio:.2f} x MO ({bounds})"


def _parts_table(genome: Genome, shares: Mapping[str, float]) -> str:
    """A row for each branch, and for every other part that computes."""
    parts = [part for part in network_parts(genome) if part.convolutions]
    rows = ["|part|what|MACs|", "|-|-|-:|"]
    for branch, group in groupby(parts, key=lambda part: part.branch or part.name):
        members = list(group)
        main = next((part for part in members if part.name.startswith("chain")), members[0])
        name = f"branch {branch}x" if main.branch else f"{main.name} {main.scale}x"
        share = percent(sum(shares.get(part.name, 0.0) for part in members)) if shares else "-"
        words = ", ".join(line for line in main.captions if line != main.name)
        rows.append(f"|{name}|{words}|{share}|")
    return "\n".join(rows)


def _images_table(images: Sequence[Mapping[str, Any]], count: int) -> str:
    """The `count` worst of `images`, which come worst first."""
    if not count:
        return ""
    rows = ["|picture, worst first|dB|SSIM|", "|-|-:|-:|"]
    for image in images[:count]:
        ssim = "-" if image.get("ssim") is None else f"{image['ssim']:.3f}"
        rows.append(f"|{_cell(image['name'])}|{image['psnr_db']:.2f}|{ssim}|")
    if len(images) > count:
        rows.append(f"|and {len(images) - count} more|||")
    return "\n".join(rows)


def _urls(study: optuna.Study, trial_id: int, artifacts: Mapping[str, str]) -> dict[str, str]:
    """Where optuna-dashboard serves a trial's artifacts, by file name."""
    at = f"/artifacts/{study._study_id}/{trial_id}"
    return {name: f"{at}/{artifact_id}" for name, artifact_id in artifacts.items()}


def _cell(text: object) -> str:
    """A picture's name as a table's cell: its end, without what Markdown takes for something."""
    return "".join(c if c.isalnum() or c in "_-. " else " " for c in str(text)[-40:])
