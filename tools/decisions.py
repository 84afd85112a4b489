"""Draw which correction is for whom, with what the committed tables say: chapter 7's chart.

    python tools/decisions.py

The tables are those of benchmarks/judging.py and benchmarks/few_labels.py; what chapters measure
is read from their sentences. The words of the chart stand in its metadata, so that one of older
numbers is noticed. The table that stands under the chart is printed.
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd

import notebooks
from biasmir_utils.plots import style

ROOT = Path(__file__).resolve().parent.parent
CHART, TABLES = ROOT / "book" / "images" / "decisions.svg", ROOT / "benchmarks" / "results"
INK, TINT = "#222222", "#cfe3f7"
# Inches: the whole, a box, where the right boxes begin; a line of large and of small type; the
# margins of a box together, the room between two boxes.
WIDTH, BOX, RIGHT = 6.0, 2.65, 3.35
LARGE, SMALL, MARGIN, APART = 0.24, 0.2, 0.24, 0.36


def steps() -> list[tuple[str, str, str]]:
    """Return each question with what to do if the answer is yes, and the evidence for it."""
    judged = pd.read_csv(TABLES / "judging.csv")
    # A Brier score is better where it is lower.
    up = judged["metric"] != "brier"
    judged["better"] = judged["low"].gt(0).where(up, judged["high"].lt(0))
    judged["worse"] = judged["high"].lt(0).where(up, judged["low"].gt(0))
    count = judged.groupby(["correction", "baseline", "metric"])[["better", "worse"]].sum()
    tables = judged.groupby(["correction", "baseline", "metric"]).size()

    def surely(correction: str, baseline: str, metric: str) -> str:
        key = correction, baseline, metric
        return f"{count.loc[key, 'better']} of {tables[key]}"

    def probabilities(correction: str) -> str:
        worse = count.loc[(correction, "none", "brier"), "worse"]
        return f"with {correction} in {surely(correction, 'none', 'brier')} (worse in {worse})"

    few = (TABLES / "few_labels.md").read_text(encoding="utf-8")
    gains = [float(one) for one in re.findall(r"\| fewshot, n = 50 \|[^+-]*([+-][\d.]+) \[", few)]
    fifty = f"{min(gains):+.2f} to {max(gains):+.2f}".replace("-", "\N{MINUS SIGN}")
    here, pairs = said("07_judging_corrections"), said("08_the_same_music_twice")
    return [
        (
            "50 labelled clips of the target, or more?",
            "Train on both datasets; correct afterwards, if at all",
            f"50 labels change the ROC-AUC by {fifty} ({len(gains)} pairs of corpus and embedding)",
        ),
        (
            "A few clips that exist in both sounds?",
            "Learn a map from the pairs",
            f"Chapter 8 (rendered): up to {pairs['map_most']} of ROC-AUC, in {pairs['map_best']}",
        ),
        (
            "Are the answers not equally frequent in both?",
            "No correction of means",
            "It takes out the answer, too: the R\N{SUPERSCRIPT TWO} of the pitch, above, goes from "
            f"{here['pitch_none']} to {here['pitch_center']}",
        ),
        (
            "Does a probability decide?",
            "center or leace",
            "The Brier score is surely better than without correction "
            f"{probabilities('center')}, {probabilities('leace')}",
        ),
        (
            "Does a threshold decide?",
            "The source's rate, or leace against shift",
            f"Balanced accuracy with the rate: {here['ba_none']} to {here['ba_rate']} (mfcc, "
            f"rendered); leace is surely better than shift in "
            f"{surely('leace', 'shift', 'balanced_accuracy_source')}",
        ),
        (
            "Does only the order count?",
            "Nothing; or a test against the placebo",
            "leace surely gains ROC-AUC over its placebo in "
            f"{surely('leace', 'placebo', 'roc_auc')}",
        ),
    ]


def said(chapter: str) -> dict[str, str]:
    """Return the numbers of a chapter's sentences, which every build compares with its run."""
    text = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
    return {found["name"]: found["text"] for found in notebooks.MARK.finditer(text)}


def table(chart: list[tuple[str, str, str]]) -> str:
    """Return the chart as a table in Markdown, which chapter 7 has folded under the picture."""
    head = [("The first yes decides", "What to do", "What was measured"), ("---",) * 3]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *chart])


def words(chart: list[tuple[str, str, str]]) -> str:
    """Return all that the chart says."""
    return " | ".join(text for step in chart for text in step)


def draw(chart: list[tuple[str, str, str]], target: Path) -> None:
    """Draw the questions below one another, with an arrow from each to what to do, as an SVG."""
    from matplotlib import pyplot as plt
    from matplotlib.patches import Rectangle

    rows = [(fill(ask, 23), fill(do, 21), fill(why, 28)) for ask, do, why in chart]
    lines = [[1 + text.count("\n") for text in row] for row in rows]
    heights = [MARGIN + max(a * LARGE, b * LARGE + c * SMALL) for a, b, c in lines]
    tops = np.cumsum([0, *(height + APART for height in heights)])
    bottom = tops[-1] - APART
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6}
    mpl.use("svg")
    with style(), mpl.rc_context({"svg.hashsalt": "biasmir"}):
        figure, ax = plt.subplots(figsize=(WIDTH, bottom))
        ax.set(xlim=(-0.03, WIDTH + 0.03), ylim=(bottom + 0.03, -0.03))
        ax.axis("off")
        for (ask, do, why), (_, large, _), top, height in zip(
            rows, lines, tops, heights, strict=False
        ):
            middle, end = top + height / 2, top + height
            for left, tint in ((0, TINT), (RIGHT, "white")):
                ax.add_patch(Rectangle((left, top), BOX, height, facecolor=tint, edgecolor=INK))
            ax.text(BOX / 2, middle, ask, ha="center", va="center", fontsize=13)
            text, begin = RIGHT + 0.12, top + MARGIN / 2
            ax.text(text, begin, do, va="top", fontsize=13, weight="bold")
            ax.text(text, begin + large * LARGE, why, va="top", fontsize=11)
            ax.annotate("", (RIGHT, middle), (BOX, middle), arrowprops=arrow)
            ax.text((BOX + RIGHT) / 2, middle - 0.05, "yes", ha="center", fontsize=11)
            if end < bottom - APART / 2:
                ax.annotate("", (BOX / 2, end + APART), (BOX / 2, end), arrowprops=arrow)
                ax.text(BOX / 2 + 0.1, end + APART / 2, "no", va="center", fontsize=11)
        figure.savefig(target, metadata={"Date": None, "Description": words(chart)})
        plt.close(figure)


if __name__ == "__main__":
    draw(steps(), CHART)
    print(table(steps()))
