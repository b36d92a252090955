"""Notes on trials and study: as optuna-dashboard reads them, short, true to the figures."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import Command, Leaving, Runner

from nas.outputs import notes
from nas.outputs.notes import LONGEST, compose, compose_study, in_words, note_study, save
from nas.study.config import StudyConfig, load_config
from nas.study.storage import open_storage, quiet_optuna
from nas.study.store import open_study
from space import BASELINES, DesignSpace, Genome, count_cost

dashboard = pytest.importorskip("optuna_dashboard")
Read = Callable[[], optuna.Study]


def note_of(study: optuna.Study, number: int) -> str:
    from optuna_dashboard._note import get_note_from_system_attrs

    attrs = study._storage.get_study_system_attrs(study._study_id)
    return str(get_note_from_system_attrs(attrs, study.get_trials()[number]._trial_id)["body"])


def attributes(genome: Genome, **more: Any) -> dict[str, Any]:
    cost = count_cost(genome, 64, 64)
    images = [{"name": f"00{k}_a|b_0.1s", "psnr_db": 20.0 + k, "ssim": 0.6} for k in range(12)]
    return {
        "genome": genome.to_json(),
        "parts": {n: m / cost.macs for n, m in cost.parts.items()},
        "cost": cost.to_dict(),
        "psnr_db": 25.5,
        "ssim": 0.71,
        "images": images,
        "ratio_to_mo": 0.5,
        "ratio_to_mo_interval": [0.49, 0.51],
        "train_seconds": 31.7,
        **more,
    }


def test_a_note_tells_what_the_trial_found_and_shows_its_pictures(
    run_search: Command, read_study: Read
) -> None:
    assert run_search("--trials", 3, runner=Leaving()) == 0
    study = read_study()
    for trial in study.get_trials():
        note = note_of(study, trial.number)
        assert note.startswith(f"**{trial.user_attrs['baseline']}**: trunk at 8x (")
        psnr_db, latency_ms = trial.values
        assert f"**{psnr_db:.2f} dB**" in note and f"**{latency_ms:.1f} ms**" in note
        assert f"{trial.user_attrs['ratio_to_mo']:.2f} x MO (" in note
        urls = dict(re.findall(r"!\[(.*?)\]\((.*?)\)", note))
        assert list(urls) == [
            "the network",
            "amplified only, restored, ground truth",
            "learning curve",
        ]
        asked = optuna.trial.Trial(study, trial._trial_id)
        ids = {url.rpartition("/")[2] for url in urls.values()}
        assert set(urls.values()) == {
            dashboard.artifact.get_artifact_path(asked, one) for one in ids
        }
        assert ids < {
            meta.artifact_id
            for meta in optuna.artifacts.get_all_artifact_meta(trial, storage=study._storage)
        }
        assert len(note) <= LONGEST


def test_optuna_dashboard_reads_and_edits_our_notes(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/a.db")
    trial = study.ask()
    theirs = study.ask()
    save(study, "the study's")
    save(study, "the trial's", trial_id=trial._trial_id)
    dashboard.save_note(theirs, "theirs")
    assert (dashboard.get_note(study), dashboard.get_note(trial)) == ("the study's", "the trial's")
    ours, other = (
        {
            key.replace(f":{t._trial_id}:", ":N:")
            for key in study._storage.get_study_system_attrs(study._study_id)
            if f":{t._trial_id}:" in key
        }
        for t in (trial, theirs)
    )
    assert ours == other, "the keys are the dashboard's own"
    dashboard.save_note(trial, "edited, " + "long " * 600)
    assert dashboard.get_note(trial) == "edited, " + "long " * 600


def test_what_a_person_wrote_on_the_study_stays(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 1)
    assert "**tiny**: a search for U-nets" in dashboard.get_note(read_study())
    dashboard.save_note(read_study(), "my own words")
    run_search("--trials", 2)
    assert dashboard.get_note(read_study()) == "my own words"


def test_the_studys_note_follows_its_settings(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 1)
    assert "trials 1" in dashboard.get_note(read_study())
    run_search("--trials", 2, "--latency-limit-ms", 50)
    note = dashboard.get_note(read_study())
    assert "trials 2" in note and "Networks slower than 50 ms" in note and "64 x 64 mosaic" in note
    assert "PSNR, dB" in note and "latency, ms" in note and "2 held-out synthetic pairs" in note


def test_a_study_is_opened_with_its_launch_line_in_its_note(tmp_path: Path) -> None:
    quiet_optuna()
    config, url = StudyConfig(name="dark"), f"sqlite:///{tmp_path}/study.db"
    study = open_study(config, open_storage(url), url, tmp_path)
    assert dashboard.get_note(study) == "", "opening a study writes no note"
    note_study(study, compose_study(config, "python -m nas.search --study dark"))
    assert "Last started by\n\n```\npython -m nas.search --study dark\n```" in dashboard.get_note(
        study
    )
    assert study.metric_names == ["PSNR, dB (held-out)", "latency, ms"], (
        "what the dashboard writes at its axes"
    )


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("diverged", "Diverged: it diverged."),
        ("out_of_memory", r"Out of memory: it out\_of\_memory."),
        (ValueError("it broke"), "Failed: ValueError: it broke."),
    ],
    ids=str,
)
def test_why_a_trial_is_not_complete(
    run_search: Command, read_study: Read, kind: Any, begins: str
) -> None:
    run_search("--trials", 1, runner=Runner(script=[kind]))
    note = note_of(read_study(), 0)
    assert begins in note and "![the network](" in note and "ground truth" not in note


def test_an_over_limit_trial_tells_its_latency(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 1, "--latency-limit-ms", 1)
    note = note_of(read_study(), 0)
    assert (
        "Over the latency limit: " in note
        and " ms is over the limit." in note
        and " x MO (" in note
        and "dB**" not in note
    )


def test_a_repeat_points_at_the_first(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 4)
    study = read_study()
    study.enqueue_trial(study.get_trials()[3].params)
    run_search("--trials", 5)
    url = f"/dashboard/studies/{study._study_id}/trials?numbers=3"
    assert (
        note_of(study, 4)
        == f"The same network as [trial 3]({url}), whose figures it has: not run again."
    )


def test_an_interrupted_trial_says_so(run_search: Command, read_study: Read) -> None:
    assert run_search("--trials", 1, runner=Runner(script=[KeyboardInterrupt()])) == 130
    assert "Interrupted: stopped by the user." in note_of(read_study(), 0)


@given(st.integers(0, 10**6), st.integers(0, 300), st.text(max_size=600))
@settings(max_examples=60, deadline=None)
def test_every_note_fits_into_one_attribute(seed: int, pictures: int, words: str) -> None:
    genome = DesignSpace().decode(DesignSpace().sample(random.Random(seed)))
    images = [
        {"name": words[:80] + str(k), "psnr_db": 20 + k / 7, "ssim": None} for k in range(pictures)
    ]
    urls = dict.fromkeys(notes.PICTURES, f"/artifacts/123456/1234567/{'0' * 36}")
    parts = dict.fromkeys(
        ["trunk", "merge", "head", *(f"stem{b.scale}" for b in genome.branches)], 0.01
    )
    attrs = {
        "genome": genome.to_json(),
        "images": images,
        "parts": parts,
        "message": words,
        "train_seconds": 12345.0,
        "psnr_db": 25.1234,
        "ssim": 0.9,
        "ratio_to_mo": 0.123,
        "ratio_to_mo_interval": [0.12, 0.13],
        "rungs": [{"step": 10000, "psnr_db": 20.0}],
    }
    note = compose(attrs, kind="complete", latency_ms=12345.6, urls=urls)
    assert len(note) <= LONGEST and note.count("](/artifacts/") == 3


def test_pictures_are_listed_worst_first_and_counted() -> None:
    note = compose(attributes(BASELINES["MO"]), kind="complete", latency_ms=15.0, urls={})
    rows = re.findall(r"^\|(.*?)\|([\d.]+)\|([\d.]+)\|$", note, re.M)
    assert [float(psnr) for _, psnr, _ in rows] == [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]
    assert "|and 6 more|" in note and "a b" in rows[0][0], "a name can't break the table"
    assert (
        "|branch 32x|3 x RDB, 4, then 5 layers, +32|13 %|" in note
        and "(14.7 to 15.3), 0.50 x MO (0.49 to 0.51)" in note
    )
    assert "Trained (32 s of training)." in note
    stopped = attributes(
        BASELINES["MO"], message="stopped at step 50 of 450", rungs=[{"step": 50, "psnr_db": 20.0}]
    )
    assert "\n\nStopped at step 50 of 450 (32 s of training).\n\n" in compose(
        stopped, kind="stopped", latency_ms=1, urls={}
    )


def test_mo_is_the_unit() -> None:
    measured = {"low_ms": 29.0, "high_ms": 31.0}
    attrs = attributes(
        BASELINES["MO"],
        baseline="MO",
        ratio_to_mo=1.0,
        ratio_to_mo_interval=[1.0, 1.0],
        latency=measured,
    )
    assert "**30.0 ms** (29.0 to 31.0), the unit of all others" in compose(
        attrs, kind="complete", latency_ms=30.0, urls={}
    )


def test_networks_in_words() -> None:
    assert in_words(BASELINES["MO"]) == (
        "trunk at 8x (1 x residual), branch at 32x (3 x RDB), head concat"
    )
    assert in_words(BASELINES["M1"]).count("(2 x RDB)") == 3
    assert "fusion concat" in in_words(BASELINES["M1"])


def test_a_trial_that_never_had_a_genome_has_a_note() -> None:
    assert compose(
        {"message": "its process was killed"}, kind="interrupted", latency_ms=None, urls={}
    ) == ("Interrupted: its process was killed.")


def test_the_studys_note_is_short_whatever_its_settings() -> None:
    config = load_config("dark", {"data.source": "synthetic", "train.steps": 123})
    assert len(compose_study(config, "x" * 5000)) <= LONGEST
    note = compose_study(StudyConfig(name="dark"), "python -m nas.search --study dark")
    assert "Settings" not in note and "```\npython -m nas.search --study dark\n```" in note


def test_writing_a_note_does_not_take_longer_the_more_there_are(tmp_path: Path) -> None:
    """Counted, not timed: steps of SQLite's machine, in hundreds."""
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/a.db")
    hundreds = 0

    def count() -> int:
        nonlocal hundreds
        hundreds += 1
        return 0

    @sqlalchemy.event.listens_for(study._storage._backend.engine, "checkout")  # type: ignore[attr-defined]
    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 100)

    counted = []
    for number in range(300):
        before = hundreds
        save(study, "n" * 1500, trial_id=number)
        counted.append(hundreds - before)
    first, last = sum(counted[:100]), sum(counted[-100:])
    assert 0 < last < 2 * first, "optuna-dashboard's own save_note reads them all each time"
