"""Photograph every page of the built book, as a desktop and as a phone show it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from biasmir_utils.book.browser import Browser
from biasmir_utils.book.checks import pages

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
    html: Path, target: Path, widths: Iterable[int] = WIDTHS, only: Iterable[str] = ()
) -> Iterator[tuple[str, int, list[Path], list[str]]]:
    """Yield page, width, its pictures and what is wrong with it, page by page.

    Wrong is what a reader would notice and no picture shows well: a page that scrolls sideways,
    an error on the console, a request to the network.

    Parameters
    ----------
    html : pathlib.Path
        The built pages.
    target : pathlib.Path
        Folder for the pictures: `<width>/<page>-<number>.png`.
    widths : iterable of int
        In CSS pixels; below 600 as a phone.
    only : iterable of str
        Parts of page names; empty means every page.
    """
    only = list(only)
    with Browser() as browser:
        for page in pages(html):
            name = page.relative_to(html).with_suffix("").as_posix()
            if only and not any(part in name for part in only):
                continue
            if _REDIRECTS in page.read_text(encoding="utf-8"):
                continue
            for width in widths:
                browser.open(page.resolve().as_uri(), width=width)
                problems = [f"error on the console: {error}" for error in browser.errors]
                problems += [f"asks the network for {url}" for url in browser.requests_out()]
                wide = browser.evaluate(_TOO_WIDE)
                if wide:
                    problems.append(f"is {wide} px wide, and scrolls sideways at {width} px")
                total = int(browser.evaluate("document.documentElement.scrollHeight"))
                pictures = []
                for number, top in enumerate(range(0, total, PICTURE_HEIGHT), start=1):
                    picture = target / str(width) / f"{name.replace('/', '-')}-{number}.png"
                    browser.screenshot(picture, top, min(PICTURE_HEIGHT, total - top))
                    pictures.append(picture)
                yield name, width, pictures, problems
