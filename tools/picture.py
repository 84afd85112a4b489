"""Draw the picture of the main result, for the README and the first page of the book.

    python tools/picture.py RESULTS.csv

RESULTS.csv is a table of `biasmir evaluate`, with its .json beside it. The same table gives the
same file, byte for byte: no date, and fixed names inside. The sums of the data stand in its
metadata (`dc:source`), so that a picture of other data is noticed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from biasmir_utils.plots import train_test_pairs

PICTURE = Path(__file__).resolve().parent.parent / "book" / "images" / "gap.svg"


def draw_picture(results: Path, target: Path) -> None:
    """Draw the four train-test pairs of a results table, without correction, as an SVG."""
    table = pd.read_csv(results)
    data = json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))["data"]
    source = "; ".join(f"{sum_} {name}" for name, sum_ in data.items())
    mpl.use("svg")
    figure = train_test_pairs(table[table["correction"] == "none"])
    with mpl.rc_context({"svg.hashsalt": "biasmir"}):
        metadata = {"Date": None, "Source": source}
        figure.savefig(target, format="svg", metadata=metadata, bbox_inches="tight")


if __name__ == "__main__":
    draw_picture(Path(sys.argv[1]), PICTURE)
