"""The figures of the published results: every figure of the table is drawn where it belongs."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import published_figures
from biasmir_utils.experiments.paper import PUBLISHED_DATASETS, PUBLISHED_EMBEDDINGS
from biasmir_utils.plots.published import published_changes, published_pairs

mpl.use("Agg")

CORRECTIONS = ["lda", "mlda", "k", "klda", "mklda"]


@pytest.fixture(autouse=True)
def close():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def uncorrected() -> pd.DataFrame:
    table = published_figures("mean")
    return table[table["correction"] == "none"]


def with_ours(table: pd.DataFrame, shift: float = 0.01) -> pd.DataFrame:
    """Ours for one embedding only."""
    value = (table["published"] + shift).where(table["embedding"] == "vggish")
    return table.assign(ours=value, low=value - 0.02, high=value + 0.02)


def hollow(ax) -> list:
    return [line for line in ax.lines if line.get_markerfacecolor() == "white"]


def test_slopes_of_the_published_means():
    figure = published_pairs(uncorrected(), order=PUBLISHED_EMBEDDINGS, datasets=PUBLISHED_DATASETS)
    assert [ax.get_title() for ax in figure.axes] == ["tested on irmas", "tested on openmic"]
    drawn = {
        (ax.get_title(), line.get_label()): line.get_ydata().tolist()
        for ax in figure.axes
        for line in ax.lines
    }
    assert drawn["tested on irmas", "vggish"] == pytest.approx([0.9160, 0.8282])
    assert drawn["tested on openmic", "yamnet"] == pytest.approx([0.8974, 0.8547])
    assert len(drawn) == 6


def test_slopes_with_ours():
    ours = with_ours(uncorrected()).dropna()
    figure = published_pairs(uncorrected(), ours, datasets=PUBLISHED_DATASETS)
    points = [[line.get_ydata()[0] for line in hollow(ax)] for ax in figure.axes]
    assert points == [pytest.approx([0.9260, 0.8382]), pytest.approx([0.8895, 0.8481])]
    legends = [text.get_text() for one in figure.legends for text in one.get_texts()]
    assert legends == [*PUBLISHED_EMBEDDINGS, "published", "ours, with interval"]


def test_changes_of_every_correction_in_both_modes():
    table = published_figures("change against none")
    names = {"vggish": "VGGish", "openl3": "OpenL3", "yamnet": "YAMNet"}
    figure = published_changes(table, corrections=CORRECTIONS, names=names)
    assert len(figure.axes) == 2
    ticks = figure.axes[0].get_yticks()
    texts = [text.get_text().strip() for text in figure.axes[0].get_yticklabels()]
    assert texts == [
        *("VGGish", *CORRECTIONS),
        *("OpenL3", *CORRECTIONS),
        *("YAMNet", *CORRECTIONS),
    ]
    for ax in figure.axes:
        train, test = ax.get_title().split(" to ")
        part = table[(table["train_set"] == train) & (table["test_set"] == test)]
        drawn = []
        for line in ax.lines:
            if line.get_marker() != "None":
                for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                    row = int(np.argmin(np.abs(ticks - y)))
                    group = [n for n, name in names.items() if name in texts[: row + 1]][-1]
                    drawn.append((group, texts[row], line.get_label(), round(float(x), 6)))
        modes = part["mode"].replace({"none": "nothing to fit"})
        expected = zip(
            part["embedding"], part["correction"], modes, (100 * part["published"]).round(6),
            strict=True,
        )  # fmt: skip
        assert sorted(drawn) == sorted(expected)


def test_changes_with_ours():
    table = with_ours(published_figures("change against k"))
    figure = published_changes(table, pairs=[("irmas", "openmic")])
    (ax,) = figure.axes
    part = table[(table["train_set"] == "irmas") & (table["test_set"] == "openmic")].dropna()
    found = sorted(x for line in hollow(ax) for x in line.get_xdata() if not np.isnan(x))
    np.testing.assert_allclose(found, sorted(100 * part["ours"]))


def test_tables_that_cannot_be_drawn():
    table = published_figures("change against none")
    inside = table[table["train_set"] == table["test_set"]]
    with pytest.raises(ArgumentError, match="no rows of two different datasets"):
        published_changes(inside)
    with pytest.raises(ArgumentError, match="no column 'published'"):
        published_changes(table.drop(columns="published"))
    with pytest.raises(ArgumentError, match="more than one row"):
        published_pairs(published_figures("mean"))
