"""Pictures of the local platform's page: each a file in docs/images/, light enough for a README."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Browser, sync_playwright

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.browser.conftest import FLAGS, PROGRAM
from tests.browser.shop import deep, orders

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MOST_BYTES = 200_000
DECLINED = f"{0x4BF92F3577B34DA6A3CE929D0E0E4700 + 7:032x}"


class Picture(NamedTuple):
    """One picture: of which page, in which theme, what is clicked first, and how large."""

    name: str
    parameters: dict[str, str] | None
    scheme: str = "light"
    click: str = ""
    width: int = 1280
    height: int = 680


PICTURES = [
    Picture("list", None, height=380),
    Picture("trace", {"trace": DECLINED}, click="charge card"),
    Picture("trace-dark", {"trace": DECLINED}, "dark", click="charge card"),
    Picture("calls", {"view": "calls"}, height=620),
    Picture("side-by-side", {"view": "compare", "a": DECLINED}, "dark", height=700),
    Picture("small", {"trace": DECLINED}, width=375, height=760),
]


def main() -> int:
    """Takes all pictures; the status is 1 where one is too heavy."""
    if PROGRAM is None:
        raise SystemExit("This takes Chromium on the path: apt-get install chromium")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        LocalPlatform() as platform,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=PROGRAM, args=FLAGS) as browser,
    ):
        for name, count in (
            ("mail", 3),
            ("warehouse", 21),
            ("nightly report", 2),
            ("import", 0),
            ("shop", 12),
        ):
            platform.put(name, orders(count, seed=count) if count else deep())
        too_heavy = [picture.name for picture in PICTURES if take(picture, browser, platform) > MOST_BYTES]
    for name in too_heavy:
        print(f"docs/images/{name}.png has more than {MOST_BYTES:,} bytes", file=sys.stderr)
    return 1 if too_heavy else 0


def take(picture: Picture, browser: Browser, platform: LocalPlatform) -> int:
    """Takes a picture, and returns how many bytes it has."""
    where = {"o": platform.organisation_id, "p": platform.project_id, "name": "shop"}
    path = "/" if picture.parameters is None else f"/flow?{urlencode({**where, **picture.parameters})}"
    size = {"width": picture.width, "height": picture.height}
    with browser.new_context(color_scheme=picture.scheme, viewport=size, device_scale_factor=1.25) as context:
        page = context.new_page()
        page.goto(platform.url + path)
        if picture.click:
            page.locator(".row .span", has_text=picture.click).click()
            page.locator("#panel .pairs").first.wait_for()
        page.mouse.move(0, 0)
        page.evaluate("window.scrollTo(0, 0)")
        page.locator("#live[data-js=Live]").wait_for()
        file = IMAGES / f"{picture.name}.png"
        page.screenshot(path=file, animations="disabled")
    print(f"docs/images/{picture.name}.png: {file.stat().st_size:,} bytes")
    return file.stat().st_size


if __name__ == "__main__":
    sys.exit(main())
