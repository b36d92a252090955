"""What a trial leaves in the artifact store: every file whole, linked rather than copied, before
the trial is told.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from optuna.trial import FrozenTrial
from stand_ins import Command, Leaving, Runner

from nas.outputs.curve import draw_curve, read_curve
from nas.outputs.store import FILES, LinkingStore, shares
from nas.study.records import finished, read_rows
from nas.study.schema import ARTIFACTS
from space import BASELINES, Genome, count_cost

Read = Callable[[], optuna.Study]


def left(study: optuna.Study, trial: FrozenTrial) -> dict[str, str]:
    return {
        meta.filename: meta.artifact_id
        for meta in get_all_artifact_meta(trial, storage=study._storage)
    }


def test_every_finished_trial_has_its_files_in_the_store(
    run_search: Command, read_study: Read, runs: Path, tmp_path: Path
) -> None:
    assert run_search("--trials", 4, runner=Leaving()) == 0
    study, folder = read_study(), runs / "tiny"
    store = FileSystemArtifactStore(folder / ARTIFACTS)  # Optuna's own reads it
    trials = study.get_trials()
    assert len(trials) == 4
    for trial in trials:
        ids = left(study, trial)
        assert set(ids) == set(FILES)
        for name, artifact_id in ids.items():
            download_artifact(
                artifact_store=store,
                artifact_id=artifact_id,
                file_path=str(tmp_path / artifact_id),
            )
            own = folder / trial.user_attrs["directory"] / name
            assert (tmp_path / artifact_id).read_bytes() == own.read_bytes() and own.stat().st_size
            assert own.samefile(folder / ARTIFACTS / artifact_id), "held once by the disk"
        parts = trial.user_attrs["parts"]
        macs = count_cost(Genome.from_json(trial.user_attrs["genome"]), 64, 64).parts
        assert sum(parts.values()) == pytest.approx(1) and parts.keys() == macs.keys()
        drawing = (tmp_path / ids["drawing.svg"]).read_text()
        assert (
            "share of the MACs" in drawing
            and trial.user_attrs.get("baseline", trial.user_attrs["digest"][:8]) in drawing
        )
    assert sorted(path.name for path in (folder / ARTIFACTS).iterdir()) == sorted(
        artifact_id for trial in trials for artifact_id in left(study, trial).values()
    ), "no orphans, nothing half"
    assert {
        meta.mimetype for meta in get_all_artifact_meta(trials[0], storage=study._storage)
    } >= {"image/svg+xml", "image/png"}


@pytest.mark.parametrize(
    "kind", ["over_limit", "diverged", "out_of_memory", ValueError("it broke")], ids=str
)
def test_a_trial_without_scores_leaves_drawing_and_config(
    run_search: Command, read_study: Read, kind: Any
) -> None:
    told = (
        "diverged" if kind == "over_limit" else kind
    )  # the stand-in goes over the limit by itself
    limit = ["--latency-limit-ms", 1] if kind == "over_limit" else []
    run_search("--trials", 1, *limit, runner=Runner(script=[told]))
    study = read_study()
    assert set(left(study, study.get_trials()[0])) == {"drawing.svg", "genome.json"}
    assert "parts" not in study.get_trials()[0].user_attrs, "its cost has none"


def test_a_repeat_has_none_of_its_own(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 4, runner=Leaving())
    study = read_study()
    study.enqueue_trial(study.get_trials()[3].params)
    run_search("--trials", 5, runner=Leaving())
    repeat = study.get_trials()[4]
    assert repeat.user_attrs["repeat_of"] == 3 and left(study, repeat) == {}
    assert repeat.user_attrs["parts"] == study.get_trials()[3].user_attrs["parts"]


def test_a_full_disk_ends_the_search_and_space_lets_it_go_on(
    run_search: Command,
    read_study: Read,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_search("--trials", 1, runner=Leaving()) == 0
    before = left(read_study(), read_study().get_trials()[0])
    with monkeypatch.context() as full:
        full.setattr(os, "link", _full)  # as a file system says that has no room for a name ...
        full.setattr("shutil.copyfileobj", _full)  # ... and none for a copy
        assert run_search("--trials", 3, runner=Leaving()) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert finished(read_rows(read_study())) == 1, "what was finished stays"
    assert run_search("--trials", 3, runner=Leaving()) == 0
    study = read_study()
    rows = read_rows(study)
    assert finished(rows) == 3 and {row.baseline for row in rows if row.is_verdict} == {
        "MO",
        "M1",
        "M2",
    }
    assert left(study, study.get_trials()[0]) == before
    for row in rows:
        if row.is_verdict:
            assert set(left(study, study.get_trials()[row.number])) == set(FILES)


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_trial_stopped_while_it_uploads_is_repeated_with_its_own(
    run_search: Command, read_study: Read, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = LinkingStore.write, []

    def write(self: LinkingStore, artifact_id: str, content_body: Any) -> None:
        calls.append(artifact_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, artifact_id, content_body)

    monkeypatch.setattr(LinkingStore, "write", write)
    assert run_search("--trials", 1, runner=Leaving()) == 130
    monkeypatch.setattr(LinkingStore, "write", real)
    assert run_search("--trials", 3, runner=Leaving()) == 0
    study = read_study()
    first, again = (
        study.get_trials()[0],
        next(t for t in study.get_trials() if t.user_attrs.get("retry_of") == 0),
    )
    assert first.user_attrs["kind"] == "interrupted" and again.user_attrs["kind"] == "complete"
    assert set(left(study, again)) == set(FILES) and 0 < len(left(study, first)) <= 3
    assert not set(left(study, first).values()) & set(left(study, again).values())
    told = {i for trial in study.get_trials() for i in left(study, trial).values()}
    assert {path.name for path in (runs / "tiny" / ARTIFACTS).iterdir()} <= told, (
        "nothing there that no trial tells of"
    )


def test_the_store_copies_where_it_cannot_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _no_links)
    source = tmp_path / "a.bin"
    source.write_bytes(b"abc")
    store = LinkingStore(tmp_path / "store")
    with source.open("rb") as file:
        store.write("one", file)
    store.write("two", io.BytesIO(b"def"))  # nothing to link
    copied = tmp_path / "store" / "one"
    assert copied.read_bytes() == b"abc" and not copied.samefile(source)
    assert (tmp_path / "store" / "two").read_bytes() == b"def"
    monkeypatch.setattr("shutil.copyfileobj", _half)
    with pytest.raises(OSError, match="No space"):
        store.write("three", io.BytesIO(b"ghi"))
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["one", "two"], (
        "nothing half"
    )


def _no_links(*_: Any) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def _half(source: Any, file: Any) -> None:
    file.write(b"g")
    _full()


def test_what_is_left_is_there_before_the_trial_is_told(
    run_search: Command, read_study: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    tell = optuna.Study.tell

    def told(self: optuna.Study, trial: Any, *args: Any, **kwargs: Any) -> FrozenTrial:
        seen.append(len(left(self, self.get_trials()[trial.number])))
        return tell(self, trial, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "tell", told)
    run_search("--trials", 2, runner=Leaving())
    assert seen == [len(FILES)] * 2


def test_shares_are_those_of_the_parts() -> None:
    cost = count_cost(BASELINES["MO"], 512, 512).to_dict()
    assert shares(cost) == {name: macs / cost["macs"] for name, macs in cost["parts"].items()}
    assert shares({}) is None and shares({"macs": 5}) is None


def test_a_curve_is_read_and_drawn_with_its_rungs(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    assert read_curve(path) == []
    path.write_text("step,loss,lr,seconds\n10.0,0.5,1e-3,1\n20.0,nan,1e-3,2\n30.0,0.05,1e-3,3\n")
    curve = read_curve(path)
    assert curve == [(10, 0.5), (30, 0.05)]
    rungs = [{"step": 15, "psnr_db": 20.0}, {"step": 30, "psnr_db": 23.456}]
    root = ElementTree.fromstring(draw_curve(curve, rungs))
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0.5", "0.05", "23.46", "20.00", "30 steps"} <= set(words)
    loss, psnr = (
        line.get("points", "").split()
        for line in root.iter("{http://www.w3.org/2000/svg}polyline")
    )
    assert float(loss[0].split(",")[1]) < float(loss[1].split(",")[1]), "loss falls"
    assert float(psnr[0].split(",")[1]) > float(psnr[1].split(",")[1]), "PSNR rises"
    assert loss[1].split(",")[0] == psnr[1].split(",")[0], "the same step at the same place"
    path.write_text("something else\n")
    assert read_curve(path) == []
    assert json.dumps(draw_curve([(1, 0.1), (2, 0.1)])), "a flat one"
