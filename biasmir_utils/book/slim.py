"""Take out of the built pages what the theme brings along and no page uses.

The theme loads 1.5 MB of JavaScript that draws any of two thousand icons; the book shows some
twenty. They are also in the theme's fonts, which its style sheet knows how to use, so the script
goes, the fonts are cut down to the icons in use, and so are the rules of the style sheet. A first
page then weighs a third of what it did.

The licence of the fonts (SIL OFL 1.1) asks that a font that was changed has another name, so the
fonts that are left are called after the book.
"""

from __future__ import annotations

import re
from pathlib import Path

from biasmir_utils.book.checks import pages
from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

FONTS = {
    "fa-solid-900": "Book Icons Solid",
    "fa-regular-400": "Book Icons Regular",
    "fa-brands-400": "Book Icons Brands",
}
FAMILIES = {"Font Awesome 6 Free": "Book Icons", "Font Awesome 6 Brands": "Book Icons Brands"}
"""What the theme calls the fonts, and what they are called when they have been cut down."""

_STYLE = Path("_static", "styles", "pydata-sphinx-theme.css")
_FOLDER = Path("_static", "vendor", "fontawesome")
_SCRIPT = Path("_static", "scripts", "fontawesome.js")
_SCRIPT_TAG = re.compile(r"\s*<script[^>]*fontawesome\.js[^>]*></script>")
_COMMENT = re.compile(r"\s*<!-- So that users can add custom icons -->")
_ICON = re.compile(r"\bfa-[a-z0-9-]+")
# A rule that gives icons their sign: `.fa-a:before,.fa-b:before{content:"\f002"}`.
_ICON_RULE = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"([^"]*)"\}')
_SIGN = re.compile(r"\\([0-9a-fA-F]{4,5})|([\ue000-\uf8ff])")
_FACE = re.compile(r"@font-face\{[^}]*\}")


def slim(html: Path) -> None:
    """Cut the theme's files in the folder of built pages down to what the pages use.

    A second call finds nothing left to do.

    Raises
    ------
    BookError
        The theme's files are not as this module knows them: another version.
    """
    script = html / _SCRIPT
    if not script.exists():
        return
    style = html / _STYLE
    if not style.is_file() or not _FACE.search(style.read_text(encoding="utf-8")):
        raise BookError(
            f"{style}: is not the style sheet of the theme that was expected; constraints.txt pins "
            "the version of pydata-sphinx-theme for which biasmir_utils.book.slim was written"
        )
    used, signs = icons_used(html), set()
    for sheet in sorted(html.rglob("*.css")):
        before = sheet.read_text(encoding="utf-8")
        after = _with_other_fonts(_without_unused_icons(before, used))
        signs |= {int(code, 16) if code else ord(sign) for code, sign in _SIGN.findall(after)}
        if after != before:
            _write(sheet, after)
    for name, title in FONTS.items():
        _subset(html / _FOLDER / "webfonts" / name, title, signs)
    for page in pages(html):
        before = page.read_text(encoding="utf-8")
        after = _COMMENT.sub("", _SCRIPT_TAG.sub("", before))
        if after != before:
            _write(page, after)
    script.unlink()
    script.with_name("fontawesome.js.LICENSE.txt").unlink(missing_ok=True)
    # Maps from the packed scripts and styles to their sources, which no reader opens.
    for one in (html / "_static").rglob("*.map"):
        one.unlink()


def icons_used(html: Path) -> set[str]:
    """Return the class names of icons (`fa-bars`) in the pages and in the theme's scripts."""
    found: set[str] = set()
    for page in pages(html):
        for classes in re.findall(r'class="([^"]*)"', page.read_text(encoding="utf-8")):
            found.update(_ICON.findall(classes))
    for script in (html / "_static" / "scripts").glob("*.js"):
        if script.name != _SCRIPT.name:
            found.update(_ICON.findall(script.read_text(encoding="utf-8")))
    return found


def _without_unused_icons(style: str, used: set[str]) -> str:
    def keep(match: re.Match[str]) -> str:
        names = set(_ICON.findall(match.group(1)))
        return match.group(0) if names & used else ""

    return _ICON_RULE.sub(keep, style)


def _with_other_fonts(style: str) -> str:
    for old, new in FAMILIES.items():
        style = style.replace(old.replace(" 6", r"\ 6"), new).replace(old, new)
    # One file for each face, which every browser reads.
    return re.sub(
        r'src:url\((\S*?)\.woff2\) format\("woff2"\),url\(\1\.ttf\) format\("truetype"\)',
        r'src:url(\1.woff) format("woff")',
        style,
    )


def _subset(font: Path, title: str, signs: set[int]) -> None:
    """Write `font`.woff with the glyphs of `signs` in it, under another name."""
    from fontTools import subset, ttLib

    original = font.with_suffix(".ttf")
    options = subset.Options()
    options.flavor = "woff"
    options.drop_tables += ["FFTM"]
    options.notdef_outline = True
    # Without a time, so that two builds give the same file.
    with ttLib.TTFont(original, recalcTimestamp=False) as face:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=signs & set(face.getBestCmap()))
        cutter.subset(face)
        for record in list(face["name"].names):
            if record.nameID in (1, 3, 4, 16):
                face["name"].setName(
                    title, record.nameID, record.platformID, record.platEncID, record.langID
                )
            elif record.nameID == 6:
                face["name"].setName(
                    title.replace(" ", ""), 6, record.platformID, record.platEncID, record.langID
                )
        with atomic_path(font.with_suffix(".woff")) as temporary:
            subset.save_font(face, str(temporary), options)
    original.unlink()
    font.with_suffix(".woff2").unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
