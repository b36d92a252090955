"""How a study's figures were measured, in words: device, protocol, data, training, trials."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dashboards.page.words import KINDS, counted, duration
from dashboards.study.records import StudyRecords

PROTOCOL = (
    "Each network alone on its device, in the form in which it is deployed, warmed up until "
    "steady, in turn with MO (A B A B); at least 50 runs, more until the 95 % interval is narrow. "
    "Times MO is that ratio; milliseconds are the ratio times MO's own, so that a machine which "
    "is slower for an hour does not reorder the networks."
)
# Attributes of MO's latency, in words.
OPTIONS = {
    "streams": "streams of its own for parallel branches",
    "keeps_memory": "freed memory kept for the next run",
    "huge_pages": "huge pages",
}


def how_measured(study: StudyRecords) -> list[tuple[str, str]]:
    """(name, text) of each row, those that are known."""
    torch = study.latency.get("torch_version")
    rows = [
        ("Latency", PROTOCOL if study.ours else ""),
        ("Timed on", _timed_on(study)),
        ("The front", _front(study)),
        ("PSNR and SSIM", _quality(study)),
        ("Data", _data(study.data, study.config.get("data") or {})),
        ("Training", _training(study.config.get("train") or {})),
        ("Trials", _trials(study)),
        ("Search", _search(study)),
        ("Versions", f"torch {torch}" if torch else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _timed_on(study: StudyRecords) -> str:
    latency = study.latency
    if not latency:
        return ""
    words = [study.timed]
    words += [latency[k].replace("_", " ") for k in ("dtype", "memory_format") if latency.get(k)]
    words += [f"runtime {latency['runtime']}"] if latency.get("runtime") else []
    words += [text for key, text in OPTIONS.items() if latency.get(key)]
    limit = study.latency_limit_ms
    untrained = f"; networks over {limit:g} ms were not trained" if limit is not None else ""
    return ", ".join(words) + untrained


def _front(study: StudyRecords) -> str:
    if not study.front or not study.ours:
        return ""
    if study.remeasured:
        return "Timed once more in one run at the end of the search; those are the figures here."
    return "Not yet timed again in one run: its figures are those of each trial's own moment."


def _quality(study: StudyRecords) -> str:
    pairs = max((len(record.images) for record in study.points), default=0)
    over = f"Mean over {counted(pairs, 'held-out pair')}, float pictures with peak 1."
    sentences = [over] if pairs else []
    if study.baseline_psnr_db is not None:
        sentences.append(f"Amplifying alone gives {study.baseline_psnr_db:.2f} dB.")
    return " ".join(sentences)


def _data(data: dict[str, Any], config: dict[str, Any]) -> str:
    kind = str(data.get("kind") or config.get("source") or "")
    if not kind:
        return ""
    synthetic = kind == "synthetic"
    scenes = "synthetic scenes, photographed by a simulated camera"
    words = [scenes if synthetic else f"pairs ({kind})"]
    words += [str(data["camera"])] if data.get("camera") else []
    if synthetic and config.get("scenes"):
        low, high = config.get("ratio_min"), config.get("ratio_max")
        words.append(f"{config['scenes']} training scenes, exposure ratio {low:g} to {high:g}")
        photos = (data.get("config") or {}).get("photos")
        if isinstance(photos, dict):
            of = counted(int(photos["count"]), "photo")
            words.append(f"{counted(int(photos['scenes']), 'scene')} of {of}")
    elif data.get("training_pairs"):
        words.append(counted(int(data["training_pairs"]), "training pair"))
    words += [f"digest {data['digest']}"] if data.get("digest") else []
    return ", ".join(words)


def _training(train: dict[str, Any]) -> str:
    if not train.get("steps"):
        return ""
    words = [f"{train['steps']:,} steps"]
    if train.get("batch") and train.get("crop"):
        words.append(f"{train['batch']} crops of {train['crop']} x {train['crop']} each")
    words += [f"learning rate {train['learning_rate']:g}"] if train.get("learning_rate") else []
    return (
        f"{', '.join(words)}; the same recipe and random seed for every network. A short training "
        "favours small networks."
    )


def _trials(study: StudyRecords) -> str:
    records = study.records
    if not records:
        return "none yet"
    kinds = Counter(one.kind if one.repeat_of is None else "repeat" for one in records)
    trials, networks = counted(len(records), "trial"), len(study.points)
    parts = [f"{trials}, {networks:,} of them networks trained to the end"]
    repeats = kinds.pop("repeat", 0)
    if repeats:
        parts.append(f"{repeats} repeated an earlier network and took its figures")
    parts += [
        f"{count} {KINDS.get(kind, kind.replace('_', ' '))}"
        for kind, count in sorted(kinds.items())
        if kind != "complete"
    ]
    seconds = sum(record.train_seconds or 0.0 for record in records)
    total = f" Training took {duration(seconds)} in all." if seconds else ""
    return f"{'; '.join(parts)}.{total}"


def _search(study: StudyRecords) -> str:
    samplers = Counter(record.sampler for record in study.records if record.sampler)
    if not samplers:
        return ""
    words = ", ".join(f"{name} proposed {count}" for name, count in samplers.most_common())
    seed = study.config.get("seed")
    return words + (f"; random seed {seed}" if seed is not None else "")
