"""Draw the picture of the main result, and note the falls that the explorer tells.

    python tools/picture.py RESULTS.csv

RESULTS.csv is a table of `biasmir evaluate`, with its .json beside it. The same table gives the
same picture, byte for byte: no date, and fixed names inside. The sums of the data stand in its
metadata (`dc:source`), so that a picture of other data is noticed. Of the picture there are two
forms: gap.svg for the README and the first page, preview.png for whoever is sent a link.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from biasmir_utils.experiments import falls
from biasmir_utils.plots import looks, style, train_test_pairs

BOOK = Path(__file__).resolve().parent.parent / "book"
PICTURE, PREVIEW = BOOK / "images" / "gap.svg", BOOK / "_static" / "preview.png"
FALLS = BOOK / "extra" / "explorer" / "falls.json"
INK = "#222222"
TITLE = "Does it hear the cello,\nor the dataset?"
ENDS = ["same\ndataset", "other\ndataset"]
SAID = "The same recogniser of ten instruments,\ntrained on one dataset and on another:\n"


def annotate(ax: Axes, above: float, below: float) -> None:
    """Mark a fall at the right of a panel of slopes."""
    ax.set(xlim=(-0.3, 2.0), xlabel="trained on the")
    ax.set_xticks([0, 1], ENDS)
    ax.annotate(
        "",
        xy=(1.32, below),
        xytext=(1.32, above),
        arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.6},
    )
    ax.hlines([above, below], [0.12, 1.12], 1.38, color=INK, linewidth=0.8, linestyle=":")
    text = f"falls\nby {above - below:.2f}"
    ax.text(1.4, (above + below) / 2, text, va="center", color=INK)


def draw_picture(table: pd.DataFrame, source: str, target: Path) -> None:
    """Draw the four train-test pairs as an SVG, with the deepest mean fall marked."""
    fall = falls(table).groupby(["test_set", "embedding"])[["in_domain", "cross", "fall"]].mean()
    deepest = fall.sort_values("fall").iloc[-1]
    mpl.use("svg")
    figure = train_test_pairs(table)
    for ax in figure.axes:
        ax.set_xticks([0, 1], ENDS)
        ax.set(xlabel="trained on the")
    marked = fall.sort_values("fall").reset_index()["test_set"].iloc[-1]
    panel = next(ax for ax in figure.axes if ax.get_title() == f"tested on {marked}")
    annotate(panel, float(deepest["in_domain"]), float(deepest["cross"]))
    with mpl.rc_context({"svg.hashsalt": "biasmir"}):
        metadata = {"Date": None, "Source": source}
        figure.savefig(target, format="svg", metadata=metadata, bbox_inches="tight")


def draw_preview(table: pd.DataFrame, target: Path) -> None:
    """Draw the title of the book beside the falls on one test set, 1,200 x 630 pixels."""
    test_set = table["test_set"].iloc[0]
    part = falls(table)
    part = part[part["test_set"] == test_set]
    means = part.groupby("embedding", sort=False)[["in_domain", "cross"]].mean()
    with style():
        figure = Figure(figsize=(12, 6.3), dpi=100)
        figure.set_layout_engine("none")
        ax = figure.add_axes((0.6, 0.2, 0.37, 0.68))
        for (name, row), look in zip(means.iterrows(), looks(means.index).values(), strict=True):
            line = {"linestyle": look.line, "linewidth": 3, "markersize": 12}
            ax.plot([0, 1], row, color=look.colour, marker=look.marker, label=name, **line)
            ax.text(1.07, row["cross"], str(name), va="center", fontsize=16, color=INK)
        ax.set(
            xlim=(-0.15, 1.6), ylabel="mean ROC-AUC", xlabel=f"trained on (tested on {test_set})"
        )
        ax.set_xticks([0, 1], ENDS)
        figure.text(0.04, 0.56, TITLE, fontsize=30, weight="bold", color=INK)
        deepest = (means["in_domain"] - means["cross"]).max()
        said = f"{SAID}the mean ROC-AUC falls by up to {deepest:.2f}."
        figure.text(0.04, 0.3, said, fontsize=20, color=INK, linespacing=1.4)
        figure.text(0.04, 0.12, "BiasMIR, a book to run and to listen to", fontsize=18, color=INK)
    figure.savefig(target, metadata={"Software": None})


def main(results: Path) -> None:
    """Make all that shows the main result from one table of results."""
    table = pd.read_csv(results)
    data = json.loads(results.with_suffix(".json").read_text(encoding="utf-8"))["data"]
    source = "; ".join(f"{sum_} {name}" for name, sum_ in data.items())
    plain = table[table["correction"] == "none"]
    draw_picture(plain, source, PICTURE)
    draw_preview(plain, PREVIEW)
    means = falls(table).groupby(["embedding", "correction"], sort=False)["fall"].mean().round(3)
    noted = {name: means[name].to_dict() for name in means.index.unique("embedding")}
    FALLS.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
