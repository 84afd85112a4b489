"""IRMAS: what the name of a clip tells, and the authors' lists of clips.

A name such as ``043__[cel][nod][cla]0029__1`` holds the predominant instrument (first
bracket), the genre (last bracket) and the track (what stands before the last ``__``).

References
----------
J. J. Bosch, J. Janer, F. Fuhrmann and P. Herrera, "A comparison of sound segregation techniques
for predominant instrument recognition in musical audio signals", ISMIR 2012.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from biasmir_utils.datasets.genres import IRMAS_DROPPED_GENRES, IRMAS_GENRES
from biasmir_utils.errors import CorpusError

# Acoustic and electric guitar are one class in the other data set.
IRMAS_INSTRUMENTS = {
    "cel": "cello",
    "cla": "clarinet",
    "flu": "flute",
    "gac": "guitar",
    "gel": "guitar",
    "org": "organ",
    "pia": "piano",
    "sax": "saxophone",
    "tru": "trumpet",
    "vio": "violin",
    "voi": "voice",
}

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def parse_clip_name(name: str) -> dict[str, str]:
    """Take the name of a clip apart.

    Parameters
    ----------
    name : str
        The stem of the sound file.

    Returns
    -------
    dict
        `instrument` (one of the values of `IRMAS_INSTRUMENTS`), `genre_code` (as in the name)
        and `track`.

    Raises
    ------
    CorpusError
        If the name has no brackets, no ``__``, or an instrument or genre that IRMAS has not.
    """
    codes = _BRACKETS.findall(name)
    track, separator, _ = name.rpartition("__")
    if len(codes) < 2 or not separator:
        raise CorpusError(f"the clip name {name!r} is not of the form 043__[cel][nod][cla]0029__1")
    instrument, genre = codes[0], codes[-1]
    if instrument not in IRMAS_INSTRUMENTS:
        raise CorpusError(
            f"the clip name {name!r} has the instrument {instrument!r}, "
            f"expected one of {', '.join(IRMAS_INSTRUMENTS)}"
        )
    if genre not in IRMAS_GENRES and genre not in IRMAS_DROPPED_GENRES:
        raise CorpusError(
            f"the clip name {name!r} has the genre {genre!r}, "
            f"expected one of {', '.join((*IRMAS_GENRES, *IRMAS_DROPPED_GENRES))}"
        )
    return {
        "instrument": IRMAS_INSTRUMENTS[instrument],
        "genre_code": genre,
        "track": track,
    }


def read_clip_list(path: Path) -> list[str]:
    """Return the distinct clip names of a list with one name a line, sorted.

    The authors' lists repeat a name once for each frame of its embedding.
    """
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such file; it is one of the two lists of IRMAS clips: run `biasmir fetch "
            f"paper-split` first (with the same --root)"
        )
    lines = path.read_text(encoding="utf-8").splitlines()
    names = {line.strip().strip('"') for line in lines} - {""}
    if not names:
        raise CorpusError(f"{path}: the list is empty, expected one clip name a line")
    return sorted(names)


def read_irmas(
    train: Path, test: Path, labels: Sequence[str], *, keep_all: bool = False
) -> tuple[pd.DataFrame, int]:
    """Read the authors' split of IRMAS into a clip table.

    Parameters
    ----------
    train, test : pathlib.Path
        Lists of clip names, one a line.
    labels : sequence of str
        The label columns to make; every clip has every label observed, 1 for its predominant
        instrument and 0 for the others.
    keep_all : bool
        Whether clips of a genre without counterpart stay, with no group.

    Returns
    -------
    table : pandas.DataFrame
        Columns `dataset`, `clip`, `track`, `split`, `group` and the labels, sorted by clip.
    n_dropped : int
        Clips left out for their genre; with `keep_all`, those without a group.

    Raises
    ------
    CorpusError
        Naming the file: a name that cannot be read, or one in both lists.
    """
    rows, n_dropped = [], 0
    seen: dict[str, Path] = {}
    for split, path in (("train", train), ("test", test)):
        for clip in read_clip_list(path):
            if clip in seen:
                raise CorpusError(f"{path}: the clip {clip!r} is in {seen[clip]} as well")
            seen[clip] = path
            try:
                parts = parse_clip_name(clip)
            except CorpusError as error:
                raise CorpusError(f"{path}: {error}") from None
            if parts["genre_code"] in IRMAS_DROPPED_GENRES:
                n_dropped += 1
                if not keep_all:
                    continue
            rows.append(
                {
                    "dataset": "irmas",
                    "clip": clip,
                    "track": parts["track"],
                    "split": split,
                    "group": IRMAS_GENRES.get(parts["genre_code"]),
                    **{label: float(label == parts["instrument"]) for label in labels},
                }
            )
    table = pd.DataFrame(rows)
    return table.sort_values("clip", ignore_index=True), n_dropped
