"""The report in a real browser without a network: seen, pointed at, dragged, sorted, copied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, open_tab
from studies import Made, make_study, rung
from test_report import HOSTILE, networks, with_artifacts

from dashboards.page import build_page
from dashboards.study.artifacts import Artifacts
from dashboards.study.records import read_records

pytestmark = pytest.mark.slow
READY = "html[data-ready=yes]"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 43 networks, 5 of them on the front, and one that was stopped."""
    folder = tmp_path_factory.mktemp("report")
    rungs = [rung(50, 21.0), rung(100, 22.0, "stopped")]
    stopped = Made(psnr_db=22.0, latency_ms=25.0, kind="stopped", rungs=rungs, message=HOSTILE)
    made = [*with_artifacts(networks(40), side=96), stopped]
    study = make_study(made, artifacts=folder / "artifacts")
    page = build_page(read_records(study), Artifacts(folder / "artifacts"))
    (folder / "report.html").write_text(page)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser_tab() -> Iterator[Tab]:
    with open_tab(offline=True) as tab:
        tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield tab


@pytest.fixture
def page(browser_tab: Tab, path: Path) -> Iterator[Any]:
    """The report freshly opened; at the end nothing was requested elsewhere, and no errors."""
    requested: list[str] = []

    def listener(request: Any) -> None:
        requested.append(request.url)

    page = browser_tab.page
    page.on("request", listener)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(path.as_uri())
    page.wait_for_selector(READY)
    yield page
    page.remove_listener("request", listener)
    assert [url for url in requested if not url.startswith(("file:", "data:", "blob:"))] == []
    assert browser_tab.errors == []


def middle(page: Any, trial: int) -> tuple[float, float]:
    """Where a trial's dot is in the window."""
    page.locator("#plot-front").scroll_into_view_if_needed()
    x, y = page.evaluate(
        """(number) => { const chart = document.querySelector('#plot-front .chart');
        const groups = [...chart.querySelectorAll('.scatterlayer .trace')];
        for (const [index, trace] of chart.data.entries()) {
          const place = (trace.customdata ?? []).flat().indexOf(number);
          if (place < 0) continue;
          const dot = groups[index].querySelectorAll('.points path')[place];
          const box = dot.getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2]; } }""",
        trial,
    )
    return x, y


def loaded(page: Any, selector: str) -> int:
    """How many pictures there are, all of which must be decoded."""
    widths = page.evaluate(
        """(pictures) => Promise.all([...document.querySelectorAll(pictures)].map(async (one) => {
        await one.decode(); return one.naturalWidth; }))""",
        selector,
    )
    assert all(width > 0 for width in widths), widths
    return len(widths)


def bright(page: Any, plot: str = "front") -> int:
    """Dots that aren't dimmed, each trial once."""
    return page.evaluate(
        """(name) => { const chart = document.querySelector(`#plot-${name} .chart`);
        const groups = [...chart.querySelectorAll('.scatterlayer .trace')]; const seen = new Set();
        chart.data.forEach((trace, index) => (trace.customdata ?? []).forEach((number, place) => {
          const path = groups[index].querySelectorAll('.points path')[place];
          if (path && Number(getComputedStyle(path).opacity) > 0.5) seen.add(number); }));
        return seen.size; }""",
        plot,
    )


def test_every_network_is_a_dot(page: Any) -> None:
    assert bright(page) == bright(page, "ratio") == 44
    assert page.locator("#plot-front .scatterlayer .points path").count() == 44 + 3, (
        "MO, M1 and M2 are on the front too"
    )
    assert page.title() == "dark: report" and page.locator("h1").inner_text() == "dark"


def test_pointing_shows_a_network_and_a_click_keeps_it(page: Any) -> None:
    page.mouse.move(*middle(page, 3))
    page.wait_for_selector("#card h3:has-text('trial 3, on the front')")
    assert loaded(page, "#card img.drawing") == 1 and loaded(page, "#card img.preview") == 6
    label = page.locator("#card .loss svg").get_attribute("aria-label")
    assert label == "loss while training, logarithmic: 0.2 to 0.08 in 30 steps"
    page.mouse.move(*middle(page, 4))
    page.wait_for_selector("#card h3:has-text('trial 4, searched')")
    assert loaded(page, "#card img.preview") == 1, "a thumbnail"
    page.mouse.click(*middle(page, 4))
    page.mouse.move(5, 5)
    assert page.locator("#card.pinned h3").inner_text().endswith("trial 4, searched")
    page.keyboard.press("Escape")
    assert page.locator("#card h3").inner_text() == "One network"


def test_what_a_study_says_stays_text(page: Any) -> None:
    page.mouse.move(*middle(page, 43))
    page.wait_for_selector("#card h3:has-text('trial 43, stopped early')")
    note = page.locator("#card .note").inner_text()
    assert note.startswith("</script><script>alert(1)</script><!-- <b>&")


def test_the_keyboard_reaches_the_front(page: Any) -> None:
    page.locator("#theme").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.pin") == "3":
            break
    page.wait_for_selector("#card h3:has-text('trial 3')")
    page.keyboard.press("Enter")
    assert page.locator("#card.pinned").count() == 1
    assert page.locator(".chips [aria-pressed=true]").count() == 1
    ring = page.evaluate("document.querySelector('#plot-front .chart').data.at(-1).x")
    assert ring == [20]


def test_the_slider_cuts_the_left_picture(page: Any) -> None:
    stage = page.locator(".stage")
    cut = "getComputedStyle(document.querySelector('.stage img.left')).clipPath"
    assert loaded(page, ".stage img") == 2
    stage.scroll_into_view_if_needed()
    before = page.evaluate(cut)
    page.locator(".stage input").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator(".stage input").input_value() == "55" and page.evaluate(cut) != before
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 60, steps=4)
    page.mouse.up()
    assert abs(int(page.locator(".stage input").input_value()) - 20) <= 3
    style = stage.evaluate("(one) => one.style.getPropertyValue('--cut')")
    assert 17 <= float(style.removesuffix("%")) < 24


def test_two_networks_are_compared(page: Any) -> None:
    page.select_option("#left", "1")
    page.select_option("#right", "3")
    page.select_option("#pair", "1")
    assert loaded(page, ".stage img") == 2
    sides = [page.locator(f".stage img.{side}") for side in ("left", "right")]
    left, right = (side.get_attribute("src") for side in sides)
    text = page.locator("#compared").inner_text()
    assert left != right and "M1 (trial 1)" in text and "(trial 3)" in text
    page.click("#swap")
    assert page.locator(".stage img.left").get_attribute("src") == right
    page.mouse.click(*middle(page, 5))
    page.click("text=show in the slider")
    assert page.input_value("#right") == "5"


def test_a_brush_dims_the_rest_of_the_front(page: Any) -> None:
    assert bright(page) == 44 and page.inner_text("#brushed") == "all 43 networks"
    page.evaluate(
        """() => { const chart = document.querySelector('#plot-parallel .chart');
        const index = chart.data[0].dimensions.findIndex((one) => one.label.startsWith('PSNR'));
        const range = `dimensions[${index}].constraintrange`;
        return Plotly.restyle(chart, { [range]: [[26.45, 40]] }, [0]); }"""
    )
    # By hand: MO 27, M1 28, M2 28.2; 29 - n for n in 0, 1, 2 (trials 5, 10, 15), and trial 6's
    # 26.5.
    assert page.inner_text("#brushed") == "7 of 43 networks chosen, the others dimmed"
    assert bright(page) == 7 and bright(page, "ratio") == 7
    page.click("#clear")
    assert page.inner_text("#brushed") == "all 43 networks" and bright(page) == 44


def test_a_brush_drawn_by_hand(page: Any) -> None:
    page.locator("#plot-parallel").scroll_into_view_if_needed()
    box = page.locator("#plot-parallel .axis-brush").nth(1).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.05)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.35, steps=6)
    page.mouse.up()
    text = page.inner_text("#brushed")
    chosen = re.fullmatch(r"(\d+) of 43 networks chosen, the others dimmed", text)
    assert chosen and 0 < int(chosen[1]) < 43
    assert bright(page) == int(chosen[1])


def test_axes_are_brushed_without_a_mouse(page: Any) -> None:
    page.select_option("#axis", label="group")
    page.select_option("#low", label="front")
    page.select_option("#high", label="front")
    front = page.locator(".chips button").count() - 3
    assert page.inner_text("#brushed") == f"{front} of 43 networks chosen, the others dimmed"
    page.click("#clear")
    assert page.inner_text("#brushed") == "all 43 networks"


def test_the_table_sorts(page: Any) -> None:
    order = "[...document.querySelectorAll('tbody[data-trial]')].map((one) => one.dataset.trial)"
    assert page.evaluate(order) == ["3", "0", "1", "2", "5"]
    head = page.locator("th:has(button:has-text('PSNR'))")
    for expected, state in (("30125", "ascending"), ("52103", "descending")):
        page.click("th button:has-text('PSNR')")
        assert page.evaluate(order) == list(expected)
        assert head.get_attribute("aria-sort") == state
    page.click("th button:has-text('network')")
    assert page.evaluate(order)[-3:] == ["1", "2", "0"], "M1, M2, MO"


def test_a_command_is_copied(page: Any) -> None:
    page.click("tbody[data-trial='3'] [data-copy]")
    page.wait_for_selector("tbody[data-trial='3'] [data-copy]:has-text('copied')")
    command = "python -m nas.export --study dark --trial 3 --out exports/trial-0003"
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_light_and_dark(page: Any) -> None:
    ink = "getComputedStyle(document.querySelector('#plot-front .xtick text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(f"[{ink}, {paper}]")
    page.click("#theme")
    page.wait_for_function(f"{ink} !== '{light[0]}'")
    assert page.evaluate(f"[{ink}, {paper}]") == ["rgb(228, 232, 236)", "rgb(20, 24, 29)"]
    page.click("#theme")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) == light[1], "a choice holds"


def test_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.mouse.click(*middle(page, 3))
    page.wait_for_selector("#card.pinned h3:has-text('trial 3')")
    box = page.locator("#card").bounding_box()
    assert box["x"] == 0 and box["width"] == 390 and abs(box["y"] + box["height"] - 844) < 2
    page.click("#card button:has-text('close')")
    assert not page.locator("#card").is_visible()


def test_without_webgl_the_axes_are_still_chosen_from(browser_tab: Tab, page: Any) -> None:
    page.add_init_script(
        """{ const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          const none = kind.includes('webgl') && window.name === 'plain';
          return none ? null : get.call(this, kind, ...more); }; }"""
    )
    page.evaluate("window.name = 'plain'")
    page.reload()
    page.wait_for_selector(READY)
    assert "draws no WebGL" in page.inner_text("#plot-parallel")
    page.select_option("#axis", label="group")
    page.select_option("#low", label="baseline")
    assert page.inner_text("#brushed") == "3 of 43 networks chosen, the others dimmed"
    assert bright(page) == 3
    page.click("#clear")
    assert page.inner_text("#brushed") == "all 43 networks"
    page.evaluate("window.name = ''")
