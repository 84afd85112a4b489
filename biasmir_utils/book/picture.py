"""The one picture of the main result, for the README and the introduction."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from biasmir_utils.errors import BookError
from biasmir_utils.files import atomic_path

# Where the README and the introduction look for it.
PICTURE = Path("book", "images", "gap.svg")


def draw_picture(results: Path, target: Path) -> None:
    """Draw the four train-test pairs of a results table, without correction, as an SVG.

    The same table gives the same file, byte for byte: no date, and fixed names inside. The sums
    of the data that it shows stand in its metadata (`dc:source`), so that a picture of other
    data is noticed.

    Parameters
    ----------
    results : pathlib.Path
        What `biasmir evaluate` wrote, with its `.json` beside it.
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
    record = json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))
    source = "; ".join(f"{sum_} {name}" for name, sum_ in record["data"].items())
    figure = train_test_pairs(plain)
    with atomic_path(target) as temporary, mpl.rc_context({"svg.hashsalt": "biasmir"}):
        metadata = {"Date": None, "Source": source}
        figure.savefig(temporary, format="svg", metadata=metadata, bbox_inches="tight")
