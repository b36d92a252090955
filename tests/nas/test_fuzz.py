"""Mutated inputs of each kind, the short form of tests/benchmarks/fuzz.py; and genomes and configs
that it found to crash.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.cli.networks import read_genome
from nas.study.config import load_config
from nas.study.reader import study_name
from space import BASELINES, InputError
from space.errors import LONGEST, brief

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from fuzzing.checks import check_words
from fuzzing.watched import Outcome, Watched

SHORT_FORM = {"genome": 200, "config": 200, "export": 200, "list": 200, "raw": 250}


@pytest.mark.slow
def test_mutated_inputs_are_right_or_refused() -> None:
    """In short form: no traceback, no hang, no file outside of the folder."""
    bad: list[Outcome] = []
    seen: dict[str, set[str]] = {}
    with Watched(seed=1) as watched:
        for kind, count in SHORT_FORM.items():
            for index in range(count):
                one = watched.try_case(kind, index)
                seen.setdefault(kind, set()).add(one.outcome)
                bad += [one] if one.outcome in ("crashed", "hung") else []
    assert not bad, bad[:3]
    assert all(outcomes == {"accepted", "refused"} for outcomes in seen.values()), (
        "each kind has to have both"
    )


def refusal(act: Callable[[], object]) -> str:
    """The words with which `act` is refused: one line, with a remedy."""
    with pytest.raises(InputError) as caught:
        act()
    check_words(caught.value)
    return str(caught.value)


def test_a_message_is_one_printable_line_whatever_broke_the_rule() -> None:
    assert str(InputError("a\nb\x1b[2Jc\u202e; mend it")) == "a b\\x1b[2Jc\\u202e; mend it"
    long = str(InputError("the rule, but got " + "A" * 10**7 + "; mend it"))
    assert (
        len(long) == LONGEST
        and long.startswith("the rule, but got A")
        and long.endswith("A; mend it")
    )
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert (
        max(
            len(brief(value))
            for value in (deep, "A" * 10**7, 10**400, [10**5000], {"a": deep}, b"x" * 10**7)
        )
        < 200
    )
    assert brief("it") == "'it'" and brief(-1) == "-1" and brief([1, 2]) == "[1, 2]"
    assert isinstance(pickle.loads(pickle.dumps(InputError("x"))), InputError)


def genome_json(**changes: Any) -> str:
    return json.dumps({**BASELINES["MO"].to_dict(), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (genome_json(expand_kernel=True), "expand_kernel must be 1 or 3, but got True"),
        (genome_json(head_kernel=3.0), "head_kernel must be 1, 3 or 5, but got 3.0"),
        (genome_json()[:-1] + ', "skip_width": 8}', "the key 'skip_width' is there twice"),
        (genome_json(skip_width="@").replace('"@"', "9" * 5000), "Exceeds the limit"),
        (
            genome_json(skip_width="@").replace('"@"', "[" * 900 + "]" * 900),
            "must be a whole number from 1 to 512, but got [[",
        ),
        (
            genome_json(skip_width="@").replace('"@"', "[" * 5000 + "]" * 5000),
            "it is nested too deeply",
        ),
        (genome_json(skip_width=float("nan")), "NaN is no number in JSON"),
        (genome_json(skip_width="@").replace('"@"', "1e999"), "the number 1e999 is too large"),
        (genome_json(head="@").replace("@", "\\ud800"), "half of a surrogate pair"),
        (genome_json(head="A" * 10**6), "but got 'AAAA"),
    ],
)
def test_genomes_that_once_came_through_or_crashed(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "genome.json"
    path.write_text(text)
    assert message in refusal(lambda: read_genome(str(path)))


def test_files_that_hold_no_genome(tmp_path: Path) -> None:
    (tmp_path / "genome.json").write_bytes(b'{"schema": "\xff"}')
    assert "must be a readable file of JSON in UTF-8" in refusal(
        lambda: read_genome(str(tmp_path))
    )
    assert "there is no" in refusal(lambda: read_genome("x" * 5000)) and "there is no" in refusal(
        lambda: read_genome("a\0b")
    )


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[data]\nname = 'x'", "unknown key 'data.name'"),
        ("trials = " + "9" * 5000, "must be a TOML file, but: Exceeds the limit"),
        ("trials = 0x" + "F" * 5000, "trials must be from 1 to 1000000, but got a very large int"),
        (
            "timeout_min = 0x" + "F" * 300,
            "timeout_min must be from 1e-06 to 10000000, but got inf",
        ),
        ("trials = " + "[" * 5000 + "]" * 5000, "must be a TOML file, but: "),
        ("a." * 40_000 + "a = 1", "may have 65536 bytes, but has 80005"),
        ("a." * 20_000 + "a = 1", "may have 100 dots in a line, not more"),
        (
            "[train]\nlearning_rate = nan",
            "train.learning_rate must be from 1e-12 to 1000, but got nan",
        ),
        ("[train]\nsteps = 9999999999", "train.steps must be from 1 to 1000000000"),
        (
            "[latency]\nmax_seconds = inf",
            "latency.max_seconds must be from 0.001 to 86400, but got inf",
        ),
        ("[data]\nseed = -1", "data.seed must be from 0 to 4294967295, but got -1"),
        (
            "[data]\nratio_min = 301",
            "data.ratio_min must not be above data.ratio_max, but they are 301 and 300",
        ),
        (
            "[data]\nscene_size = 64",
            "train.crop must not be above data.scene_size, but they are 128 and 64",
        ),
        ("[data]\nsource = ''", "there is no data folder (its name is empty)"),
        ("[data]\nsource = '~nobody-is-called-this'", "there is no data folder ~nobody"),
        (f"[data]\nsource = '{'x' * 5000}'", "there is no data folder xxx"),
    ],
)
def test_configs_that_once_came_through_or_crashed(
    toml: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.toml"
    path.write_text(toml)
    assert message in refusal(lambda: load_config(str(path)))


@pytest.mark.parametrize("name", ["..", "...", ".hidden", "x" * 120, "a\nb"])
def test_a_study_has_no_name_that_leads_out_of_its_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.toml"
    path.write_text("trials = 3")
    assert "a study's name must be at most 100 bytes" in refusal(lambda: load_config(str(path)))
    assert "a study's name must be" in refusal(lambda: study_name(str(path)))
    assert "a study's name must be" in refusal(lambda: study_name("../" + name))
    assert study_name("dark") == "dark" == study_name("nas/studies/dark.toml")
