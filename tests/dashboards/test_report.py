"""The report's file: what is in it, how large it may be, and what is said where something is
missing.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import zlib
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import optuna
import pytest
from studies import Made, baselines, genomes, make_file, make_study, rung

from dashboards.page import gallery, previews
from dashboards.page.build import LIMIT, build_page
from dashboards.page.compressed import GROUP_SIZE, compress
from dashboards.page.embedded_json import embed_json
from dashboards.page.gallery import CURVE_POINTS, fill_gallery, loss_curve
from dashboards.page.table import export_command
from dashboards.page.words import duration, network_in_words
from dashboards.report import EXAMPLE, main
from dashboards.study.artifacts import Artifacts
from dashboards.study.records import StudyRecords, read_records
from space import BASELINES
from trials.outputs import preview_row

HOSTILE = "</script><script>alert(1)</script><!-- <b>& \u2028"
CURVE = b"step,loss,lr,seconds\n10,0.2,1e-3,1\n20,0.1,1e-3,2\n30,0.08,1e-3,3\n"


def picture(seed: int, side: int = 48) -> np.ndarray:
    """Smooth colours with noise on them, as a dark photo has."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    noise = chance.normal(0, 12, (side, side, 3))
    return np.clip(cv2.resize(coarse, (side, side)) + noise, 0, 250).astype(np.uint8)


def preview(restored: int, *, side: int = 48, pairs: int = 2) -> bytes:
    """A preview as trials/preview.py draws it, by its own panels: the same amplified and truth for
    every network.
    """
    torch = pytest.importorskip("torch")
    rows = []
    for pair in range(pairs):
        shown = [
            picture(1000 + pair, side),
            picture(restored * 10 + pair, side),
            picture(2000 + pair, side),
        ]
        tensors = [torch.from_numpy(one).permute(2, 0, 1)[None] / 255 for one in shown]
        rows.append(preview_row(tensors))
    return cv2.imencode(".png", np.vstack(rows)[:, :, ::-1])[1].tobytes()


def drawing(number: int) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 '
        f'30"><title>{number}</title><rect width="{number % 80}" '
        'height="20"/></svg>'
    ).encode()


def with_artifacts(made: list[Made], side: int = 48) -> list[Made]:
    """The same trials with a preview and a drawing each."""
    from dataclasses import replace

    return [
        replace(
            one,
            artifacts={
                "preview.png": preview(number, side=side),
                "drawing.svg": drawing(number),
                "curve.csv": CURVE,
            },
        )
        for number, one in enumerate(made)
    ]


def networks(count: int = 5) -> list[Made]:
    """The baselines and `count` more; trial 3 is on the front, trial 4 behind it."""
    figures = [(26.0, 20.0), (24.0, 30.0), (29.0, 300.0), (26.5, 60.0), (25.0, 40.0)]
    more = [
        Made(
            psnr_db=figures[n % 5][0] - n // 5,
            latency_ms=figures[n % 5][1] + n // 5,
            genome=genome,
        )
        for n, genome in enumerate(genomes(count))
    ]
    return [*baselines(), *more]


def records_of(made: list[Made], folder: Path, **attrs: object) -> tuple[StudyRecords, Artifacts]:
    study = make_study(made, artifacts=folder, **attrs)
    return read_records(study), Artifacts(folder)


def island_of(page: str, name: str):
    found = re.search(
        rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.DOTALL
    )
    assert found
    return json.loads(found[1])


class Elements(HTMLParser):
    """Every element with its attributes, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_file(with_artifacts(networks()), tmp_path / "runs" / "dark")
    flags = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "r.html")]
    assert main(["--study", "dark", *flags]) == 0
    page = (tmp_path / "r.html").read_text()
    megabytes = len(page.encode()) / 1e6
    assert (
        capsys.readouterr().out == f"wrote {tmp_path / 'r.html'}: 8 networks, {megabytes:.1f} MB\n"
    )
    assert len(page.encode()) < LIMIT
    assert main(["--study", "dark", *flags]) == 0, "a report is written again"
    assert [
        path.name
        for path in tmp_path.iterdir()
        if path.suffix == ".html" or path.name.startswith(".")
    ] == ["r.html"]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_file(networks(1), tmp_path / "runs" / "dark")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(EXAMPLE)
    assert words[:3] == ["python", "-m", "dashboards.report"]
    assert main(words[3:]) == 0 and (tmp_path / "report.html").is_file()


def test_nothing_is_asked_of_another_place(tmp_path: Path) -> None:
    records, artifacts = records_of(with_artifacts(networks()), tmp_path)
    elements = Elements(build_page(records, artifacts)).found
    outside = [(tag, attrs) for tag, attrs in elements if {"src", "href"} & set(attrs)]
    assert outside == [("a", {"class": "skip", "href": "#main"})]
    policy = next(
        attrs["content"]
        for tag, attrs in elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert (
        policy
        and policy.startswith("default-src 'none'; img-src data: blob:;")
        and "http" not in policy
    )


def test_what_the_front_is_made_of(tmp_path: Path) -> None:
    records, artifacts = records_of(with_artifacts(networks()), tmp_path)
    page = build_page(records, artifacts)
    assert re.findall(r'<tbody data-trial="(\d+)" class="([\w-]+)">', page) == [
        ("3", "on-front"),
        ("0", "on-front"),
        ("1", "on-front"),
        ("2", "on-front"),
        ("5", "on-front"),
    ]
    assert "<dt>best within half of MO&#x27;s latency," in page and "<dd>26.00 dB</dd>" in page
    plots, trials = island_of(page, "plots"), island_of(page, "trials")
    numbers = sorted(
        {number for trace in plots["front"]["data"] for number in trace.get("customdata") or []}
    )
    assert numbers == list(range(8)) == sorted(map(int, trials))
    assert plots["parallel"]["numbers"] == list(range(8))
    assert "template" not in plots["front"]["layout"] and set(island_of(page, "templates")) == {
        "light",
        "dark",
    }
    assert dict(trials["3"]["figures"])["times MO"] == "0.40 (0.40 to 0.40)"


def test_pictures_are_cut_where_the_preview_has_them() -> None:
    for pairs, side in ((1, 40), (2, 48), (3, 56)):
        pixels = previews.decode(preview(7, side=side, pairs=pairs))
        assert pixels is not None
        panels = previews.cut(pixels)
        assert len(panels) == pairs
        for number, panel in enumerate(panels):
            for found, seed in (
                (panel.amplified, 1000),
                (panel.restored, 70),
                (panel.truth, 2000),
            ):
                np.testing.assert_array_equal(found[:, :, ::-1], picture(seed + number, side))


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", cv2.imencode(".png", np.zeros((50, 61, 3), np.uint8))[1].tobytes()],
)
def test_a_preview_that_is_none_is_left_out(data: bytes) -> None:
    pixels = previews.decode(data)
    assert pixels is None or previews.cut(pixels) == []


def test_what_all_networks_share_is_stored_once(tmp_path: Path) -> None:
    records, artifacts = records_of(with_artifacts(networks()), tmp_path)
    shown = fill_gallery(records, artifacts, 5_000_000)
    assert set(shown.pairs) == {0, 1, 2, 3, 5} and set(shown.thumbnails) == {4, 6, 7}
    assert len(shown.pictures) == 2 + 2 + 5 * 2, (
        "two amplified, two true, and two of each of five networks"
    )
    first = cv2.imdecode(
        np.frombuffer(base64.b64decode(shown.pictures[shown.pairs[3][0][1]]), np.uint8),
        cv2.IMREAD_COLOR,
    )
    assert np.abs(first[:, :, ::-1].astype(int) - picture(30)).mean() < 12
    texts = decompressed(shown.compressed)
    assert {number: texts[place].encode() for number, place in shown.drawings.items()} == {
        n: drawing(n) for n in range(8)
    }


def test_a_training_curve_is_thinned() -> None:
    rows = "".join(f"{step}.0,{1 / (step + 1)},1e-3,1.0\n" for step in range(1000))
    curve = loss_curve("step,loss,lr,seconds\n" + rows)
    assert len(curve) == CURVE_POINTS and curve[0] == (0, 1.0) and curve[-1] == (999, 0.001)
    assert loss_curve("step,loss\n10,0.5\n20,nan\n30\nx,y\n40,0.25\n") == [(10, 0.5), (40, 0.25)]
    assert loss_curve("") == loss_curve("epoch\n1\n") == []


def decompressed(groups: list[str]) -> list[str]:
    return [text for one in groups for text in json.loads(zlib.decompress(base64.b64decode(one)))]


def test_compressed_groups_keep_every_text() -> None:
    texts = [f"text {n} <>&" * (n % 7) for n in range(101)]
    groups = compress(texts)
    assert GROUP_SIZE == 40 and len(groups) == 3 and decompressed(groups) == texts
    assert decompressed(groups[2:]) == texts[80:]


@pytest.mark.parametrize("room", [0, 20_000, 60_000])
def test_with_little_room_the_far_ones_go_first(tmp_path: Path, room: int) -> None:
    records, artifacts = records_of(with_artifacts(networks(60), side=96), tmp_path)
    shown = fill_gallery(records, artifacts, room)
    size = len(json.dumps(vars(shown)))
    assert size <= room + 30_000, "one network more than fits, never many"
    assert shown.left_out and all("to keep this file small" in one for one in shown.left_out)
    order = [one.number for one in gallery.by_distance(records)]
    assert order[:2] == [6, 7], "half a dB and two behind the front at their latencies come first"
    assert set(shown.thumbnails) == set(order[: len(shown.thumbnails)])


def test_noise_cannot_make_it_too_large(tmp_path: Path) -> None:
    """Pictures of pure noise of the largest size, on a front of 123: no report above the limit."""
    chance = np.random.default_rng(0)

    def noisy() -> bytes:
        page = np.full((350, 978, 3), 255, np.uint8)
        page[24:344] = chance.integers(0, 250, (320, 978, 3))
        return cv2.imencode(".png", page, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()

    made = [
        *baselines(),
        *(
            Made(psnr_db=20 + n / 20, latency_ms=5 + n / 10, artifacts={"preview.png": noisy()})
            for n in range(120)
        ),
    ]
    records, artifacts = records_of(made, tmp_path)
    assert len(records.front) == 123
    page = build_page(records, artifacts)
    assert 8_000_000 < len(page.encode()) < LIMIT
    assert re.search(
        r"The pictures of \d+ networks of the front were left out to keep this file small", page
    )


def test_nothing_of_a_study_becomes_html(tmp_path: Path) -> None:
    made = networks()
    made[0] = Made(
        psnr_db=27.0, latency_ms=50.0, baseline="MO", genome=BASELINES["MO"], message=HOSTILE
    )
    made.append(Made(kind="error", message=HOSTILE, attrs={"sampler": HOSTILE}))
    made.append(
        Made(
            psnr_db=31.0,
            latency_ms=400.0,
            attrs={"digest": "<img src=x onerror=alert(2)>", "sampler": HOSTILE},
        )
    )
    data = {"kind": HOSTILE, "camera": HOSTILE, "digest": HOSTILE}
    study = make_study(
        made,
        name=f"a{HOSTILE}",
        artifacts=tmp_path,
        data=data,
        device={"kind": "cpu", "name": HOSTILE},
    )
    records = read_records(study)
    page = build_page(records, Artifacts(tmp_path))
    tags = [tag for tag, _ in Elements(page).found]
    assert tags.count("script") == 6 and "b" not in tags, (
        "the four islands, Plotly and the page's own"
    )
    assert not any(attrs.get("src") for _, attrs in Elements(page).found)
    assert island_of(page, "trials")["0"]["message"] == HOSTILE


def test_an_island_holds_what_json_cannot() -> None:
    text = embed_json("x", {1: [float("nan"), float("inf"), 2.5], "</script>": HOSTILE})
    assert text.count("<") == 2
    assert json.loads(text[text.index(">") + 1 : text.rindex("<")]) == {
        "1": [None, None, 2.5],
        "</script>": HOSTILE,
    }


def test_an_artifact_is_read_from_the_store_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store = tmp_path / "artifacts"
    study = make_study(with_artifacts(networks()), artifacts=store)
    records = read_records(study)
    stolen = records.records[0]
    stolen.artifacts["drawing.svg"] = "../secret"
    artifacts = Artifacts(store)
    assert artifacts.read(stolen, "drawing.svg") is None and artifacts.unreadable == {
        "drawing.svg": 1
    }
    assert artifacts.read(records.records[1], "drawing.svg") == drawing(1)


def test_missing_artifacts_are_told(tmp_path: Path) -> None:
    records, artifacts = records_of(with_artifacts(networks()), tmp_path / "a")
    for path in list((tmp_path / "a").glob("000[23]-preview.png")):
        path.unlink()
    (tmp_path / "a" / "0004-drawing.svg").write_bytes(b"\xff\xfe")
    page = build_page(records, artifacts)
    assert (
        "2 pictures could not be read from" in page and "1 drawing could not be read from" in page
    )
    gone = build_page(records, Artifacts(tmp_path / "nowhere"))
    assert f"there is no folder {tmp_path / 'nowhere'}; give it by --artifacts" in gone
    assert "No network of the front has pictures" in gone
    older = build_page(read_records(make_study(networks(), name="older")), Artifacts(tmp_path))
    assert "made by a version that stored none" in older


def test_few_trials_are_told_in_place_of_plots(tmp_path: Path) -> None:
    page = build_page(*records_of(networks(2), tmp_path))
    plots = island_of(page, "plots")
    assert "front" in plots and "importance" not in plots
    assert 'class="missing" id="plot-importance"' in page and 'data-plot="importance"' not in page


def test_stopped_trials_have_a_card_and_count(tmp_path: Path) -> None:
    made = [
        *networks(),
        Made(
            psnr_db=22.0,
            latency_ms=25.0,
            kind="stopped",
            rungs=[rung(50, 21.0), rung(100, 22.0, "stopped")],
            message="0.8 dB behind at step 100",
        ),
    ]
    page = build_page(*records_of(made, tmp_path))
    assert island_of(page, "trials")["8"]["message"] == "0.8 dB behind at step 100"
    assert "1 stopped early at a rung" in page and "curves" in island_of(page, "plots")


def test_an_empty_study_gives_a_report_that_says_so(tmp_path: Path) -> None:
    url = make_file([], tmp_path / "dark")
    assert main(["--study", "dark", "--storage", url, "--out", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "This study has no trials yet." in page and island_of(page, "plots") == {}


def test_a_study_whose_trials_all_failed(tmp_path: Path) -> None:
    made = [
        Made(latency_ms=900.0, kind="over_limit"),
        Made(kind="error", message="it broke"),
        Made(kind="running"),
    ]
    page = build_page(*records_of(made, tmp_path))
    assert (
        "3 trials, 0 of them networks trained to the end" in page
        and "1 slower than the limit, not trained" in page
    )


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--study", "dork"], "there is no study 'dork' in sqlite:///"),
        (["--storage", "sqlite:////no/where.db"], "there is no study at sqlite:////no/where.db"),
        (
            ["--study", "other"],
            "study 'other' must be one of nas.search, but another tool made its 1 trial; "
            "look at it in",
        ),
        (["--artifacts", "/no/where"], "--artifacts must be a folder, but there is no /no/where"),
        (
            ["--out", "/no/where/r.html"],
            "--out needs a folder that exists, but there is no /no/where",
        ),
        (["--out", "r.pdf"], "--out must end in .html, but got r.pdf"),
        (["--out", "."], "--out must be a file, but . is a folder"),
        (["--out", "{folder}/mine.html"], "--out must be new or an earlier report, but"),
        (
            ["--colour", "red"],
            "unrecognized arguments: --colour red; see python -m dashboards.report --help",
        ),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    url = make_file(networks(1), tmp_path)
    (tmp_path / "mine.html").write_text("<p>my own page</p>")
    optuna.create_study(study_name="other", storage=url).add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    flags = [flag.format(folder=tmp_path) for flag in flags]
    assert (
        main(["--study", "dark", "--storage", url, "--out", str(tmp_path / "r.html"), *flags]) == 2
    )
    line = capsys.readouterr().err
    assert line.startswith("error: ") and told in line and line.count("\n") == 1
    assert (tmp_path / "mine.html").read_text() == "<p>my own page</p>" and not (
        tmp_path / "r.html"
    ).exists()


def test_export_commands_find_the_study() -> None:
    assert export_command("dark", 7, Path("runs"), None) == (
        "python -m nas.export --study dark --trial 7 --out exports/trial-0007"
    )
    assert export_command("my study", 7, Path("r"), "sqlite:///a b.db").endswith(
        "--runs r --storage 'sqlite:///a b.db'"
    )


def test_networks_in_words() -> None:
    mo = json.loads(BASELINES["MO"].to_json())
    assert network_in_words(mo) == (
        "32x: 3 RDB of 4/5 layers, growth 32, 64 wide; trunk 64 wide, 1 residual; head "
        "concatenated"
    )
    assert network_in_words(json.loads(BASELINES["M2"].to_json())).count(" + ") == 2
    assert network_in_words(None) == "" and network_in_words({"branches": []}).startswith(
        "no deep branch"
    )
    assert [duration(s) for s in (12, 600, 9000)] == ["12 s", "10.0 min", "2.5 h"]
