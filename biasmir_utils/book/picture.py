"""The one picture of the main result, for the README and the introduction."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

# Where the README and the introduction look for it.
PICTURE = Path("book", "images", "gap.svg")


def draw_picture(results: Path, target: Path) -> None:
    """Draw the four train-test pairs of a results table, without correction, as an SVG.

    The same table gives the same file, byte for byte: no date, and fixed names inside.

    Parameters
    ----------
    results : pathlib.Path
        What `biasmir evaluate` wrote.
    target : pathlib.Path
        The picture.

    Raises
    ------
    BookError
        The table has no rows without correction.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from biasmir_utils.plots import train_test_pairs

    table = pd.read_csv(results)
    plain = table[table["correction"] == "none"]
    if plain.empty:
        raise BookError(f"{results} has no rows without correction (correction 'none')")
    figure = train_test_pairs(plain)
    with atomic_path(target) as temporary, mpl.rc_context({"svg.hashsalt": "biasmir"}):
        figure.savefig(temporary, format="svg", metadata={"Date": None}, bbox_inches="tight")
