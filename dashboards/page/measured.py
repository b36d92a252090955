"""How a study's figures came about, in rows of plain words: device, protocol, data, training, what
became of the trials.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dashboards.page.words import KINDS, counted, duration
from dashboards.study.records import StudyRecords

PROTOCOL = (
    "Each network alone on its device, in the form in which it is deployed, warmed up "
    "until steady, in turn with MO (A B A B); at "
    "least 50 runs, more until the 95 % interval is narrow. Times MO is that ratio; "
    "milliseconds are the ratio times MO's own, so "
    "that a machine which is slower for an hour does not reorder the networks."
)


def how_measured(study: StudyRecords) -> list[tuple[str, str]]:
    """(what, in words), those that are known."""
    rows = [
        ("Latency", PROTOCOL if study.ours else ""),
        ("Timed on", _form(study)),
        ("The front", _again(study)),
        ("PSNR and SSIM", _quality(study)),
        ("Data", _data(study.data, study.config.get("data") or {})),
        ("Training", _training(study.config.get("train") or {})),
        ("Trials", _trials(study)),
        ("Search", _search(study)),
        ("Versions", _versions(study)),
    ]
    return [(what, said) for what, said in rows if said]


def _form(study: StudyRecords) -> str:
    at = study.latency
    if not at:
        return ""
    told = [study.timed]
    told += [str(at[key]).replace("_", " ") for key in ("dtype", "memory_format") if at.get(key)]
    told += [f"runtime {at['runtime']}"] if at.get("runtime") else []
    told += ["streams of its own for parallel branches"] if at.get("streams") else []
    told += ["freed memory kept for the next run"] if at.get("keeps_memory") else []
    told += ["huge pages"] if at.get("huge_pages") else []
    limit = study.latency_limit_ms
    return ", ".join(told) + (
        f"; networks over {limit:g} ms were not trained" if limit is not None else ""
    )


def _again(study: StudyRecords) -> str:
    if not study.front or not study.ours:
        return ""
    if study.remeasured:
        return "Timed once more in one run at the end of the search; those are the figures here."
    return (
        "Not yet timed again in one run (that is done as a search ends): its figures are "
        "those of each trial's own moment."
    )


def _quality(study: StudyRecords) -> str:
    pairs = max((len(record.images) for record in study.points), default=0)
    said = (
        f"Mean over {counted(pairs, 'held-out pair')}, float pictures with peak 1."
        if pairs
        else ""
    )
    if study.baseline_psnr_db is not None:
        said += f" Amplifying alone gives {study.baseline_psnr_db:.2f} dB."
    return said.strip()


def _data(data: dict[str, Any], config: dict[str, Any]) -> str:
    kind = str(data.get("kind") or config.get("source") or "")
    if not kind:
        return ""
    told = [
        "synthetic scenes, photographed by a simulated camera"
        if kind == "synthetic"
        else f"pairs ({kind})"
    ]
    told += [str(data["camera"])] if data.get("camera") else []
    if kind == "synthetic" and config.get("scenes"):
        told.append(
            f"{config['scenes']} training scenes, exposure ratio "
            f"{config.get('ratio_min'):g} to {config.get('ratio_max'):g}"
        )
    elif data.get("training_pairs"):
        told.append(counted(int(data["training_pairs"]), "training pair"))
    told += [f"digest {data['digest']}"] if data.get("digest") else []
    return ", ".join(told)


def _training(train: dict[str, Any]) -> str:
    if not train.get("steps"):
        return ""
    told = [f"{train['steps']:,} steps"]
    if train.get("batch") and train.get("crop"):
        told.append(f"{train['batch']} crops of {train['crop']} x {train['crop']} each")
    told += [f"learning rate {train['learning_rate']:g}"] if train.get("learning_rate") else []
    return (
        ", ".join(told)
        + "; the same recipe and seed for every network. A short training favours small networks."
    )


def _trials(study: StudyRecords) -> str:
    records = study.records
    if not records:
        return "none yet"
    kinds = Counter(
        "repeat" if record.repeat_of is not None else record.kind for record in records
    )
    networks = len(study.points)
    told = [f"{counted(len(records), 'trial')}, {networks:,} of them networks trained to the end"]
    if kinds["repeat"]:
        told.append(f"{kinds['repeat']} repeated an earlier network and took its figures")
    told += [
        f"{count} {KINDS.get(kind, kind.replace('_', ' '))}"
        for kind, count in sorted(kinds.items())
        if kind not in ("complete", "repeat")
    ]
    spent = sum(record.train_seconds or 0.0 for record in records)
    return "; ".join(told) + (f". Training took {duration(spent)} in all." if spent else ".")


def _search(study: StudyRecords) -> str:
    samplers = Counter(record.sampler for record in study.records if record.sampler)
    if not samplers:
        return ""
    told = ", ".join(f"{name} proposed {count}" for name, count in samplers.most_common())
    seed = study.config.get("seed")
    return told + (f"; seed {seed}" if seed is not None else "")


def _versions(study: StudyRecords) -> str:
    torch = study.latency.get("torch_version")
    return f"torch {torch}" if torch else ""
