"""What the local platform's page takes, measured in Chromium; prints each number beside what it is to be.

    python -m benchmarks.page

The platform is a process of its own, as `versori-flow serve` starts it. The status is 1 where a goal was missed.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from opentelemetry.exporter.versori_flow.server.platform import ORGANISATION_ID, PROJECT_ID
from tests.browser.conftest import FLAGS, PROGRAM
from tests.browser.shop import deep, orders

ROUNDS = 5
WORKFLOWS = f"/o/{ORGANISATION_ID}/projects/{PROJECT_ID}/workflows"
# Two frames after the page has been laid out it has been painted.
PAINTED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() =>
    done(performance.now()))))"""
OPENED = """link => new Promise(done => {
    const panel = document.getElementById("panel"), begun = performance.now();
    new MutationObserver((_, watch) => {
        if (!panel.querySelector(".pairs")) return;
        watch.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
    }).observe(panel, { childList: true, subtree: true, characterData: true });
    link.click();
})"""


class Report:
    """The numbers, each with its goal."""

    def __init__(self) -> None:
        self.missed = False
        self._table = Table("", "measured", "goal", title="The page, in Chromium")
        for column in self._table.columns[1:]:
            column.justify = "right"

    def add(self, what: str, value: float, goal: float, unit: str) -> None:
        """One number; it should be at most the goal."""
        self.missed |= value > goal
        digits = ",.0f" if value >= 100 else ".3g"
        style = "red" if value > goal else ""
        self._table.add_row(what, f"{value:{digits}} {unit}", f"{goal:g} {unit}", style=style)

    def show(self) -> None:
        """Prints them."""
        Console(width=100).print(self._table)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """A local platform, started as a user would."""
    command = [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split(" at ")[1].split()[0]
        finally:
            process.terminate()


def address(url: str, name: str, **parameters: str) -> str:
    """The address of a flow's page."""
    wanted = {"o": ORGANISATION_ID, "p": PROJECT_ID, "name": name, **parameters}
    return f"{url}/flow?{urlencode(wanted)}"


def put(http: httpx.Client, name: str, flow: dict[str, Any]) -> None:
    """Stores a flow."""
    http.put(f"{WORKFLOWS}/{quote(name, safe='')}", json=flow).raise_for_status()


def loaded(browser: Browser, url: str) -> tuple[float, int, int]:
    """Seconds until a page is painted, bytes on the wire, and elements; for somebody who comes for the first time."""
    with browser.new_context() as context:
        page = context.new_page()
        wire: list[int] = []
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", lambda event: wire.append(event["encodedDataLength"]))
        page.goto(url, wait_until="load")
        seconds = page.evaluate(PAINTED) / 1000
        return seconds, sum(wire), page.evaluate("document.querySelectorAll('*').length")


def median_load(browser: Browser, url: str) -> tuple[float, int, int]:
    """The first load does what later ones find done, so it is one of those that count."""
    runs = [loaded(browser, url) for _ in range(ROUNDS)]
    return statistics.median(run[0] for run in runs), max(run[1] for run in runs), max(run[2] for run in runs)


def large_flow(report: Report, browser: Browser, url: str) -> None:
    """A flow of 4,000 spans: on the screen, on the wire, in the tree of elements, and one of its spans."""
    seconds, size, elements = median_load(browser, address(url, "busy"))
    report.add("4,000 spans on the screen", seconds, 0.7, "s")
    report.add("4,000 spans on the wire, script and style included", size / 1000, 300, "kB")
    report.add("4,000 spans in elements", elements, 8000, "")
    page = browser.new_page()
    page.goto(address(url, "busy"))
    links = page.locator(".row .span")
    times = [links.nth(number).evaluate(OPENED) / 1000 for number in range(0, 200, 10)]
    report.add("a span's details, median of 20", statistics.median(times), 0.1, "s")
    report.add("a span's details, slowest of 20", max(times), 0.1, "s")
    page.close()


def deep_trace(report: Report, browser: Browser, url: str) -> None:
    """A trace of 1,000 spans, 30 deep."""
    seconds, size, elements = median_load(browser, address(url, "import", trace=f"{7:032x}"))
    report.add("1,000 spans 30 deep on the screen", seconds, 0.7, "s")
    report.add("1,000 spans 30 deep on the wire", size / 1000, 300, "kB")
    report.add("1,000 spans 30 deep in elements", elements, 8000, "")


def long_list(report: Report, browser: Browser, url: str) -> None:
    """A thousand flows."""
    seconds, size, elements = median_load(browser, url)
    report.add("1,000 flows listed", seconds, 0.3, "s")
    report.add("1,000 flows on the wire", size / 1000, 300, "kB")
    report.add("1,000 flows in elements", elements, 8000, "")


def puts_beside(report: Report, http: httpx.Client, url: str) -> None:
    """How long a PUT takes while pages of 4,000 spans are drawn one after the other, and otherwise."""
    flow, number = orders(5), count()

    def times(seconds: float) -> list[float]:
        found, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end:
            begun = time.perf_counter()
            put(http, f"beside-{next(number) % 3}", flow)
            found.append(time.perf_counter() - begun)
        return sorted(found)

    quiet = times(2)
    ending = threading.Event()
    reader = threading.Thread(target=_keep_reading, args=(address(url, "busy"), ending))
    reader.start()
    busy = times(4)
    ending.set()
    reader.join()
    report.add("a PUT otherwise, median", 1000 * statistics.median(quiet), 50, "ms")
    report.add("a PUT while pages are drawn without pause, median", 1000 * statistics.median(busy), 50, "ms")
    report.add("a PUT while pages are drawn, 99 of 100 within", 1000 * busy[int(len(busy) * 0.99)], 250, "ms")


def _keep_reading(url: str, ending: threading.Event) -> None:
    with httpx.Client(trust_env=False, timeout=30) as http:
        while not ending.is_set():
            http.get(url)


def liveness(report: Report, browser: Browser, http: httpx.Client, url: str) -> None:
    """From a PUT to the row that it brings, on a page that is open."""
    page = browser.new_page()
    put(http, "live", orders(1))
    page.goto(address(url, "live"))
    page.locator("#live[data-js=Live]").wait_for()
    times = []
    for number in range(2, 8):
        page.wait_for_timeout(1000)
        begun = time.perf_counter()
        put(http, "live", orders(number))
        page.locator(f"details.trace:nth-of-type({number})").wait_for()
        times.append(time.perf_counter() - begun)
    report.add("from a PUT to its rows on an open page, median of 6", statistics.median(times), 1, "s")
    page.close()


def first_span(report: Report, browser: Browser, url: str) -> None:
    """What the empty page tells one to run, run: until the waterfall stands on that page."""
    page = browser.new_page()
    page.goto(url)
    command = page.locator("#first").inner_text()
    begun = time.perf_counter()
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "VERSORI_"))}
    subprocess.run(
        command,
        shell=True,
        env={**plain, "PATH": found},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    page.get_by_role("link", name="hello").click(timeout=30_000)
    page.locator("li.row").wait_for()
    report.add(
        "from an empty page to a live waterfall, by its one command", time.perf_counter() - begun, 60, "s"
    )
    page.close()


def main() -> int:
    """Measures all of it."""
    report = Report()
    if PROGRAM is None:
        raise SystemExit("This takes Chromium on the path: apt-get install chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS) as browser,
    ):
        with serving() as url:
            first_span(report, browser, url)
        with serving() as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            busy = orders(312, apart=2)
            put(http, "busy", {**busy, "spans": busy["spans"][:4000]})
            put(http, "import", deep())
            large_flow(report, browser, url)
            deep_trace(report, browser, url)
            puts_beside(report, http, url)
            liveness(report, browser, http, url)
        with serving() as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            one = orders(1)
            for number in range(1000):
                put(http, f"service-{number:04}", one)
            long_list(report, browser, url)
    report.show()
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
