"""Photograph the pages of the built book at 1,280 and 390 px, into _build/screenshots.

    python tools/screenshots.py [--dark] [PART ...]

Needs Chromium. With PARTs, only pages whose name has one of them.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

BUILD = Path(__file__).resolve().parent.parent / "_build"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (1280, 390)
# A long page becomes several pictures, each small enough to be looked at.
HEIGHT = 3000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium."""
    switches = "--no-sandbox --disable-gpu --disable-background-networking --hide-scrollbars"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*switches.split(), "--disable-component-update"]
        )


def new_page(browser: Browser, width: int, dark: bool = False) -> Page:
    """Return a page of that width, as a phone shows it below 600 px, without any fading."""
    phone = width < 600
    return browser.new_page(
        viewport={"width": width, "height": 900},
        is_mobile=phone,
        has_touch=phone,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )


def visit(page: Page, address: str) -> None:
    """Open a page and wait for its fonts and formulas."""
    page.goto(address)
    page.evaluate("Promise.all([document.fonts.ready, window.MathJax?.startup?.promise])")


def pages(html: Path) -> list[Path]:
    """Return the built pages, sorted, without Sphinx's own files and the one that redirects."""
    return sorted(
        page
        for page in html.rglob("*.html")
        if "_static" not in page.parts and page != html / "index.html"
    )


def main() -> None:
    """Photograph the pages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", nargs="*", help="only pages whose name has one of these")
    parser.add_argument("--dark", action="store_true", help="in the dark mode")
    options = parser.parse_args()
    with chromium() as browser:
        for width in WIDTHS:
            page = new_page(browser, width, options.dark)
            for file in pages(BUILD / "html"):
                name = file.relative_to(BUILD / "html").with_suffix("").as_posix()
                if options.part and not any(part in name for part in options.part):
                    continue
                visit(page, file.as_uri())
                total = int(page.evaluate("document.documentElement.scrollHeight"))
                # In a window of that height: Playwright's `full_page` often makes it narrow for a
                # moment, and the column of contents is caught sliding in.
                page.set_viewport_size({"width": width, "height": total})
                for number, top in enumerate(range(0, total, HEIGHT), start=1):
                    picture = f"{width}/{name.replace('/', '-')}-{number}.png"
                    page.screenshot(
                        path=BUILD / "screenshots" / picture,
                        clip={"x": 0, "y": top, "width": width, "height": min(HEIGHT, total - top)},
                    )
                page.set_viewport_size({"width": width, "height": 900})
    print(f"The pictures are in {BUILD / 'screenshots'}")


if __name__ == "__main__":
    main()
