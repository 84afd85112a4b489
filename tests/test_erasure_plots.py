"""The pictures of an erasure draw what the data say."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from biasmir_utils import plots
from biasmir_utils.errors import ArgumentError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def named(ax) -> dict[str, np.ndarray]:
    return {
        line.get_label(): np.column_stack(line.get_data())
        for line in ax.get_lines()
        if not line.get_label().startswith("_")
    }


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


class TestDomainMeans:
    @pytest.fixture
    def toy(self):
        rng = np.random.default_rng(0)
        domain = np.repeat(["A", "B"], [30, 50])
        return rng.normal(size=(80, 2)) + np.outer(domain == "B", [4, 1]), domain

    def test_points_and_means_are_those_of_the_domains(self, toy):
        X, domain = toy
        drawn = named(plots.domain_means(X, domain))
        assert list(drawn) == ["A", "B", "mean of A", "mean of B"]
        for name in "AB":
            np.testing.assert_allclose(drawn[name], X[domain == name])
            np.testing.assert_allclose(drawn[f"mean of {name}"][0], X[domain == name].mean(axis=0))

    def test_domains_are_told_apart_without_colour(self, toy):
        lines = {line.get_label(): line for line in plots.domain_means(*toy).get_lines()}
        assert lines["A"].get_marker() != lines["B"].get_marker()
        assert lines["mean of A"].get_marker() == lines["A"].get_marker()

    def test_arrows_have_the_directions_and_one_length(self, toy):
        X, domain = toy
        directions = {"w": np.array([0.0, 3.0]), "d": np.array([8.0, -6.0])}
        ax = plots.domain_means(X, domain, arrows=directions)
        drawn = [text for text in ax.texts if text.arrow_patch is not None]
        labels = [text.get_text() for text in ax.texts if text.arrow_patch is None]
        assert labels == ["w", "d"]
        steps = [np.subtract(text.xy, text.xyann) for text in drawn]
        for step, direction in zip(steps, directions.values(), strict=True):
            np.testing.assert_allclose(
                step / np.linalg.norm(step), direction / np.linalg.norm(direction)
            )
        np.testing.assert_allclose(*[np.linalg.norm(step) for step in steps])
        np.testing.assert_allclose(drawn[0].xyann, X.mean(axis=0))

    def test_limits_can_be_shared_and_scales_are_equal(self, toy):
        ax = plots.domain_means(*toy, limits=((-3, 9), (-5, 7)), legend=False)
        assert (ax.get_xlim(), ax.get_ylim()) == ((-3, 9), (-5, 7))
        assert ax.get_aspect() == 1
        assert not ax.figure.legends

    def test_every_point_is_in_the_picture(self, toy):
        ax = plots.domain_means(*toy)
        assert (ax.get_xlim()[0] < toy[0][:, 0]).all()
        assert (ax.get_ylim()[1] > toy[0][:, 1]).all()

    @pytest.mark.parametrize(
        ("X", "domain", "message"),
        [
            (np.zeros((3, 3)), list("ABA"), r"\(n, 2\)"),
            (np.zeros((3, 2)), list("AB"), r"\(n, 2\)"),
            (np.zeros((3, 2)), list("ABC"), "two domains"),
        ],
    )
    def test_wrong_shapes_are_refused(self, X, domain, message):
        with pytest.raises(ArgumentError, match=message):
            plots.domain_means(X, domain)


class TestBySize:
    @pytest.fixture
    def table(self):
        return pd.DataFrame(
            {
                "clips": [400, 100, 100, 400],
                "correction": ["lda", "lda", "leace", "leace"],
                "roc_auc": [0.98, 0.99, 0.8, 0.6],
            }
        )

    def test_each_line_runs_through_its_values_in_order_of_size(self, table):
        ax = plots.by_size(table, order=["leace", "lda"])
        drawn = named(ax)
        assert legend(ax) == ["leace", "lda", "chance"]
        np.testing.assert_allclose(drawn["lda"], [[100, 0.99], [400, 0.98]])
        np.testing.assert_allclose(drawn["leace"], [[100, 0.8], [400, 0.6]])
        np.testing.assert_allclose(drawn["chance"][:, 1], 0.5)
        assert ax.get_xscale() == "log"
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["100", "400"]

    def test_lines_are_told_apart_without_colour(self, table):
        lines = plots.by_size(table, reference=None).get_lines()
        assert len(lines) == 2
        assert len({line.get_marker() for line in lines}) == 2
        assert len({line.get_linestyle() for line in lines}) == 2

    def test_two_values_for_one_size_are_refused(self, table):
        with pytest.raises(ArgumentError, match="more than one row"):
            plots.by_size(pd.concat([table, table]))
