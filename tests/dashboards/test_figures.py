"""`python -m dashboards.figures`: pictures and tables of a study's plots, as a user would ask for
them.
"""

from __future__ import annotations

import csv
import shlex
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from studies import Made, baselines, make_file

from dashboards.figures import EXAMPLE, main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of four networks in runs/dark, and two more in its database."""
    folder = tmp_path_factory.mktemp("figures")
    url = make_file([*baselines(), Made(psnr_db=26.0, latency_ms=12.5)], folder / "runs" / "dark")
    optuna.create_study(study_name="empty", storage=url, directions=["maximize", "minimize"])
    other = optuna.create_study(study_name="lr", storage=url)
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    return folder


@pytest.fixture
def url(folder: Path) -> str:
    return f"sqlite:///{folder}/runs/dark/study.db"


def test_the_example_of_its_help_runs(folder: Path) -> None:
    words = shlex.split(EXAMPLE)
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0 and done.stderr == ""
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        "front.csv",
        "hypervolume.csv",
        "parallel.csv",
        "ratio.csv",
    ]
    assert "importance: not drawn. 3 of at least 30 networks: too few" in done.stdout
    assert "curves: not drawn. Networks were trained to the end" in done.stdout
    assert done.stdout.endswith("wrote 4 files to figures\n")


def test_the_data_is_what_is_drawn(url: str, tmp_path: Path) -> None:
    words = ["--study", "dark", "--storage", url, "--out", str(tmp_path / "f"), "--format", "csv"]
    assert main(words) == 0
    with (tmp_path / "f" / "front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == ["3", "0", "1", "2"]
    assert [float(row["latency_ms"]) for row in rows] == pytest.approx([12.5, 50, 110, 190])
    assert rows[0]["on_front"] == "True" and float(rows[1]["ratio_to_mo"]) == 1


@pytest.mark.slow
def test_pictures_are_drawn(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    out = tmp_path / "f"
    words = ["--study", "dark", "--storage", url, "--out", str(out), "--format", "png", "svg"]
    assert main(words) == 0
    assert "front: front.svg, front.png, front.csv" in capsys.readouterr().out
    for name, height in (("front", 460), ("ratio", 460), ("hypervolume", 460), ("parallel", 460)):
        assert (out / f"{name}.svg").read_text().startswith("<svg")
        picture = cv2.imread(str(out / f"{name}.png"))
        assert (
            picture is not None and picture.shape[:2] == (2 * height, 1800) and picture.std() > 5
        )


@pytest.mark.slow
def test_a_missing_browser_is_one_line_and_the_data_is_there(url: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dashboards.figures", "--study", "dark", "--storage", url]
    words += ["--out", str(tmp_path / "f")]
    home = {"BROWSER_PATH": str(tmp_path / "no-browser"), "HOME": str(tmp_path)}
    env = {"PYTHONPATH": str(ROOT), **home}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: svg pictures need kaleido and Chromium, but: ")
    assert "give --format csv (the data is written already)" in done.stderr
    assert (tmp_path / "f" / "front.csv").is_file() and not (tmp_path / "f" / "front.svg").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--study", "dork"], "there is no study 'dork' in sqlite:///"),
        (["--storage", "sqlite:////no/where.db"], "there is no study at sqlite:////no/where.db"),
        (["--storage", "what"], "storage must be an SQLAlchemy URL such as"),
        (["--colour", "red"], "unrecognized arguments: --colour red; see python -m dashboards."),
        (["--format", "pdf"], "invalid choice: 'pdf' (choose from"),
        (["--out", "{file}"], "must be a folder that can be written, but: File exists"),
        (["--out", "/proc/no"], "must be a folder that can be written, but: "),
    ],
)
def test_bad_input_is_one_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    (tmp_path / "file").touch()
    words = ["--study", "dark", "--storage", url, "--out", str(tmp_path / "f"), "--format", "csv"]
    assert main([*words, *(flag.format(file=tmp_path / "file") for flag in flags)]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and told in line and line.count("\n") == 1


def test_an_empty_study_and_one_of_another_tool(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, told in (
        ("empty", "Study empty has no finished network yet"),
        ("lr", "it was not made by nas.search"),
    ):
        assert main(["--study", name, "--storage", url, "--out", str(tmp_path / "f")]) == 2
        line = capsys.readouterr().err
        assert (
            line.startswith(f"error: study '{name}' must have networks to draw, but: ")
            and told in line
        )
        assert line.count("\n") == 1 and not (tmp_path / "f").exists()
