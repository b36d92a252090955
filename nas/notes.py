"""Notes (Markdown) on a study and on each of its trials, where optuna-dashboard shows them: what it is, in words and pictures.

optuna-dashboard keeps notes in the study's system attributes: "dashboard:TRIAL_ID:note_str:0" and, in characters of at
most LONGEST, on; "...:note_ver" counts how often it was written. They are written here in that form, so that a search needs no
dashboard and, unlike its own `save_note`, reads no notes of other trials to write one (a test holds both against each other).
A trial's note fits into one attribute: the dashboard looks through all of them for each trial that it shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from nas.drawing import percent
from space import Branch, Genome

LONGEST = 2045
# Of the held-out pictures so many are told, the worst first.
WORST = 6
FUSIONS = {"sum": "added", "concat": "concatenated", "dual": "met refined and unrefined", "cascade": "added from coarse to fine"}
HEADS = {"none": "no head", "add": "mosaic added by the head", "concat": "mosaic concatenated by the head"}
KINDS = {
    "complete": "trained and judged", "stopped": "stopped early", "over_limit": "over the latency limit, not trained",
    "diverged": "diverged", "out_of_memory": "out of memory", "error": "failed", "interrupted": "interrupted",
}  # fmt: skip


def note_trial(
    study: optuna.Study, trial: optuna.Trial, *, kind: str, latency_ms: float | None, artifacts: Mapping[str, str]
) -> None:
    """Writes the note of a trial that ends as `kind`, from its attributes; `latency_ms` is on MO's clock."""
    place = f"/artifacts/{study._study_id}/{trial._trial_id}/"
    urls = {name: place + artifact_id for name, artifact_id in artifacts.items()}
    save(study, compose(trial.user_attrs, kind=kind, latency_ms=latency_ms, urls=urls), trial_id=trial._trial_id)


def note_repeat(study: optuna.Study, trial: optuna.Trial, first: int) -> None:
    """The note of a trial that repeats trial `first`'s network."""
    url = f"/dashboard/studies/{study._study_id}/trials?numbers={first}"
    save(study, f"The same network as [trial {first}]({url}), whose figures it was given: not run again.",
         trial_id=trial._trial_id)  # fmt: skip


def save(study: optuna.Study, body: str, *, trial_id: int | None = None) -> None:
    """Writes `body` as the note on `study`, or on its trial; the one that was there, in full."""
    prefix = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    pieces = [body[at : at + LONGEST] for at in range(0, len(body), LONGEST)]
    # The text before its version: a dashboard that reads in between sees no note rather than half of one.
    for index, piece in enumerate(pieces):
        study._storage.set_study_system_attr(study._study_id, f"{prefix}note_str:{index}", piece)
    study._storage.set_study_system_attr(study._study_id, f"{prefix}note_ver", 1)


def compose(attrs: Mapping[str, Any], *, kind: str, latency_ms: float | None, urls: Mapping[str, str]) -> str:
    """The note of a trial with attributes `attrs` (see nas/study.py), at most LONGEST characters; `urls` by file name."""
    genome = Genome.from_json(attrs["genome"])
    name = attrs.get("seed") or genome.digest[:8]
    figures = " · ".join(_figures(attrs, latency_ms))
    fixed = [f"**{name}**: {in_words(genome)}.", _ending(attrs, kind), figures]
    fixed += [f"![{what}]({urls[file]})" for file, what in _PICTURES.items() if file in urls]
    for count in range(WORST, -1, -1):
        note = "\n\n".join(part for part in [*fixed, _parts(genome, attrs.get("parts") or {}), _images(attrs, count)] if part)
        if len(note) <= LONGEST:
            break
    return note[:LONGEST]


_PICTURES = {
    "drawing.svg": "the network", "preview.png": "amplified only, restored, ground truth", "curve.svg": "learning curve",
}  # fmt: skip


def in_words(genome: Genome) -> str:
    """`genome`'s network in one line."""
    branches = [f"{branch.scale}x ({_blocks(branch)})" for branch in genome.branches]
    trunk = f"a trunk at 8x ({genome.skip_blocks} x {genome.skip_block})" if genome.skip_blocks else "a trunk at 8x"
    how = f", {FUSIONS[genome.fusion]}" if genome.fusion and len(branches) > 1 else ""
    deep = f", {'branches' if len(branches) > 1 else 'a branch'} at {', '.join(branches)}{how}" if branches else ", no branches"
    return f"{trunk}{deep}; {HEADS[genome.head]}"


def _blocks(branch: Branch) -> str:
    if not branch.blocks:
        return "no blocks"
    return f"{branch.blocks} {'RDB' if branch.block == 'rdb' else branch.block}{'s' * (branch.blocks > 1 and branch.block == 'rdb')}"


def _ending(attrs: Mapping[str, Any], kind: str) -> str:
    seconds = attrs.get("train_seconds")
    rungs = attrs.get("rungs") or []
    told = [KINDS.get(kind, kind)]
    if rungs:
        told.append(f"{rungs[-1]['step']} steps")
    if seconds:
        told.append(f"{seconds:.0f} s of training")
    words = ", ".join(told)
    message = attrs.get("message")
    return f"{words[0].upper()}{words[1:]}{': ' + str(message)[:200] if message else '.'}"


def _figures(attrs: Mapping[str, Any], latency_ms: float | None) -> list[str]:
    told = []
    if attrs.get("psnr_db") is not None:
        told.append(f"**{attrs['psnr_db']:.2f} dB**")
    if attrs.get("ssim") is not None:
        told.append(f"SSIM {attrs['ssim']:.3f}")
    ratio, interval = attrs.get("ratio_to_mo"), attrs.get("ratio_to_mo_interval")
    if latency_ms is not None:
        spread = ""
        if ratio and interval:
            low, high = (latency_ms / ratio * bound for bound in interval)
            spread = f" ({low:.1f} to {high:.1f}), {ratio:.2f} x MO ({interval[0]:.2f} to {interval[1]:.2f})"
        told.append(f"**{latency_ms:.1f} ms**{spread}")
    cost = attrs.get("cost") or {}
    if cost:
        told.append(f"{cost['macs'] / 1e9:.3g} GMAC, {cost['parameters'] / 1e6:.3g} M parameters")
    return told


def _parts(genome: Genome, shares: Mapping[str, float]) -> str:
    def share(*names: str) -> str:
        found = [shares[name] for name in names if name in shares]
        return percent(sum(found)) if found else "-"

    rows = [("trunk 8x", f"{genome.skip_width} ch.", share("skip"))]
    for branch in genome.branches:
        s = branch.scale
        dense = f", {branch.layers} layers +{branch.growth}" if branch.blocks and branch.block == "rdb" else ""
        rows.append((f"branch {s}x", f"{_blocks(branch)}, {branch.width} ch.{dense}",
                     share(f"stem{s}", f"chain{s}", f"up{s}", f"refine{s}")))  # fmt: skip
    if genome.fusion and len(genome.branches) > 1:
        rows.append(("fusion", genome.fusion, share("meet")))
    rows += [("merge", f"{genome.expand_kernel}x{genome.expand_kernel}", share("merge")), ("head", genome.head, share("head"))]
    return "\n".join(["|part|what|MACs|", "|-|-|-:|", *(f"|{'|'.join(row)}|" for row in rows)])


def _images(attrs: Mapping[str, Any], count: int) -> str:
    images = sorted((image for image in attrs.get("images") or () if image.get("psnr_db") is not None),
                    key=lambda image: image["psnr_db"])  # fmt: skip
    if len(images) < 2 or not count:
        return ""
    rows = [f"|{str(image['name'])[-40:]}|{image['psnr_db']:.2f}|{image['ssim']:.3f}|" for image in images[:count]]
    more = f"\n\nand {len(images) - count} more" if len(images) > count else ""
    return "\n".join(["|picture, worst first|dB|SSIM|", "|-|-:|-:|", *rows]) + more
