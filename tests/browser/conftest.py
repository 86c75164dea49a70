"""What the tests in a browser share: a real Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Nothing of Google's is looked up, and no machine needs a screen for it.
FLAGS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


# Playwright's loop runs on this thread for as long as it is open, and no other may: not beyond its module.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Skips a module where there is no browser; fails where `BROWSER_TESTS=required` says that there is to be one."""
    if PROGRAM is None:
        said = "no Chromium on the path: apt-get install chromium"
        assert os.environ.get("BROWSER_TESTS") != "required", said
        pytest.skip(said)
    with sync_playwright() as made:
        yield made


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Starts Chromium with further flags, e.g. ``launch("--host-resolver-rules=MAP shop.example 127.0.0.1")``."""
    made: list[Browser] = []

    def start(*flags: str) -> Browser:
        made.append(playwright.chromium.launch(executable_path=PROGRAM, args=[*FLAGS, *flags]))
        return made[-1]

    yield start
    for browser in made:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """One Chromium for the tests of a module."""
    return launch()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with a profile of its own."""
    with browser.new_context() as context:
        yield context.new_page()
