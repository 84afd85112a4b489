"""Say whether two builds of the book gave the same pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from biasmir_utils.errors import BookError

TIMINGS = "book/timings"
"""The page that tells how long the chapters took, which no two builds have in common."""

_INDEX = "searchindex.js"


def differences(html: Path, other: Path) -> list[str]:
    """Return what differs between two folders of built pages, in words; empty if nothing does.

    The page of the timings is left out, and so are its words in the index of the search.

    Parameters
    ----------
    html, other : pathlib.Path
        The folders `html` of two builds.

    Raises
    ------
    BookError
        If one of them holds no pages.
    """
    files = [_files(folder) for folder in (html, other)]
    found = []
    for name in sorted(files[0] | files[1]):
        if name not in files[1]:
            found.append(f"{name} is in {html} only")
        elif name not in files[0]:
            found.append(f"{name} is in {other} only")
        else:
            one, two = ((folder / name).read_bytes() for folder in (html, other))
            if one == two or (name == _INDEX and _words(one) == _words(two)):
                continue
            found.append(f"{name} differs{_where(one, two)}")
    return found


def _files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if not any(name.endswith(".html") for name in found):
        raise BookError(f"{folder} holds no page; build the book first: make book")
    return found - {f"{TIMINGS}.html"}


def _words(index: bytes) -> dict[str, Any]:
    """Return the index of the search without the words of the timings."""
    text = index.decode("utf-8")
    content: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    if TIMINGS not in content["docnames"]:
        return content
    timings = content["docnames"].index(TIMINGS)
    for kind in ("terms", "titleterms"):
        pages = {
            word: {page for page in (on if isinstance(on, list) else [on]) if page != timings}
            for word, on in content[kind].items()
        }
        content[kind] = {word: on for word, on in pages.items() if on}
    return content


def _where(one: bytes, two: bytes) -> str:
    """Return the first line that differs, in both versions; nothing for what is no text."""
    try:
        lines = [content.decode("utf-8").splitlines() for content in (one, two)]
    except UnicodeDecodeError:
        return ""
    for number, (first, second) in enumerate(zip(*lines, strict=False), start=1):
        if first != second:
            start = next(
                (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
                min(len(first), len(second)),
            )
            around = slice(max(0, start - 20), start + 60)
            return f" in line {number}: {first[around]!r} and {second[around]!r}"
    return f": {len(lines[0])} and {len(lines[1])} lines"
