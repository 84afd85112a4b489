"""The paper's four genres, and how a clip of each data set gets one of them.

Source: Wang, Richard and McFee, ISMIR 2023, and the authors' published split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

GENRES = ("pop_rock", "jazz_blue", "classical", "country_folk")

# The codes in the names of IRMAS; its fifth, lat_sou (Latin and soul), has no counterpart.
IRMAS_GENRES = {
    "pop_roc": "pop_rock",
    "jaz_blu": "jazz_blue",
    "cla": "classical",
    "cou_fol": "country_folk",
}
IRMAS_DROPPED_GENRES = ("lat_sou",)

_WORD = re.compile(r"[^\W\d_]+")


def words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case; whatever is not a letter separates them."""
    return frozenset(_WORD.findall(text.lower()))


_GENRE_WORDS = {genre: words(genre) for genre in GENRES}


def match_genre(titles: Iterable[str]) -> str | None:
    """Return the genre of the first title that shares a word with a genre's name.

    Words must be equal, so "Jazz" and "Free-Jazz" are `jazz_blue` and "Blues" is nothing: the
    word of the genre is "blue".

    Parameters
    ----------
    titles : iterable of str
        Genre titles of a clip, the most important first.

    Returns
    -------
    str or None
        One of `GENRES`; where a title matches two, the one that comes first there.
    """
    for title in titles:
        found = words(title)
        for genre, names in _GENRE_WORDS.items():
            if not names.isdisjoint(found):
                return genre
    return None
