"""A real Chromium, driven by Playwright; tests are skipped only where one of them is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

# SwiftShader draws WebGL without a GPU; as root Chromium has no sandbox.
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
# How many points optuna-dashboard's Pareto plot has.
POINTS = """() => { const plots = [...document.querySelectorAll('.js-plotly-plot')];
    return plots.find(p => p.id.includes('pareto'))?.querySelectorAll('.point').length ?? 0; }"""


@dataclass
class Tab:
    """One open page and its errors: on the console, exceptions, answers of 400 and more."""

    page: Any
    errors: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        self.page.on("response", self._on_response)

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"console: {message.text}")

    def _on_response(self, response: Any) -> None:
        if response.status >= 400:
            self.errors.append(f"{response.status}: {response.url}")


@contextmanager
def open_tab(*, offline: bool = False) -> Iterator[Tab]:
    """A fresh tab of 1280 x 900 CSS pixels."""
    chromium = shutil.which("chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if chromium is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            size = {"width": 1280, "height": 900}
            context = browser.new_context(viewport=size, color_scheme="light", offline=offline)
            tab = Tab(context.new_page())
            tab.listen()
            yield tab
        finally:
            browser.close()
