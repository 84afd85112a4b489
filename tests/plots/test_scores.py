"""Figures of scores draw what the tables say: positions, whiskers, names, order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn import EMBEDDINGS, legend, lines, table, texts
from matplotlib.figure import Figure

from biasmir_utils import plots
from biasmir_utils.errors import ArgumentError
from biasmir_utils.experiments import PUBLISHED_DATASETS, PUBLISHED_EMBEDDINGS, published_figures

LABELS = ["violin", "cello", "flute"]


class TestDotsAndWhiskers:
    @pytest.fixture
    def one(self, results: pd.DataFrame) -> pd.DataFrame:
        return results[
            (results["embedding"] == "yamnet") & (results["train_set"] == results["test_set"])
        ]

    def test_dots_stand_at_the_values_in_the_order_asked_for(self, one: pd.DataFrame):
        order = sorted(LABELS)
        ax = plots.dots_and_whiskers(one, by="test_set", order=order)
        assert texts(ax) == order
        assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first label is on top"
        for test_set in ("solo", "band"):
            expected = one[one["test_set"] == test_set].set_index("label")["roc_auc"][order]
            points = lines(ax)[test_set]
            np.testing.assert_allclose(points[:, 0], expected)
            np.testing.assert_array_equal(np.round(points[:, 1]), [0, 1, 2])

    def test_whiskers_reach_from_low_to_high_at_the_height_of_their_dot(self, one: pd.DataFrame):
        ax = plots.dots_and_whiskers(one, by="test_set")
        whiskers = [c for c in ax.collections if len(c.get_segments())]
        for test_set, collection in zip(("solo", "band"), whiskers, strict=True):
            part = one[one["test_set"] == test_set]
            segments = np.array(collection.get_segments())
            np.testing.assert_allclose(segments[:, 0, 0], part["low"])
            np.testing.assert_allclose(segments[:, 1, 0], part["high"])
            np.testing.assert_allclose(segments[:, 0, 1], lines(ax)[test_set][:, 1])

    def test_chance_and_the_baseline_are_drawn_and_named(self, one: pd.DataFrame):
        solo = one[one["test_set"] == "solo"].assign(genre=[0.55, 0.61, 0.52])
        ax = plots.dots_and_whiskers(solo, baseline="genre", baseline_name="genre only")
        assert lines(ax)["genre only"][:, 0].tolist() == [0.55, 0.61, 0.52]
        assert lines(ax)["chance"][:, 0].tolist() == [0.5, 0.5]
        assert legend(ax.figure) == ["roc_auc", "genre only", "chance"]

    def test_a_label_without_a_value_keeps_its_row(self, one: pd.DataFrame):
        solo = one[(one["test_set"] == "solo") & (one["label"] != "cello")]
        both = pd.concat([solo, one[one["test_set"] == "band"]])
        ax = plots.dots_and_whiskers(both, by="test_set", order=LABELS)
        assert np.isnan(lines(ax)["solo"][1, 0])
        assert lines(ax)["solo"][2, 0] == solo.set_index("label").at["flute", "roc_auc"]

    def test_joined_runs_stand_with_their_probe_fall_and_size(self):
        columns = "run embedding correction mode alpha pair in_domain across fall probe dimension"
        rows = table(
            columns,
            ("a", "yamnet", "none", "none", np.nan, "x/y", 0.8, 0.7, 0.1, 0.9, 1024),
            ("b", "mert", "lda", "global", 1.0, "x/y", 0.7, 0.75, -0.05, np.nan, None),
        )
        ax = plots.joined_runs(rows)
        assert texts(ax)[0] == "a: yamnet, none\nfall 0.100, 1,024 dimensions"
        assert texts(ax)[1] == "b: mert, lda\nfall \N{MINUS SIGN}0.050"
        assert lines(ax)["across"][:, 0].tolist() == [0.7, 0.75]
        assert lines(ax)["dataset probe"][0, 0] == 0.9
        assert "no probe" in [text.get_text() for text in ax.texts]

    def test_falls_and_changes_are_drawn_around_zero(self):
        table = pd.DataFrame({"label": LABELS, "fall": [0.1, 0.05, -0.02]})
        ax = plots.falls(table)
        assert lines(ax)["fall"][:, 0].tolist() == [0.1, 0.05, -0.02]
        assert lines(ax)["no fall"][:, 0].tolist() == [0.0, 0.0]
        table = pd.DataFrame({"correction": ["lda", "mlda"], "change": [0.001, -0.002]})
        ax = plots.changes(table)
        assert texts(ax) == ["lda", "mlda"]
        assert lines(ax)["change"][:, 0].tolist() == [0.001, -0.002]

    def test_it_draws_into_given_axes(self, one: pd.DataFrame):
        ax = Figure().subplots()
        assert plots.dots_and_whiskers(one, by="test_set", ax=ax) is ax
        assert set(lines(ax)) == {"solo", "band", "chance"}


class TestPairs:
    def test_each_panel_holds_one_test_set_and_its_slopes_are_the_falls(self, results):
        figure = plots.train_test_pairs(results)
        for ax, test_set, other in zip(
            figure.axes, ("solo", "band"), ("band", "solo"), strict=True
        ):
            assert ax.get_title() == f"tested on {test_set}"
            assert [tick.get_text() for tick in ax.get_xticklabels()] == [test_set, other]
            for embedding in EMBEDDINGS:
                of = results[
                    (results["embedding"] == embedding) & (results["test_set"] == test_set)
                ]
                means = of.groupby("train_set")["roc_auc"].mean()
                drawn = lines(ax)[embedding]
                np.testing.assert_allclose(drawn[:, 1], [means[test_set], means[other]])
                np.testing.assert_array_equal(np.round(drawn[:, 0]), [0, 1])

    def test_intervals_are_drawn_where_there_is_one_row_for_each_pair(self, results):
        keys = ["embedding", "train_set", "test_set"]
        table = results.groupby(keys)[["roc_auc", "low", "high"]].mean().reset_index()
        figure = plots.train_test_pairs(table, datasets=["band", "solo"])
        assert figure.axes[0].get_title() == "tested on band"
        drawn = [one for c in figure.axes[0].collections for one in c.get_segments()]
        expected = table[table["test_set"] == "band"]
        assert sorted(segment[0, 1] for segment in drawn) == pytest.approx(sorted(expected["low"]))
        assert sorted(segment[1, 1] for segment in drawn) == pytest.approx(sorted(expected["high"]))
        with_labels = plots.train_test_pairs(results)
        assert not with_labels.axes[0].collections

    def test_ranks_are_those_of_the_means_and_the_best_is_on_top(self, results):
        ax = plots.ranking(results, pairs=[("solo", "solo"), ("solo", "band")])
        assert ax.get_ylim()[0] > ax.get_ylim()[1]
        means = results.groupby(["train_set", "test_set", "embedding"])["roc_auc"].mean()
        for position, pair in enumerate([("solo", "solo"), ("solo", "band")]):
            best = means.loc[pair].idxmax()
            assert lines(ax)[best][position].tolist() == [position, 1]
        written = [text.get_text() for text in ax.texts]
        assert f"{means['solo', 'band', 'yamnet']:.3f}" in written


def test_cells_hold_the_signed_change_in_thousandths():
    rows = [("cello", "mlda", -0.0061), ("cello", "lda", np.nan)]
    rows += [("flute", "lda", 0.0002), ("flute", "mlda", -0.0004)]
    ax = plots.change_by_label(table("label correction change", *rows))
    assert [text.get_text() for text in ax.texts] == ["\N{MINUS SIGN}6", "0", "0"]
    tints = np.asarray(ax.collections[0].get_array()).ravel()
    np.testing.assert_allclose(tints, [-6.1, np.nan, -0.4, 0.2])
    assert texts(ax) == ["cello", "flute"]
    assert {text.get_rotation() for text in ax.get_xticklabels()} == {0}
    low, high = ax.collections[0].get_clim()
    assert low == -high, "tints are symmetric around zero"


def test_score_distributions_sum_to_one_for_each_class():
    scores = {"negative": np.linspace(-3, 0, 300), "positive": np.linspace(0, 2, 40)}
    ax = plots.score_distributions(scores, threshold=0.5)
    for container, values in zip(ax.containers, scores.values(), strict=True):
        heights = [bar.get_height() for bar in container]
        assert sum(heights) == pytest.approx(1)
        middle = sum(bar.get_height() * (bar.get_x() + bar.get_width() / 2) for bar in container)
        assert middle == pytest.approx(values.mean(), abs=0.1)
    assert lines(ax)["threshold"][:, 0].tolist() == [0.5, 0.5]
    assert legend(ax.figure) == ["negative", "positive", "threshold"]


CORRECTIONS = ["lda", "mlda", "k", "klda", "mklda"]


def uncorrected() -> pd.DataFrame:
    table = published_figures("mean")
    return table[table["correction"] == "none"]


def with_ours(table: pd.DataFrame, shift: float = 0.01) -> pd.DataFrame:
    """Ours for one embedding only."""
    value = (table["published"] + shift).where(table["embedding"] == "vggish")
    return table.assign(ours=value, low=value - 0.02, high=value + 0.02)


def hollow(ax) -> list:
    return [line for line in ax.lines if line.get_markerfacecolor() == "white"]


def test_slopes_of_the_published_means_with_ours():
    ours = with_ours(uncorrected()).dropna()
    figure = plots.published_pairs(uncorrected(), ours, datasets=PUBLISHED_DATASETS)
    assert [ax.get_title() for ax in figure.axes] == ["tested on irmas", "tested on openmic"]
    irmas, openmic = map(lines, figure.axes)
    np.testing.assert_allclose(irmas["vggish"][:, 1], [0.9160, 0.8282])
    np.testing.assert_allclose(openmic["yamnet"][:, 1], [0.8974, 0.8547])
    assert list(irmas) == list(openmic) == list(PUBLISHED_EMBEDDINGS)
    points = [sorted(y for line in hollow(ax) for y in line.get_ydata()) for ax in figure.axes]
    np.testing.assert_allclose(points, [[0.8382, 0.9260], [0.8481, 0.8895]])
    legends = [text.get_text() for one in figure.legends for text in one.get_texts()]
    assert legends == [*PUBLISHED_EMBEDDINGS, "published", "ours, with interval"]


def test_changes_of_every_correction_in_both_modes():
    table = published_figures("change against none")
    names = {"vggish": "VGGish", "openl3": "OpenL3", "yamnet": "YAMNet"}
    figure = plots.published_changes(table, corrections=CORRECTIONS, names=names)
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
        drawn = [
            (int(np.argmin(np.abs(ticks - y))), line.get_label(), round(float(x), 6))
            for line in ax.lines
            if line.get_marker() != "None"
            for x, y in zip(*line.get_data(), strict=True)
        ]
        rows = part["embedding"].map({name: 6 * k + 1 for k, name in enumerate(names)})
        rows += part["correction"].map(CORRECTIONS.index)
        modes = part["mode"].replace({"none": "nothing to fit"})
        expected = zip(rows, modes, (100 * part["published"]).round(6), strict=True)
        assert sorted(drawn) == sorted(expected)


def test_changes_with_ours():
    table = with_ours(published_figures("change against k"))
    ax = plots.published_changes(table[table["train_set"] == "irmas"]).axes[0]
    part = table[(table["train_set"] == "irmas") & (table["test_set"] == "openmic")].dropna()
    found = sorted(x for line in hollow(ax) for x in line.get_xdata() if not np.isnan(x))
    np.testing.assert_allclose(found, sorted(100 * part["ours"]))


def test_a_gap_is_told_where_the_dot_would_be():
    scores = table("label roc_auc", ("flute", 0.8), ("saxophone", np.nan))
    ax = plots.dots_and_whiskers(scores, missing="one session")
    (told,) = [text for text in ax.texts if text.get_text() == "one session"]
    assert told.xy[1] == ax.get_yticks()[1]


def test_what_was_measured_again_is_open_and_named():
    own, other = (table("label roc_auc", ("flute", x), ("organ", x + 0.1)) for x in (0.6, 0.7))
    ax = plots.dots_and_whiskers(own, again=[other])
    (again,) = (line for line in ax.get_lines() if line.get_markerfacecolor() == "white")
    np.testing.assert_allclose(again.get_xdata(), [0.7, 0.8])
    np.testing.assert_allclose(again.get_ydata(), ax.get_yticks())
    assert "another split" in legend(ax.figure)


def test_worth_in_labels_has_a_line_for_each_correction():
    columns = "correction mode alpha method n roc_auc gain low high"
    worth = table(
        columns,
        ("none", "none", np.nan, "source only", 0, 0.70, 0.0, 0.0, 0.0),
        ("leace", "global", 1.0, "source only", 0, 0.72, 0.02, 0.0, 0.04),
        ("lda", "global", 1.0, "source only", 0, 0.69, -0.01, -0.02, 0.0),
        *[
            ("none", "none", np.nan, method, n, 0.7 + gain, gain, gain - 0.01, gain + 0.02)
            for method, n, gain in (
                ("fewshot", 10, 0.01), ("fewshot", 50, 0.04), ("target only", 10, -0.1),
                ("target only", 50, -0.02), ("both", 300, 0.1),
            )
        ],
        ("leace", "global", 1.0, "both", 300, 0.81, 0.11, 0.1, 0.12),
    )  # fmt: skip
    ax = plots.worth_in_labels(worth)
    drawn = lines(ax)
    np.testing.assert_allclose(drawn["source and n labels"], [[10, 0.71], [50, 0.74]])
    np.testing.assert_allclose(drawn["both datasets"], [[300, 0.8]])
    across = [line.get_ydata()[0] for line in ax.get_lines() if list(line.get_xdata()) == [0, 1]]
    assert across == [0.70, 0.72, 0.69]
    assert drawn["best correction: leace"][0, 1] == 0.72
    (ends, *_) = (own.get_segments() for own in ax.collections)
    np.testing.assert_allclose(np.array(ends)[:, :, 1], [[0.70, 0.73], [0.73, 0.76]])
    with pytest.raises(ArgumentError, match="more than one row"):
        plots.worth_in_labels(pd.concat([worth, worth]))
