"""How the bibliography is sorted: by plain letters, as a reader looks names up."""

from __future__ import annotations

import unicodedata
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.alpha import Style
from pybtex.style.sorting.author_year_title import SortingStyle

NAME = "plain_letters"


def plain_letters(name: str) -> str:
    r"""Return a name of a BibTeX file in letters without marks: `{\'A}lvarez` gives `alvarez`."""
    parts = unicodedata.normalize("NFKD", str(Text.from_latex(name)))
    return "".join(one for one in parts if not unicodedata.combining(one)).lower()


class PlainLetters(SortingStyle):
    """By author, year and title; an accent, or the LaTeX for it, does not count."""

    def person_key(self, person: Any) -> str:
        """Return what a person is sorted by."""
        return plain_letters(super().person_key(person))


class PlainLettersStyle(Style):
    """Entries as in pybtex's style `alpha`, sorted by `PlainLetters`."""

    default_sorting_style = NAME


def register() -> None:
    """Make the style known to pybtex, by its name."""
    register_plugin("pybtex.style.sorting", NAME, PlainLetters)
    register_plugin("pybtex.style.formatting", NAME, PlainLettersStyle)
