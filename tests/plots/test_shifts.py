"""Pictures of shifts draw what the tables say."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from drawn import legend, lines, table, texts

from biasmir_utils import plots

EMBEDDINGS = ["yamnet", "mfcc"]
CORRECTIONS = ["none", "lda", "oracle:mean"]


def test_bars_are_as_long_as_the_shares():
    rows = [
        ("solo", "jazz", 0.7),
        ("solo", "rock", 0.3),
        ("band", "jazz", 0.4),
        ("band", "rock", 0.6),
    ]
    ax = plots.group_shares(table("dataset group share", *rows), order=["rock", "jazz"])
    lengths = [[bar.get_width() for bar in container] for container in ax.containers]
    assert lengths == [[0.3, 0.7], [0.6, 0.4]]
    assert texts(ax) == ["rock", "jazz"]
    assert legend(ax.figure) == ["solo", "band"]
    hatches = {bar.get_hatch() for container in ax.containers for bar in container}
    assert len(hatches) == 2, "told apart in greyscale"


def test_counts_stand_in_their_cells_and_tints_are_shares_of_the_label():
    rows = [
        ("solo", "cello", "jazz", 3),
        ("solo", "cello", "rock", 1),
        ("solo", "flute", "rock", 5),
    ]
    counts = table("dataset label group clips", *rows, ("band", "cello", "jazz", 7))
    solo, band = plots.label_by_group(counts).axes
    assert (solo.get_title(), band.get_title()) == ("solo", "band")
    assert [text.get_text() for text in solo.texts] == ["3", "1", "0", "5"]
    assert [text.get_text() for text in band.texts] == ["7", "0", "0", "0"]
    tints = np.asarray(solo.collections[0].get_array()).ravel()
    np.testing.assert_allclose(tints, [0.75, 0.25, 0, 1])


def test_cosines_are_absolute_and_in_the_row_of_their_embedding():
    rows = [("yamnet", "cello", "solo", -0.1), ("mfcc", "cello", "solo", 0.2)]
    rows += [("yamnet", "cello", "band", 0.03), ("mfcc", "cello", "band", -0.4)]
    cosines = table("embedding label train_set cosine", *rows)
    ax = plots.cosine_similarities(cosines, chance={"yamnet": 0.02, "mfcc": 0.09})
    assert texts(ax) == ["yamnet", "mfcc"]
    assert lines(ax)["solo"][:, 0].tolist() == [0.1, 0.2]
    assert lines(ax)["band"][:, 0].tolist() == [0.03, 0.4]
    np.testing.assert_array_equal(np.round(lines(ax)["band"][:, 1]), [0, 1])
    assert lines(ax)["two random directions"][:, 0].tolist() == [0.02, 0.09]


def test_each_embedding_has_a_grid_of_groups_by_groups():
    pairs = [("pop", "pop", 0.9), ("pop", "jazz", 0.6), ("jazz", "pop", 0.7), ("jazz", "jazz", 1.0)]
    found = table("embedding fitted_on tested_on roc_auc", *[("mfcc", *one) for one in pairs])
    (grid,) = plots.transfer_grids(found).axes
    assert texts(grid) == ["pop", "jazz"]
    assert [text.get_text() for text in grid.texts] == ["0.90", "0.60", "0.70", "1.00"]


def test_arrows_have_one_origin_and_all_panels_one_scale():
    rng = np.random.default_rng(0)
    shifts = {name: rng.normal(size=(6, 2)) for name in EMBEDDINGS}
    kinds = np.array(["jazz", "pop", "jazz", "pop", "folk", "jazz"])
    figure = plots.shift_arrows(shifts, kinds, order=["pop", "jazz"])
    for ax, (name, steps) in zip(figure.axes, shifts.items(), strict=True):
        drawn = {quiver.get_label(): quiver for quiver in ax.collections}
        assert list(drawn) == ["pop", "jazz", "mean shift"]
        assert ax.get_title() == name
        drawn_steps = {kind: steps[kinds == kind] for kind in ("pop", "jazz")}
        for kind, expected in (drawn_steps | {"mean shift": steps.mean(axis=0)[None]}).items():
            quiver = drawn[kind]
            np.testing.assert_array_equal(quiver.XY, 0 * expected)
            np.testing.assert_allclose(np.column_stack([quiver.U, quiver.V]), expected)
            assert (quiver.scale, quiver.angles, quiver.scale_units) == (1, "xy", "xy")
        np.testing.assert_allclose(lines(ax)["pop"], drawn_steps["pop"])
        limits = np.transpose([ax.get_xlim(), ax.get_ylim()])
        assert (limits[0] < steps).all()
        assert (limits[1] > steps).all()
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert legend(figure) == ["pop", "jazz", "mean shift"]


def test_stacked_bars_in_order_with_percentages_but_in_slivers():
    parts = {"SoundFont": (0.62, 0.3), "production": (0.35, 0.6), "both together": (0.03, 0.1)}
    rows = [
        (embedding, part, share)
        for part, shares in parts.items()
        for embedding, share in zip(EMBEDDINGS, shares, strict=True)
    ]
    ax = plots.factor_bars(table("embedding part value", *rows), order=["mfcc", "yamnet"])
    assert texts(ax) == ["mfcc", "yamnet"]
    widths = [[bar.get_width() for bar in container] for container in ax.containers]
    np.testing.assert_allclose(widths, [[0.3, 0.62], [0.6, 0.35], [0.1, 0.03]])
    lefts = [[bar.get_x() for bar in container] for container in ax.containers]
    np.testing.assert_allclose(lefts, [[0, 0], [0.3, 0.62], [0.9, 0.97]])
    hatches = {bar.get_hatch() for container in ax.containers for bar in container}
    assert len(hatches) == 3, "told apart in greyscale"
    assert legend(ax.figure) == list(parts)
    written = [text.get_text() for text in ax.texts if text.get_text()]
    assert sorted(written) == ["10", "30", "35", "60", "62"]


def test_cosines_below_chance_have_a_star():
    rows = [("jazz", "yamnet", 0.91, 0.9), ("jazz", "mfcc", 0.42, 0.5)]
    rows += [("folk", "yamnet", 0.77, 0.8), ("folk", "mfcc", -0.11, -0.2)]
    cosines = table("group embedding cosine chance_low", *rows)
    ax = plots.cosine_grid(cosines, order=["folk", "jazz"])
    written = [text.get_text() for text in ax.texts]
    assert written == ["0.77*", "\N{MINUS SIGN}0.11", "0.91", "0.42*"]
    bold = [text.get_fontweight() == "bold" for text in ax.texts]
    assert bold == [True, False, False, True]
    assert texts(ax) == ["folk", "jazz"]
    tints = np.asarray(ax.collections[0].get_array()).ravel()
    np.testing.assert_allclose(tints, [0.77, -0.11, 0.91, 0.42])


def test_long_names_over_a_grid_of_cosines_do_not_overlap():
    names = [f"embedding of kind {i}" for i in range(6)]
    rows = [(name, group, 0.5, 0.1) for name in names for group in ("folk", "jazz", "rock", "soul")]
    ax = plots.cosine_grid(table("embedding group cosine chance_low", *rows))
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.fixture
def judged() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [
            {"embedding": e, "correction": c, "metric": m, "quantity": q}
            for e in EMBEDDINGS
            for c in CORRECTIONS
            for m, quantities in {
                "": ("mean_removed", "task_removed", "angle"),
                "roc_auc": ("home", "away"),
                "balanced_accuracy": ("home", "away", "gain"),
            }.items()
            for q in quantities
        ]
    )
    table["value"] = rng.permutation(np.linspace(0.1, 0.9, len(table)))
    return table.assign(low=table["value"] - 0.02, high=table["value"] + 0.03)


def test_a_panel_for_each_quantity_and_a_marker_for_each_embedding(judged):
    order = ["oracle:mean", "lda", "none"]
    figure = plots.found_and_lost(judged, order=order)
    assert [ax.get_title() for ax in figure.axes] == ["of the true shift", "of the instruments"]
    for ax, quantity in zip(figure.axes, ("mean_removed", "task_removed"), strict=True):
        assert texts(figure.axes[0]) == order
        for name in EMBEDDINGS:
            part = judged[(judged["quantity"] == quantity) & (judged["embedding"] == name)]
            expected = part.set_index("correction")["value"][order]
            np.testing.assert_allclose(lines(ax)[name][:, 0], expected)
            np.testing.assert_array_equal(np.round(lines(ax)[name][:, 1]), [0, 1, 2])
        for whiskers, name in zip(ax.collections, EMBEDDINGS, strict=True):
            ends = np.array(whiskers.get_segments())
            np.testing.assert_allclose(ends[:, :, 0] - lines(ax)[name][:, :1], [[-0.02, 0.03]] * 3)
    assert legend(figure) == EMBEDDINGS


class TestClosingGap:
    def test_home_and_away_with_lines_at_the_scores_without_correction(self, judged):
        figure = plots.closing_gap(judged, embeddings=["mfcc", "yamnet"], ceiling="oracle:mean")
        assert [ax.get_title() for ax in figure.axes] == ["mfcc", "yamnet"]
        for ax in figure.axes:
            part = judged.query("metric == 'balanced_accuracy' and embedding == @ax.get_title()")
            values = part.set_index(["quantity", "correction"])["value"]
            for name, quantity in (("at home", "home"), ("away", "away")):
                np.testing.assert_allclose(lines(ax)[name][:, 0], values[quantity][CORRECTIONS])
            upright = [line for line in ax.get_lines() if list(line.get_ydata()) == [0, 1]]
            expected = [values["home", "none"], values["away", "none"]]
            expected.append(values["away", "oracle:mean"])
            assert [line.get_xdata()[0] for line in upright] == expected
            styles = {line.get_linestyle() for line in upright}
            assert len(styles) == 3, "told apart in greyscale"
        assert legend(figure) == ["at home", "away"]

    def test_an_empty_panel_is_hidden_and_none_needs_no_row(self, judged):
        third = judged[judged["embedding"] == "mfcc"].assign(embedding="third")
        three = pd.concat([judged, third])
        figure = plots.closing_gap(three, order=["lda"], ceiling="oracle:mean")
        assert [ax.get_visible() for ax in figure.axes] == [True, True, True, False]
        assert texts(figure.axes[0]) == ["lda"]
