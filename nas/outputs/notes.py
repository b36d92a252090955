"""Notes (Markdown) on a study and on each of its trials, where optuna-dashboard shows them: what
it is, in words and pictures.

optuna-dashboard keeps notes in the study's system attributes: "dashboard:TRIAL_ID:note_str:0" (at
most LONGEST characters; longer notes have a :1 and so on) and "dashboard:TRIAL_ID:note_ver", which
counts how often it was edited. They are written here in that form: a search then needs no
dashboard, and unlike optuna-dashboard's own `save_note` it reads no notes of other trials to write
one. (Tests hold both against each other.) A note is short, one attribute: a dashboard reads all of
them for each view.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.artifacts import get_all_artifact_meta

from nas.outputs.layout import percent
from space import Branch, Genome

LONGEST = 2045
# Of the held-out pictures so many are told, the worst first.
WORST = 6
# The version of a note that the search wrote; the dashboard counts up when a person edits it.
OURS = 1
PICTURES = {
    "drawing.svg": "the network",
    "preview.png": "amplified only, restored, ground truth",
    "curve.svg": "learning curve",
}
FUSIONS = {
    "sum": "added",
    "concat": "concatenated",
    "dual": "met refined and unrefined",
    "cascade": "added from coarse to fine",
}
HEADS = {
    "none": "no head",
    "add": "the mosaic is added in the head",
    "concat": "the mosaic is concatenated in the head",
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
    """Writes the note of a trial that ends as `kind`, from its attributes; `latency_ms` is on MO's
    clock.
    """
    urls = _urls(study, trial._trial_id, artifacts)
    save(
        study,
        compose(trial.user_attrs, kind=kind, latency_ms=latency_ms, urls=urls),
        trial_id=trial._trial_id,
    )


def note_repeat(study: optuna.Study, trial: optuna.Trial, first: int) -> None:
    """The note of a trial that repeats trial `first`'s network."""
    url = f"/dashboard/studies/{study._study_id}/trials?numbers={first}"
    save(
        study,
        f"The same network as [trial {first}]({url}), whose figures it was given: not run again.",
        trial_id=trial._trial_id,
    )


def note_interrupted(study: optuna.Study, number: int) -> None:
    """The note of trial `number`, whose process ended in the middle: in place of one that told of
    a good end.
    """
    trial = study.get_trials(deepcopy=False)[number]
    metas = get_all_artifact_meta(trial, storage=study._storage)
    urls = _urls(study, trial._trial_id, {meta.filename: meta.artifact_id for meta in metas})
    save(
        study,
        compose(trial.user_attrs, kind="interrupted", latency_ms=None, urls=urls),
        trial_id=trial._trial_id,
    )


def note_study(study: optuna.Study, body: str) -> None:
    """Writes the note on `study`, unless a person has written there."""
    stored = study._storage.get_study_system_attrs(study._study_id)
    if (
        stored.get("dashboard:note_ver", OURS) == OURS
        and stored.get("dashboard:note_str:0") != body
    ):
        save(study, body)


def save(study: optuna.Study, body: str, *, trial_id: int | None = None) -> None:
    """Writes `body`, of at most LONGEST characters, as the note on `study`, or on its trial with
    that id.
    """
    assert len(body) <= LONGEST, len(body)
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    # The text before its version: a dashboard that reads in between sees no note rather than half
    # of one.
    study._storage.set_study_system_attr(study._study_id, f"{prefix}note_str:0", body)
    study._storage.set_study_system_attr(study._study_id, f"{prefix}note_ver", OURS)


def compose(
    attrs: Mapping[str, Any], *, kind: str, latency_ms: float | None, urls: Mapping[str, str]
) -> str:
    """The note of a trial with attributes `attrs` (see nas/study/store.py), at most LONGEST
    characters; `urls` by file name.
    """
    if "genome" not in attrs:  # killed before it was proposed
        return _ending(attrs, kind)
    genome = Genome.from_json(attrs["genome"])
    name = attrs.get("baseline") or genome.digest[:8]
    pictures = [f"![{what}]({urls[file]})" for file, what in PICTURES.items() if file in urls]
    fixed = [
        f"**{name}**: {in_words(genome)}.",
        _ending(attrs, kind),
        " · ".join(_figures(attrs, latency_ms)),
        *pictures,
    ]
    fixed.append(_parts(genome, attrs.get("parts") or {}))
    images = sorted(
        (image for image in attrs.get("images") or () if image.get("psnr_db") is not None),
        key=lambda image: float(image["psnr_db"]),
    )
    for count in range(WORST if len(images) > 1 else 0, -1, -1):
        note = "\n\n".join(part for part in [*fixed, _images(images, count)] if part)
        if len(note) <= LONGEST:
            break
    return note[:LONGEST]


def in_words(genome: Genome) -> str:
    """`genome`'s network in one line."""
    branches = [f"{branch.scale}x ({_blocks(branch)})" for branch in genome.branches]
    trunk = (
        f"a trunk at 8x ({_counted(genome.skip_blocks, str(genome.skip_block))})"
        if genome.skip_blocks
        else "a trunk at 8x"
    )
    how = f", {FUSIONS[genome.fusion]}" if genome.fusion and len(branches) > 1 else ""
    deep = (
        f", {'branches' if len(branches) > 1 else 'a branch'} at {', '.join(branches)}{how}"
        if branches
        else ", no branches"
    )
    blocks = (
        f" ({_counted(genome.fine_blocks, str(genome.fine_block))})" if genome.fine_blocks else ""
    )
    fine = f", a stage at 4x{blocks}" if genome.fine_width else ""
    return f"{trunk}{deep}{fine}; {HEADS[genome.head]}"


def _blocks(branch: Branch) -> str:
    if not branch.blocks:
        return "no blocks"
    return _counted(branch.blocks, str(branch.block))


def _counted(count: int, block: str) -> str:
    return f"{count} {'RDB' if block == 'rdb' else f'{block} block'}{'s' * (count > 1)}"


def _ending(attrs: Mapping[str, Any], kind: str) -> str:
    # What an exception said may hold what Markdown takes for something.
    label, message = (
        KINDS.get(kind, kind),
        re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", str(attrs.get("message") or "")[:300]),
    )
    # "stopped early: stopped at step 17" says it twice.
    words = (
        message
        if message.startswith(label.split()[0])
        else f"{label}: {message}"
        if message
        else label
    )
    rungs, seconds = attrs.get("rungs") or [], attrs.get("train_seconds") or 0.0
    spent = [f"{rungs[-1]['step']} steps"] if rungs and not message else []
    if seconds >= 0.5:
        spent.append(f"{seconds:.0f} s of training")
    told = f" ({', '.join(spent)})" if spent else ""
    return f"{words[:1].upper()}{words[1:]}{told}."


def _figures(attrs: Mapping[str, Any], latency_ms: float | None) -> list[str]:
    told = []
    if attrs.get("psnr_db") is not None:
        told.append(f"**{attrs['psnr_db']:.2f} dB**")
    if attrs.get("ssim") is not None:
        told.append(f"SSIM {attrs['ssim']:.3f}")
    ratio, interval = attrs.get("ratio_to_mo"), attrs.get("ratio_to_mo_interval")
    latency = attrs.get("latency") or {}
    if latency_ms is not None and attrs.get("baseline") == "MO" and latency.get("low_ms") is not None:
        told.append(
            f"**{latency_ms:.1f} ms** ({latency['low_ms']:.1f} to "
            f"{latency['high_ms']:.1f}), the unit of all others"
        )
    elif latency_ms is not None and ratio and interval:
        low, high = (latency_ms / ratio * bound for bound in interval)
        told.append(
            f"**{latency_ms:.1f} ms** ({low:.1f} to {high:.1f}), {ratio:.2f} x MO "
            f"({interval[0]:.2f} to {interval[1]:.2f})"
        )
    elif latency_ms is not None:
        told.append(f"**{latency_ms:.1f} ms**")
    cost = attrs.get("cost") or {}
    if cost:
        told.append(f"{cost['macs'] / 1e9:.3g} GMAC, {cost['parameters'] / 1e6:.3g} M parameters")
    return told


def _parts(genome: Genome, shares: Mapping[str, float]) -> str:
    def share(*names: str) -> str:
        found = [shares[name] for name in names if name in shares]
        return percent(sum(found)) if found else "-"

    rows = [("trunk 8x", f"{genome.skip_width} channels", share("skip"))]
    for branch in genome.branches:
        s = branch.scale
        dense = (
            f", {branch.layers} layers +{branch.growth}"
            if branch.blocks and branch.block == "rdb"
            else ""
        )
        rows.append(
            (
                f"branch {s}x",
                f"{_blocks(branch)}, {branch.width} ch.{dense}",
                share(f"stem{s}", f"chain{s}", f"up{s}", f"refine{s}"),
            )
        )
    if genome.fusion and len(genome.branches) > 1:
        rows.append(("fusion", genome.fusion, share("meet")))
    fine = (
        [
            (
                "stage 4x",
                f"{_counted(genome.fine_blocks, str(genome.fine_block)) if genome.fine_blocks else 'no blocks'}, "
                f"{genome.fine_width} ch.",
                share("fine"),
            )
        ]
        if genome.fine_width
        else []
    )
    rows += [
        ("merge", f"{genome.expand_kernel}x{genome.expand_kernel}", share("merge")),
        *fine,
        ("head", genome.head, share("head")),
    ]
    return "\n".join(["|part|what|MACs|", "|-|-|-:|", *(f"|{'|'.join(row)}|" for row in rows)])


def _images(images: Sequence[Mapping[str, Any]], count: int) -> str:
    """A table of the `count` worst of `images`, which come worst first."""
    if not count:
        return ""
    rows = [
        f"|{_cell(image['name'])}|{image['psnr_db']:.2f}|{_figure(image.get('ssim'))}|"
        for image in images[:count]
    ]
    more = [f"|and {len(images) - count} more|||"] if len(images) > count else []
    return "\n".join(["|picture, worst first|dB|SSIM|", "|-|-:|-:|", *rows, *more])


def _urls(study: optuna.Study, trial_id: int, artifacts: Mapping[str, str]) -> dict[str, str]:
    """Where optuna-dashboard gives out a trial's artifacts, by file name."""
    return {
        name: f"/artifacts/{study._study_id}/{trial_id}/{artifact_id}"
        for name, artifact_id in artifacts.items()
    }


def _cell(text: object) -> str:
    """A picture's name as a table's cell: its end, without what Markdown takes for something."""
    return "".join(
        letter if letter.isalnum() or letter in "_-. " else " " for letter in str(text)[-40:]
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
