"""Every command's help ends with an example, and the example runs."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from help_texts import help_of

ROOT = Path(__file__).parents[1]
COMMANDS = [
    f"{folder}.{path.stem}".removesuffix(".__main__")
    for folder in ("nas", "dashboards")
    for path in sorted((ROOT / folder).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
# A search runs for minutes, and timing for half of one: their examples are run with a smaller
# budget.
LESS = {
    "nas.search": ["--trials", "3", "--steps", "2", "--latency-limit-ms", "5000"],
    "nas.bench": ["--shape", "64x64", "--seconds", "0.2"],
    "nas.retrain": ["--steps", "2"],
}


def example_of(name):
    said = help_of(name)
    last = said.strip().splitlines()[-1]
    assert last.startswith(f"example: python -m {name} "), said
    return shlex.split(last.removeprefix("example: "))


def run(words, folder):
    words = [sys.executable, *words[1:]]
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(words, cwd=folder, env=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.strip() == "", done.stderr
    return done.stdout


def test_there_are_commands():
    named = ("search", "describe", "evaluate", "bench", "retrain", "export", "restore", "proxy")
    assert {f"nas.{name}" for name in named} | {
        "dashboards",
        "dashboards.report",
        "dashboards.figures",
    } <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example(name):
    example_of(name)


@pytest.mark.slow
def test_the_example_of_describe_runs(tmp_path):
    assert "GMAC" in run(example_of("nas.describe"), tmp_path)


@pytest.mark.slow
def test_the_example_of_bench_runs(tmp_path):
    assert "in turn with MO" in run([*example_of("nas.bench"), *LESS["nas.bench"]], tmp_path)
    assert (tmp_path / "bench.json").is_file()


@pytest.mark.slow
def test_the_example_of_evaluate_runs(tmp_path, shared):
    shutil.copy(shared / "reference" / "mo_checkpoint.pt", tmp_path)
    (tmp_path / "SID").symlink_to(shared / "sid-sample")
    assert "mean of 5" in run(example_of("nas.evaluate"), tmp_path)


@pytest.mark.slow
def test_the_example_of_restore_runs(tmp_path, shared):
    shutil.copy(shared / "reference" / "mo_checkpoint.pt", tmp_path)
    dark = sorted((shared / "sid-sample" / "Sony" / "short").iterdir())[0]
    shutil.copy(dark, tmp_path / "dark.ARW")
    run(example_of("nas.restore"), tmp_path)
    assert len(list((tmp_path / "restored").iterdir())) >= 2, "the picture, and the one to compare"


@pytest.mark.slow
def test_the_example_of_retrain_runs(tmp_path):
    run([*example_of("nas.retrain"), *LESS["nas.retrain"]], tmp_path)
    assert (tmp_path / "runs" / "mo-long" / "weights.safetensors").is_file()


@pytest.mark.slow
def test_the_examples_of_search_and_of_what_reads_its_study_run(tmp_path):
    assert "MO" in run([*example_of("nas.search"), *LESS["nas.search"]], tmp_path)
    assert "Kendall" in run(example_of("nas.proxy"), tmp_path)
    run(example_of("dashboards.figures"), tmp_path)
    run(example_of("dashboards.report"), tmp_path)
    assert (tmp_path / "report.html").is_file() and list((tmp_path / "figures").glob("*.csv"))
    run(example_of("nas.export"), tmp_path)
    assert list((tmp_path / "exports").glob("*/card.html"))
    assert list(tmp_path.glob("*.html")) or list(tmp_path.glob("*.svg"))
