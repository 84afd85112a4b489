"""Photograph every page of the built book, as a desktop and as a phone show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path

from biasmir_utils.book.browser import Browser
from biasmir_utils.book.checks import pages
from biasmir_utils.book.layout import cut_off

WIDTHS = (1280, 390)
# A long page becomes several pictures, each small enough to be looked at.
PICTURE_HEIGHT = 3000

# index.html only leads to the first page.
_REDIRECTS = 'http-equiv="Refresh"'

_TOO_WIDE = """(() => {
  const room = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth > room ? document.documentElement.scrollWidth : 0;
})()"""


def photograph(
    html: Path,
    target: Path | None,
    widths: Iterable[int] = WIDTHS,
    only: Iterable[str] = (),
    dark: Iterable[int] = (),
    inspect: Callable[[Browser], list[str]] | None = None,
    browser: Browser | None = None,
) -> Iterator[tuple[str, int, list[Path], list[str]]]:
    """Yield page, width, its pictures and what is wrong with it, page by page.

    Wrong is what a reader would notice and no picture shows well: a page that scrolls sideways,
    an error on the console, a request to the network, what is cut off (see `layout.cut_off`).

    Parameters
    ----------
    html : pathlib.Path
        The built pages.
    target : pathlib.Path or None
        Folder for the pictures: `<width>/<page>-<number>.png`. None: no pictures.
    widths : iterable of int
        In CSS pixels; below 600 as a phone.
    only : iterable of str
        Parts of page names; empty means every page.
    dark : iterable of int
        Widths at which the page is shown in the dark mode.
    inspect : callable, optional
        Given the browser with the page open, returns what else is wrong with it.
    browser : Browser, optional
        One that runs already; by default one is started, and ended after the last page.
    """
    only, dark = list(only), set(dark)
    with Browser() if browser is None else nullcontext(browser) as browser:
        for page in pages(html):
            name = page.relative_to(html).with_suffix("").as_posix()
            if only and not any(part in name for part in only):
                continue
            if _REDIRECTS in page.read_text(encoding="utf-8"):
                continue
            for width in widths:
                browser.open(page.resolve().as_uri(), width=width, dark=width in dark)
                problems = [f"error on the console: {error}" for error in browser.errors]
                problems += [f"asks the network for {url}" for url in browser.requests_out()]
                wide = browser.evaluate(_TOO_WIDE)
                if wide:
                    problems.append(f"is {wide} px wide, and scrolls sideways at {width} px")
                problems += cut_off(browser)
                if inspect is not None:
                    problems += inspect(browser)
                pictures = [] if target is None else _pictures(browser, target / str(width), name)
                yield name, width, pictures, problems


def _pictures(browser: Browser, folder: Path, name: str) -> list[Path]:
    total = int(browser.evaluate("document.documentElement.scrollHeight"))
    pictures = []
    for number, top in enumerate(range(0, total, PICTURE_HEIGHT), start=1):
        picture = folder / f"{name.replace('/', '-')}-{number}.png"
        browser.screenshot(picture, top, min(PICTURE_HEIGHT, total - top))
        pictures.append(picture)
    return pictures
