"""A study's config: its file, its flags, and the words for what is wrong with them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from nas.study.config import STUDIES, StudyConfig, load_config, resolve_device, settle, studies
from space import InputError
from trials.config import DataConfig, LatencyConfig, TrainConfig


def test_dark_is_the_study_that_comes_along() -> None:
    assert "dark" in studies()
    config = load_config("dark")
    assert config.name == "dark" and config.trials >= 12 and config.data.source == "synthetic"


def test_dark_long_is_dark_but_for_scenes_steps_and_stopping() -> None:
    long, dark = load_config("dark-long"), load_config("dark")
    assert (
        (STUDIES / "dark-long.toml")
        .read_text()
        .startswith("# python -m nas.search --study dark-long ")
    )
    changed = {key for key, value in long.fixed().items() if value != dark.fixed()[key]}
    assert (
        changed == {"data.scenes", "data.held_out", "train.steps"}
        and not long.stopping
        and long.trials > dark.trials
    )
    assert long.data.scenes == 3 * dark.data.scenes and long.train.steps > 3 * dark.train.steps


def test_dark_opens_with_its_launch_line_and_explains_every_key() -> None:
    text = (STUDIES / "dark.toml").read_text()
    assert text.startswith("# python -m nas.search --study dark\n")
    sections = {
        "": StudyConfig,
        "data": DataConfig,
        "train": TrainConfig,
        "latency": LatencyConfig,
    }
    section, told = "", {name: set[str]() for name in sections}
    for line in text.splitlines():
        if found := re.match(r"\[(\w+)\]", line):
            section = found[1]
        elif found := re.match(r"(?:# )?(\w+) = \S+\s+# \S+", line):
            told[section].add(found[1])
    for name, kind in sections.items():
        keys = {field.name for field in dataclasses.fields(kind)} - {
            "name",
            "data",
            "train",
            "latency",
        }
        assert told[name] == keys, name


def test_keys_that_dark_comments_out_are_right_when_uncommented(tmp_path: Path) -> None:
    text = re.sub(r"^# (\w+ = )", r"\1", (STUDIES / "dark.toml").read_text(), flags=re.MULTILINE)
    text = text.replace('"DIR"', f'"{tmp_path}"')
    path = tmp_path / "all.toml"
    path.write_text(text)
    assert tomllib.loads(text)["latency_limit_ms"] > 0
    assert load_config(str(path)).latency_limit_ms is not None


def test_flags_win_over_the_file_and_none_means_as_the_file_says(tiny: Path) -> None:
    config = load_config(
        str(tiny), {"trials": 7, "train.steps": 3, "seed": None, "latency_limit_ms": 50}
    )
    assert (config.trials, config.train.steps, config.seed, config.latency_limit_ms) == (
        7,
        3,
        0,
        50.0,
    )
    assert config.train.crop == 64


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("trails = 3", "unknown key 'trails'; there are trials, timeout_min,"),
        ("[train]\nstepz = 3", "unknown key 'train.stepz'; there are train.steps, train.batch,"),
        ("trials = 'three'", "trials must be a whole number, but got 'three'"),
        ("trials = true", "trials must be a whole number, but got True"),
        ("trials = 2.5", "trials must be a whole number, but got 2.5"),
        ("trials = 0", "trials must be from 1 to 1000000, but got 0"),
        (
            "timeout_min = -1",
            "timeout_min must be from 1e-06 to 10000000, but got -1.0",
        ),
        ("latency_limit_ms = 0", "latency_limit_ms must be from 1e-06 to 1000000000, but got 0.0"),
        ("train = 3", "[train] must be a table, but got 3"),
        ("[train]\nsteps = 0", "train.steps must be from 1 to 1000000000, but got 0"),
        (
            "[data]\nwhite_balanced_input = 1",
            "data.white_balanced_input must be true or false, but got 1",
        ),
        ("name = 'x'", "unknown key 'name'; a study has its file's name"),
        ("trials = ", "must be a TOML file, but:"),
        (
            "[data]\nsource = '/no/such/place'",
            "there is no data folder /no/such/place; give one in SID's layout",
        ),
    ],
)
def test_a_wrong_key_is_named_with_the_right_ones(tmp_path: Path, toml: str, told: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(toml)
    with pytest.raises(InputError, match=re.escape(told)):
        load_config(str(path))


def test_an_unknown_study_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"there is no study 'drak'; there are: .*dark"):
        load_config("drak")
    with pytest.raises(InputError, match=r"no study file none\.toml"):
        load_config("none.toml")


def test_a_data_folder_becomes_absolute(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert load_config(str(tiny), {"data.source": "photos"}).data.source == str(
        (tmp_path / "photos").resolve()
    )


@pytest.mark.parametrize("device", ["tpu", "cpu:0", "cuda:x", "", "mps"])
def test_a_device_of_no_known_kind_is_refused(device: str) -> None:
    with pytest.raises(InputError, match="device must be auto, cpu, cuda or cuda:N"):
        resolve_device(device)


def test_cuda_without_a_gpu_is_refused() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert resolve_device("auto") == "cpu"
    for device in ("cuda", "cuda:1"):
        with pytest.raises(
            InputError,
            match=f"device '{device}' needs a GPU, but torch .* sees none; use cpu",
        ):
            resolve_device(device)


def test_settling_leaves_nothing_to_the_machine(tiny: Path) -> None:
    config = settle(load_config("dark"))
    assert config.device != "auto" and None not in dataclasses.asdict(config.latency).values()
    assert settle(config) == config


def test_what_is_fixed_and_what_may_change(tiny: Path) -> None:
    config = load_config(str(tiny), {"device": "cuda:1"})
    changes = {"trials": 99, "timeout_min": 1, "sampler": "gp", "latency_limit_ms": 3}
    free = load_config(str(tiny), {"device": "cuda:0", **changes})
    assert config.fixed() == free.fixed() and config.fixed()["device"] == "cuda"
    for change in (
        {"seed": 1},
        {"train.steps": 3},
        {"data.seed": 1},
        {"latency.dtype": "float16"},
        {"device": "cpu"},
    ):
        other = load_config(str(tiny), {"device": "cuda:1", **change})
        assert [
            key for key, value in other.fixed().items() if value != config.fixed()[key]
        ] == list(change)


def test_dark_spells_out_the_defaults():
    """Whoever copies the file starts from what the program does without it."""
    assert load_config("dark").to_dict() == StudyConfig(name="dark").to_dict()


def test_a_flag_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    """A folder that is gone here, named in the file of a colleague, and data given by a flag."""
    path = tmp_path / "mine.toml"
    path.write_text('[data]\nsource = "/gone"\n')
    assert load_config(str(path), {"data.source": "synthetic"}).data.source == "synthetic"


def test_an_error_says_whether_the_file_or_a_flag_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("trials = 4\n")
    with pytest.raises(InputError, match=r"^train.steps must be from 1"):
        load_config(str(path), {"train.steps": 0})
    path.write_text("trials = 0\n")
    with pytest.raises(InputError, match=r"mine.toml: trials must be from 1"):
        load_config(str(path), {"train.steps": 5})
