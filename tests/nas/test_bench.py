"""`nas.bench` as a user meets it, with the real clock on small frames."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stand_ins import Command

from nas import bench, cli
from nas.study.records import Row
from space import BASELINES

QUICK = ("--shape", "64x96", "--seconds", 0.2, "--threads", 1)
Run = Callable[..., int]


def run(*words: object) -> int:
    return cli.run(bench.main, [str(word) for word in words])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def refuse(*words: object) -> str:
        assert run(*words) == 2
        output = capsys.readouterr()
        assert output.err.count("\n") == 1 and output.err.startswith("error: ")
        return output.err

    return refuse


def test_the_table_and_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genome = replace(
        BASELINES["MO"], head="none", merge_channels=None, head_width=None, head_kernel=None
    )
    path = tmp_path / "mine.json"
    path.write_text(genome.to_json())
    out = tmp_path / "bench.json"
    assert run("MO", "M1", "M2", path, *QUICK, "--json", out) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    output = " ".join(output.split())  # a processor's long name wraps the last line
    assert (
        lines[0].split()[:6] == ["network", "end", "to", "end", "ms", "p10"]
        and "memory MiB" in lines[0]
    )
    names = [line.split()[0] for line in lines[1:5]]
    assert names == ["MO", "M1", "M2", f"{tmp_path.name}/mine.json"]
    assert "the unit" in lines[1] and "784,768" in lines[1] and "1,714,080" in lines[2]
    assert (
        "64 x 96 mosaic, float32, channels_last, eager, 1 thread, " in output
        and "in turn with MO" in output
    )
    stored = json.loads(out.read_text())
    assert stored["reference"] == "MO" and [one["name"] for one in stored["networks"]] == names
    mo, m1, m2, mine = stored["networks"]
    assert (
        mo["ratio_to_mo"] is None and 1 < m1["ratio_to_mo"]["value"] < m2["ratio_to_mo"]["value"]
    )
    assert (
        mine["ratio_to_mo"]["low"] <= mine["ratio_to_mo"]["value"] <= mine["ratio_to_mo"]["high"]
    )
    assert mine["genome"] == genome.to_dict() and mine["cost"]["parameters"] < 784768
    for one in stored["networks"]:
        assert (
            one["latency"]["runs"] >= 50
            and one["latency"]["height"] == 64
            and one["latency"]["peak_memory_mib"] > 0
        )
        assert one["latency"]["device_time"] is None, "a CPU has one clock"


@pytest.mark.slow
def test_a_studys_front_and_why_we_measure(
    run_search: Command, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_search("--trials", 6)
    capsys.readouterr()
    out = tmp_path / "bench.json"
    assert run("--study", "tiny", "--front", "--runs", runs, "--seconds", 0.1, "--json", out) == 0
    output = capsys.readouterr().out
    assert (
        "(trial " in output
        and "study tiny, 6 measured networks: Kendall's tau with latency is" in output
    )
    stored = json.loads(out.read_text())
    assert stored["networks"][0]["latency"]["height"] == 64, "the study's own frame"
    assert stored["rank_correlation"]["networks"] == 6
    assert stored["rank_correlation"]["macs"] == pytest.approx(1.0), (
        "the stand-in's MACs follow its latency"
    )
    assert run("--study", "tiny", "--runs", runs) == 0
    assert "Kendall's tau" in capsys.readouterr().out


def test_kendalls_tau_by_hand() -> None:
    rows = [
        Row(
            number=k,
            kind="complete",
            digest=str(k),
            latency_ms=float(ms),
            macs=macs,
            parameters=parameters,
        )
        for k, (ms, macs, parameters) in enumerate(
            [(1, 10, 5), (2, 20, 4), (3, 15, 3), (4, 40, 2), (5, 50, 1)]
        )
    ]
    found = bench.correlation(rows)
    assert found == {"networks": 5, "macs": pytest.approx(0.8), "parameters": pytest.approx(-1.0)}
    repeat = replace(rows[0], number=9, repeat_of=0)
    assert bench.correlation([*rows[:4], repeat]) == {
        "networks": 4,
        "macs": None,
        "parameters": None,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "there must be a network to time, but none is named"),
        (("MO", "--front"), "--front needs a study, but there is no --study"),
        (
            ("MO", "--shape", "500x512"),
            "must be multiples of 32 for these networks, but got 500x512; the next that "
            "are: 512x512",
        ),
        (("M2", "--shape", "100x0"), "the next that are: 128x32"),
        (
            ("MO", "--shape", "big"),
            "--shape must be rows x columns such as 512x512, but got 'big'",
        ),
        (
            ("MO", "--dtype", "int8"),
            "latency.dtype must be one of float32, float16, bfloat16, but got 'int8'",
        ),
        (
            ("MO", "--runtime", "tensorrt"),
            "latency.runtime must be one of auto, eager",
        ),
        (
            ("MO", "--runtime", "cuda_graph", "--device", "cpu"),
            "runtime cuda_graph needs a GPU, but the device is cpu",
        ),
        (("MO", "--threads", "0"), "latency.threads must be at least 1, but got 0"),
        (
            ("M9",),
            "a network must be MO, M1, M2, F1, F2, F3, a genome's JSON file or a trial's "
            "folder, but there is no M9",
        ),
        (
            ("MO", "--json", "no/such/bench.json"),
            "--json needs a folder that exists, but there is no no/such",
        ),
        (
            ("--study", "none", "--runs", "no"),
            "there is no study at sqlite:///no/none/study.db",
        ),
        (("MO", "--device", "cuda:99"), "'cuda:99'"),
    ],
)
def test_bad_input_is_told_in_one_line(words: tuple[str, ...], message: str, refused: Any) -> None:
    assert message in refused(*words)


def test_a_study_without_a_front(run_search: Command, runs: Path, refused: Any) -> None:
    run_search("--latency-limit-ms", 0.5, "--trials", 3)
    assert "study 'tiny' must have a front to be timed, but has no finished network" in refused(
        "--study", "tiny", "--front", "--runs", runs
    )


def test_out_of_memory_is_told_with_the_shape() -> None:
    """A real one: the process may not have more than 6 GiB, and one frame is 64."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))

    flags = ("--shape", "131072x131072", "--threads", "1", "--device", "cpu")
    words = [sys.executable, "-m", "nas.bench", "MO", *flags]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "error: the networks at 131072 x 131072 must fit in the memory of cpu, but it is out of "
        "memory; give a smaller --shape, or fewer networks\n"
    )
