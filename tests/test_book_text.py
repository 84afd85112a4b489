"""What the book's extension makes of texts: percent signs, and the order of the bibliography."""

from __future__ import annotations

from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from pybtex.database import parse_string
from pybtex.plugin import find_plugin

from biasmir_utils.book import bibliography
from biasmir_utils.book.extension import keep_percents

ROOT = Path(__file__).resolve().parent.parent
SPACE = "\N{NO-BREAK SPACE}"


def test_no_line_breaks_before_a_percent_sign():
    document = publish_doctree(
        "About 95 % of *3 %*, ``7 %``.\n\n"
        ".. figure:: a.png\n\n   With 95 % intervals.\n\n::\n\n   5 %\n"
    )
    keep_percents(document)
    said = document.astext()
    assert f"About 95{SPACE}% of 3{SPACE}%, 7 %." in said
    assert next(document.findall(nodes.caption)).astext() == f"With 95{SPACE}% intervals."
    assert next(document.findall(nodes.literal_block)).astext() == "5 %"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        (r"{\'A}lvarez-Esteban", "alvarez-esteban"),
        ("\N{LATIN CAPITAL LETTER A WITH ACUTE}lvarez", "alvarez"),
        (r"Matr{\'a}n", "matran"),
        ("del Barrio", "del barrio"),
    ],
)
def test_names_in_plain_letters(name, plain):
    assert bibliography.plain_letters(name) == plain


def test_entries_are_sorted_by_plain_letters():
    bibliography.register()
    rest = "title = {T}, journal = {J}, year = {2000}"
    entries = "".join(
        f"@article{{{key}, author = {{{author}}}, {rest}}}\n"
        for key, author in (
            ("z", "Zhu, A"),
            ("a", r"{\'A}lvarez-Esteban, P and del Barrio, E"),
            ("b", "Belrose, N"),
            ("u", r"{\"U}nal, A"),
            ("w", "Wang, C"),
        )
    )
    style = find_plugin("pybtex.style.formatting", bibliography.NAME)()
    data = parse_string(entries, "bibtex")
    assert [entry.key for entry in style.sort(data.entries.values())] == ["a", "b", "u", "w", "z"]


def test_the_book_is_set_with_that_style():
    settings = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert f"bibtex_default_style: {bibliography.NAME}\n" in settings
