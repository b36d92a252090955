"""A study is opened or resumed here, and here is written what it holds: the contract with the
dashboards.

The study's user attributes
    schema            number of this contract (1) config            every key of its StudyConfig,
    as last run fixed             the keys that may not change, flat ("train.steps") device
    {"kind": "cpu" | "cuda", "name": ...} data              what the data is
    (trials.TrialData.description) baseline_psnr_db  PSNR of the amplified mosaics alone on the
    held-out pairs final_latency     the front's networks, measured again in one run at a search's
    end: per digest {"ratio_to_mo":
                      trials.LatencyRatio, "device_ratio_to_mo": the same or null, "latency":
                      trials.Latency, "measured_at"}, and the same run's MO under "mo": {"latency",
                      "measured_at"}
    reference         {"psnr_db", "latency_ms"} from which the front's hypervolume counts
Its note (nas/outputs/study_note.py) and those of the trials (nas/outputs/notes.py) are system
attributes, in optuna-dashboard's form. Objectives: psnr_db (maximised), latency_ms (minimised),
named for readers by METRICS. latency_ms is ratio_to_mo times the median that MO itself had in this
study, so that a machine which is slower in one hour than in the next does not reorder the
networks.

A trial's user attributes (those that its kind has)
    kind              complete | stopped | over_limit | diverged | out_of_memory | error |
    interrupted genome, digest    the network: its JSON, and 16 digits equal for equal networks
    seed              MO | M1 | M2, on the published networks only cost              {"parameters",
    "deployed_parameters", "macs", "parts": MACs by part, "height", "width"}, at the latency's
    shape parts             {part name: share of the MACs}, which sum to 1; parts as in space.Cost
    latency           trials.Latency as a dictionary (median_ms, p10_ms, p90_ms, device_time,
    peak_memory_mib, steady,
                      height, dtype, runtime, memory_format, device, ...); milliseconds are end to
                      end
    ratio_to_mo       latency divided by MO's, both timed in turn in that trial
    (trials.LatencyRatio.value);
                      ratio_to_mo_interval  [low, high], 95 % confidence;  ratio_drift  its drift,
                      a share
    psnr_db, ssim     means over the held-out pairs;  images  [{"name", "psnr_db", "ssim"}, ...]
    train_seconds     seconds spent in training directory         where its weights, curve and
    preview lie, relative to the study's folder message           one line: why it isn't complete
    repeat_of         number of the finished trial with the same network, whose values this one was
    told sampler           who proposed it, on those that are no seeds retry_of, attempts, resumed,
    reached, folder, machine    see nas/loop/recovery.py rungs             [{"step", "psnr_db",
    "ssim", "loss", "seconds", "latency_ms", "decision"}, ...]: how it was judged on its
                      way; decision is on (it goes on) | stopped | exempt (a seed or queued genome)
                      | end (the last)
A trial's artifacts lie in the folder `artifacts` beside `trials` (optuna.artifacts,
FileSystemArtifactStore), by file name as far as the trial has them: drawing.svg (the network,
coloured by share of the MACs), preview.png (rows: amplified only, restored, ground truth, for two
held-out pairs), curve.csv (step, loss, lr, seconds) and curve.svg, genome.json,
weights.safetensors. A file may be missing there. Repeats have none of their own. A stopped trial
has no objective values (Optuna's PRUNED); its psnr_db, ssim and images are those of its last rung.
Only kinds complete (Optuna's COMPLETE), stopped (PRUNED), over_limit, out_of_memory and diverged
(PRUNED, infeasible) are verdicts about a network; the others may be tried again.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas.outputs.notes import note_study
from nas.outputs.store import ARTIFACTS
from nas.outputs.study_note import compose_study
from nas.study.config import StudyConfig
from nas.study.records import VERDICTS, read_rows
from nas.study.storage import is_storage_error, shown, storage_error
from space import BASELINES, DesignSpace, Genome, InputError

SCHEMA = 1
# The names of the objectives, as optuna-dashboard shows them on its axes.
METRICS = ("PSNR, dB (held-out)", "latency, ms")
DIRECTIONS: tuple[Literal["maximize"], Literal["minimize"]] = ("maximize", "minimize")


def open_study(
    config: StudyConfig, storage: RDBStorage, url: str, folder: Path, *, launch: str | None = None
) -> optuna.Study:
    """The study `config.name` in `storage` (opened from `url`), made where there is none; its note
    tells the command `launch`.

    Raises InputError where the storage can't be used, where the study belongs to another
    program, or where a key that is fixed has changed (each such key is told with both values).
    """
    try:
        study = _load_or_create(storage, config.name)
        _check_ours(study, url)
        _check_fixed(study, config, url, folder)
        study.set_metric_names(list(METRICS))
        study.set_user_attr("schema", SCHEMA)
        study.set_user_attr("fixed", config.fixed())
        study.set_user_attr("config", config.to_dict())
        # A value never written before: SQLite skips nothing, but a read-only storage must be found
        # out now.
        study.set_user_attr("opened_at", datetime.datetime.now(datetime.UTC).isoformat())
        note_study(study, compose_study(config, launch))
    except InputError:
        raise
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
    return study


def enqueue_baselines(
    study: optuna.Study, space: DesignSpace, latency_limit_ms: float | None
) -> list[str]:
    """The names of the seeds that were queued: those without a verdict and not waiting or running.

    A seed that was over the latency limit is queued again where the limit allows it now.
    """
    rows = read_rows(study)
    queued = []
    for name, genome in BASELINES.items():
        own = [row for row in rows if row.baseline == name and row.repeat_of is None]
        settled = False
        for row in own:
            if row.kind == "over_limit":
                over = latency_limit_ms is not None and (row.latency_ms or 0) > latency_limit_ms
                settled = settled or over
            else:
                settled = settled or row.kind != "error"
        if not settled:
            study.enqueue_trial(
                space.encode(genome), user_attrs={"baseline": name, "genome": genome.to_json()}
            )
            queued.append(name)
    return queued


def enqueue_networks(study: optuna.Study, space: DesignSpace, genomes: Sequence[Genome]) -> int:
    """Queues those of a user's `genomes` that no trial of the study has yet; how many. They are
    never stopped early.

    Raises InputError, before any is queued, where one lies outside of the space.
    """
    asked = {genome.digest: (genome, space.encode(genome)) for genome in genomes}
    texts = [trial.user_attrs.get("genome") for trial in study.get_trials(deepcopy=False)]
    there = {Genome.from_json(text).digest for text in texts if text}
    wanted = [one for digest, one in asked.items() if digest not in there]
    for genome, params in wanted:
        study.enqueue_trial(params, user_attrs={"genome": genome.to_json()})
    return len(wanted)


def check_data(study: optuna.Study, description: dict[str, Any]) -> None:
    """Stores what the data is; InputError where it is no longer what the finished trials were
    judged on.
    """
    known: dict[str, Any] = study.user_attrs.get("data", {})
    if known and _started(study):
        changed = [
            key for key in {**known, **description} if known.get(key) != description.get(key)
        ]
        if changed:
            told = "; ".join(
                f"{key} was {known.get(key)!r:.60}, is {description.get(key)!r:.60}"
                for key in changed
            )
            raise InputError(
                f"the data of study {study.study_name!r} has changed ({told}), and its "
                f"trials would not "
                "compare; bring the old data back, or start another study with --runs DIR"
            )
    study.set_user_attr("data", description)


def make_folder(folder: Path) -> None:
    """Makes the study's folder; InputError where that can't be, or where it can't be written."""
    try:
        for name in ("trials", ARTIFACTS):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"folder {folder} can't be made, a file is in the way; give another --runs"
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"the study's folder {folder} must be writable; give another --runs")


def _load_or_create(storage: RDBStorage, name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return optuna.create_study(
            study_name=name, storage=storage, directions=list(DIRECTIONS), load_if_exists=True
        )


def _check_ours(study: optuna.Study, url: str) -> None:
    directions = tuple(direction.name.lower() for direction in study.directions)
    schema = study.user_attrs.get("schema")
    # A study without any attribute and trial is ours too: made by a process that was killed right
    # then.
    foreign = directions != DIRECTIONS or (
        schema is None and (study.user_attrs or study.get_trials(deepcopy=False))
    )
    if foreign:
        raise InputError(
            f"study {study.study_name!r} in {shown(url)} was not made by nas.search (its "
            f"objectives: "
            f"{', '.join(directions)}); give another --storage, or rename the study's TOML file"
        )
    if schema not in (None, SCHEMA):
        raise InputError(
            f"study {study.study_name!r} in {shown(url)} has schema {schema}, not {SCHEMA}; "
            "use the version that made it, or give another --runs"
        )


def _check_fixed(study: optuna.Study, config: StudyConfig, url: str, folder: Path) -> None:
    known: dict[str, Any] = study.user_attrs.get("fixed", {})
    if not known or not _started(study):
        return
    default = StudyConfig(name=config.name).fixed()
    now = config.fixed()
    # A key that this version has and the old one had not meant its default.
    changed = [key for key in {**known, **now} if known.get(key, default.get(key)) != now.get(key)]
    if changed:
        told = "; ".join(f"{key} was {known.get(key)!r}, is {now.get(key)!r}" for key in changed)
        raise InputError(
            f"study {study.study_name!r} has trials made with another config ({told}), "
            f"which would not compare; give "
            f"the old values again, start another study with --runs DIR, or delete "
            f"{folder} ({shown(url)})"
        )


def _started(study: optuna.Study) -> bool:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    if TrialState.RUNNING in states:
        return True
    return any(row.kind in VERDICTS for row in read_rows(study))
