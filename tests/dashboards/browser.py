"""A real Chromium, driven by Playwright: what a page says on its console and raises is kept, to be
looked at.

A test that needs it is skipped only where Chromium or Playwright is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

# SwiftShader draws WebGL without a GPU; as root Chromium has no sandbox.
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


@dataclass
class Tab:
    """One open page, and what it complained of: console errors, exceptions, answers of 400 and
    more, failed requests.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        page = self.page
        page.on(
            "console",
            lambda said: (
                self.complaints.append(f"console: {said.text}") if said.type == "error" else None
            ),
        )
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on(
            "response",
            lambda got: (
                self.complaints.append(f"{got.status}: {got.url}") if got.status >= 400 else None
            ),
        )

    def picture(self, path: Path) -> None:
        """What the window shows, as a PNG."""
        self.page.screenshot(path=str(path))


@contextmanager
def open_tab(
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    offline: bool = False,
) -> Iterator[Tab]:
    """A fresh tab of that size in CSS pixels; skips the test where there is no Chromium or no
    Playwright.
    """
    chromium = shutil.which("chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    if chromium is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                offline=offline,
                accept_downloads=True,
            )
            tab = Tab(context.new_page())
            tab.listen()
            yield tab
        finally:
            browser.close()
