"""Read the built pages as a reader's browser would, and name what is wrong with them.

Each check takes the folder of built pages and returns a list of problems, in words, with the
page they are on; an empty list means that all is well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# Attributes by which a page makes the browser fetch something by itself.
_LOADED = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}
_EXTERNAL = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_CSS_URL = re.compile(r"(?:@import\s+|url\()\s*['\"]?([^'\")\s;]+)", re.IGNORECASE)
# Names that a program gave: a hash, or the name of the image's file.
_NO_WORDS = re.compile(r"^(?:[0-9a-f_-]{16,}|[\w./-]+\.(?:png|svg|jpe?g|gif))$", re.IGNORECASE)


def check(html: Path) -> list[str]:
    """Return the problems that any of the checks found in the pages of `html`."""
    checks: tuple[Callable[[Path], list[str]], ...] = (
        missing_alternatives,
        external_loads,
        broken_links,
    )
    return [problem for one in checks for problem in one(html)]


def pages(html: Path) -> list[Path]:
    """Return the built pages, sorted; Sphinx's own static files are left out."""
    return sorted(
        page for page in html.rglob("*.html") if "_static" not in page.relative_to(html).parts
    )


def missing_alternatives(html: Path) -> list[str]:
    """Images without an alternative text in words, and players without a label.

    A player needs one that is seen, the caption of its figure, and one that is heard, its
    `aria-label`. The explorer's is left out: it has a sound, and a name, when a clip is chosen.
    """
    problems = []
    for page in pages(html):
        name = page.relative_to(html).as_posix()
        soup = _parse(page)
        for image in soup.find_all("img"):
            alternative = image.get("alt")
            if alternative == "" and (
                image.get("role") == "presentation" or image.get("aria-hidden") == "true"
            ):
                continue
            if not alternative or _NO_WORDS.match(alternative.strip()):
                problems.append(
                    f"{name}: image {_short(image.get('src'))} has the alternative text "
                    f"{alternative!r}; say in words what is seen (cell metadata mystnb.image.alt)"
                )
        for player in soup.find_all(["audio", "video"]):
            if player.get("data-part") != "player":
                problems += [f"{name}: {problem}" for problem in _unlabelled(player)]
    return problems


def external_loads(html: Path) -> list[str]:
    """Scripts, styles, images, sounds that a page would fetch from another machine."""
    problems = []
    for page in pages(html):
        name = page.relative_to(html).as_posix()
        for address in _loads(_parse(page)):
            if _EXTERNAL.match(address):
                problems.append(f"{name} loads {address}")
    for style in sorted(html.rglob("*.css")):
        for address in _CSS_URL.findall(style.read_text(encoding="utf-8")):
            if _EXTERNAL.match(address):
                problems.append(f"{style.relative_to(html).as_posix()} loads {address}")
    return problems


def broken_links(html: Path) -> list[str]:
    """Links and files inside the book that lead nowhere."""
    problems = []
    for page in pages(html):
        name = page.relative_to(html).as_posix()
        soup = _parse(page)
        addresses = [link["href"] for link in soup.find_all(["a", "link"], href=True)]
        for address in [*addresses, *_loads(soup)]:
            problem = _follow(html, page, address)
            if problem:
                problems.append(f"{name} links to {_short(address)}: {problem}")
    return problems


def links_out(html: Path) -> list[str]:
    """Addresses outside the book that its pages link to, sorted; for an online link check."""
    found = set()
    for page in pages(html):
        for link in _parse(page).find_all("a", href=True):
            if urlsplit(link["href"]).scheme in ("http", "https"):
                found.add(link["href"])
    return sorted(found)


def _unlabelled(player: Any) -> Iterator[str]:
    """Say what is missing of the labels of a player."""
    sources = [player, *player.find_all("source")]
    source = _short(next((one["src"] for one in sources if one.get("src")), None))
    if not player.get("aria-label", "").strip():
        yield f"player of {source} has no aria-label; say in it what is heard"
    figure = player.find_parent("figure")
    caption = figure.find("figcaption") if figure else None
    if caption is None or not caption.get_text(strip=True):
        yield f"player of {source} has no caption; put it into a figure with a figcaption"


def _follow(html: Path, page: Path, address: str) -> str | None:
    """Return what is wrong with a link from `page`, or None."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or address == "#":
        return None
    target = page
    if parts.path:
        target = (page.parent / unquote(parts.path)).resolve()
        if not target.is_relative_to(html.resolve()):
            return "it leaves the book's folder"
        if not target.is_file():
            return "there is no such file"
    if parts.fragment and target.suffix == ".html" and target.name != "search.html":
        names = _names(target)
        if parts.fragment not in names and unquote(parts.fragment) not in names:
            return "the page has no such place"
    return None


def _loads(soup: Any) -> Iterator[str]:
    """Addresses that the browser fetches by itself for a page, data addresses left out."""
    for tag, attributes in _LOADED.items():
        for element in soup.find_all(tag):
            for attribute in attributes:
                value = element.get(attribute) or ""
                candidates = (
                    [part.split()[0] for part in value.split(",") if part.strip()]
                    if attribute == "srcset"
                    else [value]
                )
                yield from (one for one in candidates if one and not one.startswith("data:"))
    for link in soup.find_all("link", href=True):
        if _LOADING_LINKS & {rel.lower() for rel in link.get("rel", [])}:
            yield link["href"]
    styles = [style.get_text() for style in soup.find_all("style")]
    styles += [element["style"] for element in soup.find_all(style=True)]
    for style in styles:
        yield from (one for one in _CSS_URL.findall(style) if not one.startswith("data:"))


@lru_cache(maxsize=512)
def _parse_version(page: Path, modified: int) -> Any:
    from bs4 import BeautifulSoup

    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def _parse(page: Path) -> Any:
    return _parse_version(page, page.stat().st_mtime_ns)


def _names(page: Path) -> set[str]:
    soup = _parse(page)
    named = {element["id"] for element in soup.find_all(id=True)}
    return named | {element["name"] for element in soup.find_all("a", attrs={"name": True})}


def _short(address: str | None) -> str:
    text = str(address)
    return text if len(text) <= 100 else text[:97] + "..."
